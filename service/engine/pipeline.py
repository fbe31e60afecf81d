"""One partition: a batch of records in, one result per record out.

Law: results and state after offset n are a function of the configuration at birth and of the
records up to n. No I/O, no clock, no randomness outside the detectors' state; how records are
cut into batches changes nothing. Log order rules: a record with an earlier or an equal
timestamp is scored like any other, where it stands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from service.engine.alerting import Alerting, Detected, Evidence
from service.engine.carried import Count, carried_fields, carried_headers
from service.engine.config import LARGEST, StreamConfig, model_digest
from service.engine.control import decode_config
from service.engine.detectors import SeriesDetectors
from service.engine.errors import InvalidParameter, InvalidRecord, InvariantError
from service.engine.feedback import ByDistance, bent, factor_of
from service.engine.halting import DeadLetterLimit, Halt
from service.engine.incidents import IncidentEvent
from service.engine.intake import Intake
from service.engine.outcome import HELD_BACK, FeatureReason, HeldBack, Outcome, Reason, Status
from service.engine.ports import Decoder, DecoderFactory, Judgement, Numbers, Places, Told
from service.engine.reasons import MOST_FEATURES, reasons_of
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

VALUES_ALLOWED = "finite numbers from -3.4e38 to 3.4e38"


NOTHING: tuple[msgspec.Raw | UnsetType, Count] = (UNSET, UNSET)
NO_HEADERS: tuple[Headers, Count] = ((), UNSET)
NO_EVENTS: list[IncidentEvent] = []

Judged = tuple[float | None, ...]
"""Score, threshold, grade, confidence, why it was held back, and when its event began; None where
there is none."""
_JUDGED = 6
_NEAR = next(code for code, reason in HELD_BACK.items() if reason == "distance")
_Side = list[float] | UnsetType | None
Band = tuple[_Side, _Side, _Side]
"""Expected value, lower and upper end of the band, each a list by feature."""
NO_BAND: Band = (UNSET, UNSET, UNSET)
NO_BAND_YET: Band = (None, None, None)
Measured = tuple[float | UnsetType, float | UnsetType]
"""Distance, and above which it is out of the ordinary."""
NOT_MEASURED: Measured = (UNSET, UNSET)


class Row(msgspec.Struct, gc=False):
    """A record that can be read, and the series it belongs to.

    Attributes:
        passed_over: why it is neither scored nor learnt; None where it is. "warming": because the
            rate of a counter is not known before its second record.
        rates: what is scored instead of the values, where some are counters.
    """

    key: str
    timestamp_ms: int
    values: list[float]
    others: dict[str, msgspec.Raw] | None
    passed_over: Status | None = None
    rates: list[float] | UnsetType = UNSET


@dataclass(slots=True)
class Verdicts:
    """What is said of a block's rows, by row number.

    Attributes:
        judged: one for each row.
        bands: of rows whose stream forecasts.
        filled: the values as judged, of rows with gaps.
        reasons: why, of rows of which the stream wants it said.
        distances: of rows whose stream has a multi mode.
    """

    judged: list[Judged]
    bands: dict[int, Band] = field(default_factory=dict)
    filled: dict[int, list[float]] = field(default_factory=dict)
    reasons: dict[int, list[FeatureReason]] = field(default_factory=dict)
    distances: dict[int, Measured] = field(default_factory=dict)

    def add(self, numbers: list[int], told: Told, features: tuple[str, ...]) -> None:
        """Note what a series says of these rows besides its judgements."""
        if told.forecast is not None:
            said = (told.forecast.expected, told.forecast.lower, told.forecast.upper)
            lists = zip(*(each.tolist() for each in said), strict=True)
            self.bands.update(zip(numbers, lists, strict=True))
            for row in np.flatnonzero(~np.isfinite(said[0][:, 0])).tolist():
                self.bands[numbers[row]] = NO_BAND_YET
        for row in np.flatnonzero(told.imputed).tolist():
            self.filled[numbers[row]] = told.values[row].tolist()
        for row, shares in told.reasons.items():
            self.reasons[numbers[row]] = reasons_of(features, shares, MOST_FEATURES)

    def measure(self, numbers: list[int], said: Judgement) -> None:
        """Note the distances of these rows, of those that have one."""
        pairs = zip(said.distance.tolist(), said.distance_threshold.tolist(), strict=True)
        for number, (distance, threshold) in zip(numbers, pairs, strict=True):
            if not math.isnan(distance):
                self.distances[number] = distance, UNSET if math.isnan(threshold) else threshold


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
        alerting: Alerting | None = None,
        intake: Intake | None = None,
    ) -> None:
        self.partition = partition
        self.detectors = detectors
        self.limit = limit or DeadLetterLimit()
        self.alerting = alerting or Alerting(partition)
        self.intake = intake or Intake()
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
                is halted, or a detector failed.
            CorruptSnapshot: no detector wrote the bytes of a series that slept.

        After any of these the state must not be used any further.
        """
        if self.halt is not None:
            raise self._broken(self.position, f"processed while halted: {self.halt.reason}")
        output = Output()
        block: list[Record] = []
        position = self.position
        for record in batch.records:
            if record.offset < position:
                raise self._broken(record.offset, f"already processed up to {position}")
            position = record.offset + 1
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
        self._factors: dict[str, float] = {}
        self._selective = bool(
            config.counters or config.skip_duplicates or config.late_after_s is not None
        )

    def _apply(self, record: Record, output: Output) -> None:
        """Take a configuration change over where it stands in the log."""
        try:
            config = decode_config(record.value)
        except (msgspec.MsgspecError, InvalidParameter) as error:
            raise self._broken(record.offset, f"unreadable control record: {error}") from error
        events: list[IncidentEvent] = []
        if config.generation != self.config.generation:
            self.detectors.forget_all()
            events = self.alerting.reset(record.offset, record.timestamp_ms)
            self.intake.reset()
        self.intake.reconfigure(config)
        self.detectors.reconfigure()
        self.limit.reset()
        self._configure(config)
        self._settle(output, record, "control", events=events)

    def _process_block(self, block: list[Record], output: Output) -> bool:
        """Judge consecutive data records under one configuration; tell whether one halts."""
        if not block:
            return False
        rows = self._read(block)
        matrix = self._check_range(rows)
        for part in self._parts(rows):
            self._process_part(block[part], rows[part], matrix[part], output)
            if self.halt is not None:
                self.position = self.halt.offset + 1
                return True
        return False

    def _parts(self, rows: list[Row | Reason]) -> list[slice]:
        """Return which rows are judged together: all, but that no others go before new series.

        Those need the state at their first record, where they begin with what others have learnt.
        """
        cuts, there = [0], set[str]()
        if self.config.new_series == "shared" and len(self.detectors) < self.config.max_series:
            for index, row in enumerate(rows):
                if isinstance(row, Row) and row.key not in there:
                    there.add(row.key)
                    if index and row.key not in self.detectors:
                        cuts.append(index)
        return [slice(*edges) for edges in pairwise([*cuts, len(rows)])]

    def _process_part(
        self, block: list[Record], rows: list[Row | Reason], matrix: Numbers, output: Output
    ) -> None:
        """Judge rows that have been read, up to the one that halts."""
        series = self._by_series(block, rows, matrix)
        verdicts = self._judge(block, rows, matrix, series)
        self._emit(output, block, rows, verdicts)
        if self.halt is None:
            self.limit.advance(len(block))

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
        """Return the rows as (n, features), NaN where there is none; refuse those out of range.

        A missing value is NaN too: the decoder has refused it where the stream does.
        """
        width = len(self.config.features)
        nothing = [np.nan] * width
        values = [nothing if isinstance(row, Reason) else row.values for row in rows]
        # A flat list becomes an array in half the time that one of lists takes.
        matrix = np.array(list(chain.from_iterable(values)), np.float64).reshape(len(rows), width)
        fits = ~(np.abs(matrix) > LARGEST).any(axis=1)
        for index in np.flatnonzero(~fits).tolist():
            row = rows[index]
            if isinstance(row, Row):
                rows[index] = out_of_range(self.config, row.values)
        return matrix

    def _by_series(
        self, block: list[Record], rows: list[Row | Reason], matrix: Numbers
    ) -> dict[str, list[int]]:
        """Gather row numbers by key in order; refuse series above the limit.

        Rows that are passed over are in no series; those with counters change in the matrix.

        What comes after the record that halts the partition is taken out of `block` and `rows`:
        no series may be admitted for it yet.
        """
        series: dict[str, list[int]] = {}
        for index, row in enumerate(rows):
            if not isinstance(row, Reason):
                refused = self._gather(row, index, matrix, series)
                if refused is None:
                    continue
                rows[index] = refused
            if self.limit.reject(index, block[index].offset, self.config):
                del block[index + 1 :], rows[index + 1 :]
                break
        return series

    def _gather(
        self, row: Row, index: int, matrix: Numbers, series: dict[str, list[int]]
    ) -> Reason | None:
        """Put a row to its series, unless it is passed over; say why it is refused."""
        key = row.key
        numbers = series.get(key)
        if numbers is None and not self.detectors.admit(key, self.config):
            limit = f"the partition holds max_series = {self.config.max_series} series"
            return Reason("key", key, limit)
        if self._selective:
            try:
                if not self._take(row, index, matrix):
                    return None
            except InvalidRecord as error:
                return Reason(error.field, error.value, error.reason)
        if numbers is None:
            series[key] = [index]
        else:
            numbers.append(index)
        return None

    def _take(self, row: Row, index: int, matrix: Numbers) -> bool:
        """Tell whether a row is to be judged; note why not, or by which values."""
        taken = self.intake.take(self.config, row.key, row.timestamp_ms, row.values)
        if taken is None or isinstance(taken, str):
            row.passed_over = taken or "warming"
            return False
        if self.config.counters:
            row.rates = taken
            matrix[index] = taken
        return True

    def _judge(
        self,
        block: list[Record],
        rows: list[Row | Reason],
        matrix: Numbers,
        series: dict[str, list[int]],
    ) -> Verdicts:
        """Judge and learn the rows of every series."""
        order = list(chain.from_iterable(series.values()))
        by_series = matrix[order]  # once, so that each detector gets a plain slice
        times = np.array(
            [row.timestamp_ms / 1000.0 if isinstance(row, Row) else 0.0 for row in rows]
        )[order]
        starts = np.cumsum([0, *map(len, series.values())])
        verdicts = Verdicts([])
        found = np.empty((_JUDGED, len(order)))
        if order:
            told = self._tell(block[order[0]].offset, list(series), starts, by_series, times)
            said = told.judgements
            parts = (said.score, said.threshold, said.grade, said.confidence, said.held_back)
            for number, part in enumerate((*parts, said.started)):
                found[number] = part
            verdicts.add(order, told, self.config.coordinates)
            if self.config.multi_mode != "none":
                verdicts.measure(order, said)
        known = found.astype(object)
        known[np.isnan(found)] = None
        judged = np.full((_JUDGED, len(block)), None)
        judged[:, order] = known
        verdicts.judged = list(zip(*judged.tolist(), strict=True))
        return verdicts

    def _tell(
        self, offset: int, keys: list[str], starts: Places, rows: Numbers, times: Numbers
    ) -> Told:
        """Let the series of these keys judge and learn their rows, which begin at `starts`."""
        try:
            return self.detectors.process(keys, starts, rows, times, config=self.config)
        except Exception as error:
            raise self._broken(offset, f"detector failed: {error}") from error

    def _emit(
        self,
        output: Output,
        block: list[Record],
        rows: list[Row | Reason],
        verdicts: Verdicts,
    ) -> None:
        """Write each record's result."""
        stream, partition = self.partition
        alerting, config = self.alerting, self.config
        model = self._model
        encode, add = self._encode, output.results.append
        bands, filled, distances = verdicts.bands, verdicts.filled, verdicts.distances
        reasons, factors = verdicts.reasons, config.threshold_factors
        attentive = alerting.attentive
        stamp, stamp_ms = "", math.nan
        for number, (record, row) in enumerate(zip(block, rows, strict=True)):
            if isinstance(row, Reason):
                self._reject(output, record, row)
                continue
            score, threshold, grade, confidence, held, started = verdicts.judged[number]
            offset, key, time_ms = record.offset, row.key, row.timestamp_ms
            factor: float | UnsetType = UNSET
            weak = False
            if factors and score is not None and threshold is not None:
                factor = self._factor(key)
                usual = threshold
                told_by = by_distance(config.multi_mode, distances.get(number, NOT_MEASURED))
                threshold, grade = bent(score, usual, grade or 0.0, factor, told_by)
                weak = threshold <= score < usual and told_by is None
                if threshold <= score < usual and told_by == "near":
                    held = _NEAR
                elif score < threshold and told_by != "far":
                    held = started = None
            anomaly, held_back, events = False, None, NO_EVENTS
            skipped = row.passed_over
            minded = attentive and alerting.minds(config, key, time_ms)
            if skipped is None and (grade or held or minded):
                reason = HELD_BACK[int(held)] if held else ""
                began_ms = None if started is None else round(1000.0 * started)
                told = alerting.take(
                    *(config, offset, key, time_ms, row.rates or row.values),
                    Detected(grade, reason, began_ms, weak),
                    evidence_of(verdicts, number, config.features),
                )
                anomaly, held_back, events = told.anomaly, told.held_back, told.events
                grade = told.grade if anomaly else grade
                attentive = alerting.attentive
            fields, fields_out = carried_fields(row.others) if row.others else NOTHING
            headers, headers_out = carried_headers(record.headers) if record.headers else NO_HEADERS
            if time_ms != stamp_ms:  # many records have the time of the one before
                stamp, stamp_ms = format_ms(time_ms), time_ms
            expected, lower, upper = bands.get(number, NO_BAND)
            distance, distance_threshold = distances.get(number, NOT_MEASURED)
            outcome = Outcome(
                stream,
                key,
                partition,
                offset,
                stamp,
                row.values,
                skipped or _status(score, held_back, number in filled),
                score,
                threshold,
                grade,
                confidence,
                anomaly,
                model,
                reasons.get(number, UNSET),
                expected,
                lower,
                upper,
                filled.get(number, UNSET),
                UNSET,
                held_back or UNSET,
                UNSET if started is None else format_ms(round(1000.0 * started)),
                fields,
                fields_out,
                headers_out,
                row.rates,
                UNSET if factor == 1.0 else factor,
                events or UNSET,
                distance,
                distance_threshold,
            )
            add(Result(offset, time_ms, key, anomaly, encode(outcome), headers, bool(events)))
            output.scored += score is not None
            output.anomalous += anomaly

    def _factor(self, key: str) -> float:
        """Return what the configuration multiplies a series' threshold by."""
        factor = self._factors.get(key)
        if factor is None:
            factor = self._factors[key] = factor_of(self.config.threshold_factors, key)
        return factor

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
        events: Sequence[IncidentEvent] = NO_EVENTS,
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
            confidence=None,
            anomaly=False,
            model=self._model,
            error=error,
            headers_left_out=headers_out,
            incidents=list(events) or UNSET,
        )
        encoded = self._encode(outcome)
        output.results.append(
            Result(
                *(record.offset, record.timestamp_ms, key, False, encoded, headers),
                bool(events),
            )
        )

    def _broken(self, offset: int, reason: str) -> InvariantError:
        return InvariantError(*self.partition, offset, reason)


def by_distance(multi_mode: str, measured: Measured) -> ByDistance:
    """Return what a stream's multi mode makes of a distance."""
    distance, threshold = measured
    if multi_mode == "none" or distance is UNSET or threshold is UNSET:
        return None
    if multi_mode == "precision":
        return "near" if distance <= threshold else None
    return "far" if distance > threshold else None


def evidence_of(verdicts: Verdicts, number: int, features: tuple[str, ...]) -> Evidence:
    """Return what is known of a row beyond score and grade."""
    expected = verdicts.bands.get(number, NO_BAND)[0]
    reasons = verdicts.reasons.get(number)
    shares = None
    if reasons is not None:
        by_name = {each.feature: each.high + each.low for each in reasons}
        shares = [by_name.get(name, 0.0) for name in features]
    return Evidence(expected or None, shares)


def _status(score: float | None, held_back: HeldBack | None, imputed: bool) -> Status:
    if held_back is not None:
        return "suppressed"
    if score is None:
        return "warming"
    return "imputed" if imputed else "scored"


def out_of_range(config: StreamConfig, values: Sequence[float]) -> Reason:
    """Say which of the values is not allowed."""
    try:
        check_values(config, values)
    except InvalidRecord as error:
        return Reason(error.field, error.value, error.reason)
    raise ValueError("every value is allowed")


def check_values(config: StreamConfig, values: Sequence[float]) -> None:
    """Refuse values outside float32's range; NaN stands for one that is missing.

    Raises:
        InvalidRecord: names the first such value.
    """
    for name, value in zip(config.features, values, strict=True):
        if abs(value) > LARGEST:
            raise InvalidRecord(f"values.{name}", repr(value), f"allowed: {VALUES_ALLOWED}")
