"""What a series is expected to do next: simple forecasts, blended by how well they did of late.

Forecasters of one feature, by their number:

    LAST    the last value
    FAST    a mean of the last three values or so         SLOW  of the last twenty
    MEDIAN  of the last `WINDOW` values
    MEAN    a mean of the last two hundred
    LEVEL   a regression of the distance from that mean on its last eight values
    STEP    a regression of the next step on the last eight steps

The blend weighs each by the inverse of its mean absolute error of late, to the power of 16: nearly
the best one, and a mean of those that are about as good. Errors, hence weights, are kept for each
lead, 1 to `HORIZON` records ahead, and so is the band (`rcf.band`). Lead 1 is tried with every
record. For the others a path is forecast every `HORIZON / PATHS` records, bands and all, and
compared with the records as they come: each lead is tried every fourth record, for a fourth of the
work. A record counts as inside or not by the band that was said of it then. By that of its own
time, which knows the records between, too few would lie inside the bands that are said.

Beyond `HORIZON` the last lead's weights serve, and its band grows with the square root of the lead:
these bands are not calibrated.

State: float64 (features, WORDS), a row a feature; the table is below.
"""

from __future__ import annotations

import math

import numpy as np

from rcf import band as bands
from rcf.band import band, follow_band, scale_of_errors, start_band
from rcf.jit import entry, kernel
from rcf.pointer import array_at
from rcf.regression import learn_regression, predict, start_regression
from rcf.state import F64, I64, U8, Int

HORIZON = 16  #: leads that are calibrated
PATHS = 4  #: paths that are compared at a time
LAGS = 8  #: values that the regressions look back on
WINDOW = 25  #: values that the median is of
EXPERTS = 7
LAST, FAST, SLOW, MEDIAN, MEAN, LEVEL, STEP = range(EXPERTS)

# Words of a feature: values seen, weight and sum of absolute steps, smallest and largest value,
# four levels, the last WINDOW values (newest first) and the same sorted, two regressions, mean
# absolute errors (lead, forecaster), bands (lead), the paths (path, lead, forecaster), and what was
# said of them: expected, lower, upper (path, lead, 3).
SEEN, STEP_WEIGHT, STEP_SUM, LOWEST, HIGHEST = range(5)
LEVELS = 5 - FAST  #: level of a forecaster FAST to MEAN is at LEVELS + its number
PAST = 9
SORTED = PAST + WINDOW
LEVEL_INPUTS, STEP_INPUTS = LAGS + 1, LAGS
LEVEL_AT = SORTED + WINDOW
STEP_AT = LEVEL_AT + LEVEL_INPUTS * (1 + LEVEL_INPUTS)
ERRORS = STEP_AT + STEP_INPUTS * (1 + STEP_INPUTS)
BANDS = ERRORS + HORIZON * EXPERTS
PATH = BANDS + HORIZON * bands.WORDS
SAID = PATH + PATHS * HORIZON * EXPERTS
WORDS = SAID + PATHS * HORIZON * 3

_FAST_STEP, _SLOW_STEP, _MEAN_STEP = 0.3, 0.05, 0.005
_STEP_MEMORY = 100.0
_ERROR_MEMORY, _PATH_ERROR_MEMORY = 100.0, 30.0  # errors of lead 1; of the others, tried less often


@kernel
def start_feature(state: F64) -> None:
    """Begin with nothing known. float64 (WORDS,)."""
    for i in range(WORDS):
        state[i] = 0.0
    start_regression(state, LEVEL_AT, LEVEL_INPUTS)
    start_regression(state, STEP_AT, STEP_INPUTS)
    for lead in range(HORIZON):
        start_band(state, BANDS + lead * bands.WORDS)


@kernel
def typical_step(state: F64) -> float:
    """Mean absolute step of late; 0 while the feature has not moved."""
    return state[STEP_SUM] / state[STEP_WEIGHT] if state[STEP_WEIGHT] > 0.0 else 0.0


@kernel
def within_reach(state: F64, value: float, fallback: float) -> float:
    """A regression's answer, not further from what was seen than that reached."""
    reach = state[HIGHEST] - state[LOWEST]
    value = min(max(value, state[LOWEST] - reach), state[HIGHEST] + reach)
    return value if math.isfinite(value) else fallback


@kernel
def level_inputs(state: F64, past: F64, inputs: F64) -> float:
    """Write what LEVEL looks at; return the typical step, its unit; 0: no forecast."""
    unit = typical_step(state)
    if unit > 0.0:
        for i in range(LAGS):
            inputs[i] = (past[i] - state[LEVELS + MEAN]) / unit
        inputs[LAGS] = 1.0
    return unit


@kernel
def step_inputs(state: F64, past: F64, inputs: F64) -> float:
    """Likewise for STEP."""
    unit = typical_step(state)
    if unit > 0.0:
        for i in range(LAGS):
            inputs[i] = (past[i] - past[i + 1]) / unit
    return unit


@kernel
def by_level(state: F64, past: F64, inputs: F64) -> float:
    """LEVEL's forecast of the value after `past`, newest first."""
    unit = level_inputs(state, past, inputs)
    if unit == 0.0 or state[SEEN] <= LAGS:
        return past[0]
    answer = state[LEVELS + MEAN] + unit * predict(state, LEVEL_AT, LEVEL_INPUTS, inputs)
    return within_reach(state, answer, past[0])


@kernel
def by_step(state: F64, past: F64, inputs: F64) -> float:
    """STEP's forecast of the value after `past`, newest first."""
    unit = step_inputs(state, past, inputs)
    if unit == 0.0 or state[SEEN] <= LAGS:
        return past[0]
    answer = past[0] + unit * predict(state, STEP_AT, STEP_INPUTS, inputs)
    return within_reach(state, answer, past[0])


@kernel
def shift(past: F64, value: float) -> None:
    """Put a value before the others; the oldest falls out."""
    for i in range(len(past) - 1, 0, -1):
        past[i] = past[i - 1]
    past[0] = value


@kernel
def foretell(state: F64, leads: Int, out: F64, at: Int, pasts: F64, inputs: F64) -> None:
    """Write what each forecaster says of the next `leads` values to `out[at:]`.

    Args:
        state: One feature.
        leads: How many.
        out: float64; forecaster e of lead h (from 0) at [at + EXPERTS h + e].
        at: Where.
        pasts: Room for two times LAGS + 1 values.
        inputs: Room for LAGS + 1.
    """
    level_past, step_past = pasts[: LAGS + 1], pasts[LAGS + 1 :]
    for i in range(LAGS + 1):
        level_past[i] = step_past[i] = state[PAST + i]
    for lead in range(leads):
        to = at + EXPERTS * lead
        out[to + LAST] = state[PAST]
        for expert in range(FAST, MEAN + 1):
            out[to + expert] = state[LEVELS + expert]
        out[to + LEVEL] = by_level(state, level_past, inputs)
        out[to + STEP] = by_step(state, step_past, inputs)
        shift(level_past, out[to + LEVEL])
        shift(step_past, out[to + STEP])


@kernel
def blend(state: F64, lead: Int, said: F64, at: Int) -> float:
    """Mean of what the forecasters say of a lead (from 0), by how well they did there."""
    errors = ERRORS + EXPERTS * lead
    least = state[errors]
    for expert in range(1, EXPERTS):
        least = min(least, state[errors + expert])
    total, weights = 0.0, 0.0
    for expert in range(EXPERTS):
        error = state[errors + expert]
        weight = least / error if error > 0.0 else 1.0
        weight *= weight
        weight *= weight
        weight *= weight
        weight *= weight
        total += weight * said[at + expert]
        weights += weight
    return total / weights


@kernel
def expect(state: F64, lead: Int, said: F64, at: Int, out: F64, to: Int) -> None:
    """Write what is expected of a lead, and the lower and upper end of its band, to `out[to:]`."""
    expected = blend(state, lead, said, at) if state[SEEN] > 0.0 else np.nan
    out[to] = expected
    out[to + 1], out[to + 2] = band(state, BANDS + lead * bands.WORDS, expected)


@kernel
def compare(
    state: F64, lead: Int, said: F64, at: Int, told: F64, told_at: Int, value: float, tail: float
) -> None:
    """Learn how the forecasts of a lead, and what `expect` made of them, came out."""
    said_then = told[told_at : told_at + 3]
    at_band = BANDS + lead * bands.WORDS
    follow_band(state, at_band, said_then[0], said_then[1], said_then[2], value, tail)
    memory = _ERROR_MEMORY if lead == 0 else _PATH_ERROR_MEMORY
    errors = ERRORS + EXPERTS * lead
    for expert in range(EXPERTS):
        error = abs(said[at + expert] - value)
        state[errors + expert] += (error - state[errors + expert]) / memory


@kernel
def follow_median(state: F64, value: float) -> None:
    """Put a value into the sorted window, in the place of the one that leaves it."""
    count = int(min(state[SEEN], WINDOW))
    window = state[SORTED : SORTED + WINDOW]
    if count == WINDOW:
        leaving, at = state[PAST + WINDOW - 1], 0
        while window[at] != leaving:
            at += 1
        for i in range(at, WINDOW - 1):
            window[i] = window[i + 1]
        count -= 1
    at = count
    while at > 0 and window[at - 1] > value:
        window[at] = window[at - 1]
        at -= 1
    window[at] = value
    state[LEVELS + MEDIAN] = window[count // 2]


@kernel
def learn_value(state: F64, value: float, inputs: F64, gain: F64) -> None:
    """Let the forecasters learn a value."""
    past = state[PAST : PAST + LAGS + 1]
    seen = state[SEEN]
    if seen == 0.0:
        state[LOWEST] = state[HIGHEST] = value
        for expert in range(FAST, MEAN + 1):
            state[LEVELS + expert] = value
    if seen > LAGS:
        unit = level_inputs(state, past, inputs)
        if unit > 0.0:
            wanted = (value - state[LEVELS + MEAN]) / unit
            learn_regression(state, LEVEL_AT, LEVEL_INPUTS, inputs, wanted, gain)
            step_inputs(state, past, inputs)
            wanted = (value - past[0]) / unit
            learn_regression(state, STEP_AT, STEP_INPUTS, inputs, wanted, gain)
    step = abs(value - past[0]) if seen > 0.0 else 0.0
    keep = 1.0 - 1.0 / _STEP_MEMORY
    state[STEP_WEIGHT] = keep * state[STEP_WEIGHT] + (1.0 if seen > 0.0 else 0.0)
    state[STEP_SUM] = keep * state[STEP_SUM] + step
    follow_median(state, value)
    state[LEVELS + FAST] += _FAST_STEP * (value - state[LEVELS + FAST])
    state[LEVELS + SLOW] += _SLOW_STEP * (value - state[LEVELS + SLOW])
    share = max(_MEAN_STEP, 1.0 / (seen + 1.0))
    state[LEVELS + MEAN] += share * (value - state[LEVELS + MEAN])
    state[LOWEST] = min(state[LOWEST], value)
    state[HIGHEST] = max(state[HIGHEST], value)
    shift(state[PAST : PAST + WINDOW], value)
    state[SEEN] += 1.0


@kernel
def path_at(path: Int, lead: Int) -> tuple[Int, Int]:
    """Where a path's forecasts of a lead stand in a feature's words, and what was said of it."""
    place = path * HORIZON + lead
    return PATH + EXPERTS * place, SAID + 3 * place


@kernel
def take_value(
    state: F64, said: F64, told: F64, value: float, known: bool, tail: float, pasts: F64, room: F64
) -> None:
    """Learn a value of one feature, of which all this was said; compare only if it is `known`."""
    inputs, gain = room[: LAGS + 1], room[LAGS + 1 :]
    seen, every = np.int64(state[SEEN]), HORIZON // PATHS
    if seen > 0 and known:
        compare(state, 0, said, 0, told, 0, value, tail)
        for path in range(PATHS):
            # Path p begins with what follows record number every p + 1, and every HORIZON later.
            age = seen - 1 - every * path
            lead = age % HORIZON
            if age > 0 and lead > 0:
                at, told_at = path_at(path, lead)
                compare(state, lead, state, at, state, told_at, value, tail)
    learn_value(state, value, inputs, gain)
    if seen % every == 0:
        fresh = np.int64(seen // every % PATHS)
        foretell(state, HORIZON, state, path_at(fresh, 0)[0], pasts, inputs)
        for ahead in range(1, HORIZON):
            at, told_at = path_at(fresh, ahead)
            expect(state, ahead, state, at, state, told_at)
            if scale_of_errors(state, BANDS + ahead * bands.WORDS) == 0.0:
                # Not a band yet: nothing is to be learnt from what lies outside.
                state[told_at + 1] = state[told_at + 2] = np.nan


@entry
def start_forecast(state: F64) -> None:
    """Begin with nothing known. float64 (features, WORDS)."""
    for feature in range(len(state)):
        start_feature(state[feature])


@entry
def forecast_rows(states: I64, starts: I64, values: F64, known: U8, tail: float, out: F64) -> None:
    """Forecast each record, then learn it.

    Args:
        states: int64 (segments,), addresses of the series' states, float64 (features, WORDS);
            changed in place.
        starts: int64 (segments + 1,), where the records of each begin, and their number.
        values: float64 (records, features), finite.
        known: uint8 (records, features), 0 where a value was imputed: it says nothing about how
            good a forecast was.
        tail: Share of values beyond each side of the band, 0 to 0.5.
        out: float64 (3, records, features), out: expected, lower, upper; NaN for a first value.
    """
    said, told = np.empty(EXPERTS), np.empty(3)
    pasts, room = np.empty(2 * (LAGS + 1)), np.empty(2 * (LAGS + 1))
    features = values.shape[1]
    for part in range(len(states)):
        state = array_at(states[part], 8 * features * WORDS).view(np.float64)
        for row in range(starts[part], starts[part + 1]):
            for feature in range(features):
                one = state[feature * WORDS : (feature + 1) * WORDS]
                foretell(one, 1, said, 0, pasts, room)
                expect(one, 0, said, 0, told, 0)
                out[:, row, feature] = told
                value, is_known = values[row, feature], known[row, feature] != 0
                take_value(one, said, told, value, is_known, tail, pasts, room)


@entry
def forecast_leads(state: F64, out: F64) -> None:
    """Forecast the next records; nothing changes.

    Args:
        state: float64 (features, WORDS).
        out: float64 (3, leads, features), out: expected, lower, upper; NaN before a first value.
    """
    leads = out.shape[1]
    said, told = np.empty(EXPERTS * leads), np.empty(3)
    pasts, room = np.empty(2 * (LAGS + 1)), np.empty(LAGS + 1)
    for feature in range(len(state)):
        one = state[feature]
        foretell(one, leads, said, 0, pasts, room)
        for lead in range(leads):
            tried = min(lead, HORIZON - 1)
            growth = math.sqrt((lead + 1.0) / (tried + 1.0))
            expect(one, tried, said, EXPERTS * lead, told, 0)
            out[0, lead, feature] = told[0]
            out[1, lead, feature] = told[0] + growth * (told[1] - told[0])
            out[2, lead, feature] = told[0] + growth * (told[2] - told[0])
