"""Fresh processes and tables."""

import json

import pytest

from load import kafka, kernels, probe, report, start
from load.contender import Setup
from load.start import Program


def test_a_program_is_timed_inside_and_as_a_whole():
    took = start.run(Program("time.sleep(0.05)", before="import time; time.sleep(0.2)"))
    assert 0.05 <= took.inside < 0.2
    assert took.whole >= took.inside + 0.2


def test_a_program_that_fails_is_no_figure():
    with pytest.raises(RuntimeError, match="no_such_module"):
        start.run(Program("import no_such_module"))


@pytest.mark.parametrize("library", ["ours", "krcf"])
def test_a_probe_says_what_a_forest_takes(library, capsys):
    probe.main(library, *map(str, (*Setup(1, 2, 5, 32)[:4], 1, 20)))
    found = json.loads(capsys.readouterr().out)
    assert found["state"] > 5 * 32
    assert found["rss"] >= 0
    assert ("nbytes" in found) == (library == "ours")


def test_rows_are_said_as_they_come(capsys):
    rows = report.told("speed", iter([{"trees": 5, "µs": 1.234}, {"trees": 6, "µs": 2345.6}]))
    next(rows)
    assert capsys.readouterr().err.endswith("s: trees 5, µs 1.23\n")
    next(rows)
    assert capsys.readouterr().err.endswith("s: trees 6, µs 2,346\n")


def test_times_and_ratios_go_to_tables_of_their_own():
    row = {"trees": 5, "krcf µs": 1.0, "krcf / codisp": 2.0}
    assert kernels.without(row, " / ") == {"trees": 5, "krcf µs": 1.0}
    assert kernels.without(row, " µs") == {"trees": 5, "krcf / codisp": 2.0}


def test_what_workers_did_at_once_is_counted_and_what_one_did_alone_is_not():
    def at(time_s, records, spent):
        parts = {"process": spent, "pipeline": spent / 2, "forest": spent / 4}
        return {"time_s": time_s, "records": records, "decode": 0.0, "encode": 0.0, **parts}

    long = [at(0.0, 0, 0.0), at(1.0, 100, 1.0), at(2.0, 200, 2.0), at(9.0, 900, 99.0)]
    short = [at(0.5, 50, 0.5), at(1.0, 90, 1.0), at(2.0, 200, 2.0)]
    found = kafka.costs([long, short], 50)
    assert found["records/s"] == 100 + 110
    assert found["forest µs"] == pytest.approx(1e6 * 0.5 / 210)
    assert found["outside µs"] == pytest.approx(3 * found["forest µs"])


def test_a_part_that_never_ran_is_no_part_that_took_no_time():
    sample = dict.fromkeys(("time_s", "records", "process", "decode", "encode", "pipeline"), 1.0)
    with pytest.raises(RuntimeError, match="never came to forest"):
        kafka.costs([[sample, sample]], 0)


def test_a_table_replaces_the_one_of_its_title_alone():
    old = "Made on a machine.\n\n**speed**\n\n| a |\n| 1 |\n\n**size: MB**\n\n| b |\n| 2 |\n"
    tables = report.merged(old, ["**size: MB**\n\n| b |\n| 3 |", "**start**\n\n| c |"])
    expected = ["**speed**\n\n| a |\n| 1 |", "**size: MB**\n\n| b |\n| 3 |", "**start**\n\n| c |"]
    assert tables == expected


def test_a_table_says_where_it_was_measured():
    lines = report.markdown("speed", [{"µs": 1.0}], report.measured_on()).splitlines()
    assert lines[0] == "**speed**"
    assert str(report.machine()["cpu"]) in lines[2]
    assert lines[4:] == ["| µs |", "| --- |", "| 1.00 |"]
