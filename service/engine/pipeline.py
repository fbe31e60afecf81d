"""One partition: a batch of records in, one result per record out.

Law: results and state after offset n are a function of the configuration at birth and of the
records up to n. No I/O, no clock, no randomness outside the detectors' state; how records are
cut into batches changes nothing. Log order rules: a record with an earlier or an equal
timestamp is scored like any other, where it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from service.engine.carried import Count, carried_fields, carried_headers
from service.engine.config import StreamConfig, model_digest
from service.engine.control import decode_config
from service.engine.detectors import SeriesDetectors
from service.engine.errors import InvalidParameter, InvalidRecord, InvariantError
from service.engine.halting import DeadLetterLimit, Halt
from service.engine.outcome import Outcome, Reason, Status
from service.engine.ports import Decoder, DecoderFactory, Numbers
from service.engine.records import (
    Batch,
    DeadLetter,
    Headers,
    Record,
    Result,
    StreamPartition,
)
from service.engine.series import MAX_KEY
from service.engine.times import format_ms

LARGEST = 3.4e38
"""Largest magnitude of a value: within float32, in which the forest holds points."""
VALUES_ALLOWED = "finite numbers from -3.4e38 to 3.4e38"


NOTHING: tuple[msgspec.Raw | UnsetType, Count] = (UNSET, UNSET)
NO_HEADERS: tuple[Headers, Count] = ((), UNSET)

Judged = tuple[float | None, float | None, float | None]
"""Score, threshold and grade of a row; None where there is none."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """A record that can be read, and the series it belongs to."""

    key: str
    timestamp_ms: int
    values: list[float]
    others: dict[str, msgspec.Raw] | None


@dataclass(slots=True)
class Output:
    """What a batch came to."""

    results: list[Result] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    scored: int = 0
    anomalous: int = 0

    def newest_anomaly(self) -> Result | None:
        """Return the last anomaly of the batch; None where there is none."""
        if not self.anomalous:
            return None
        return next(result for result in reversed(self.results) if result.anomaly)


class Pipeline:
    """The state of one partition, and the step that advances it."""

    def __init__(
        self,
        partition: StreamPartition,
        config: StreamConfig,
        detectors: SeriesDetectors,
        decoder_for: DecoderFactory,
        position: int = 0,
        limit: DeadLetterLimit | None = None,
    ) -> None:
        self.partition = partition
        self.detectors = detectors
        self.limit = limit or DeadLetterLimit()
        self.position = position
        self._decoder_for = decoder_for
        self._encode = msgspec.json.Encoder().encode
        self._configure(config)

    @property
    def halt(self) -> Halt | None:
        """Why nothing is processed until `resume`; None while something is."""
        return self.limit.halt

    def resume(self) -> None:
        """Go on behind a halt."""
        self.limit.resume()

    def process(self, batch: Batch) -> Output:
        """Judge a batch's records in order and learn from them, up to the one that halts.

        `position` tells how far it came.

        Raises:
            InvariantError: the batch does not continue where the last one ended, the partition
                is halted, or a detector failed; the state must not be used any further.
        """
        if self.halt is not None:
            raise self._broken(self.position, f"processed while halted: {self.halt.reason}")
        output = Output()
        block: list[Record] = []
        for record in batch.records:
            if record.offset < self.position:
                raise self._broken(record.offset, f"already processed up to {self.position}")
            self.position = record.offset + 1
            if record.control:
                if self._process_block(block, output):
                    return output
                block = []
                self._apply(record, output)
            else:
                block.append(record)
        if not self._process_block(block, output):
            self.position = batch.next_offset
        return output

    def _configure(self, config: StreamConfig) -> None:
        self.config = config
        self._decode: Decoder = self._decoder_for(config)
        self._model = model_digest(config)

    def _apply(self, record: Record, output: Output) -> None:
        """Take a configuration change over where it stands in the log."""
        try:
            config = decode_config(record.value)
        except (msgspec.MsgspecError, InvalidParameter) as error:
            raise self._broken(record.offset, f"unreadable control record: {error}") from error
        if config.generation != self.config.generation:
            self.detectors.forget_all()
        self.detectors.reconfigure()
        self.limit.reset()
        self._configure(config)
        self._settle(output, record, "control")

    def _process_block(self, block: list[Record], output: Output) -> bool:
        """Judge consecutive data records under one configuration; tell whether one halts."""
        if not block:
            return False
        rows = self._read(block)
        matrix = self._check_range(rows)
        series = self._by_series(block, rows)
        judged = self._judge(block, matrix, series)
        self._emit(output, block, rows, judged)
        halt = self.halt
        if halt is None:
            self.limit.advance(len(block))
            return False
        self.position = halt.offset + 1
        return True

    def _read(self, block: list[Record]) -> list[Row | Reason]:
        decode = self._decode
        rows: list[Row | Reason] = []
        for record in block:
            try:
                read = decode(record.value)
            except InvalidRecord as error:
                rows.append(Reason(error.field, error.value, error.reason))
                continue
            key = (read.key or "") if record.key is None else record.key
            if len(key) > MAX_KEY:
                rows.append(Reason("key", key[:100], f"longer than {MAX_KEY} characters"))
                continue
            time_ms = record.timestamp_ms if read.timestamp_ms is None else read.timestamp_ms
            rows.append(Row(key, time_ms, read.values, read.others))
        return rows

    def _check_range(self, rows: list[Row | Reason]) -> Numbers:
        """Return the rows as (n, features), NaN where there is none; refuse those out of range."""
        nothing = [np.nan] * len(self.config.features)
        matrix = np.array(
            [nothing if isinstance(row, Reason) else row.values for row in rows],
            dtype=np.float64,
        )
        fits = (np.abs(matrix) <= LARGEST).all(axis=1)  # false for NaN too
        for index in np.flatnonzero(~fits).tolist():
            row = rows[index]
            if isinstance(row, Row):
                rows[index] = out_of_range(self.config, row.values)
        return matrix

    def _by_series(self, block: list[Record], rows: list[Row | Reason]) -> dict[str, list[int]]:
        """Gather row numbers by key in order; refuse series above the limit.

        What comes after the record that halts the partition is taken out of `block` and `rows`:
        no series may be admitted for it yet.
        """
        series: dict[str, list[int]] = {}
        for index, row in enumerate(rows):
            if not isinstance(row, Reason):
                key = row.key
                numbers = series.get(key)
                if numbers is not None:
                    numbers.append(index)
                    continue
                if self.detectors.admit(key, self.config):
                    series[key] = [index]
                    continue
                limit = f"the partition holds max_series = {self.config.max_series} series"
                rows[index] = Reason("key", key, limit)
            if self.limit.reject(index, block[index].offset, self.config):
                del block[index + 1 :], rows[index + 1 :]
                break
        return series

    def _judge(
        self, block: list[Record], matrix: Numbers, series: dict[str, list[int]]
    ) -> list[Judged]:
        """Return score, threshold and grade of every row; None where there is none."""
        order = list(chain.from_iterable(series.values()))
        by_series = matrix[order]  # once, so that each detector gets a plain slice
        found = np.empty((3, len(order)))
        end = 0
        for key, numbers in series.items():
            start, end = end, end + len(numbers)
            try:
                judgement = self.detectors.for_update(key, self.config).process(
                    by_series[start:end]
                )
            except Exception as error:
                raise self._broken(block[numbers[0]].offset, f"detector failed: {error}") from error
            found[0, start:end] = judgement.score
            found[1, start:end] = judgement.threshold
            found[2, start:end] = judgement.grade
        known = found.astype(object)
        known[np.isnan(found)] = None
        judged = np.full((3, len(block)), None)
        judged[:, order] = known
        return list(zip(*judged.tolist(), strict=True))

    def _emit(
        self,
        output: Output,
        block: list[Record],
        rows: list[Row | Reason],
        judged: list[Judged],
    ) -> None:
        """Write each record's result."""
        stream, partition = self.partition
        model = self._model
        encode, add = self._encode, output.results.append
        for record, row, (score, threshold, grade) in zip(block, rows, judged, strict=True):
            if isinstance(row, Reason):
                self._reject(output, record, row)
                continue
            offset, key, time_ms = record.offset, row.key, row.timestamp_ms
            anomaly = grade is not None and grade > 0.0
            fields, fields_out = carried_fields(row.others) if row.others else NOTHING
            headers, headers_out = carried_headers(record.headers) if record.headers else NO_HEADERS
            outcome = Outcome(
                stream,
                key,
                partition,
                offset,
                format_ms(time_ms),
                row.values,
                "warming" if score is None else "scored",
                score,
                threshold,
                grade,
                anomaly,
                model,
                UNSET,
                fields,
                fields_out,
                headers_out,
            )
            add(Result(offset, time_ms, key, anomaly, encode(outcome), headers))
            output.scored += score is not None
            output.anomalous += anomaly

    def _reject(self, output: Output, record: Record, reason: Reason) -> None:
        self._settle(output, record, "error", reason)
        output.dead_letters.append(
            DeadLetter(
                record.offset,
                record.timestamp_ms,
                record.key,
                record.value,
                reason.field,
                reason.reason,
                record.headers,
            )
        )

    def _settle(
        self,
        output: Output,
        record: Record,
        status: Status,
        error: Reason | UnsetType = UNSET,
    ) -> None:
        """Give a record without a score its result."""
        key = record.key or ""
        headers, headers_out = carried_headers(record.headers)
        outcome = Outcome(
            *(self.partition.stream, key, self.partition.partition, record.offset),
            timestamp=format_ms(record.timestamp_ms),
            values=None,
            status=status,
            score=None,
            threshold=None,
            grade=None,
            anomaly=False,
            model=self._model,
            error=error,
            headers_left_out=headers_out,
        )
        encoded = self._encode(outcome)
        output.results.append(
            Result(record.offset, record.timestamp_ms, key, False, encoded, headers)
        )

    def _broken(self, offset: int, reason: str) -> InvariantError:
        return InvariantError(*self.partition, offset, reason)


def out_of_range(config: StreamConfig, values: Sequence[float]) -> Reason:
    """Say which of the values is not allowed."""
    try:
        check_values(config, values)
    except InvalidRecord as error:
        return Reason(error.field, error.value, error.reason)
    raise ValueError("every value is allowed")


def check_values(config: StreamConfig, values: Sequence[float]) -> None:
    """Refuse values outside float32's range.

    Raises:
        InvalidRecord: names the first such value.
    """
    for name, value in zip(config.features, values, strict=True):
        if not abs(value) <= LARGEST:
            raise InvalidRecord(f"values.{name}", repr(value), f"allowed: {VALUES_ALLOWED}")
