"""The knee: the highest rate at which a service still answers everything in time.

A rate is *sustained* when, in a run of some seconds at that rate, open loop,

1. no record is refused, fails, or stays unsent,
2. no backlog builds up: the median latency of the last quarter is at most `GROWTH` times that of
   the first, and `SPARE_MS` more, and
3. the 99th percentile of latency, from the intended time on, is at most `limit_ms`.

A run that is not is repeated once: what a noisy machine did shows once, what the rate did twice.
Rates grow by `growth` until one is not sustained, then the gap is halved (geometrically) until it
is narrower than `precision`. The knee is the highest rate that was sustained.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from load.latency import Latencies
from load.report import Row

GROWTH, SPARE_MS = 2.0, 100.0
MOST_STEPS = 40


class NoKneeError(Exception):
    """No rate is sustained."""


@dataclass
class Step:
    """What came of a run at one rate.

    Attributes:
        rate: records a second that were meant to be sent.
        seconds: for how long.
        sent: records that were sent.
        unsent: records whose time came, but whose turn never.
        within: records answered before the time was over.
        refused: records that the service did not take (429, 503).
        failed: records without an answer, or with another one than was right.
        latencies: of the records that were answered.
    """

    rate: float
    seconds: float
    sent: int = 0
    unsent: int = 0
    within: int = 0
    refused: int = 0
    failed: int = 0
    latencies: Latencies = field(default_factory=Latencies)

    def objection(self, limit_ms: float) -> str | None:
        """Why the rate is not sustained; None when it is."""
        for name in ("refused", "failed", "unsent"):
            if getattr(self, name):
                return f"{getattr(self, name)} {name}"
        first, last = self.medians()
        if last > GROWTH * first + SPARE_MS:
            return f"a backlog builds up: median latency from {first:.0f} to {last:.0f} ms"
        if self.latencies.ms(99) > limit_ms:
            return f"p99 {self.latencies.ms(99):.0f} ms"
        return None

    def medians(self) -> tuple[float, float]:
        """Median latencies, in ms, of the first and the last quarter."""
        slices = [ms for _, ms in self.latencies.over_time(50)]
        quarter = max(len(slices) // 4, 1)
        return median(slices[:quarter] or [0.0]), median(slices[-quarter:] or [0.0])

    def row(self) -> Row:
        """One line of a table."""
        return {
            "rate/s": self.rate,
            "answered/s": self.within / self.seconds,
            **self.latencies.row(),
        }


def find_knee(
    measure: Callable[[float], Step],
    *,
    begin: float,
    limit_ms: float,
    growth: float = 1.5,
    precision: float = 1.1,
    said: Callable[[Step, str | None], None] = lambda _step, _objection: None,
) -> tuple[float, list[Step]]:
    """Search the knee.

    Args:
        measure: runs at a rate, in records a second.
        begin: the first rate.
        limit_ms: see the module.
        growth: factor above 1; see the module.
        precision: factor above 1; see the module.
        said: told of each run, and why its rate is not sustained.

    Returns:
        The knee in records a second, and the runs, the last one of each rate.

    Raises:
        NoKneeError: not even a hundredth of the first rate is sustained.
    """
    steps: list[Step] = []

    def sustained(rate: float) -> bool:
        for _ in range(2):
            step = measure(rate)
            objection = step.objection(limit_ms)
            said(step, objection)
            if objection is None:
                break
        steps.append(step)
        return objection is None

    low, high = 0.0, math.inf
    rate = begin
    while len(steps) < MOST_STEPS and high > precision * low:
        if sustained(rate):
            low = rate
        else:
            high = rate
        if low == 0.0:
            rate = high / growth**2
            if rate < begin / 100:
                raise NoKneeError(f"not even {high:.0f} records a second are sustained")
        else:
            rate = low * growth if high == math.inf else math.sqrt(low * high)
    return low, sorted(steps, key=lambda step: step.rate)
