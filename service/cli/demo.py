"""`rcf demo`: the labelled series, scored here, with what was found and what was not."""

import csv
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Literal

import numpy as np
from rich.console import Console

import rcf
from service.sources.demo import CYCLE_STEPS, SHAPES, STEP_S, Label, Shape, labels, values

HISTORY_STEPS = CYCLE_STEPS * 5 // 2
"""Steps each detector sees before the first line is written."""

GRACE_STEPS = 12
"""A slow anomaly may be found this long after it ended."""

_START_STEP = 9_000_000_000
_FIELDS = ("time", "key", "value", "score", "threshold", "grade", "anomaly", "label")


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller asked of `rcf demo`; seconds are the demo's, speed is times life."""

    seconds: float
    speed: float
    seed: int
    format: Literal["csv", "jsonl"]


@dataclass(slots=True)
class Tally:
    """Labelled anomalies that ended, those found, and anomalies outside every label."""

    labelled: int = 0
    found: int = 0
    false: int = 0
    records: int = 0
    misses: list[Label] = field(default_factory=list)

    def sentence(self) -> str:
        """For people: what was found of what there was."""
        return (
            f"{self.found} of {self.labelled} labelled anomalies found, {self.false} false alarms "
            f"in {self.records:,} records"
        )


class Series:
    """One key with its detector."""

    def __init__(self, shape: Shape, start: int, seed: int) -> None:
        self.shape = shape
        self._seed = seed
        self._detector = rcf.Detector(seed=seed)
        history = values(shape, start - HISTORY_STEPS, HISTORY_STEPS, seed=seed)
        self._detector.process(history.reshape(-1, 1))
        self._hit: Label | None = None

    def step(self, step: int, tally: Tally) -> dict[str, object]:
        """Judge one record and count what it means."""
        value = values(self.shape, step, 1, seed=self._seed)
        judgement = self._detector.process(value.reshape(1, 1))
        score, threshold, grade = (
            float(array[0]) for array in (judgement.score, judgement.threshold, judgement.grade)
        )
        label = self._label(step)
        self._count(step, label, grade > 0, tally)
        return {
            "time": datetime.fromtimestamp(step * STEP_S, UTC).isoformat(timespec="milliseconds"),
            "key": self.shape.key,
            "value": round(float(value[0]), 4),
            "score": None if np.isnan(score) else round(score, 4),
            "threshold": None if np.isnan(threshold) else round(threshold, 4),
            "grade": round(grade, 3),
            "anomaly": grade > 0,
            "label": label.kind if label and label.start <= step <= label.end else None,
        }

    def _label(self, step: int) -> Label | None:
        """The label at this step or just before it."""
        near = labels(self.shape, step - GRACE_STEPS, GRACE_STEPS + 1, seed=self._seed)
        return next(iter(near), None)

    def _count(self, step: int, label: Label | None, anomaly: bool, tally: Tally) -> None:
        tally.records += 1
        if anomaly and label is None:
            tally.false += 1
        if label is None:
            return
        if anomaly and self._hit != label:
            self._hit = label
            tally.found += 1
        if step == label.end + GRACE_STEPS:
            tally.labelled += 1
            if self._hit != label:
                tally.misses.append(label)


def run(options: Options, out: IO[str], say: Callable[[str], None]) -> Tally:
    """Write scored records until the time is over, then say what was found.

    Args:
        options: How long, how fast, which world.
        out: Receives the rows.
        say: Receives sentences for people (standard error).
    """
    start = _START_STEP
    say("compiling or loading kernels, warming eight detectors on eight minutes of history …")
    series = [Series(shape, start, options.seed) for shape in SHAPES]
    tally = Tally()
    write = _writer(options, out)
    try:
        for step in _steps(start, options):
            for each in series:
                write(each.step(step, tally))
            out.flush()
    except KeyboardInterrupt:
        pass  # Ctrl-C is how an endless demo ends; the sentence below is still wanted
    say(tally.sentence())
    return tally


def _steps(start: int, options: Options) -> Iterator[int]:
    """Steps at the speed asked for, each no earlier than its time."""
    began_s = time.monotonic()
    count = 0
    while not options.seconds or count * STEP_S < options.seconds:
        if options.speed:
            due_s = began_s + count * STEP_S / options.speed
            time.sleep(max(0.0, due_s - time.monotonic()))
        yield start + count
        count += 1


def _writer(options: Options, out: IO[str]) -> Callable[[dict[str, object]], None]:
    if options.format == "jsonl":
        return lambda row: print(json.dumps(row), file=out)
    if out is sys.stdout and out.isatty():
        return _terminal_writer()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(_FIELDS)
    return lambda row: rows.writerow("" if row[name] is None else row[name] for name in _FIELDS)


def _terminal_writer() -> Callable[[dict[str, object]], None]:
    """Aligned lines; anomalies stand out by a mark and a word, and by colour where there is any."""
    console = Console(highlight=False)

    def write(row: dict[str, object]) -> None:
        mark = "▲" if row["anomaly"] else " "
        text = (
            f"{str(row['time'])[11:23]} {row['key']!s:<18} {row['value']:>10} "
            f"score {row['score']!s:>9} grade {row['grade']:>5} {mark} {row['label'] or ''}"
        )
        style = "bold red" if row["anomaly"] else ("yellow" if row["label"] else None)
        console.print(text, style=style, soft_wrap=True)

    return write
