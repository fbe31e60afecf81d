"""What is wrong with a topic: partitions, copies, and settings that would lose records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from service.adapters.kafka.prober import Configuration, Place
from service.engine.checks import Check, Level, failure, ok, warning

DAY_MS = 86_400_000
DEFAULT_BYTES = 1_048_588
Problem = tuple[Level, str, str]


@dataclass(frozen=True, slots=True)
class Described:
    """A topic as it should be, and as it is.

    Attributes:
        partitions: as many as the stream has.
        there: its partitions; None when it is absent or may not be seen.
        brokers: how many there are.
    """

    topic: str
    partitions: int
    there: Mapping[int, Place] | None
    configuration: Configuration
    brokers: int
    is_input: bool
    is_compacted: bool


def check_partitions(described: Described) -> Check:
    """Check that the topic is there, whole, and served."""
    name, there = f"topic {described.topic}", described.there
    if there is None:
        return failure(
            name,
            "is not there, or may not be seen",
            "allow Describe on it; if it was deleted, delete the stream and make it again",
        )
    if len(there) != described.partitions:
        return failure(
            name,
            f"has {len(there)} partitions, but the stream has {described.partitions}",
            "records in further partitions are not read, and keys have moved: make a new stream "
            "with as many partitions as the topic",
        )
    dark = [number for number, place in there.items() if place.leader < 0]
    if dark:
        said = f"has no leader for partitions {_listed(dark)}"
        return failure(name, said, "bring the brokers back that hold them")
    behind = [n for n, place in there.items() if len(place.in_sync) < len(place.replicas)]
    if behind:
        said = f"copies of partitions {_listed(behind)} are behind"
        return warning(name, said, "look at the brokers that hold them")
    copies = min(len(place.replicas) for place in there.values())
    said = f"{len(there)} partitions, {copies} {'copy' if copies == 1 else 'copies'}"
    if copies == 1 and described.brokers > 1:
        advice = "raise its replication: the loss of one broker's disk loses it"
        return warning(name, said, advice)
    return ok(name, said)


def check_configuration(described: Described) -> Check:
    """Check the settings that decide what is kept; the worst is told, with all that was found."""
    name = f"settings {described.topic}"
    if described.configuration.error is not None:
        said = f"may not be read: {described.configuration.error}"
        return warning(name, said, "allow DescribeConfigs on it, or compare its settings by hand")
    problems = list(_problems(described))
    if not problems:
        values = described.configuration.values
        policy, kept = values.get("cleanup.policy"), values.get("retention.ms")
        age = "" if described.is_compacted else f", kept {_age(kept)}"
        return ok(name, f"cleanup.policy = {policy}{age}")
    level: Level = "error" if any(each[0] == "error" for each in problems) else "warning"
    said = "; ".join(each[1] for each in problems)
    return Check(name, level, said, "; ".join(dict.fromkeys(each[2] for each in problems)))


def _problems(described: Described) -> Iterator[Problem]:
    values = described.configuration.values
    yield from _of_policy(described, values)
    copies = min((len(place.replicas) for place in (described.there or {}).values()), default=0)
    least = int(values.get("min.insync.replicas") or 1)
    if least > copies:
        said = f"min.insync.replicas = {least}, but there are {copies} copies"
        yield "error", said, "lower min.insync.replicas, or raise the replication: nothing is taken"
    elif copies > 2 and least == 1:
        said = f"min.insync.replicas = 1 of {copies} copies"
        yield "warning", said, "set it to 2: a record that one broker has may be lost with it"
    if values.get("unclean.leader.election.enable") == "true":
        said = "unclean.leader.election.enable = true"
        yield "warning", said, "set it to false: committed results may be lost"
    if not described.is_input and values.get("message.timestamp.type") == "LogAppendTime":
        said = "message.timestamp.type = LogAppendTime"
        yield "error", said, "set it to CreateTime: results bear the times of their records"
    most = int(values.get("max.message.bytes") or DEFAULT_BYTES)
    if most < DEFAULT_BYTES:
        said = f"max.message.bytes = {most}"
        yield "warning", said, f"raise it to {DEFAULT_BYTES} at least: a batch may not fit"


def _of_policy(described: Described, values: Mapping[str, str]) -> Iterator[Problem]:
    policy = values.get("cleanup.policy") or "delete"
    if described.is_compacted:
        if policy != "compact":
            said = f"cleanup.policy = {policy}"
            yield "error", said, "set it to compact: what is deleted by age is still needed"
        return
    if "compact" in policy:
        said = f"cleanup.policy = {policy}"
        yield "error", said, "set it to delete: every record of a key is needed, not the last"
    kept_ms = int(values.get("retention.ms") or -1)
    if "delete" in policy and kept_ms >= 0:
        said = f"retention.ms = {kept_ms} ({_age(str(kept_ms))})"
        if described.is_input:
            level: Level = "error" if kept_ms < DAY_MS / 24 else "warning"
            advice = "keep it longer than the longest pause of all workers, or set -1"
            yield level, said, f"{advice}: records that go unscored, or unrepeated, are lost"
        else:
            advice = "set -1: results bear the times of their records, and those of old ones go"
            yield "warning", said, advice
    if int(values.get("retention.bytes") or -1) >= 0:
        said = f"retention.bytes = {values['retention.bytes']}"
        yield "warning", said, "set -1, or be sure that a pause of all workers fits into it"


def _age(kept_ms: str | None) -> str:
    if kept_ms is None or int(kept_ms) < 0:
        return "until the service trims it"
    return f"{int(kept_ms) / DAY_MS:g} days"


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))
