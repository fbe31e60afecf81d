"""One partition's step: pure, in order, one result for every offset."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from service.adapters.codec import decoder_for
from service.engine.config import CHANGES, DECISIVE, StreamConfig, model_digest
from service.engine.control import encode_config
from service.engine.detectors import SeriesDetectors
from service.engine.errors import InvariantError
from service.engine.pipeline import Output, Pipeline
from service.engine.records import Batch, Record, StreamPartition
from service.engine.series import partition_of, seed_of
from tests.engine.fakes import FakeFactory
from tests.engine.world import CONFIG

HERE = StreamPartition("s", 0)


def pipeline(config: StreamConfig = CONFIG) -> Pipeline:
    return Pipeline(HERE, config, SeriesDetectors(FakeFactory()), decoder_for)


def batch(records: list[Record]) -> Batch:
    return Batch(HERE, records, records[-1].offset + 1)


def stories(output: Output) -> list[dict]:
    return [json.loads(result.value) for result in output.results]


def mixed(count: int, seed: int) -> list[Record]:
    rng = random.Random(seed)
    records = []
    for offset in range(count):
        key = rng.choice(["a", "b", "c", None])
        value = rng.choice([b"[%d,1]", b'{"values":[%d,2]}', b"[%d", b"[%d,1e39]", b"[%d,3]"])
        records.append(Record(offset, 1000 - offset, key, value % rng.randrange(100)))
    changed = StreamConfig(name="s", features=("x", "y"), shingle_size=3, generation=2)
    records[count // 2] = Record(count // 2, 0, None, encode_config(changed), True)
    return records


@pytest.mark.parametrize("seed", [3, 11, 12])
@pytest.mark.parametrize("new_series", ["cold", "shared"])
def test_how_records_are_cut_into_batches_changes_nothing(new_series, seed):
    config = replace(CONFIG, new_series=new_series, sample_size=5)
    records = mixed(200, seed)
    whole, parts, rng = pipeline(config), pipeline(config), random.Random(4)
    expected = whole.process(batch(records))
    results, dead, at = [], [], 0
    while at < len(records):
        size = rng.randrange(1, 20)
        output = parts.process(batch(records[at : at + size]))
        results += output.results
        dead += output.dead_letters
        at += size
    assert results == expected.results
    assert dead == expected.dead_letters
    assert parts.detectors.digests() == whole.detectors.digests()
    assert [result.offset for result in results] == list(range(200))


def test_new_series_begin_with_what_the_first_ripe_ones_have_learnt():
    """Four of the oldest that have seen a sample, as they are at that record."""
    config = replace(CONFIG, new_series="shared", sample_size=2)
    keys = [*"abcdef", *"bdeff", "new", *"bdeff", "newer"]
    taught = {}

    class Noting(FakeFactory):
        def merge(self, detector, others):
            taught[len(taught)] = [(each.state, each.seen) for each in others]

    step = Pipeline(HERE, config, SeriesDetectors(Noting()), decoder_for)
    alone = Pipeline(HERE, config, SeriesDetectors(FakeFactory()), decoder_for)
    records = [Record(o, 0, key, b"[%d,1]" % o) for o, key in enumerate(keys)]
    step.process(batch(records))
    alone.process(batch(records[:11]))
    learnt = [alone.detectors.look_at(key) for key in "bdef"]
    assert taught[0] == [(each.state, each.seen) for each in learnt]
    assert [seen for _, seen in taught[1]] == [3, 3, 3, 5]
    assert len(taught) == 2


def test_a_result_says_what_happened():
    first, second, third = stories(
        pipeline().process(
            batch([Record(o, 1_700_000_000_123, "a", b'{"values":[1,2]}') for o in range(3)])
        )
    )
    assert first == {
        "stream": "s",
        "key": "a",
        "partition": 0,
        "offset": 0,
        "timestamp": "2023-11-14T22:13:20.123Z",
        "values": [1.0, 2.0],
        "status": "warming",
        "score": None,
        "threshold": None,
        "grade": None,
        "confidence": None,
        "anomaly": False,
        "model": model_digest(CONFIG),
    }
    assert second["status"] == "warming"
    assert third["status"] == "scored"
    assert 0 <= third["score"] <= 1
    assert third["anomaly"] == (third["grade"] > 0)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (b"oops", ""),
        (b"[1]", "values"),
        (b"[1,3.5e38]", "values.y"),
        (b"[-1e300,2]", "values.x"),
        (b'{"values":{"x":1}}', "values.y"),
    ],
)
def test_poison_gets_a_result_and_a_dead_letter_and_the_detector_never_sees_it(value, field):
    good = [Record(0, 1, "a", b"[1,2]"), Record(2, 3, "a", b"[3,4]"), Record(3, 3, "a", b"[3,4]")]
    poisoned, clean = pipeline(), pipeline()
    output = poisoned.process(batch([good[0], Record(1, 2, "a", value), *good[1:]]))
    clean.process(batch(good))
    story = stories(output)[1]
    assert story["status"] == "error"
    assert story["error"]["field"] == field
    assert story["error"]["reason"]
    assert story["values"] is None
    (letter,) = output.dead_letters
    assert (letter.offset, letter.value, letter.field) == (1, value, field)
    assert poisoned.detectors.digests() == clean.detectors.digests()


def test_other_fields_and_headers_travel_with_the_result():
    headers = (("trace", b"\xff\x00"), ("none", None), ("trace", b"2"))
    value = b'{"host":"a","n":1.50,"values":[1,2]}'
    records = [
        Record(0, 1, "a", value, False, headers),
        Record(1, 2, "a", b"[1,2]"),
        Record(2, 3, "a", b"oops", False, headers),
    ]
    output = pipeline().process(batch(records))
    assert b'"fields":{"host":"a","n":1.50}' in output.results[0].value
    assert [result.headers for result in output.results] == [headers, (), headers]
    assert not {"fields", "fields_left_out", "headers_left_out"} & stories(output)[1].keys()
    assert output.dead_letters[0].headers == headers


def test_what_is_carried_is_bounded_and_what_is_left_out_is_counted():
    fields = {f"f{n}": "x" * 1000 for n in range(6)} | {"last": 1}
    value = json.dumps({"values": [1, 2]} | fields).encode()
    headers = (*((f"h{n}", bytes(1500)) for n in range(4)), ("small", b"1"))
    large = Record(0, 1, "a", value, False, headers)
    huge = Record(1, 1, "a", b'{"values":[1,2],"f":"%b"}' % bytes(b"x" * 9000))
    bad = Record(2, 1, "a", b"oops", False, headers)
    output = pipeline().process(batch([large, huge, bad]))
    one, two, three = stories(output)
    assert list(one["fields"]) == ["f0", "f1", "f2", "f3", "last"]
    assert (one["fields_left_out"], one["headers_left_out"]) == (2, 2)
    assert [name for name, _ in output.results[0].headers] == ["h0", "h1", "small"]
    assert "fields" not in two and two["fields_left_out"] == 1
    assert three["headers_left_out"] == 2
    assert output.dead_letters[0].headers == headers, "a dead letter keeps all of it"


def test_the_bound_is_what_is_said():
    def kept(length: int) -> bool:
        value = b'{"values":[1,2],"f":"%b"}' % (b"x" * length)
        return "fields" in stories(pipeline().process(batch([Record(0, 1, "a", value)])))[0]

    assert kept(4096 - len('{"f":""}')) and not kept(4097 - len('{"f":""}'))


def test_the_model_is_named_by_what_decides_scores():
    for same in ({"retention": 5000}, {"max_series": 7}, {"partitions": 3}, {"decoder": "csv"}):
        assert model_digest(replace(CONFIG, **same)) == model_digest(CONFIG)
    other = [{"seed": 1}, {"time_decay": 0.5}, {"generation": 2}, {"name": "t"}, {"trees": 9}]
    digests = {model_digest(replace(CONFIG, **change)) for change in other}
    assert len(digests | {model_digest(CONFIG)}) == 6


def test_every_field_of_a_stream_is_counted_as_decisive_or_not():
    indifferent = {"partitions", "max_series", "retention", "decoder", "explain", "forecast"}
    indifferent |= {"dead_letter_share", "dead_letter_run"}
    indifferent |= {"rules"}
    indifferent |= {"told_from", "threshold_factors", "feedback"}
    indifferent |= {"late_after_s", "skip_duplicates", "zone"}
    indifferent |= {"incident_gap", "incident_window_s", "incident_silence_s"}
    assert {*DECISIVE, *indifferent} == CHANGES.keys()


def test_the_decoder_changes_where_the_change_stands():
    csv = encode_config(replace(CONFIG, decoder="csv"))
    records = [
        Record(0, 0, "a", b"[1,2]"),
        Record(1, 0, "a", b"1,2"),
        Record(2, 0, None, csv, True),
        Record(3, 0, "a", b"[1,2]"),
        *(Record(offset, 0, "a", b"1,2") for offset in (4, 5)),
    ]
    found = [story["status"] for story in stories(pipeline().process(batch(records)))]
    assert found == ["warming", "error", "control", "error", "warming", "scored"]


def test_series_above_the_limit_get_error_results():
    config = StreamConfig(name="s", features=("x", "y"), max_series=2, output_after=3)
    records = [Record(o, 0, key, b"[1,2]") for o, key in enumerate("aabca")]
    output = pipeline(config).process(batch(records))
    assert [story["status"] for story in stories(output)] == ["warming"] * 3 + ["error", "warming"]
    assert "max_series = 2" in output.dead_letters[0].reason


def test_the_logs_key_names_the_series_before_the_values_own():
    output = pipeline().process(
        batch(
            [
                Record(0, 0, "log", b'{"key":"json","values":[1,2]}'),
                Record(1, 0, None, b'{"key":"json","values":[1,2]}'),
                Record(2, 0, None, b"[1,2]"),
                Record(3, 0, "k" * 2000, b"[1,2]"),
            ]
        )
    )
    assert [story["key"] for story in stories(output)[:3]] == ["log", "json", ""]
    assert stories(output)[3]["error"]["field"] == "key"


def test_a_reset_starts_every_series_afresh_and_a_live_change_does_not():
    step = pipeline()
    step.process(batch([Record(o, 0, "a", b"[1,2]") for o in range(5)]))
    live = encode_config(StreamConfig(name="s", features=("x", "y"), shingle_size=2, max_series=7))
    output = step.process(batch([Record(5, 9, None, live, True), Record(6, 0, "a", b"[1,2]")]))
    assert [story["status"] for story in stories(output)] == ["control", "scored"]
    reset = encode_config(step.config.with_generation(2))
    output = step.process(batch([Record(7, 9, None, reset, True), Record(8, 0, "a", b"[1,2]")]))
    assert [story["status"] for story in stories(output)] == ["control", "warming"]


def test_a_record_met_twice_or_a_broken_control_record_stops_the_partition():
    step = pipeline()
    step.process(batch([Record(0, 0, "a", b"[1,2]"), Record(1, 0, "a", b"[1,2]")]))
    with pytest.raises(InvariantError, match="already processed"):
        step.process(batch([Record(1, 0, "a", b"[1,2]")]))
    with pytest.raises(InvariantError, match="unreadable control record"):
        pipeline().process(batch([Record(0, 0, None, b"?", True)]))


def test_what_a_key_decides_is_the_same_in_every_process():
    assert [partition_of(key, 4) for key in ("a", "b", "series-1", None)] == [3, 1, 3, 0]
    assert partition_of("anything", 1) == 0
    assert seed_of("s", "a", 0) == 1684485030707868383
    seeds = {seed_of(s, k, n) for s in ("s", "sa") for k in ("a", "", "aa") for n in (0, 1)}
    assert len(seeds) == 12
    assert all(0 <= seed < 2**63 for seed in seeds)
