"""What a forest sees of records whose features have different units: each on a scale of its own.

A forest cuts features in proportion to their ranges, so percentages beside bytes are not seen at
all unless they are transformed. Each record is transformed by what was learnt of those before it,
then learnt. Of a feature's value x, with the centre and scale of `rcf.scale`, its weight w, and b
for what bends distances beyond four scales:

    none                  x
    weighted              w x
    subtract_ma           w (x - centre)
    normalize             w b((x - centre) / scale)
    difference            w (x - the value before)
    normalize_difference  w b((step - centre of steps) / scale of steps)
    robust                as normalize; a spike moves centre and scale by little
    log                   w sign(x) log(1 + |x| / geometric mean of magnitudes)

Of the four that measure by a scale (the normalize ones, robust, log), the unit of a feature changes
nothing. Time may be one more coordinate, ``w b((gap - mean gap) / mean gap)``.

Names: AWS random-cut-forest-by-aws, core/config/TransformMethod.java, without the 1 that its
scales add, which makes the result depend on the unit.

State: float64, `HEADER` words, then `rcf.scale.WORDS` for each feature.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rcf import scale
from rcf.arguments import LARGEST, as_rows, as_times, real, refuse_invalid, whole
from rcf.errors import InvalidParameter
from rcf.jit import entry, formula, kernel
from rcf.scale import (
    CENTRE,
    COUNT,
    LAST,
    WEIGHT,
    bend,
    learn_place,
    learn_size,
    learn_step,
    place_of,
    size_of,
    unbend,
    value_at,
    value_of_size,
)
from rcf.state import F64, Int

NONE, WEIGHTED, SUBTRACT_MA, NORMALIZE, DIFFERENCE, NORMALIZE_DIFFERENCE, ROBUST, LOG = range(8)
METHODS = {
    "none": NONE,
    "weighted": WEIGHTED,
    "subtract_ma": SUBTRACT_MA,
    "normalize": NORMALIZE,
    "difference": DIFFERENCE,
    "normalize_difference": NORMALIZE_DIFFERENCE,
    "robust": ROBUST,
    "log": LOG,
}

#: Mean age of what centres and scales are learnt from, in records: points that a forest keeps for
#: long are to stay comparable with those of today.
MEMORY = 2**15

#: Words before those of the features: records seen, latest time, gaps learnt, their mean.
SEEN, TIME, GAPS, GAP = range(4)
HEADER = 4

_LARGEST = LARGEST
_MOST_WEIGHT = 1e6


class Policy(NamedTuple):
    """What is done to a series.

    Attributes:
        method: A number of `METHODS`.
        decay: Share that the newest record has in what is learnt, above 0; more while there are
            few.
        time_weight: Of the coordinate for time; 0: there is none.
    """

    method: Int
    decay: float
    time_weight: float


class Original(NamedTuple):
    """What transformed records were.

    Attributes:
        values: float64 (n, features).
        times: float64 (n,), when; None unless time is a coordinate.
    """

    values: F64
    times: F64 | None


@formula
def words(features: Int) -> Int:
    """Words of the state of a series."""
    return HEADER + scale.WORDS * features


def fresh(weights: F64) -> F64:
    """State of a series without records, whose features have these weights, float64 (features,)."""
    state = np.zeros(words(len(weights)))
    weights_of(state)[:] = weights
    return state


def weights_of(state: F64) -> F64:
    """What the coordinates of a series' features are multiplied by, float64 (features,)."""
    return state[HEADER + WEIGHT :: scale.WORDS]


@kernel
def differs(method: Int) -> bool:
    """Whether a method looks at steps instead of values."""
    return method in (DIFFERENCE, NORMALIZE_DIFFERENCE)


@kernel
def coordinate(method: Int, state: F64, at: Int, value: float) -> float:
    """What a method makes of a feature's value, or of its step, before its weight."""
    if method == SUBTRACT_MA:
        return value - state[at + CENTRE] if state[at + COUNT] > 0.0 else 0.0
    if method in (NORMALIZE, NORMALIZE_DIFFERENCE, ROBUST):
        return bend(place_of(state, at, value))
    if method == LOG:
        return size_of(state, at, value)
    return value


@kernel
def original(method: Int, state: F64, at: Int, found: float) -> float:
    """The inverse of `coordinate`."""
    if method == SUBTRACT_MA:
        return found + state[at + CENTRE]
    if method in (NORMALIZE, NORMALIZE_DIFFERENCE, ROBUST):
        return value_at(state, at, unbend(found))
    if method == LOG:
        return value_of_size(state, at, found)
    return found


@kernel
def learn_value(policy: Policy, state: F64, at: Int, value: float, before: Int) -> None:
    """Learn a feature's value, of which `before` were seen."""
    step = value - state[at + LAST] if before > 0 else 0.0
    method = policy.method
    learn_step(state, at, abs(step))
    if method == LOG:
        learn_size(state, at, value, policy.decay)
    elif not differs(method):
        learn_place(state, at, value, policy.decay, method == ROBUST)
    elif before > 0:
        learn_place(state, at, step, policy.decay, False)


@kernel
def gap_of(state: F64, time: float) -> float:
    """The gap before a record, in mean gaps beyond the usual one; 0 for the first two records."""
    if state[GAPS] == 0.0:
        return 0.0
    gap, usual = time - state[TIME], state[GAP]
    if usual == 0.0:
        return 0.0 if gap == 0.0 else math.copysign(1.0, gap)
    return bend((gap - usual) / usual)


@kernel
def learn_time(policy: Policy, state: F64, time: float) -> None:
    """Learn the gap before a record; of one that is late, that there was none."""
    if state[SEEN] == 0.0:
        return
    gap = max(0.0, time - state[TIME])
    share = max(policy.decay, 1.0 / (state[GAPS] + 1.0))
    state[GAP] += share * (gap - state[GAP])
    state[GAPS] += 1.0


@kernel
def transform_row(
    policy: Policy, state: F64, values: F64, time: float, out: F64, learn: bool
) -> None:
    """Transform one record by what was learnt of those before it, then learn it.

    Args:
        policy: What is done.
        state: float64 (HEADER + scale.WORDS features,), changed in place.
        values: float64 (features,), each a finite float32.
        time: When; read only where time is a coordinate.
        out: float64 (features,), and one more where time is a coordinate; out: finite float32s.
        learn: Whether centres and scales learn the record. If not, it still is the one before
            the next.
    """
    features, seen = len(values), np.int64(state[SEEN])
    for feature in range(features):
        at, value = HEADER + scale.WORDS * feature, values[feature]
        looked_at = value
        if differs(policy.method):
            looked_at = value - state[at + LAST] if seen > 0 else 0.0
        found = state[at + WEIGHT] * coordinate(policy.method, state, at, looked_at)
        out[feature] = min(max(found, -_LARGEST), _LARGEST)
        if learn:
            learn_value(policy, state, at, value, seen)
        state[at + LAST] = value
    if policy.time_weight > 0.0:
        out[features] = policy.time_weight * gap_of(state, time)
        if learn:
            learn_time(policy, state, time)
        state[TIME] = max(state[TIME], time) if seen > 0 else time
    state[SEEN] += 1.0


@kernel
def invert_row(policy: Policy, state: F64, found: F64, out: F64) -> float:
    """What record would be transformed to `found`, were it the next; return when it would be.

    Args:
        policy: What is done.
        state: As for `transform_row`; only the last value and time are brought up to date.
        found: float64 (features,), and one more where time is a coordinate.
        out: float64 (features,), out. A feature of weight 0 comes back as its centre, or the value
            before it where a method looks at steps.
    """
    features, seen = len(out), state[SEEN] > 0.0
    for feature in range(features):
        at = HEADER + scale.WORDS * feature
        weight = state[at + WEIGHT]
        inner = found[feature] / weight if weight > 0.0 else 0.0
        value = original(policy.method, state, at, inner)
        if differs(policy.method) and seen:
            value += state[at + LAST]
        out[feature] = state[at + LAST] = value
    time = np.nan
    if policy.time_weight > 0.0:
        usual = state[GAP]
        time = state[TIME] + usual * (1.0 + unbend(found[features] / policy.time_weight))
        state[TIME] = max(state[TIME], time)
    state[SEEN] += 1.0
    return time


@entry
def transform_rows(
    policy: Policy, state: F64, values: F64, times: F64, out: F64, learn: bool
) -> None:
    """`transform_row` for each record in turn.

    Args:
        policy: What is done.
        state: Changed in place.
        values: float64 (n, features), each a finite float32.
        times: float64 (n,); read only where time is a coordinate.
        out: float64 (n, width), out.
        learn: Whether to learn.
    """
    for row in range(len(values)):
        transform_row(policy, state, values[row], times[row], out[row], learn)


@entry
def invert_rows(policy: Policy, state: F64, found: F64, values: F64, times: F64) -> None:
    """`invert_row` for records that follow one another. float64 (n, width), (n, features), (n,)."""
    for row in range(len(found)):
        times[row] = invert_row(policy, state, found[row], values[row])


class Transform:
    """Puts the features of one series on scales of their own, record by record.

    How records are cut into calls changes nothing. Not safe for use from two threads at once.

    Args:
        features: Values a record, 1 to 65535.
        method: One of `METHODS`; "robust" is the best of those that no unit matters to
            (`python -m load transforms`).
        weights: (features,), 0 to 1,000,000, what coordinates are multiplied by; 0 leaves a feature
            out. None: 1 for each. The method "none" takes none.
        time_weight: Weight of the gap between records as the last coordinate, 0 to 1,000,000; 0:
            there is no such coordinate, and times are not asked for.
        decay: Rate per record at which what was learnt fades, 1e-9 to 1; None: 1 / `MEMORY`.

    Raises:
        InvalidParameter: A parameter is outside what is allowed.
    """

    def __init__(
        self,
        features: int = 1,
        *,
        method: str = "robust",
        weights: ArrayLike | None = None,
        time_weight: float = 0.0,
        decay: float | None = None,
    ) -> None:
        features = whole("features", features, 1, 65_535)
        policy = change_of(method, weights, time_weight, decay)
        self._adopt(policy, fresh(checked_weights(weights, features)))

    def _adopt(self, policy: Policy, state: F64) -> None:
        self._policy = policy
        self._state = state

    def __copy__(self) -> Transform:
        return type(self).of_parts(self._policy, self._state.copy())

    def process(
        self, values: ArrayLike, times: ArrayLike | None = None, *, learn: bool = True
    ) -> F64:
        """Transform each record by those before it, then learn it.

        Args:
            values: (n, features) in the order of the series, as for `rcf.Forest.process`.
            times: (n,), when the records were, in any unit; needed where time is a coordinate.
            learn: Whether centres and scales learn. If not, each record still is the one before the
                next.

        Returns:
            float64 (n, width), finite float32 numbers.

        Raises:
            InvalidParameter: A value is no finite float32, a shape is wrong, or times are missing;
                nothing is learnt.
        """
        rows = as_rows(values, self.features)
        refuse_invalid(rows)
        when = checked_times(self._policy, times, len(rows))
        if when is None:
            when = np.zeros(len(rows))
        out = np.empty((len(rows), self.width))
        transform_rows(self._policy, self._state, rows, when, out, learn)
        return out

    def peek(self, values: ArrayLike) -> F64:
        """`process` of records that come at the usual time, without learning; nothing changes."""
        rows = as_rows(values, self.features)
        refuse_invalid(rows)
        state = self._state.copy()
        times = state[TIME] + state[GAP] * np.arange(1.0, len(rows) + 1.0)
        out = np.empty((len(rows), self.width))
        transform_rows(self._policy, state, rows, times, out, False)
        return out

    def invert(self, found: ArrayLike) -> Original:
        """What records would be transformed to these, followed they the last one; nothing changes.

        The inverse of ``process(values, times, learn=False)``. A feature that has not moved has no
        scale, one of weight 0 tells nothing: both come back as their centre (by the methods that
        look at steps, as the value before).

        Args:
            found: (n, width).

        Raises:
            InvalidParameter: The shape is wrong or a value is no finite float32.
        """
        rows = as_rows(found, self.width, "found")
        refuse_invalid(rows, "found")
        values, times = np.empty((len(rows), self.features)), np.empty(len(rows))
        invert_rows(self._policy, self._state.copy(), rows, values, times)
        return Original(values, times if self._policy.time_weight > 0.0 else None)

    @property
    def features(self) -> int:
        """Values a record."""
        return (len(self._state) - HEADER) // scale.WORDS

    @property
    def width(self) -> int:
        """Coordinates of a transformed record: the features, and time where it is one."""
        return self.features + (1 if self._policy.time_weight > 0.0 else 0)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the state takes."""
        return self._state.nbytes

    def parts(self) -> tuple[Policy, F64]:
        """(policy, state), for snapshots."""
        return self._policy, self._state

    @classmethod
    def of_parts(cls, policy: Policy, state: F64) -> Transform:
        """A transform around its parts, which it then owns."""
        transform = cls.__new__(cls)
        transform._adopt(policy, state)
        return transform


def change_of(
    method: str,
    weights: ArrayLike | None,
    time_weight: float,
    decay: float | None = None,
    *,
    field: str = "method",
) -> Policy:
    """What is done to a series; arguments and errors as of `Transform`, `field` for the method."""
    if not isinstance(method, str) or method not in METHODS:
        raise InvalidParameter(field, method, ", ".join(METHODS))
    if method == "none" and weights is not None:
        raise InvalidParameter("weights", weights, f'none where {field} is "none"')
    return Policy(
        METHODS[method],
        1.0 / MEMORY if decay is None else real("decay", decay, 1e-9, 1.0),
        real("time_weight", time_weight, 0.0, _MOST_WEIGHT),
    )


def checked_times(policy: Policy, times: ArrayLike | None, count: int) -> F64 | None:
    """Times as float64 (count,); InvalidParameter where they are wrong, or needed and None."""
    if times is not None:
        return as_times(times, count)
    if policy.time_weight > 0.0:
        raise InvalidParameter("times", None, "given where time is a coordinate")
    return None


def checked_weights(weights: ArrayLike | None, features: int) -> F64:
    """Weights as float64 (features,); InvalidParameter unless there is an allowed one for each."""
    if weights is None:
        return np.ones(features)
    allowed = f"{features} numbers from 0 to {_MOST_WEIGHT:g}, one for each feature"
    found = np.asarray(weights)
    if found.dtype.kind not in "fiu" or found.shape != (features,):
        raise InvalidParameter("weights", weights, allowed)
    for feature, weight in enumerate(found.tolist()):
        real(f"weights[{feature}]", weight, 0.0, _MOST_WEIGHT)
    return found.astype(np.float64)
