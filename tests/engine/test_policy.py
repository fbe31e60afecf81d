"""When to save, what to trim, when to refuse."""

from __future__ import annotations

import pytest

from service.engine.errors import Backpressure
from service.engine.policy import (
    Backlog,
    BacklogPolicy,
    SnapshotPolicy,
    SnapshotSchedule,
    trim_to,
)
from service.engine.records import Pointer


def test_a_snapshot_is_due_after_the_interval_if_anything_changed():
    schedule = SnapshotSchedule(SnapshotPolicy(interval_s=60), began_s=0)
    assert not schedule.due(1000)
    schedule.processed(1, 0.001)
    assert not schedule.due(59)
    assert schedule.due(60)
    schedule.begun(60)
    assert not schedule.due(1000)


def test_a_snapshot_is_due_when_repeating_would_take_too_long():
    schedule = SnapshotSchedule(SnapshotPolicy(interval_s=60, replay_s=5), began_s=0)
    schedule.processed(1000, 4.9)
    assert not schedule.due(10)
    schedule.processed(1000, 0.2)
    assert schedule.due(10)


def test_snapshots_take_a_bounded_share_of_the_time():
    schedule = SnapshotSchedule(SnapshotPolicy(interval_s=10, share=0.2), began_s=0)
    schedule.begun(0)
    schedule.finished(8)
    schedule.processed(1, 100)
    assert not schedule.due(39)
    assert schedule.due(40)


def pointers(*offsets: int) -> list[Pointer]:
    return [Pointer(offset, "m", "0") for offset in offsets]


@pytest.mark.parametrize(
    ("committed", "begin", "kept", "expected"),
    [
        (5000, 0, pointers(4900, 4500, 4400), 4000),
        (5000, 0, pointers(4900, 4500, 3000), 3000),  # the oldest snapshot is needed
        (5000, 0, pointers(4900, 4500), 0),  # too few to rely on
        (5000, 3950, pointers(4900, 4500, 4400), 3950),  # not worth a write
        (500, 0, pointers(400, 300, 200), 0),
    ],
)
def test_trimming_keeps_what_a_restart_may_need(committed, begin, kept, expected):
    assert trim_to(1000, committed, begin, kept) == expected


def test_a_backlog_refuses_above_its_bounds_and_only_while_something_waits():
    backlog = Backlog(BacklogPolicy(records=100, size=1000))
    backlog.reserve(500, 5000)  # nothing waits: a large request must pass some time
    with pytest.raises(Backpressure):
        backlog.reserve(1, 1)
    backlog.release(500, 5000, appended=True)
    backlog.end = 500
    with pytest.raises(Backpressure) as refused:
        backlog.reserve(1, 1)
    assert refused.value.retry_after_s >= 1
    backlog.settled(500, 5000, 1.0)
    assert (backlog.records, backlog.size) == (0, 0)
    backlog.reserve(1, 1)
    backlog.release(1, 1, appended=False)
    assert (backlog.records, backlog.size) == (0, 0)


def test_the_wait_asked_for_follows_the_speed():
    backlog = Backlog(BacklogPolicy(records=100), end=1100)
    backlog.settled(100, 0, 1.0)  # 100 a second, 1000 wait
    with pytest.raises(Backpressure) as refused:
        backlog.reserve(1, 1)
    assert refused.value.retry_after_s == 10
