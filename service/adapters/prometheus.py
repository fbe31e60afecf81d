"""Every metric of the service, in one place.

Base units, `_total` for counters, no label that grows with streams or keys: a series per stream
would cost more to scrape than to score. Which series an anomaly was found in, exemplars tell, to
scrapers that ask for OpenMetrics. The engine reports once per batch; children of a label are kept,
so a report is a few additions. What a process reports is about the partitions that it holds, so
that sums over all workers count each partition once.
"""

# ruff: noqa: ARG002  (the port tells more than is counted)

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from service.engine.records import DeadLetter, Result, StreamPartition

FAST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
SLOW_S = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)

OUTCOMES = ("committed", "fenced", "unknown")
"""How transactions end."""

ERRORS = ("TransientError", "Fenced", "StateLost", "TornLog", "ReplayMismatch", "InvariantError")
"""Classes of errors that are known to stop a partition; they count from 0."""

EXEMPLAR_CHARACTERS = 128
"""Names and values of an exemplar's labels together. Source: OpenMetrics 1.0, "Exemplars"."""

Exemplar = dict[str, str]


class _Count(Protocol):
    def inc(self, amount: float = 1, exemplar: Exemplar | None = None) -> None: ...


class PrometheusMetrics:
    """Implements `service.engine.ports.Metrics`, and what starting the process reports.

    Args:
        registry: where the metrics are registered; one registry takes one instance.
        now_s: a clock in seconds, for the age of snapshots.
    """

    def __init__(self, registry: CollectorRegistry, now_s: Callable[[], float]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # ships no annotation for it
        self._registry = registry
        self._now_s = now_s
        self._lags: dict[StreamPartition, int] = {}
        self._counts: dict[StreamPartition, int] = {}
        self._held: set[StreamPartition] = set()
        self._standing: set[StreamPartition] = set()
        self._broken: set[StreamPartition] = set()
        self._snapshots: dict[StreamPartition, tuple[float, int]] = {}
        self._children: dict[int, tuple[_Count, _Count, _Count, _Count]] = {}
        ProcessCollector(registry=registry)
        self._make_input_metrics()
        self._make_scoring_metrics()
        self._make_state_metrics()
        self._make_process_metrics()

    def _make_input_metrics(self) -> None:
        self._records_in = self._counter("rcf_records_in", "Records taken into the log.")
        self._bytes_in = self._counter("rcf_bytes_in", "Bytes of record values taken in.")
        self._refused = self._counter("rcf_records_refused", "Records refused by backpressure.")
        self._append = self._histogram(
            "rcf_append_seconds", "Time to make one append durable.", FAST_S
        )
        self._answer = self._histogram(
            "rcf_answer_seconds",
            "Time that a request waits for the results of its records.",
            FAST_S,
        )

        self._requests = self._counter(
            "rcf_http_requests",
            "Requests over HTTP, by route, method and status; `other` for addresses that nobody "
            "knows and what is refused before they are looked at.",
            ("route", "method", "status"),
        )

    def _make_scoring_metrics(self) -> None:
        label = ("partition",)
        self._processed = self._counter(
            "rcf_records_processed", "Records with a committed result.", label
        )
        self._scored = self._counter("rcf_records_scored", "Records with a score.", label)
        self._anomalous = self._counter(
            "rcf_records_anomalous", "Records told of as anomalies.", label
        )
        self._dead = self._counter("rcf_records_dead", "Records that became dead letters.", label)
        self._batch = self._histogram(
            "rcf_batch_seconds", "Time of one batch, poll to commit.", FAST_S
        )
        self._score = self._histogram(
            "rcf_score_seconds", "Time of one batch in the pipeline.", FAST_S
        )
        self._commit = self._histogram("rcf_commit_seconds", "Time of one commit.", FAST_S)
        self._transactions = self._counter(
            "rcf_transactions",
            "Transactions of the log, by outcome; after `fenced` another worker has the partition, "
            "after `unknown` it is tried again.",
            ("outcome",),
        )
        for outcome in OUTCOMES:
            self._transactions.labels(outcome)
        self._failures = self._counter(
            "rcf_partition_failures", "Partitions that stopped, by class of error.", ("error",)
        )
        for error in ERRORS:
            self._failures.labels(error)

    def _make_state_metrics(self) -> None:
        self._partitions = self._gauge("rcf_partitions", "Partitions that this process holds.")
        self._rebalances = self._counter(
            "rcf_rebalances", "Times that the partitions of this process were decided anew."
        )
        self._lag = self._gauge(
            "rcf_consumer_lag_records", "Records that wait, all streams together.", ("partition",)
        )
        self._halted = self._gauge(
            "rcf_partitions_halted",
            "Partitions that stand still because too many records became dead letters.",
        )
        self._failed = self._gauge(
            "rcf_partitions_failed",
            "Partitions that serve nothing, after an error that trying again would not mend.",
        )
        self._series = self._gauge(
            "rcf_series", "Series held, with those that were not used since the start."
        )
        self._snapshot_bytes = self._gauge(
            "rcf_snapshot_bytes", "Size of the newest snapshots of all partitions."
        )
        age = self._gauge(
            "rcf_snapshot_age_seconds",
            "Age of the oldest of the partitions' newest snapshots; 0 before the first.",
        )
        age.set_function(self._snapshot_age_s)
        self._snapshot = self._histogram(
            "rcf_snapshot_seconds", "Time to write one snapshot.", SLOW_S
        )
        self._snapshot_failures = self._counter(
            "rcf_snapshot_failures", "Snapshots that the store refused."
        )
        self._restore = self._histogram(
            "rcf_restore_seconds", "Time to load and replay one partition.", SLOW_S
        )
        self._replayed = self._counter(
            "rcf_records_replayed", "Records processed again to restore a partition."
        )

    def _make_process_metrics(self) -> None:
        self._jit = self._gauge("rcf_jit_seconds", "Time to load or compile the kernels at start.")
        self._start = self._gauge("rcf_start_seconds", "Time from the command to readiness.")
        build = self._gauge("rcf_build_info", "1; its label says which version runs.", ("version",))
        build.labels(version("rcf-stream")).set(1)

    def appended(self, records: int, size: int, seconds: float) -> None:
        """See the port."""
        self._records_in.inc(records)
        self._bytes_in.inc(size)
        self._append.observe(seconds)

    def refused(self, records: int) -> None:
        """See the port."""
        self._refused.inc(records)

    def answered(self, seconds: float) -> None:
        """See the port."""
        self._answer.observe(seconds)

    def requested(self, route: str, method: str, status: int) -> None:
        """A request was answered; the values of each are few."""
        self._requests.labels(route, method, str(status)).inc()

    def rebalanced(self) -> None:
        """See the port."""
        self._rebalances.inc()

    def taken(self, partition: StreamPartition) -> None:
        """See the port."""
        self._held.add(partition)
        self._partitions.set(len(self._held))

    def released(self, partition: StreamPartition) -> None:
        """See the port."""
        self._held.discard(partition)
        self._partitions.set(len(self._held))
        self._snapshots.pop(partition, None)
        self._show_snapshot_bytes()
        self.lag(partition, 0)
        self.series(partition, 0)
        self.halted(partition, False)
        self._broken.discard(partition)
        self._failed.set(len(self._broken))

    def processed(
        self,
        partition: StreamPartition,
        *,
        records: int,
        scored: int,
        anomalous: int,
        dead: int,
        anomaly: Result | None,
        dead_letter: DeadLetter | None,
    ) -> None:
        """See the port."""
        for_records, for_scored, for_anomalous, for_dead = self._children_of(partition.partition)
        for_records.inc(records)
        for_scored.inc(scored)
        for_anomalous.inc(anomalous, _exemplar(partition, anomaly))
        for_dead.inc(dead, _exemplar(partition, dead_letter))

    def _children_of(self, number: int) -> tuple[_Count, _Count, _Count, _Count]:
        children = self._children.get(number)
        if children is None:
            counters = self._processed, self._scored, self._anomalous, self._dead
            first, second, third, fourth = (each.labels(str(number)) for each in counters)
            children = self._children[number] = first, second, third, fourth
        return children

    def transacted(self, outcome: str) -> None:
        """See the port."""
        self._transactions.labels(outcome).inc()

    def timed(self, *, batch_s: float, score_s: float, commit_s: float) -> None:
        """See the port."""
        self._batch.observe(batch_s)
        self._score.observe(score_s)
        self._commit.observe(commit_s)

    def lag(self, partition: StreamPartition, records: int) -> None:
        """See the port."""
        self._lags[partition] = records
        number = partition.partition
        waiting = sum(lag for each, lag in self._lags.items() if each.partition == number)
        self._lag.labels(str(number)).set(waiting)

    def series(self, partition: StreamPartition, count: int) -> None:
        """See the port."""
        self._counts[partition] = count
        self._series.set(sum(self._counts.values()))

    def halted(self, partition: StreamPartition, stands: bool) -> None:
        """See the port."""
        (self._standing.add if stands else self._standing.discard)(partition)
        self._halted.set(len(self._standing))

    def snapshot_written(
        self, partition: StreamPartition, *, size: int, series: int, seconds: float
    ) -> None:
        """See the port."""
        self._snapshots[partition] = self._now_s(), size
        self._show_snapshot_bytes()
        self._snapshot.observe(seconds)

    def snapshot_failed(self, partition: StreamPartition) -> None:
        """See the port."""
        self._snapshot_failures.inc()

    def restored(self, partition: StreamPartition, *, replayed: int, seconds: float) -> None:
        """See the port."""
        self._replayed.inc(replayed)
        self._restore.observe(seconds)

    def failed(self, partition: StreamPartition, error: str, *, for_good: bool) -> None:
        """See the port."""
        self._failures.labels(error).inc()
        if for_good:
            self._broken.add(partition)
            self._failed.set(len(self._broken))

    def compiled(self, seconds: float) -> None:
        """The kernels were loaded or compiled in so many seconds."""
        self._jit.set(seconds)

    def started(self, seconds: float) -> None:
        """The process was ready after so many seconds."""
        self._start.set(seconds)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Everything in the format that a scraper asks for, and its content type.

        Args:
            accept: its header of that name; OpenMetrics if that is named, else Prometheus' text.
        """
        encode, kind = choose_encoder(accept)
        return encode(self._registry), kind

    def _show_snapshot_bytes(self) -> None:
        self._snapshot_bytes.set(sum(size for _, size in self._snapshots.values()))

    def _snapshot_age_s(self) -> float:
        written = [moment for moment, _ in list(self._snapshots.values())]
        return self._now_s() - min(written) if written else 0.0

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(f"{name}_total", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(name, text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, registry=self._registry, buckets=buckets)


def _exemplar(partition: StreamPartition, found: Result | DeadLetter | None) -> Exemplar | None:
    """Where a record stands and what it belongs to, shortened to what an exemplar may hold."""
    if found is None:
        return None
    place = {"partition": str(partition.partition), "offset": str(found.offset)}
    taken = sum(map(len, ("stream", "series", *place, *place.values())))
    room = EXEMPLAR_CHARACTERS - taken
    stream = _shortened(partition.stream, room // 2)
    series = _shortened(found.key or "", room - len(stream))
    return {"stream": stream, "series": series, **place}


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
