"""`rcf tune`: settings that suit labels, or a budget of alerts.

With labels, Optuna tries settings on the first part of the past and keeps the one with the best
figure; the rest is held back, and the figures that are printed are of the rest alone. With a budget
alone nothing is searched: the factor of the threshold follows from the scores.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from service.cli.backtest import (
    Labels,
    Options,
    Outcome,
    Past,
    figures,
    judged,
    lines,
    read_past,
    unjudged,
)
from service.cli.backtest import read_settings as read
from service.cli.errors import USAGE, CommandError
from service.engine.feedback import HIGHEST_FACTOR, LOWEST_FACTOR, fired
from service.evaluation.alerts import days
from service.evaluation.backtest import Judged, flat
from service.evaluation.period import period_of

if TYPE_CHECKING:
    import optuna

OPTUNA = "optuna>=5,<6"
"""What `pyproject.toml` asks for as the extra `tune`; an index need not know this project."""
METRICS = ("f1", "precision", "recall", "nab_standard", "vus_pr", "average_precision")
SHINGLES = (1, 2, 4, 8, 16, 32)
SAMPLES = (128, 256, 512, 1024)
GAPS = (10, 20, 40, 80)
_BEYOND = 1 + 2**-20
_STEPS = 60

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the settings shall be good at.

    Attributes:
        metric: one of METRICS, with labels.
        alerts_per_day: at most so many, of one series; None for any.
        trials: settings tried.
        seed: of the search; one seed, one outcome.
        held_back: share of the records, the last ones, that the search does not see.
    """

    metric: str = "f1"
    alerts_per_day: float | None = None
    trials: int = 30
    seed: int = 0
    held_back: float = 0.3


def tune(options: Options, wish: Wish, say: Say, warn: Say) -> dict[str, Any]:
    """Find settings, print how good they are, and return them.

    Raises:
        CommandError: There are neither labels nor a budget, or Optuna is not installed.
    """
    if wish.metric not in METRICS:
        raise CommandError(f"--metric {wish.metric!r}; allowed: {', '.join(METRICS)}", USAGE)
    past = read_past(options, warn)
    given = read(options.settings)
    if past.labels is None:
        found = given | _for_budget(past, given, wish)
        shown = past
    else:
        cut = round(len(past.records) * (1 - wish.held_back))
        first = np.arange(len(past.records)) < cut
        found = given | _searched(_labelled(past, first), given, options.late, wish, warn)
        shown = _labelled(past, ~first) if cut < len(past.records) else past
    outcomes = [
        judged("as given", shown, given, options.late),
        judged("tuned", shown, found, options.late),
    ]
    for sentence in unjudged(shown, outcomes):
        warn(sentence)
    if options.as_json:
        told = {each.name: figures(each) for each in outcomes}
        say(json.dumps({"settings": found, "figures": told}))
        return found
    for line in lines(shown, outcomes):
        say(line)
    say(f"settings: {json.dumps(found)}")
    return found


def _labelled(past: Past, rows: np.ndarray[Any, np.dtype[np.bool_]]) -> Past:
    """The same past, of which only some rows count."""
    assert past.labels is not None  # noqa: S101  the caller checked; this tells the type checker
    labels: Labels = np.where(rows, past.labels, np.int8(-1)).astype(np.int8)
    return replace(past, labels=labels)


# -- by a budget --------------------------------------------------------------------------


def _for_budget(past: Past, given: dict[str, Any], wish: Wish) -> dict[str, Any]:
    if wish.alerts_per_day is None:
        raise CommandError("name --labels, or --alerts-per-day", USAGE)
    if not past.timed:
        raise CommandError("alerts a day need a time column", USAGE)
    series = list(judged("as given", past, given, 0).rehearsed.series.values())
    gap = int(given.get("incident_gap", past.config.incident_gap))
    return _factor(factor_for(series, gap, wish.alerts_per_day))


def factor_for(series: Sequence[Judged], gap: int, alerts_per_day: float) -> float:
    """Return the lowest factor of the threshold, found by halves, that keeps to a budget.

    Args:
        series: as judged with the factor 1.
        gap: records without an anomaly after which the next one is told of anew.
        alerts_per_day: of one series, on average.
    """
    ratios = [_ratios(each) for each in series]
    allowed = alerts_per_day * sum(days(each.times_ms) for each in series)

    def keeps(factor: float) -> bool:
        return sum(fired(each, factor, gap).alerts for each in ratios) <= allowed

    low, high = math.log(LOWEST_FACTOR), math.log(HIGHEST_FACTOR)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if keeps(math.exp(middle)) else (middle, high)
    return min(math.exp(high) * _BEYOND, HIGHEST_FACTOR)


def _ratios(series: Judged) -> list[float | None]:
    """Score by threshold; None where there is none, or where the series is flat."""
    passed = (series.score >= series.threshold) & (series.grade == 0.0)
    known = np.isfinite(series.score) & (series.threshold > 0.0) & ~passed
    thresholds = np.where(known, series.threshold, 1.0)
    pairs = zip((series.score / thresholds).tolist(), known.tolist(), strict=True)
    return [ratio if is_known else None for ratio, is_known in pairs]


# -- by labels ----------------------------------------------------------------------------


def _searched(
    past: Past, given: dict[str, Any], late: int, wish: Wish, warn: Say
) -> dict[str, Any]:
    """Return the best settings that a search finds."""
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise CommandError(f"needs Optuna: pip install '{OPTUNA}'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    shingles = _shingles(past)

    def value(trial: optuna.Trial) -> float:
        settings = given | _drawn(trial, shingles, given)
        outcome = judged("trial", past, settings, late)
        warn(f"{trial.number + 1}/{wish.trials}: {_worth(outcome, wish):.4f} {settings}")
        return _worth(outcome, wish)

    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=wish.seed)
    )
    study.enqueue_trial(_usual(past, given, shingles))  # what is there is the one to beat
    study.optimize(value, n_trials=wish.trials)
    return _drawn(optuna.trial.FixedTrial(study.best_params), shingles, given)


def _shingles(past: Past) -> tuple[int, ...]:
    """The shingles to try, the one among them that the period suggests."""
    values = np.array([record.values for record in past.records], dtype=np.float64)
    period = period_of(values)
    suggested = () if period is None else (period.shingle_size,)
    return tuple(sorted({*SHINGLES, past.config.shingle_size, *suggested}))


def _usual(past: Past, given: dict[str, Any], shingles: Sequence[int]) -> dict[str, Any]:
    """The settings as they are, as a trial."""
    usual = {
        "shingle_size": past.config.shingle_size,
        "sample_size": past.config.sample_size,
        "incident_gap": past.config.incident_gap,
    }
    known = {"shingle_size": shingles, "sample_size": SAMPLES, "incident_gap": GAPS}
    return {"factor": 1.0} | {
        name: value for name, value in usual.items() if name not in given and value in known[name]
    }


def _drawn(
    trial: optuna.Trial | optuna.trial.FixedTrial, shingles: Sequence[int], given: dict[str, Any]
) -> dict[str, Any]:
    """Draw what is not given."""
    choices = {"shingle_size": shingles, "sample_size": SAMPLES, "incident_gap": GAPS}
    drawn: dict[str, Any] = {
        name: trial.suggest_categorical(name, list(values))
        for name, values in choices.items()
        if name not in given
    }
    if "threshold_factors" not in given:
        drawn |= _factor(trial.suggest_float("factor", 0.5, 4.0, log=True))
    return drawn


def _factor(factor: float) -> dict[str, Any]:
    return {"threshold_factors": [{"key": "*", "factor": round(factor, 6)}]}


def _worth(outcome: Outcome, wish: Wish) -> float:
    """The figure wished for; less than any of those when the budget is exceeded."""
    facts = flat(outcome.measures)
    rate = facts["alerts_per_day"] or 0.0
    if wish.alerts_per_day is not None and rate > wish.alerts_per_day:
        return -1000.0 - rate
    return float(facts.get(wish.metric) or 0.0)
