"""`rcf backtest`: figures of a file and of a stream's past, two settings side by side."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli.app import app
from service.cli.errors import CommandError
from service.engine.config import StreamConfig
from service.engine.engine import Engine
from service.engine.records import NewRecord
from tests.cli.lived import Lived, make

TRIAL = {"backtest": (), "tune": ("--trials", "1")}
SMALL = ("--set", "trees=5", "--set", "sample_size=32", "--set", "shingle_size=2")


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A wave with two labelled spikes, a row a minute."""
    path = tmp_path_factory.mktemp("waves") / "waves.csv"
    lines = ["time,value,label,room"]
    for n in range(1500):
        odd = n in (900, 901, 1300)
        value = math.sin(n / 10) + 8 * odd
        lines.append(f"{1767225600 + 60 * n},{value:.4f},{int(odd)},r{n % 1}")
    path.write_text("\n".join(lines))
    return str(path)


def rcf(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["backtest", *arguments])
    if isinstance(done.exception, CommandError):
        assert done.exception.code == code, str(done.exception)
        return str(done.exception)
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout


def test_two_settings_are_shown_side_by_side(waves, tmp_path):
    rule = '--against=rules=[{"name": "all", "grade_below": 1}, {"name": "x", "fewer_than": 9}]'
    plot = tmp_path / "out.html"
    said = rcf(waves, "--labels", "label", *SMALL, rule, "--plot", str(plot)).splitlines()
    assert said[0] == "1,500 records of 1 series"
    assert said[1].split() == ["settings", "against"]
    figures = {line[:22].strip(): line[22:].split() for line in said[2:] if "wrote" not in line}
    assert figures["found"] == ["2", "0"]
    assert figures["recall"] == ["1.000", "0.000"]
    assert "uPlot" in plot.read_text() and (tmp_path / "out-against.html").exists()


def test_json_holds_every_figure_and_windows_label_as_columns_do(waves, tmp_path):
    windows = tmp_path / "windows.json"
    windows.write_text(
        json.dumps([["2026-01-01T15:00:00Z", "2026-01-01T15:01:00Z"], [1767303600, 1767303600]])
    )
    by_column = rcf(waves, "--labels", "label", *SMALL, "--key", "room", "--json")
    by_window = rcf(
        waves, "--labels", str(windows), "--columns", "value", *SMALL, "--key", "room", "--json"
    )
    assert json.loads(by_column) == json.loads(by_window)
    figures = json.loads(by_column)["settings"]
    assert figures["events"] == figures["found"] == 2
    assert figures["nab_standard"] > 80 and figures["alerts_per_day"] < 5


def test_the_limit_is_kept_and_what_it_leaves_is_said(waves, tmp_path):
    head, *lines = Path(waves).read_text().splitlines()
    broken = tmp_path / "broken.csv"
    broken.write_text("\n".join([head, *lines[:200], "what is beyond the limit, is not read"]))
    for limit, warned in ((100, True), (1499, True), (1500, False), (2000, False)):
        given = (waves, *SMALL, "--columns", "value", "--limit", str(limit), "--json")
        done = CliRunner().invoke(app, ["backtest", *given])
        assert json.loads(done.stdout)["settings"]["rows"] == min(limit, 1500)
        said = f"judged the first {limit:,} records; --limit takes more\n"
        assert done.stderr == (said if warned else "")
    rcf(str(broken), *SMALL, "--limit", "200")


def test_the_past_of_a_stream_is_judged_under_its_own_settings(tmp_path):
    lived = Lived(None, tmp_path, "s")
    make(lived)
    before = lived.run("backtest", "--topic", "s", "--json")
    figures = json.loads(before)["settings"]
    assert figures["rows"] > 400 and figures["scored"] > 0
    assert figures["events"] == 0 and figures["recall"] is None
    assert lived.run("backtest", "--topic", "s", "--json") == before
    few = lived.run("backtest", "--topic", "s", "--limit", "50", "--json")
    warned, figures = few.splitlines()
    assert warned == "judged the newest 50 records; --limit takes more"
    assert json.loads(figures)["settings"]["rows"] == 50


def test_the_past_of_a_stream_keeps_the_order_in_which_it_came(tmp_path):
    """Times that fall: where none may be late, all but the first are."""
    lived = Lived(None, tmp_path, "s")
    config = StreamConfig(name="s", trees=5, sample_size=16, output_after=1)

    async def feed(engine: Engine) -> None:
        await engine.create_stream(config)
        rows = [NewRecord(b"%d" % n, "k", 1_700_000_000_000 - 1000 * n) for n in range(50)]
        await engine.results_at("s", await engine.append("s", rows), 20)

    lived.work(feed)

    def scored(*settings: str) -> int:
        said = lived.run("backtest", "--topic", "s", "--json", *settings)
        return json.loads(said)["settings"]["scored"]

    assert scored("--set", "late_after_s=0") < 2 < scored()


@pytest.mark.parametrize("command", ["backtest", "tune"])
def test_the_index_that_pandas_writes_is_left_out(waves, tmp_path, command):
    head, *lines = Path(waves).read_text().splitlines()
    path = tmp_path / "indexed.csv"
    numbered = [f"{number},{line}" for number, line in enumerate(lines)]
    path.write_text("\n".join([f",{head}", *numbered]))
    arguments = ("--labels", "label", *SMALL, "--json", *TRIAL[command])
    plain, indexed = (
        CliRunner().invoke(app, [command, file, *arguments]) for file in (waves, str(path))
    )
    assert indexed.exit_code == 0 and indexed.stdout == plain.stdout
    assert "left out '' (has no name), 'room' (not numeric)" in indexed.stderr


def test_gaps_are_filled_where_asked_and_counted_where_not(waves, tmp_path):
    head, *lines = Path(waves).read_text().splitlines()
    cells = [line.split(",") for line in lines]
    for number, gap in ((40, ""), (50, "nan"), (60, " ")):
        cells[number][1] = gap
    path = tmp_path / "gaps.csv"
    path.write_text("\n".join([head, *map(",".join, cells)]))
    for missing, errors in (("refuse", 3), ("previous", 0)):
        given = (str(path), "--labels", "label", *SMALL, "--set", f"missing={missing}")
        done = CliRunner().invoke(app, ["backtest", *given, "--json"])
        figures = json.loads(done.stdout)["settings"]
        assert (figures["rows"], figures["errors"], figures["found"]) == (1500, errors, 2)
        said = "settings: 3 of 1,500 records got an error instead of a judgement, the first because"
        assert (said in done.stderr) == bool(errors)
        assert ("--set missing=previous" in done.stderr) == bool(errors)


def test_a_bare_date_is_taken_for_no_seconds(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("date,value\n20260131,3\n20260201,4\n")
    said = rcf(str(path), code=1)
    assert "row 1: '20260131' is a date, or seconds since 1970?" in said
    path.write_text("date,value\n20260131.0,3\n20260201.0,4\n")
    rcf(str(path))


@pytest.mark.parametrize(
    ("header", "columns"),
    [(",a", ("--columns", ",a")), ("b" * 201, ()), (",".join(f"c{n}" for n in range(1001)), ())],
)
def test_columns_that_no_stream_can_have_are_refused(tmp_path, header, columns):
    path = tmp_path / "x.csv"
    row = ",".join("3" for _ in header.split(","))
    path.write_text("\n".join([header, row, row]))
    said = rcf(str(path), *columns, code=1)
    assert said.startswith("features: ") and "1 to 1000 distinct names" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "FILE or --topic"),
        (("--plot", "nowhere/plot.html"), "nowhere is no directory"),
        (("--labels", "colour"), "no column 'colour'"),
        (("--labels", "value"), "label"),
        (("--labels", "absent.json"), "absent.json"),
        (("--set", "trees"), "name=value"),
        (("--set", "trees=many"), "trees: Expected `int`"),
        (("--set", "trees=0"), "trees"),
        (("--set", 'features=["a", "b", "c"]'), "features: 3 names are not allowed; allowed: 1"),
        (("--set", "colour=red"), "no stream has a field 'colour'"),
        (("--set", 'rules=[{"name":"r"}]'), "a condition"),
        (("--set", "rules=@absent.json"), "absent.json"),
    ],
)
def test_what_is_not_allowed_is_said(waves, arguments, said):
    given = (waves, *arguments) if arguments else ()
    done = CliRunner().invoke(app, ["backtest", *given])
    assert isinstance(done.exception, CommandError) and said in str(done.exception)
