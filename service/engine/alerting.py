"""From grades to what is told: rules hold anomalies back, the others become incidents.

Law: everything here goes by a partition's records in their order, and what it remembers is part
of the partition's snapshot. Of most normal records it need not be told.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from service.engine.config import StreamConfig
from service.engine.incidents import Anomaly, Incident, IncidentEvent, Incidents
from service.engine.outcome import HeldBack
from service.engine.records import StreamPartition
from service.engine.rules import Suspect, first_met


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """What the detector knows of an anomalous record besides its grade.

    Attributes:
        expected: one number per feature; None where unknown.
        shares: each feature's part in the score, not negative; None where unknown.
    """

    expected: Sequence[float] | None = None
    shares: Sequence[float] | None = None


NO_EVIDENCE = Evidence()

GOES_ON = "cool_down"
"""Why a detector holds back the records of an event but the first."""


class Detected(msgspec.Struct, frozen=True, gc=False):
    """What the detector says of a record.

    Attributes:
        grade: above 0 where the record is an anomaly; None while warming.
        held_back: why it is none although its score reaches the threshold; "" else.
        started_ms: when the event began to which it belongs; None below the threshold.
        weak: whether it is an anomaly only because the stream lowers its threshold.
    """

    grade: float | None
    held_back: str = ""
    started_ms: int | None = None
    weak: bool = False


class Run(msgspec.Struct, frozen=True):
    """The last event of a series.

    Attributes:
        records: its records in a row up to the last one; 0 where that was below the threshold.
        started_ms: when it began.
        grade: that of its anomaly.
        told: whether it was told of.
        calm: records since the last one that reached the threshold.
    """

    records: int
    started_ms: int
    grade: float
    told: bool
    calm: int = 0


class AlertState(msgspec.Struct, frozen=True):
    """What a snapshot keeps of it."""

    runs: dict[str, Run] = {}
    incidents: tuple[Incident, ...] = ()


NOTHING_TOLD = AlertState()


class Told(msgspec.Struct, frozen=True, gc=False):
    """What becomes of a record.

    Attributes:
        anomaly: whether it is told of as one.
        held_back: why not.
        events: news of incidents.
        grade: of what is told: that of its run, where the record itself goes on with it.
    """

    anomaly: bool
    held_back: HeldBack | None
    events: list[IncidentEvent]
    grade: float = 0.0


class Alerting:
    """One partition's rules and incidents."""

    def __init__(self, partition: StreamPartition, state: AlertState = NOTHING_TOLD) -> None:
        self._runs = dict(state.runs)
        self._incidents = Incidents(partition, state.incidents)

    @property
    def attentive(self) -> bool:
        """Whether there may be normal records that it `minds`."""
        return self._incidents.any_open or bool(self._runs)

    def minds(self, config: StreamConfig, key: str, time_ms: int) -> bool:
        """Whether a normal record means something, and `take` must see it."""
        return key in self._runs or self._incidents.minds(config, key, time_ms)

    def state(self) -> AlertState:
        """Return what `Alerting` needs to go on from here."""
        return AlertState(dict(self._runs), self._incidents.state())

    def reset(self, offset: int, time_ms: int) -> list[IncidentEvent]:
        """Forget everything, because the stream begins afresh; return how incidents ended."""
        self._runs.clear()
        return self._incidents.close_all(offset, time_ms)

    def take(
        self,
        config: StreamConfig,
        offset: int,
        key: str,
        time_ms: int,
        values: Sequence[float],
        detected: Detected,
        evidence: Evidence = NO_EVIDENCE,
    ) -> Told:
        """Decide about a data record; in order, each that is not normal or that `minds` means.

        The detector says an event once, with its first record, and holds the others back. Where a
        rule holds that one back too, the first of the others that no rule holds back is told.
        """
        run = self._run(config, key, time_ms, detected)
        if run is None:
            events = self._incidents.note(config, offset, key, time_ms, None)
            held = HeldBack("", detected.held_back) if detected.held_back else None
            return Told(False, held, events)
        if run.told:
            self._runs[key] = run
            events = self._incidents.note(config, offset, key, time_ms, None, standing=True)
            return Told(False, HeldBack("", GOES_ON), events)
        suspect = Suspect(
            *(key, time_ms, run.grade, values, evidence.expected, run.records, run.started_ms)
        )
        held_back = _held_back(config, suspect)
        self._runs[key] = msgspec.structs.replace(run, told=held_back is None)
        anomaly = None
        if held_back is None:
            anomaly = Anomaly(run.grade, run.started_ms, evidence.shares)
        events = self._incidents.note(config, offset, key, time_ms, anomaly)
        return Told(held_back is None, held_back, events, run.grade)

    def _run(self, config: StreamConfig, key: str, time_ms: int, detected: Detected) -> Run | None:
        """The event that the record belongs to, with it; None where it belongs to none."""
        before = self._runs.get(key)
        weak = detected.weak and before is not None and before.told
        if detected.grade and not weak:
            records = 1 if before is None else before.records + 1
            started_ms = time_ms if detected.started_ms is None else detected.started_ms
            if before is not None and before.records and not before.told:
                started_ms = min(started_ms, before.started_ms)
            return Run(records, started_ms, detected.grade, told=False)
        if before is not None and (weak or detected.held_back == GOES_ON):
            return msgspec.structs.replace(before, records=before.records + 1, calm=0)
        if before is not None:
            if before.calm >= config.cool_down:
                del self._runs[key]
            else:
                calm = before.calm + 1
                self._runs[key] = msgspec.structs.replace(before, records=0, calm=calm)
        return None


def _held_back(config: StreamConfig, suspect: Suspect) -> HeldBack | None:
    """Return why an anomaly is not told of; None when it is."""
    told_from_ms = config.told_from_ms
    if told_from_ms is not None and suspect.time_ms < told_from_ms:
        return HeldBack("", f"history: before told_from = {config.told_from}")
    met = first_met(config.rules, config.features, suspect)
    return None if met is None else HeldBack(met[0].name, met[1])
