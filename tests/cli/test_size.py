"""`rcf size`: its answers against memory that was measured, and against its own figures."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from service.cli import size
from service.cli.errors import CommandError
from service.cli.size import Question, Shape

PROBE = """
import sys, psutil, numpy as np
from service.adapters.forest import ForestFactory
from service.engine.config import StreamConfig
features, shingle, trees, sample, count, records = map(int, sys.argv[1:])
names = tuple(f"v{n}" for n in range(features))
config = StreamConfig(
    name="s", features=names, shingle_size=shingle, trees=trees, sample_size=sample
)
factory, values = ForestFactory(), np.random.default_rng(0).normal(size=(records, features))
times = np.arange(float(records))
factory.create(config, 0).process(values, times, explain="none")
before = psutil.Process().memory_info().rss
held = {f"series-{n}": factory.create(config, n) for n in range(count)}
for detector in held.values():
    detector.process(values, times, explain="none")
print((psutil.Process().memory_info().rss - before) / count)
"""


@pytest.mark.parametrize(
    ("shape", "count", "records"),
    [(Shape(1, 8, 8, 64), 1_500, 100), (Shape(3, 4, 30, 64), 200, 700)],
    ids=str,
)
def test_memory_is_what_detectors_take(shape, count, records):
    sizes = (shape.features, shape.shingle_size, shape.trees, shape.sample_size, count, records)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROBE, *map(str, sizes)],
        capture_output=True,
        text=True,
        check=True,
    )
    figures = size.shipped()
    said = size.answer(Question(10, count, shape), figures, 50.0).series_bytes
    # Beside a detector a service keeps its place in the snapshot and its key.
    assert float(done.stdout) == pytest.approx(said - figures.series_bytes, rel=0.08)
    assert 0 <= figures.series_bytes < 20_000


def asked(rate: float, series: int = 1_000, shape: Shape | None = None) -> list[str]:
    lines: list[str] = []
    question = Question(rate, series, shape or Shape())
    size.size(question, measured_here=False, as_json=False, say=lines.append)
    return lines


def answered(rate: float, series: int = 1_000, shape: Shape | None = None) -> dict:
    (line,) = _as_json(rate, series, shape or Shape())
    return json.loads(line)["answer"]


def _as_json(rate: float, series: int, shape: Shape) -> list[str]:
    lines: list[str] = []
    size.size(Question(rate, series, shape), measured_here=False, as_json=True, say=lines.append)
    return lines


def test_workers_bear_the_rate_at_seventy_percent():
    for rate in (50_000.0, 100_000.0):
        found = answered(rate)
        bears = size.LOAD * found["records_per_second"]
        assert (found["workers"] - 1) * bears < rate <= found["workers"] * bears
        assert found["partitions"] >= 2 * found["workers"] and not found["embedded"]
        assert found["records_per_second"] == pytest.approx(1e6 / found["micros"])


def test_little_traffic_needs_one_process_and_no_kafka():
    found = answered(100.0)
    assert (found["workers"], found["embedded"]) == (1, True)
    assert found["worker_mb"] == found["worker_mb_without_one"]


def test_memory_grows_with_the_series_and_falls_with_the_workers():
    base = size.shipped().worker_mb
    few, many = answered(100.0, 100), answered(100.0, 10_000)
    assert many["worker_mb"] - base == pytest.approx(100 * (few["worker_mb"] - base))
    spread = answered(100_000.0, 10_000)
    assert base < spread["worker_mb"] < spread["worker_mb_without_one"] < many["worker_mb"]


def test_larger_forests_cost_more_and_the_fit_says_how_well_it_fits():
    figures = size.shipped()
    micros, within = size.fitted(figures.forests)
    for forest in figures.forests:
        assert micros(forest.shape) == pytest.approx(forest.micros, rel=within + 1e-9)
    assert within < 0.4
    times = [micros(Shape(1, 8, trees, 256)) for trees in (10, 50, 100)]
    assert times == sorted(times) and times[0] > 0
    assert micros(Shape(5, 8)) > micros(Shape(1, 8))


def test_it_says_from_which_figures():
    lines = asked(4_000, 10_000)
    said = lines[-1]
    assert str(size.shipped().machine["cpu"]) in said and "python -m load sizes" in said
    assert [line.split()[0] for line in lines[:3]] == ["workers", "partitions", "memory"]


def test_measured_here_it_says_so_and_scales_the_rest(monkeypatch):
    figures = size.shipped()
    slow = {each.shape: each for each in figures.forests}
    shape = figures.forests[1].shape

    def twice_as_slow(asked: Shape) -> size.ForestFigure:
        return replace(slow[asked], micros=2 * slow[asked].micros)

    monkeypatch.setattr(size, "measure", twice_as_slow)
    found = size.here(figures, shape)
    assert found.forests == [twice_as_slow(shape)]
    assert found.outside_micros["kafka"] == pytest.approx(2 * figures.outside_micros["kafka"])
    assert "--measure" in found.made_by and "times 2.00" in found.made_by


def test_a_measured_forest_takes_its_time():
    small, large = size.measure(Shape(1, 2, 2, 16)), size.measure(Shape(1, 8, 60, 64))
    assert 0.5 < small.micros < large.micros < 5_000


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (Question(0, 10, Shape()), "--records-per-second = 0: must be above 0"),
        (Question(float("nan"), 10, Shape()), "--records-per-second = nan"),
        (Question(10, 0, Shape()), "--series = 0: must be 1"),
        (Question(10, 10, Shape(trees=0)), "trees"),
        (Question(10, 10, Shape(features=0)), "--features = 0: must be 1 to 1000"),
        (Question(10, 10, Shape(features=1001)), "--features = 1001: must be 1 to 1000"),
        (Question(10, 10, Shape(shingle_size=5000)), "a whole number from 1 to 1000"),
        (Question(10, 10, Shape(features=1000, shingle_size=5)), "at most 4096"),
        (Question(1e8, 10, Shape()), "spread the series over several"),
    ],
)
def test_bad_questions_are_refused_by_name(question, said):
    with pytest.raises(CommandError, match=said) as error:
        size.size(question, measured_here=False, as_json=False, say=print)
    assert error.value.code == 2
