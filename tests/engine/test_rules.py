"""Each rule holds back what it says, on a stream made for it, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from service.engine.config import StreamConfig
from service.engine.control import decode_config, encode_config
from service.engine.errors import InvalidParameter
from service.engine.feedback import ThresholdFactor
from service.engine.records import Batch, Record
from service.engine.rules import Mute, Rule, Suspect, first_met, is_meant
from service.engine.times import parse_time
from tests.engine.graded import P0, pipeline, record

CONFIG = StreamConfig(name="s", features=("x", "y"))


def holds(rule: Rule, **known) -> bool:
    facts = {"key": "room-1", "time_ms": 0, "grade": 0.5, "values": (12.0, 10.0)}
    suspect = Suspect(**facts | {"expected": (10.0, 10.0)} | known)
    return first_met([rule], CONFIG.features, suspect) is not None


@pytest.mark.parametrize(
    ("rule", "known", "held"),
    [
        ({"within": 2.0}, {}, True),
        ({"within": 1.9}, {}, False),
        ({"within": 2.0}, {"values": (8.0, 12.5)}, False),  # every feature must be near
        ({"within": 2.0, "feature": "x"}, {"values": (8.0, 12.5)}, True),
        ({"within": 2.0}, {"expected": None}, False),  # in doubt it is told
        ({"within_of_expected": 0.2}, {}, True),
        ({"within_of_expected": 0.19}, {}, False),
        ({"within_of_expected": 1.0}, {"values": (0.0, 0.0)}, True),
        ({"within_of_actual": 1.0}, {"values": (0.0, 0.0)}, False),  # a fall to 0 is told
        ({"within_of_actual": 0.5}, {"values": (20.0, 10.0)}, True),
        ({"direction": "high", "feature": "x"}, {}, True),
        ({"direction": "low", "feature": "x"}, {}, False),
        ({"direction": "low"}, {"values": (9.0, 8.0)}, True),
        ({"direction": "low"}, {"values": (9.0, 11.0)}, False),
        ({"direction": "high"}, {"expected": None}, False),
        ({"grade_below": 0.6}, {}, True),
        ({"grade_below": 0.5}, {}, False),
        ({"fewer_than": 3}, {"run": 2}, True),
        ({"fewer_than": 3}, {"run": 3}, False),
        ({"shorter_than_s": 60}, {"time_ms": 59_000, "run_started_ms": 0}, True),
        ({"shorter_than_s": 60}, {"time_ms": 60_000, "run_started_ms": 0}, False),
        ({"grade_below": 0.6, "key": "room-*"}, {}, True),
        ({"grade_below": 0.6, "key": "hall-?"}, {}, False),
        ({"grade_below": 0.6, "within": 1.0}, {}, False),  # every condition must be met
        ({"within": 2.0}, {"expected": (float("nan"), 10.0)}, False),
    ],
)
def test_conditions(rule, known, held):
    assert holds(Rule(name="r", **rule), **known) is held


NIGHT = Mute("22:00", "06:00", zone="Europe/Berlin")
WEEKEND_NIGHT = Mute("22:00", "06:00", days=("sat",), zone="Europe/Berlin")


@pytest.mark.parametrize(
    ("mute", "time", "held"),
    [
        (Mute("2026-01-31T12:00:00Z", "2026-01-31T13:00:00Z"), "2026-01-31T12:00:00Z", True),
        (Mute("2026-01-31T12:00:00Z", "2026-01-31T13:00:00Z"), "2026-01-31T13:00:00Z", False),
        (Mute("09:00", "17:00", days=("mon",)), "2026-11-23T09:00:00Z", True),
        (Mute("09:00", "17:00", days=("mon",)), "2026-11-24T09:00:00Z", False),
        (Mute("09:00", "17:00"), "2026-11-24T17:00:00Z", False),
        (NIGHT, "2026-01-31T21:00:00Z", True),  # 22:00 in winter
        (NIGHT, "2026-01-31T20:59:00Z", False),
        (NIGHT, "2026-07-31T20:00:00Z", True),  # 22:00 in summer
        (NIGHT, "2026-07-31T04:00:00Z", False),  # 06:00 in summer
        (NIGHT, "2026-01-31T04:59:00Z", True),  # 05:59 in winter
        (NIGHT, "2026-03-29T03:59:00Z", True),  # the clocks went forward at 01:00 UTC: 05:59
        (NIGHT, "2026-03-29T04:00:00Z", False),
        (NIGHT, "2026-10-25T04:30:00Z", True),  # and back at 01:00 UTC: 05:30
        (WEEKEND_NIGHT, "2026-11-28T23:00:00Z", True),  # Sunday 00:00, begun on Saturday
        (WEEKEND_NIGHT, "2026-11-27T23:00:00Z", False),
    ],
)
def test_mute(mute, time, held):
    assert holds(Rule(name="r", mute=mute), time_ms=parse_time(time)) is held


@pytest.mark.parametrize(
    ("pattern", "key", "meant"),
    [
        ("disk[0]", "disk[0]", True),
        ("disk[0]", "disk0", False),
        ("disk[?]", "disk?", True),
        ("disk[?]", "disk1", False),
        ("disk[*", "disk[1]", True),
        ("[*]", "*", True),
        ("[*]", "x", False),
        ("a[[]*", "a[x", True),
        ("room-?", "room-1", True),
    ],
)
def test_brackets_in_keys_mean_themselves(pattern, key, meant):
    assert is_meant(pattern, key) is meant


@pytest.mark.parametrize("time_ms", [-(2**63), parse_time("0001-01-01"), 2**62])
def test_times_that_no_calendar_knows_do_no_harm(time_ms):
    holds(Rule(name="r", mute=NIGHT), time_ms=time_ms)


def results(config: StreamConfig, records: list[Record]) -> list[dict]:
    end = records[-1].offset + 1
    return [
        json.loads(each.value) for each in pipeline(config).process(Batch(P0, records, end)).results
    ]


def test_a_held_back_anomaly_says_why_and_is_none():
    config = StreamConfig(name="s", rules=(Rule(name="faint", grade_below=0.5),))
    faint, loud, normal = results(config, [record(0, 0.4), record(1, 0.9), record(2, 0.0)])
    assert (faint["status"], faint["anomaly"], faint["grade"]) == ("suppressed", False, 0.4)
    assert faint["held_back"] == {"rule": "faint", "reason": "grade_below = 0.5"}
    assert "incidents" not in faint
    assert (loud["status"], loud["anomaly"], len(loud["incidents"])) == ("scored", True, 1)
    assert normal["status"] == "scored" and "held_back" not in normal


def test_the_first_rule_that_is_met_counts():
    rules = (
        Rule(name="other", grade_below=1.0, key="z"),
        Rule(name="first", grade_below=0.9),
        Rule(name="second", grade_below=1.0),
    )
    (found,) = results(StreamConfig(name="s", rules=rules), [record(0, 0.4)])
    assert found["held_back"]["rule"] == "first"


def test_what_lasts_is_told_with_its_beginning():
    config = StreamConfig(name="s", rules=(Rule(name="brief", fewer_than=3),))
    grades = [0.5, 0.5, 0.0, 0.5, 0.5, 0.5, 0.5]
    found = results(config, [record(offset, grade) for offset, grade in enumerate(grades)])
    assert [each["anomaly"] for each in found] == [False] * 5 + [True] * 2
    assert found[5]["incidents"][0]["started"] == "1970-01-01T00:00:03.000Z"


def test_rules_change_where_the_control_record_stands():
    strict = StreamConfig(name="s", rules=(Rule(name="all", grade_below=1.0),))
    change = Record(1, 0, None, encode_config(strict), True)
    found = results(StreamConfig(name="s"), [record(0, 0.4), change, record(2, 0.4)])
    assert [each["status"] for each in found] == ["scored", "control", "suppressed"]


def test_a_configuration_with_rules_survives_its_bytes():
    rule = Rule(name="night", key="a*", within=1.0, mute=NIGHT)
    config = replace(CONFIG, rules=(rule,))
    assert decode_config(encode_config(config)) == config


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        (Rule(name="", within=1), "rules[0].name"),
        (Rule(name="nothing"), "rules[0]"),
        (Rule(name="r", within=-1), "rules[0].within"),
        (Rule(name="r", within=float("nan")), "rules[0].within"),
        (Rule(name="r", within=1, feature="z"), "rules[0].feature"),
        (Rule(name="r", grade_below=0), "rules[0].grade_below"),
        (Rule(name="r", fewer_than=1), "rules[0].fewer_than"),
        (Rule(name="r", shorter_than_s=0), "rules[0].shorter_than_s"),
        (Rule(name="r", mute=Mute("25:00", "06:00")), "rules[0].mute.start"),
        (Rule(name="r", mute=Mute("22:00", "noon")), "rules[0].mute.end"),
        (Rule(name="r", mute=Mute("22:00", "06:00Z")), "rules[0].mute.end"),
        (Rule(name="r", mute=Mute("22:00Z", "06:00")), "rules[0].mute.start"),
        (Rule(name="r", mute=Mute("2026", "2027")), "rules[0].mute.start"),
        (Rule(name="r", mute=Mute("2026-01-02", "2026-01-01")), "rules[0].mute.end"),
        (
            Rule(name="r", mute=Mute("2026-01-01", "2026-01-02", days=("mon",))),
            "rules[0].mute.start",
        ),
        (Rule(name="r", mute=Mute("22:00", "06:00", zone="Mars/Base")), "rules[0].mute.zone"),
        (Rule(name="r", mute=Mute("22:00", "06:00", zone="../etc")), "rules[0].mute.zone"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule, field):
    with pytest.raises(InvalidParameter) as raised:
        replace(CONFIG, rules=(rule,))
    assert raised.value.field == field


def test_two_rules_of_one_name_are_refused():
    with pytest.raises(InvalidParameter, match="no other rule's name"):
        replace(CONFIG, rules=(Rule(name="r", within=1), Rule(name="r", within=2)))


def told(config: StreamConfig, *grades: float) -> list[tuple[bool, str]]:
    """Of each record whether it is told of, and why not."""
    records = [record(offset, grade) for offset, grade in enumerate(grades)]
    results = pipeline(config).process(Batch(P0, records, len(records))).results
    found = [json.loads(each.value) for each in results]
    return [(each["anomaly"], each.get("held_back", {}).get("reason", "")) for each in found]


def test_an_event_that_a_rule_held_back_is_told_once_it_lasts():
    """The detector says an event with its first record, which is too early for the rule."""
    config = StreamConfig(name="s", rules=(Rule(name="a moment", fewer_than=3),))
    moment = (False, "fewer_than = 3")
    assert told(config, 0.5, -0.5, -0.5, -0.5, 0.0) == [
        moment,
        moment,
        (True, ""),
        (False, "cool_down"),
        (False, ""),
    ]
    assert told(config, 0.5, 0.0, -0.5, -0.5, -0.5)[2:] == [moment, moment, (True, "")]
    assert told(StreamConfig(name="s"), 0.5, -0.5, 0.0, -0.5) == [
        (True, ""),
        (False, "cool_down"),
        (False, ""),
        (False, "cool_down"),
    ]


def test_what_is_told_late_has_the_grade_of_its_run():
    """Its own is 0, for the detector had said the run; an anomaly's grade is above 0."""
    config = StreamConfig(name="s", rules=(Rule(name="a moment", fewer_than=3),))
    found = results(config, [record(at, grade) for at, grade in enumerate([0.5, -0.5, -0.5, -0.5])])
    assert [each["anomaly"] for each in found] == [False, False, True, False]
    assert [each["grade"] for each in found] == [0.5, 0.0, 0.5, 0.0]


def test_a_lowered_threshold_tells_of_an_event_once_too():
    lowered = StreamConfig(name="s", threshold_factors=(ThresholdFactor("*", 0.5),), cool_down=3)
    weak = [0.006, 0.007, 0.006, 0.0, 0.006, *[0.0] * 5, 0.006]  # the detector's threshold is .01
    found = told(lowered, *weak)
    assert [place for place, (anomaly, _) in enumerate(found) if anomaly] == [0, 10]
    assert found[1] == (False, "cool_down") and found[3] == (False, "")
