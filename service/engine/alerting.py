"""From grades to what is told: rules hold anomalies back, the others become incidents.

Law: everything here goes by a partition's records in their order, and what it remembers is part
of the partition's snapshot. While nothing is anomalous it need not be asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from service.engine.config import StreamConfig
from service.engine.incidents import Anomaly, Incident, IncidentEvent, Incidents
from service.engine.outcome import HeldBack
from service.engine.records import StreamPartition
from service.engine.rules import Suspect, first_met
from service.engine.times import parse_time


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """What the detector knows of an anomalous record besides its grade.

    Attributes:
        expected: one number per feature; None where unknown.
        shares: each feature's part in the score, not negative; None where unknown.
    """

    expected: Sequence[float] | None = None
    shares: Sequence[float] | None = None


NO_EVIDENCE = Evidence()


class Run(msgspec.Struct, frozen=True):
    """Anomalous records of a series in a row: how many, and the time of the first."""

    records: int
    started_ms: int


class AlertState(msgspec.Struct, frozen=True):
    """What a snapshot keeps of it."""

    runs: dict[str, Run] = {}
    incidents: tuple[Incident, ...] = ()


NOTHING_TOLD = AlertState()


class Told(msgspec.Struct, frozen=True, gc=False):
    """What becomes of a record: whether it is told of as an anomaly, why not, and the news."""

    anomaly: bool
    held_back: HeldBack | None
    events: list[IncidentEvent]


class Alerting:
    """One partition's rules and incidents."""

    def __init__(self, partition: StreamPartition, state: AlertState = NOTHING_TOLD) -> None:
        self._runs = dict(state.runs)
        self._incidents = Incidents(partition, state.incidents)

    @property
    def attentive(self) -> bool:
        """Whether normal records mean something at the moment, and `take` must see them."""
        return self._incidents.any_open or bool(self._runs)

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
        grade: float | None,
        evidence: Evidence = NO_EVIDENCE,
    ) -> Told:
        """Decide about a data record; every one in order, or every one while `attentive`."""
        if not grade:
            self._runs.pop(key, None)
            return Told(False, None, self._incidents.note(config, offset, key, time_ms, None))
        before = self._runs.get(key)
        run = Run(1, time_ms) if before is None else Run(before.records + 1, before.started_ms)
        self._runs[key] = run
        suspect = Suspect(
            key, time_ms, grade, values, evidence.expected, run.records, run.started_ms
        )
        held_back = _held_back(config, suspect)
        if held_back is None:
            anomaly = Anomaly(grade, run.started_ms, evidence.shares)
            return Told(True, None, self._incidents.note(config, offset, key, time_ms, anomaly))
        events = self._incidents.note(config, offset, key, time_ms, None)
        return Told(False, held_back, events)


def _held_back(config: StreamConfig, suspect: Suspect) -> HeldBack | None:
    """Return why an anomaly is not told of; None when it is."""
    if config.told_from is not None and suspect.time_ms < parse_time(config.told_from):
        return HeldBack("", f"history: before told_from = {config.told_from}")
    met = first_met(config.rules, config.features, suspect)
    return None if met is None else HeldBack(met[0].name, met[1])
