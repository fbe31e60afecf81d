"""How the engine works."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.engine.policy import BacklogPolicy, SnapshotPolicy


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the engine works; none of it changes a result.

    Attributes:
        score_threads: partitions scored at once, at least 1.
        batch_records, batch_bytes: bounds of one batch.
        batch_s: batches are kept so small that scoring one takes about so many seconds.
        commit_interval_s: commits of a partition begin so many seconds apart, unless more waits
            than fits into one; the first after a rest begins at once. Where a commit costs as
            much as scoring some hundred records, this is what the rest pays for.
        tick_s: how often an idle partition looks whether a snapshot is due.
        retry_s, retry_most_s: first and longest wait before a failed partition tries again.
        stop_s: bound of a stop; what is not done by then is left to the next start.
        verify_replay: compare what a restart repeats with the stored results.
        fingerprint: names the numerics (machine, compiler); results of another one are not
            compared.
        in_flight_bytes: bound of the appends under way, in bytes.
    """

    score_threads: int = 2
    batch_records: int = 2000
    batch_bytes: int = 8 * 2**20
    batch_s: float = 0.1
    commit_interval_s: float = 0.0
    tick_s: float = 1.0
    retry_s: float = 0.1
    retry_most_s: float = 2.0
    stop_s: float = 15.0
    verify_replay: bool = True
    fingerprint: str = ""
    in_flight_bytes: int = 64 * 2**20
    snapshot: SnapshotPolicy = field(default_factory=SnapshotPolicy)
    backlog: BacklogPolicy = field(default_factory=BacklogPolicy)
