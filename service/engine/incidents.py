"""Anomalies that belong together as one incident: opened, updated, closed.

Law: a function of a partition's records and configurations alone. Times are those of the records;
no clock is read, so a replay tells the same events at the same offsets.

A series stays in its incident until `incident_gap` of its records in a row were no anomalies: that
is the cool-down, in which further anomalies open nothing. Where it stays, anomalies of another
series within `incident_window_s` join. An incident is closed when every series has left it. What is
said of it between opening and closing are the news: another series, a greater severity, or an
anomaly after the series had calmed down for a whole shingle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from service.engine.config import StreamConfig
from service.engine.records import StreamPartition
from service.engine.times import format_ms

MOST_LISTED = 20
"""Series, and features, that an event lists; they are counted beyond that."""
WORSE = 0.125
"""A severity greater by this than the last one said is said again; grades come in sixteenths."""

Kind = Literal["open", "update", "close"]
Because = Literal["anomaly", "series", "severity", "again", "quiet", "silent", "reset"]


class InvolvedSeries(msgspec.Struct, frozen=True, gc=False):
    """A series of an incident."""

    key: Annotated[str, Meta(description='The series; "" for records without a key.')]
    severity: Annotated[float, Meta(description="Its greatest grade.")]
    anomalies: Annotated[int, Meta(description="Its anomalous records.")]
    started: Annotated[str, Meta(description="Time of its first anomaly.")]
    last: Annotated[str, Meta(description="Time of its last anomaly.")]


class InvolvedFeature(msgspec.Struct, frozen=True, gc=False):
    """A feature's part in an incident."""

    feature: Annotated[str, Meta(description="Its name.")]
    share: Annotated[float, Meta(description="Of all that made the anomalies; the sum is 1.")]


class IncidentEvent(msgspec.Struct, frozen=True, gc=False):
    """What one record did to an incident; every event tells the whole incident."""

    incident: Annotated[
        str, Meta(description="Its name: stream/partition/offset of the record that opened it.")
    ]
    event: Annotated[Kind, Meta(description="What the record did to it.")]
    because: Annotated[
        Because,
        Meta(
            description="`anomaly` opened it. Updates: `series`, another one joined; `severity`, "
            "it is worse; `again`, an anomaly after a calm. Closed: `quiet`, every series calmed "
            "down; `silent`, or sends nothing; `reset`, the stream was."
        ),
    ]
    number: Annotated[int, Meta(description="Of the event within the incident; 1 opens it.")]
    stream: Annotated[str, Meta(description="The stream.")]
    partition: Annotated[int, Meta(description="Where the record stands that made the event.")]
    offset: Annotated[int, Meta(description="Of the record that made the event.")]
    timestamp: Annotated[str, Meta(description="Of that record.")]
    started: Annotated[str, Meta(description="Time of the first anomaly.")]
    last: Annotated[str, Meta(description="Time of the last anomaly so far.")]
    severity: Annotated[
        float,
        Meta(
            description="The greatest grade so far.",
            extra_json_schema={"minimum": 0, "maximum": 1},
        ),
    ]
    anomalies: Annotated[int, Meta(description="Anomalous records so far.")]
    series_count: Annotated[int, Meta(description="Series involved.")]
    series: Annotated[
        list[InvolvedSeries], Meta(description="The worst 20 of them, the worst first.")
    ]
    features: Annotated[
        list[InvolvedFeature],
        Meta(description="The 20 with the greatest share, where attribution is known."),
    ]


class Anomaly(msgspec.Struct, frozen=True, gc=False):
    """An anomalous record that is told of.

    Attributes:
        grade: (0, 1].
        started_ms: when what it tells of began; its own time, or an earlier one.
        shares: each feature's part in it, not negative; None where unknown.
    """

    grade: float
    started_ms: int
    shares: Sequence[float] | None = None


class Member(msgspec.Struct):
    """A series in an incident.

    Attributes:
        calm: its records since its last anomaly; None once it has left.
        seen_ms: time of its last record.
    """

    started_ms: int
    last_ms: int
    seen_ms: int
    severity: float = 0.0
    anomalies: int = 0
    calm: int | None = 0


class Incident(msgspec.Struct):
    """An incident that is not over.

    Attributes:
        offset: of the record that opened it.
        number: events so far.
        said: the severity that was said last.
        features: each feature's part so far, by name; empty where attribution is unknown.
    """

    offset: int
    started_ms: int
    last_ms: int
    number: int = 0
    severity: float = 0.0
    said: float = 0.0
    anomalies: int = 0
    members: dict[str, Member] = {}
    features: dict[str, float] = {}


class Incidents:
    """One partition's incidents that are not over."""

    def __init__(self, partition: StreamPartition, unfinished: Sequence[Incident] = ()) -> None:
        self._partition = partition
        self._open = [msgspec.convert(msgspec.to_builtins(each), Incident) for each in unfinished]
        self._of: dict[str, Incident] = {}
        for incident in self._open:
            for key, member in incident.members.items():
                if member.calm is not None:
                    self._of[key] = incident
        self._seen_ms = self._first_seen_ms()

    @property
    def any_open(self) -> bool:
        """Whether there may be normal records that it `minds`."""
        return bool(self._open)

    def minds(self, config: StreamConfig, key: str, time_ms: int) -> bool:
        """Whether a normal record of this series at this time is news to an incident.

        It is where the series is in one, or where the time tells that others have fallen silent.
        """
        return key in self._of or self._seen_ms < time_ms - config.incident_silence_s * 1000

    def state(self) -> tuple[Incident, ...]:
        """Return what `Incidents` needs to go on from here: copies."""
        return tuple(msgspec.convert(msgspec.to_builtins(each), Incident) for each in self._open)

    def note(
        self,
        config: StreamConfig,
        offset: int,
        key: str,
        time_ms: int,
        anomaly: Anomaly | None,
        *,
        standing: bool = False,
    ) -> list[IncidentEvent]:
        """Take a data record in; return what it did. Normal ones that nobody `minds` do nothing.

        Args:
            config: the stream's, at this record.
            offset: the record's; they grow.
            key: its series.
            time_ms: its time.
            anomaly: None for a record of which nothing is told.
            standing: whether the event goes on of which an anomaly was told, so that its series is
                not calm.
        """
        lively = standing or anomaly is not None
        events = self._let_go(config, offset, key, time_ms, lively=lively)
        if anomaly is not None:
            event = self._take(config, offset, key, time_ms, anomaly)
            events += [] if event is None else [event]
        return events

    def close_all(self, offset: int, time_ms: int) -> list[IncidentEvent]:
        """End every incident, because the stream begins afresh."""
        closing, self._open = self._open, []
        self._of.clear()
        return [self._event(each, "close", "reset", offset, time_ms) for each in closing]

    def _take(
        self, config: StreamConfig, offset: int, key: str, time_ms: int, anomaly: Anomaly
    ) -> IncidentEvent | None:
        """Add an anomaly to its incident; return an event when it is news."""
        incident = self._of.get(key) or self._near(time_ms, config)
        kind: Kind = "update"
        because: Because | None = None
        if incident is None:
            incident = Incident(offset, anomaly.started_ms, time_ms)
            self._open.append(incident)
            kind, because = "open", "anomaly"
        member = incident.members.get(key)
        if member is None:
            member = incident.members[key] = Member(anomaly.started_ms, time_ms, time_ms)
            because = because or "series"
        elif member.calm is None or member.calm >= config.shingle_size:
            because = "again"
        member.seen_ms = time_ms
        self._of[key] = incident
        self._seen_ms = min(self._seen_ms, time_ms)
        _add(config, incident, member, time_ms, anomaly)
        if because is None and incident.severity >= incident.said + WORSE:
            because = "severity"
        return because and self._event(incident, kind, because, offset, time_ms)

    def _near(self, time_ms: int, config: StreamConfig) -> Incident | None:
        """Return the open incident whose last anomaly is nearest in time, within the window."""
        window_ms = config.incident_window_s * 1000
        near = [each for each in self._open if abs(time_ms - each.last_ms) <= window_ms]
        if not near or window_ms == 0:
            return None
        return min(near, key=lambda each: (abs(time_ms - each.last_ms), each.offset))

    def _let_go(
        self, config: StreamConfig, offset: int, key: str, time_ms: int, *, lively: bool
    ) -> list[IncidentEvent]:
        """Let series leave that have calmed down or fallen silent; close what they all left."""
        left: dict[int, Because] = {}
        incident = self._of.get(key)
        if incident is not None:
            member = incident.members[key]
            member.seen_ms = time_ms
            if lively:
                member.last_ms = incident.last_ms = max(incident.last_ms, time_ms)
            else:
                member.calm = (member.calm or 0) + 1
                if member.calm >= config.incident_gap:
                    self._leave(incident, key)
                    left[incident.offset] = "quiet"
        silent_ms = time_ms - config.incident_silence_s * 1000
        if self._seen_ms < silent_ms:
            for other, of in list(self._of.items()):
                if of.members[other].seen_ms < silent_ms:
                    self._leave(of, other)
                    left[of.offset] = "silent"
            self._seen_ms = self._first_seen_ms()
        if not left:
            return []
        staying = {each.offset for each in self._of.values()}
        over = [each for each in self._open if each.offset not in staying]
        self._open = [each for each in self._open if each.offset in staying]
        return [self._event(each, "close", left[each.offset], offset, time_ms) for each in over]

    def _first_seen_ms(self) -> float:
        """Time before which no series in an incident was seen last."""
        seen = (of.members[key].seen_ms for key, of in self._of.items())
        return min(seen, default=math.inf)

    def _leave(self, incident: Incident, key: str) -> None:
        incident.members[key].calm = None
        del self._of[key]

    def _event(
        self, incident: Incident, kind: Kind, because: Because, offset: int, time_ms: int
    ) -> IncidentEvent:
        incident.number += 1
        incident.said = incident.severity
        stream, partition = self._partition
        worst = sorted(
            incident.members.items(),
            key=lambda item: (-item[1].severity, -item[1].anomalies, item[0]),
        )
        return IncidentEvent(
            incident=f"{stream}/{partition}/{incident.offset}",
            event=kind,
            because=because,
            number=incident.number,
            stream=stream,
            partition=partition,
            offset=offset,
            timestamp=format_ms(time_ms),
            started=format_ms(incident.started_ms),
            last=format_ms(incident.last_ms),
            severity=incident.severity,
            anomalies=incident.anomalies,
            series_count=len(incident.members),
            series=[_involved(key, member) for key, member in worst[:MOST_LISTED]],
            features=_ranked(incident.features),
        )


def _add(
    config: StreamConfig, incident: Incident, member: Member, time_ms: int, anomaly: Anomaly
) -> None:
    for each in (incident, member):
        each.started_ms = min(each.started_ms, anomaly.started_ms)
        each.last_ms = max(each.last_ms, time_ms)
        each.severity = max(each.severity, anomaly.grade)
        each.anomalies += 1
    member.calm = 0
    if anomaly.shares is not None:
        for name, share in zip(config.features, anomaly.shares, strict=True):
            incident.features[name] = incident.features.get(name, 0.0) + share


def _involved(key: str, member: Member) -> InvolvedSeries:
    started, last = format_ms(member.started_ms), format_ms(member.last_ms)
    return InvolvedSeries(key, member.severity, member.anomalies, started, last)


def _ranked(features: dict[str, float]) -> list[InvolvedFeature]:
    whole = sum(features.values())
    ranked = sorted(features.items(), key=lambda item: (-item[1], item[0]))
    return [
        InvolvedFeature(name, share / whole) for name, share in ranked[:MOST_LISTED] if share > 0
    ]
