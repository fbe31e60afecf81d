"""The demo is a pure function of its steps, and an anomaly is never far away."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.adapters.clock import SystemClock
from service.sources import demo, feed
from service.sources.host import FEATURES, Host
from tests.api.conftest import memory_engine
from tests.engine.fakes import NoMetrics

steps = st.integers(0, 10**10)


@given(start=steps, skip=st.integers(0, 3000), count=st.integers(0, 500))
def test_a_part_equals_the_part_of_the_whole(start, skip, count):
    for shape in demo.SHAPES:
        whole = demo.values(shape, start, skip + count)
        assert np.isfinite(whole).all() and len(whole) == skip + count
        assert (demo.values(shape, start + skip, count) == whole[skip:]).all()


@given(start=steps)
def test_an_anomaly_starts_within_the_stated_gap(start):
    starts = [
        label.start
        for shape in demo.SHAPES
        for label in demo.labels(shape, start, demo.MAX_GAP_STEPS + 1)
        if label.start >= start
    ]
    assert starts
    assert demo.MAX_GAP_STEPS * demo.STEP_S < 30  # two chances within a minute


@pytest.mark.parametrize("shape", demo.SHAPES, ids=lambda shape: shape.key)
def test_one_label_per_cycle_and_values_differ_inside(shape):
    cycles = 20
    labels = list(demo.labels(shape, 0, cycles * demo.CYCLE_STEPS))
    assert len(labels) == cycles
    assert len({label.start % demo.CYCLE_STEPS for label in labels}) > 1
    series = demo.values(shape, 0, cycles * demo.CYCLE_STEPS)
    if shape.kind == "drop_to_zero":
        for label in labels:
            assert (series[label.start : label.end + 1] == 0).all()


def test_another_seed_is_another_world():
    shape = demo.SHAPES[0]
    assert (demo.values(shape, 0, 50, seed=1) != demo.values(shape, 0, 50, seed=2)).all()


def test_host_figures():
    host = Host(0.0)
    values = host.read(1.0)
    assert len(values) == len(FEATURES)
    cpu, memory, disk, network = values
    assert 0 <= cpu <= 100 and 0 < memory <= 100 and disk >= 0 and network >= 0


async def fed(engine, now):
    """Run the feed at a standing clock until the history is there, then stop it."""
    warm = asyncio.Event()
    task = asyncio.create_task(feed.run_demo(engine, warm=warm, now_s=lambda: now))
    await asyncio.wait_for(warm.wait(), 30)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    page = await engine.results("demo", limit=100_000)
    return page.results


def test_a_restarted_feed_goes_on_where_the_log_ends():
    async def scenario():
        engine = memory_engine(NoMetrics())
        await engine.start()
        now = SystemClock().now_ms() / 1000
        first = await fed(engine, now)
        assert len(first) == feed.HISTORY_STEPS * len(demo.SHAPES)
        assert len(await fed(engine, now)) == len(first)
        assert len(await fed(engine, now + 30)) == len(first) + 150 * len(demo.SHAPES)
        # After a long pause only the history before today is sent.
        assert len(await fed(engine, now + 90_000)) == 2 * len(first) + 150 * len(demo.SHAPES)
        await engine.delete_stream("demo")
        await engine.stop()

    asyncio.run(scenario())


def test_records_inside_a_label_carry_it():
    shape = demo.SHAPES[0]
    label = next(iter(demo.labels(shape, 1_000, 1_000)))
    records = list(feed.demo_records(label.start - 1, 2))
    assert b'"label":null' in records[0].value
    assert b'"label":"spike"' in records[len(demo.SHAPES)].value
