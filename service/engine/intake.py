"""Data as it comes: late and repeated records, counters that reset.

Law: decided by a partition's records in their order, their own times, and the configuration; what
is remembered is part of the partition's snapshot. A stream that asks for nothing of this costs
nothing and remembers nothing.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from hashlib import blake2b
from typing import Literal

import msgspec

from service.engine.config import LARGEST, StreamConfig
from service.engine.errors import InvalidRecord

REMEMBERED = 10_000
"""Records of a partition among which a repetition is found."""

_DIGEST_BYTES = 8

PassedOver = Literal["late", "duplicate"]


class LastSeen(msgspec.Struct, frozen=True):
    """The newest record of a series.

    Attributes:
        time_ms: its time.
        counters: what each counter stood at when it was known last; None: it never was.
        counters_ms: when that was; empty: at `time_ms`, all of them.
    """

    time_ms: int
    counters: tuple[float | None, ...] = ()
    counters_ms: tuple[int, ...] = ()


class IntakeState(msgspec.Struct, frozen=True):
    """What a snapshot keeps of it.

    Attributes:
        series: the newest record of each, where lateness or counters ask for it.
        digests: of the last REMEMBERED records, end to end, oldest first.
    """

    series: dict[str, LastSeen] = {}
    digests: bytes = b""


NOTHING_SEEN = IntakeState()
_NEVER_KNOWN = LastSeen(0)


class Intake:
    """One partition's memory of what came."""

    def __init__(self, state: IntakeState = NOTHING_SEEN) -> None:
        self._series = dict(state.series)
        digests = (
            state.digests[place : place + _DIGEST_BYTES]
            for place in range(0, len(state.digests), _DIGEST_BYTES)
        )
        self._order = deque(digests)
        self._known = set(self._order)

    def state(self) -> IntakeState:
        """Return what `Intake` needs to go on from here."""
        return IntakeState(dict(self._series), b"".join(self._order))

    def reset(self) -> None:
        """Forget everything, because the stream begins afresh."""
        self._series.clear()
        self._order.clear()
        self._known.clear()

    def reconfigure(self, config: StreamConfig) -> None:
        """Forget what the configuration does not ask for, so that it begins anew when asked."""
        if not config.skip_duplicates:
            self._order.clear()
            self._known.clear()
        if config.late_after_s is None and not config.counters:
            self._series.clear()

    def take(
        self, config: StreamConfig, key: str, time_ms: int, values: Sequence[float]
    ) -> PassedOver | list[float] | None:
        """Take the next record in.

        Args:
            config: the stream.
            key: the record's series.
            time_ms: its time.
            values: one per feature; NaN where one is missing.

        Returns:
            What is to be judged: the values with counters as rates per second, NaN where a rate is
            not known; None for the first record of a series with counters, and where a rate is not
            known although gaps are refused. Or why it is passed over.

        Raises:
            InvalidRecord: a rate is outside float32's range; counters stand where they stood.
        """
        if config.skip_duplicates and self._repeats(key, time_ms, values):
            return "duplicate"
        last = self._series.get(key)
        if last is not None and _is_late(config, last, time_ms):
            return "late"
        if not config.counters:
            if config.late_after_s is not None:
                newest_ms = time_ms if last is None else max(time_ms, last.time_ms)
                self._series[key] = LastSeen(newest_ms)
            return list(values)
        return self._rated(config, key, time_ms, values)

    def _rated(
        self, config: StreamConfig, key: str, time_ms: int, values: Sequence[float]
    ) -> list[float] | None:
        """Put rates in the place of counters, and note where these stand."""
        last, count = self._series.get(key), len(config.counters)
        first = last is None or len(last.counters) != count
        former = _NEVER_KNOWN if last is None or first else last
        stands, known_ms = list(former.counters or [None] * count), list(_times(former, count))
        rated = list(values)
        for number, name in enumerate(config.counters):
            place = config.features.index(name)
            was, is_now = stands[number], values[place]
            if math.isnan(is_now):
                continue
            if was is not None:
                rated[place] = _rate(name, increase(was, is_now), time_ms - known_ms[number])
            else:
                rated[place] = math.nan
            stands[number], known_ms[number] = is_now, time_ms
        together = all(each == time_ms for each in known_ms)
        self._series[key] = LastSeen(time_ms, tuple(stands), () if together else tuple(known_ms))
        # Where gaps are refused nothing could stand for a rate that is not known.
        unknown = config.missing == "refuse" and any(map(math.isnan, rated))
        return None if first or unknown else rated

    def _repeats(self, key: str, time_ms: int, values: Sequence[float]) -> bool:
        digest = blake2b(msgspec.json.encode((key, time_ms, values)), digest_size=_DIGEST_BYTES)
        known = digest.digest()
        if known in self._known:
            return True
        self._known.add(known)
        self._order.append(known)
        if len(self._order) > REMEMBERED:
            self._known.discard(self._order.popleft())
        return False


def _times(last: LastSeen, count: int) -> Sequence[int]:
    """When each of the counters was known last."""
    return last.counters_ms or (last.time_ms,) * count


def _rate(name: str, increased: float, elapsed_ms: int) -> float:
    """What a counter grew by in a second."""
    rate = increased * 1000 / elapsed_ms
    if abs(rate) > LARGEST:
        reason = f"its rate of {rate:g} a second is outside float32's range"
        raise InvalidRecord(f"values.{name}", f"{increased:g} in {elapsed_ms} ms", reason)
    return rate


def increase(before: float, after: float) -> float:
    """Return by how much a counter grew; one that fell began again at 0, as Prometheus takes it."""
    return after - before if after >= before else after


def _is_late(config: StreamConfig, last: LastSeen, time_ms: int) -> bool:
    """Tell whether a record is late: a counter's rate needs a time after the last one."""
    if config.counters and time_ms <= last.time_ms:
        return True
    return config.late_after_s is not None and time_ms < last.time_ms - config.late_after_s * 1000
