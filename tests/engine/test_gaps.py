"""Records with gaps, expected values and pauses: what results say, with the library's series."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import rcf
from service.adapters.codec import decoder_for
from service.adapters.forest import COVERAGE, ForestFactory
from service.engine.asking import LONGEST_HORIZON, what_comes
from service.engine.config import CHANGES, DECISIVE, StreamConfig
from service.engine.control import decode_config, encode_config
from service.engine.detectors import SeriesDetectors
from service.engine.errors import InvalidParameter
from service.engine.pipeline import Pipeline
from service.engine.records import Batch, Record, StreamPartition
from service.engine.series import seed_of

HERE = StreamPartition("s", 0)
FOREST = StreamConfig(
    name="s", features=("x", "y"), shingle_size=2, trees=10, sample_size=32, missing="forecast"
)


def pipeline(config: StreamConfig = FOREST) -> Pipeline:
    return Pipeline(HERE, config, SeriesDetectors(ForestFactory()), decoder_for)


def waves(n: int) -> np.ndarray:
    noise = 0.05 * np.random.default_rng(2).normal(size=(n, 2))
    return np.stack([np.sin(np.arange(n) / 6), np.cos(np.arange(n) / 6)], axis=1) + noise


def records(values: np.ndarray, start: int = 0) -> list[Record]:
    """JSON of rows, null where NaN."""
    texts = [json.dumps([None if np.isnan(v) else v for v in row]) for row in values.tolist()]
    return [Record(start + i, 5, "a", text.encode()) for i, text in enumerate(texts)]


def stories(step: Pipeline, some: list[Record]) -> list[dict]:
    output = step.process(Batch(HERE, some, some[-1].offset + 1))
    return [json.loads(result.value) for result in output.results]


def test_results_say_what_was_expected_and_what_stood_in_a_gap() -> None:
    """Number for number what the library says of the same rows."""
    values = waves(200)
    values[150, 0] = values[160] = np.nan
    detector = rcf.Detector(
        2, shingle_size=2, trees=10, sample_size=32, seed=seed_of("s", "a", FOREST.seed)
    )
    told = rcf.Series(detector, coverage=COVERAGE, missing="forecast").process(values)
    found = stories(pipeline(), records(values))
    assert told.forecast is not None
    assert [found[0][name] for name in ("expected", "lower", "upper")] == [None] * 3
    for i, story in enumerate(found[1:], 1):
        assert story["expected"] == told.forecast.expected[i].tolist()
        assert story["lower"] == told.forecast.lower[i].tolist()
        assert story["upper"] == told.forecast.upper[i].tolist()
    imputed = [i for i, story in enumerate(found) if story["status"] == "imputed"]
    assert imputed == [150, 160]
    assert found[150]["values"] == [None, values[150, 1]]
    assert found[150]["filled"] == told.values[150].tolist()
    assert found[160]["values"] == [None, None] and found[160]["score"] > 0
    assert all("filled" not in story for i, story in enumerate(found) if i not in imputed)


def test_how_records_are_cut_and_a_restart_change_nothing() -> None:
    values = waves(120)
    values[np.random.default_rng(1).random(values.shape) < 0.2] = np.nan
    some = records(values)
    whole, factory = stories(pipeline(), some), ForestFactory()
    parts, step = [], pipeline()
    for start in range(0, 120, 17):
        parts += stories(step, some[start : start + 17])
        held = {key: each.to_bytes() for key, each in step.detectors.held().items()}
        detectors = SeriesDetectors(factory)
        for key, data in held.items():
            detectors.restore(key, data)
        step = Pipeline(HERE, FOREST, detectors, decoder_for, step.position)
    assert parts == whole


def test_a_gap_is_an_error_unless_the_stream_allows_it() -> None:
    refusing = replace(FOREST, missing="refuse")
    found = stories(
        pipeline(refusing), [Record(0, 5, "a", b"[1,null]"), Record(1, 5, "a", b"[1,2]")]
    )
    assert [story["status"] for story in found] == ["error", "warming"]
    assert found[0]["error"]["field"] == "values.y"
    assert found[0]["error"]["reason"] == "not a finite number"


def test_forecasts_and_learning_are_turned_off_and_on_while_the_stream_runs() -> None:
    """The first record behind the change follows it; a paused forest keeps finding it odd."""
    step, values = pipeline(), waves(400)
    before = stories(step, records(values))
    assert "expected" in before[-1]
    other = replace(FOREST, forecast=False, missing="zero", learning=False)
    control = Record(400, 9, None, encode_config(other), True)
    paused = stories(step, [control, *records(values[:300] + 5, 401)])[1:]
    assert "expected" not in paused[0]
    assert paused[0]["model"] != before[-1]["model"]
    tail = np.mean([story["score"] for story in paused[-50:]])
    assert tail > 5 * np.mean([story["score"] for story in before[-50:]])
    control = Record(701, 9, None, encode_config(FOREST), True)
    learning = stories(step, [control, *records(values[:300] + 5, 702)])[1:]
    assert [learning[i]["expected"] is None for i in (0, 1)] == [True, False]
    assert learning[0]["model"] == before[-1]["model"]
    assert np.mean([story["score"] for story in learning[-50:]]) < tail / 3


def test_what_a_stream_may_say_of_gaps() -> None:
    fixed = replace(FOREST, missing="fixed", fill=(1.0, 2.0))
    assert decode_config(encode_config(fixed)) == fixed
    (story,) = stories(pipeline(fixed), [Record(0, 5, "a", b'{"values":{"y":3}}')])
    assert story["values"] == [None, 3.0] and story["status"] == "warming"
    assert story["filled"] == [1.0, 3.0]
    for wrong, name in (
        ({"missing": "guess"}, "missing"),
        ({"forecast": False}, "missing"),
        ({"missing": "fixed"}, "fill"),
        ({"missing": "fixed", "fill": (1.0,)}, "fill"),
        ({"missing": "fixed", "fill": (1.0, float("nan"))}, "fill"),
        ({"fill": (1.0, 2.0)}, "fill"),
        ({"learning": "off"}, "learning"),
        ({"forecast": 1}, "forecast"),
    ):
        with pytest.raises(InvalidParameter) as caught:
            replace(FOREST, **wrong)
        assert caught.value.field == name
    decisive = {"missing", "fill", "learning"}
    assert decisive <= set(DECISIVE) and "forecast" not in DECISIVE
    assert all(CHANGES[name] == "live" for name in (*decisive, "forecast"))


def test_a_series_tells_what_comes() -> None:
    step, values = pipeline(), waves(300)
    stories(step, records(values))
    series = step.detectors.look_at("a")
    ahead = what_comes(FOREST, 20)(series)
    assert [each.lead for each in ahead] == list(range(1, 21))
    wanted = series.forecast(20)
    assert ahead[19].upper == wanted.upper[19].tolist()
    assert ahead[4].lower < ahead[4].expected < ahead[4].upper
    for config, horizon in (
        (FOREST, 0),
        (FOREST, LONGEST_HORIZON + 1),
        (replace(FOREST, forecast=False, missing="zero"), 5),
    ):
        with pytest.raises(InvalidParameter):
            what_comes(config, horizon)
