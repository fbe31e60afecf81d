"""The topics of a stream."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamTopics:
    """The topics of one stream. All have the input's partitions; p writes to p."""

    input: str
    scores: str
    anomalies: str
    dead_letters: str
    checkpoints: str

    @property
    def outputs(self) -> tuple[str, ...]:
        """All but the input."""
        return (self.scores, self.anomalies, self.dead_letters, self.checkpoints)


def topics_of(stream: str) -> StreamTopics:
    """Return the names of a stream's topics; the input's is the stream's own."""
    return StreamTopics(
        stream, f"{stream}.scores", f"{stream}.anomalies", f"{stream}.dlq", f"{stream}.checkpoints"
    )


def control_topic(application: str) -> str:
    """Return the compacted topic that holds the streams of an application."""
    return f"{application}.streams"
