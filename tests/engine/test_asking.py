"""Questions to a series: the library's answers, between batches, where the series lives."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

import rcf
from service.adapters.forest import ForestFactory
from service.engine.asking import how_crowded, what_is_near, where_crowds_are, why
from service.engine.config import StreamConfig
from service.engine.errors import Elsewhere, InvalidParameter, NotReady, UnknownSeries
from service.engine.records import OwnershipChange, StreamPartition
from service.engine.series import seed_of
from tests.engine.test_shared import Others
from tests.engine.world import CONFIG, World, ask, rows, run, until

FOREST = StreamConfig(name="s", features=("x", "y"), shingle_size=2, trees=10, sample_size=32)


def records(n: int) -> np.ndarray:
    random = np.random.default_rng(1)
    return np.round(random.normal(size=(n, 2)), 3)


def test_answers_and_results_are_those_of_the_library():
    values = records(200)
    values[150] += [30.0, 0.0]
    query = [5.0, -9.0]
    detector = rcf.Detector(
        2, shingle_size=2, trees=10, sample_size=32, seed=seed_of("s", "a", FOREST.seed)
    )
    judged, reasons = detector.process_explained(values)

    async def body() -> None:
        world = World(factory=ForestFactory())
        async with world.engine() as engine:
            await engine.create_stream(FOREST)
            results = await ask(engine, rows(*values.tolist(), key="a"))
            explained = [i for i, result in enumerate(results) if "attribution" in result]
            assert explained == sorted(reasons) and 150 in explained
            named = results[150]["attribution"]
            assert named[0]["feature"] == "x" and named[0]["direction"] == "high"
            whole = sum(each["high"] + each["low"] for each in named)
            assert whole == pytest.approx(judged.score[150], rel=1e-9)
            before = engine.state_digests()
            answer = await engine.ask("s", "a", why(FOREST.features, query))
            (shares,) = detector.attribution([query])
            assert answer.score == shares.total[0]
            assert {each.feature: each.low for each in answer.attribution} == {
                "x": shares.by_feature().low[0, 0],
                "y": shares.by_feature().low[0, 1],
            }
            crowding = await engine.ask("s", "a", how_crowded(FOREST.features, query))
            assert crowding.distance == detector.distance([query]).total[0]
            assert sum(e.density_high + e.density_low for e in crowding.features) == pytest.approx(
                crowding.density, rel=1e-9
            )
            near = await engine.ask("s", "a", what_is_near(query, float("inf"), 3))
            theirs = detector.near_neighbours([query])[0][:3]
            assert [each.distance for each in near] == [each.distance for each in theirs]
            spots = await engine.ask("s", "a", where_crowds_are(100, 1.0, 10))
            assert [each.records for each in spots] == [
                each.records for each in detector.hotspots(100, 1.0, 10)
            ]
            assert engine.state_digests() == before

    run(body)


def test_a_warming_series_says_so():
    async def body() -> None:
        world = World(factory=ForestFactory())
        async with world.engine() as engine:
            await engine.create_stream(FOREST)
            await ask(engine, rows((1, 2), key="a"))
            assert (await engine.ask("s", "a", why(FOREST.features, [1, 2]))).score is None
            crowding = await engine.ask("s", "a", how_crowded(FOREST.features, [1, 2]))
            assert (crowding.density, crowding.distance, crowding.features) == (None, None, [])
            assert await engine.ask("s", "a", what_is_near([1, 2], 1.0, 3)) == []

    run(body)


def test_a_series_that_sleeps_after_a_restart_answers_and_sleeps_on():
    async def body() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await ask(engine, rows((1, 2), (3, 4), (5, 6), key="a"))
            await ask(engine, rows((1, 2), (3, 4), (5, 6), key="b"))
            before = await engine.ask("s", "b", why(CONFIG.features, [1, 2]))
        async with world.engine() as engine:
            await until(lambda: engine.ready)
            assert await engine.ask("s", "b", why(CONFIG.features, [1, 2])) == before

    run(body)


def test_nobody_learns_while_a_question_is_answered_even_if_the_asker_leaves():
    answering, answer = threading.Event(), threading.Event()

    def slow(_detector: object) -> None:
        answering.set()
        assert answer.wait(5)

    async def body() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await ask(engine, rows((1, 2), key="a"))
            asking = asyncio.create_task(engine.ask("s", "a", slow))
            await until(answering.is_set)
            asking.cancel()
            learning = asyncio.create_task(ask(engine, rows((3, 4), key="a")))
            await asyncio.sleep(0.1)
            assert not learning.done()
            answer.set()
            assert (await learning)[0]["offset"] == 1

    run(body)


def test_what_is_not_held_here_cannot_be_asked():
    async def body() -> None:
        world = World(foreign=Others(0))
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            await ask(engine, rows((1, 2)))
            with pytest.raises(UnknownSeries):
                await engine.ask("s", "b", why(CONFIG.features, [1, 2]))
            world.log._changes.put_nowait(OwnershipChange(revoked=(StreamPartition("s", 0),)))
            await until(lambda: not engine._owned.runners)
            with pytest.raises(Elsewhere) as refused:
                await engine.ask("s", "", why(CONFIG.features, [1, 2]))
            assert (refused.value.stream, refused.value.partition) == ("s", 0)
        alone = World()
        async with alone.engine() as engine:
            await engine.create_stream(CONFIG)
            runners, engine._owned.runners = engine._owned.runners, {}
            with pytest.raises(NotReady):
                await engine.ask("s", "", why(CONFIG.features, [1, 2]))
            engine._owned.runners = runners

    run(body)


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("distance", lambda: what_is_near([1.0], 0.0, 3)),
        ("distance", lambda: what_is_near([1.0], float("nan"), 3)),
        ("window", lambda: where_crowds_are(99, 1.0, 5)),
        ("radius", lambda: where_crowds_are(100, float("inf"), 5)),
        ("least", lambda: where_crowds_are(100, 1.0, 101)),
    ],
)
def test_questions_that_make_no_sense_are_refused(field, make):
    with pytest.raises(InvalidParameter) as refused:
        make()
    assert refused.value.field == field
