"""Open-loop traffic through Kafka: records are written when they are due, scores are read back.

Latency runs from the moment at which a record was due to the moment at which its committed score
is in a reader's hands; both clocks are this machine's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle

from load.kafka_traffic import Drip, Line, Reader, Scores, fill
from load.latency import Latencies
from load.ramp import Step
from load.service import Served
from load.traffic import Traffic, key_of

DRAIN_S = 20.0  #: after the last record was due
WARM_S = 600.0
LOOK_S = 0.01


class Topic:
    """Writes to a topic, and reads its scores.

    Args:
        address: host:port of the broker.
        name: of the topic, and of the stream.
        partitions: of the topic.
        lines: what is written, over and over.
    """

    def __init__(self, address: str, name: str, partitions: int, lines: Iterable[Line]) -> None:
        self._address = address
        self._name = name
        self._lines = cycle(lines)
        self._written = self._heard = 0
        self._note: Callable[[Scores], None] = lambda _scores: None
        self._reader = Reader(address, f"{name}.scores", partitions, self._hear)
        self._reader.start()

    def _hear(self, scores: Scores) -> None:
        self._note(scores)
        self._heard += len(scores)

    def fill(self, lines: Iterable[Line], done: Callable[[int], None]) -> None:
        """Write as fast as it goes, and wait until all is scored.

        Raises:
            RuntimeError: it is not after some minutes.
        """
        self._note = lambda _scores: done(self._heard)
        self._written += fill(self._address, self._name, lines, lambda _: None)
        self._settle(WARM_S)
        if self._heard < self._written:
            raise RuntimeError(f"{self._heard} of {self._written} scored after {WARM_S:g} s")

    def _settle(self, most_s: float) -> None:
        """Wait until everything written is scored, but not for ever."""
        limit_s = time.monotonic() + most_s
        while self._heard < self._written and time.monotonic() < limit_s:
            time.sleep(LOOK_S)

    def run(
        self, rate: float, seconds: float, done: Callable[[float], None], slice_s: float
    ) -> Step:
        """Write at a rate; see `HttpDoor.run`."""
        self._settle(WARM_S)
        step = Step(rate, seconds, latencies=Latencies(slice_s))
        drip = Drip(self._address, self._name, rate)
        begin_ms = 1e3 * drip.began_s

        def note(scores: Scores) -> None:
            ages = ((max(due - begin_ms, 0.0) / 1e3, (now - due) / 1e3) for due, now in scores)
            step.latencies.add_many(ages)
            if scores[0][1] <= begin_ms + 1e3 * seconds:
                step.within += len(scores)

        self._note = note
        drip.run(self._lines, max(round(rate * seconds), 1), lambda sent: done(sent / rate))
        step.sent = drip.sent
        self._written += drip.sent
        self._settle(DRAIN_S)
        self._note = lambda _scores: None  # what comes later counts as failed
        step.failed = self._written - self._heard
        return step

    def close(self) -> None:
        """Stop reading."""
        self._reader.leave()


class KafkaDoor(Topic):
    """The topic of a service.

    Args:
        service: one that works on Kafka.
        traffic: what is written.
    """

    def __init__(self, service: Served, traffic: Traffic) -> None:
        assert service.kafka is not None
        self._partitions = service.model.partitions
        self._traffic = traffic
        lines = list(self._placed(traffic.pool()))
        super().__init__(service.kafka, service.stream, self._partitions, lines)

    def _placed(self, records: Iterable[tuple[int, bytes]]) -> Iterator[Line]:
        for series, value in records:
            yield series % self._partitions, key_of(series).encode(), value

    def warm(self, each: int, done: Callable[[int], None]) -> None:
        """Write so many records of every series; see `Topic.fill`."""
        self.fill(self._placed(self._traffic.warming(each)), done)
