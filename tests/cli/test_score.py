"""`rcf score`: columns, formats, errors with their place, exit codes, the plot."""

import csv
import gzip
import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import rcf
from service.cli.app import Missing, _guarded, app
from service.cli.plot import MAX_POINTS, axis, extremes
from service.cli.table import Table


def rows(count=600, spike=None):
    values = 10 + np.sin(np.arange(count) / 5)
    if spike is not None:
        values[spike] = 100.0
    return values


def write(path, head, lines):
    text = "\n".join([head, *lines]) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return str(path)


@pytest.fixture
def spiked(tmp_path):
    lines = [
        f"2026-01-01T00:{i // 60:02d}:{i % 60:02d},{v},0" for i, v in enumerate(rows(600, 500))
    ]
    return write(tmp_path / "data.csv", "timestamp,load,label", lines)


def score(*arguments, stdin=None):
    """Exit code, standard output, standard error; errors as the command prints them."""
    runner = CliRunner()
    codes = []

    def command():
        result = runner.invoke(app, ["score", *arguments], input=stdin, catch_exceptions=True)
        codes.append(result)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception

    code = _guarded(command)
    result = codes[0]
    return result.exit_code if code == 0 else code, result.stdout, result.stderr


@pytest.fixture
def two_columns(tmp_path):
    """Column b drops at row 501."""
    lines = [f"{a},{b}" for a, b in zip(rows(), 2 * rows(), strict=True)]
    lines[500] = f"{rows()[500]},-50"
    return write(tmp_path / "two.csv", "a,b", lines)


def test_anomalies_are_explained_per_column(two_columns):
    _, plain, _ = score(two_columns)
    code, out, _ = score(two_columns, "--explain")
    assert code == 0
    table = list(csv.DictReader(io.StringIO(out)))
    found = [row for row in table if row["anomaly"] == "true"]
    assert table[500] in found
    shares = [float(table[500][name]) for name in ("a high", "b high", "a low", "b low")]
    assert sum(shares) == pytest.approx(float(table[500]["score"]), rel=1e-9)
    assert shares[3] > 0.9 * sum(shares)
    assert {row["b low"] for row in table if row not in found} == {""}
    assert [line.rpartition(",,,,")[0] or line for line in out.splitlines()[1:500]] == (
        plain.splitlines()[1:500]
    )
    _, out, _ = score(two_columns, "--explain", "--format", "jsonl")
    row = json.loads(out.splitlines()[500])
    assert row["attribution"][0]["feature"] == "b" and row["attribution"][0]["direction"] == "low"
    assert "attribution" not in json.loads(out.splitlines()[100])


def test_a_spike_is_found(spiked):
    code, out, err = score(spiked)
    assert code == 0
    table = list(csv.DictReader(io.StringIO(out)))
    assert list(table[0]) == ["timestamp", "load", "score", "threshold", "grade", "anomaly"]
    assert len(table) == 600
    assert table[0]["score"] == "" and table[0]["anomaly"] == "false"
    assert table[500]["anomaly"] == "true" and float(table[500]["grade"]) > 0
    assert "scoring load over 'timestamp' (shingle 1, 30 trees, 1024 samples)" in err
    assert "left out 'label' (looks like a label)" in err
    assert "1 anomaly in 600 rows; worst at 2026-01-01T00:08:20" in err


@pytest.mark.parametrize("mode", ["precision", "recall"])
def test_a_multi_mode_tells_the_distance(spiked, mode):
    _, out, _ = score(spiked, "--multi-mode", mode)
    table = list(csv.DictReader(io.StringIO(out)))
    assert list(table[0])[-3:] == ["anomaly", "distance", "distance_threshold"]
    assert table[0]["distance"] == "" and table[500]["anomaly"] == "true"
    assert float(table[500]["distance"]) > float(table[500]["distance_threshold"]) > 0
    _, out, _ = score(spiked, "--multi-mode", mode, "--format", "jsonl", "--explain")
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines[0]["distance"] is None
    assert lines[500]["distance"] == float(table[500]["distance"])
    assert score(spiked, "--multi-mode", "both")[0] == 2


def test_json_lines(spiked):
    _, out, _ = score(spiked, "--format", "jsonl")
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == 600
    assert lines[0]["score"] is None and lines[0]["row"] == 1
    assert lines[500]["values"] == {"load": 100.0} and lines[500]["anomaly"] is True


def test_both_formats_say_the_same(spiked):
    _, out, _ = score(spiked)
    _, jsonl, _ = score(spiked, "--format", "jsonl")
    for row, line in zip(csv.DictReader(io.StringIO(out)), jsonl.splitlines(), strict=True):
        found = json.loads(line)["score"]
        assert (row["score"] == "") if found is None else float(row["score"]) == found


def test_exit_code_3_when_asked(spiked, tmp_path):
    assert score(spiked, "--fail-on-anomaly")[0] == 3
    calm = write(tmp_path / "calm.csv", "t,v", [f"{i},1" for i in range(600)])
    assert score(calm, "--fail-on-anomaly")[0] == 0


def test_gzip_is_recognised_whatever_its_name(tmp_path):
    path = tmp_path / "data.csv.gz"
    write(path, "t,v", [f"{i},{v}" for i, v in enumerate(rows())])
    other = tmp_path / "data"
    other.write_bytes(path.read_bytes())
    assert score(str(path))[1] == score(str(other))[1]


def test_standard_input(spiked):
    with open(spiked) as text:
        content = text.read()
    code, out, _ = score("-", stdin=content)
    assert code == 0
    assert out == score(spiked)[1]


@pytest.mark.parametrize(("flags", "code"), [([], 0), (["--fail-on-anomaly"], 3)])
def test_ctrl_c_ends_standard_input_well(tmp_path, flags, code):
    plot = tmp_path / "plot.html"
    command = [sys.executable, "-m", "service", "score", "-", "--plot", str(plot), *flags]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        lines = [f"{i},{v}" for i, v in enumerate(rows(400, 390))]
        process.stdin.write("\n".join(["t,v", *lines]) + "\n")
        process.stdin.flush()
        told = [process.stdout.readline() for _ in range(401)]
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(30) == code
    assert told[-1].startswith("399,")
    assert said.splitlines()[1:] == [
        f"wrote {plot}",
        "1 anomaly in 400 rows; worst at 390 (grade 1.00)",
    ]
    assert plot.exists()


@pytest.fixture
def with_gaps(tmp_path):
    """The first cell and some others are missing; row 501 is a spike."""
    values = [str(value) for value in rows(600, 500)]
    for place, gap in ((0, ""), (200, "nan"), (201, " "), (400, "")):
        values[place] = gap
    return write(tmp_path / "gaps.csv", "t,v", [f"{i},{v}" for i, v in enumerate(values)])


@pytest.mark.parametrize("missing", [each.value for each in Missing if each != "refuse"])
def test_gaps_are_judged_by_what_stands_there_and_written_as_gaps(with_gaps, tmp_path, missing):
    plot = tmp_path / "plot.html"
    code, out, err = score(with_gaps, "--missing", missing, "--plot", str(plot))
    assert code == 0
    if missing != "zero":
        assert "1 anomaly in 600 rows; worst at 500" in err
    table = list(csv.DictReader(io.StringIO(out)))
    assert list(table[0]) == ["t", "v", "score", "threshold", "grade", "anomaly"]
    assert [n for n, row in enumerate(table) if row["v"] == ""] == [0, 200, 201, 400]
    assert table[400]["score"] != ""
    _, out, _ = score(with_gaps, "--missing", missing, "--format", "jsonl")
    assert json.loads(out.splitlines()[400])["values"] == {"v": None}
    assert '"values": [[null, ' in plot.read_text()


def test_gaps_are_filled_as_the_library_fills_them(with_gaps):
    values = rows(600, 500)
    values[[0, 200, 201, 400]] = np.nan
    expected = rcf.Series(rcf.Detector(), missing="previous").process(values).judgements.score
    _, out, _ = score(with_gaps, "--missing", "previous")
    found = [row["score"] for row in csv.DictReader(io.StringIO(out))]
    assert found == ["" if np.isnan(each) else str(each) for each in expected.tolist()]


def test_names_and_cells_of_any_script(tmp_path):
    path = write(tmp_path / "x.csv", "t,größe,場所", [f"{i},{v},北" for i, v in enumerate(rows())])
    assert "scoring größe over 't'" in score(path)[2]


def test_columns_and_time_by_name(tmp_path):
    lines = [f"{i},{v},{i % 7},{i}" for i, v in enumerate(rows())]
    path = write(tmp_path / "x.csv", "when,a,b,label", lines)
    code, out, err = score(path, "--columns", "b, label", "--time", "when", "--shingle", "2")
    assert code == 0
    assert out.splitlines()[0] == "when,b,label,score,threshold,grade,anomaly"
    assert "scoring b, label over 'when' (shingle 2" in err


@pytest.mark.parametrize(
    ("name", "start", "reason"),
    [
        ("", 0, "has no name"),
        ("Unnamed: 0", 0, "has no name"),
        ("", 0.5, "has no name"),
        ("id", 5001, "rises by 1 with every row"),
    ],
)
def test_row_numbers_are_left_out_for_they_would_hide_anomalies(
    spiked, tmp_path, name, start, reason
):
    head, *lines = Path(spiked).read_text().splitlines()
    numbered = [f"{start + number},{line}" for number, line in enumerate(lines)]
    path = write(tmp_path / "numbered.csv", f"{name},{head}", numbered)
    code, out, err = score(path)
    assert (code, out) == score(spiked)[:2] and "true" in out
    assert f"left out {name!r} ({reason}), 'label' (looks like a label)" in err


def test_a_column_that_counts_is_scored_when_asked_for_alone_or_short(tmp_path):
    path = write(tmp_path / "x.csv", "id,v", [f"{i},{v}" for i, v in enumerate(rows(50))])
    assert "scoring v (" in score(path)[2]
    assert "scoring id, v (" in score(path, "--columns", "id,v")[2]
    alone = write(tmp_path / "alone.csv", "id", [str(i) for i in range(50)])
    assert "scoring id (" in score(alone)[2]
    short = write(tmp_path / "short.csv", "id,v", ["1,5", "2,5", "3,5"])
    assert "scoring id, v (" in score(short)[2]


def test_the_first_value_of_a_column_decides_whether_it_is_numeric(tmp_path, capfd):
    lines = ["1,,x,,nan", "2,,3,,nan", "3,5,3,,nan", *["4,5,3,,nan"] * 50]
    path = write(tmp_path / "x.csv", "t,a,b,c,d", lines)
    assert score(path)[0] == 1
    assert "line 2, column 'a': ''" in capfd.readouterr().err
    code, _, err = score(write(tmp_path / "y.csv", "t,a,b,c,d", ["1,5,x,,nan", *lines[2:]]))
    assert code == 0 and "scoring a over 't'" in err
    assert "left out 'b' (not numeric), 'c' (empty), 'd' (empty)" in err


@pytest.mark.parametrize("header", [",0,1", "time,0,1", "index,2026-01-01,2026-01-02"])
def test_columns_may_be_named_by_numbers(tmp_path, header):
    path = write(tmp_path / "x.csv", header, [f"{i},{v},1" for i, v in enumerate(rows(50))])
    assert score(path)[0] == 0


def test_a_pipe_cannot_be_looked_ahead_into_but_says_what_counts(tmp_path):
    content = "\n".join(["id,t,v", *(f"{7 + i},{i},{v}" for i, v in enumerate(rows(50)))])
    said = "'id' rises by 1 with every row, which hides anomalies: leave it out with --columns v\n"
    assert said in score("-", stdin=content)[2]
    assert "rises by 1" not in score("-", "--columns", "id,v", stdin=content)[2]
    assert "rises by 1" not in score("-", stdin=content.replace("\n16,", "\n17,"))[2]
    assert "rises by 1" not in score("-", stdin="\n".join(["id", *map(str, range(50))]))[2]


def test_of_columns_with_one_name_none_is_lost(tmp_path, capfd):
    path = write(tmp_path / "x.csv", "a,a,b", ["1,2,3"] * 20)
    assert score(path)[0] == 1
    assert "2 scored columns are named 'a': each needs its own name" in capfd.readouterr().err
    assert score(path, "--columns", "a")[0] == 2
    assert "2 columns are named 'a'" in capfd.readouterr().err
    assert score(path, "--columns", "b,b")[0] == 1
    assert score(path, "--columns", "b")[0] == 0


def test_tables_without_time_have_small_samples(tmp_path):
    path = write(tmp_path / "x.csv", "a,b", [f"{v},{-v}" for v in rows()])
    assert "(shingle 1, 30 trees, 256 samples)" in score(path)[2]


def test_a_table_says_that_it_is_one_and_which_column_may_be_the_time(tmp_path):
    said = "; rows taken as a table, in no order: name a time column with --time"
    path = write(tmp_path / "x.csv", "a,b", [f"{v},{-v}" for v in rows(50)])
    assert said in score(path)[2] and "such as" not in score(path)[2]
    lines = [f"2026-01-01 00:{i:02d}:00,web,{v}" for i, v in enumerate(rows(50))]
    for name in ("when", ""):
        path = write(tmp_path / "y.csv", f"{name},host,v", lines)
        _, _, err = score(path)
        assert f"{said}, such as {name!r}; left out {name!r} (looks like a time), 'host' (" in err
        assert f"scoring v over {name!r}" in score(path, "--time", name)[2]
        assert "taken as a table" not in score(path, "--time", name)[2]


def test_too_few_rows_say_so(tmp_path):
    path = write(tmp_path / "x.csv", "a", ["1"] * 5)
    assert "warming up until the end" in score(path)[2]


BAD_FILES = {
    "text": ("t,v\n1,2\n2,abc\n", "line 3, column 'v': 'abc'"),
    "empty cell": (
        "t,v\n1,2\n2,\n",
        "line 3, column 'v': '' is not a finite number within ±3.4e38; --missing says what stands",
    ),
    "nan": ("t,v\n1,2\n2,nan\n", "line 3, column 'v': 'nan'"),
    "infinite": ("t,v\n1,2\n2,1e999\n", "line 3, column 'v': '1e999'"),
    "too large": (
        "t,v\n1,2\n2,-1e39\n",
        "line 3, column 'v': '-1e39' is not a finite number within ±3.4e38",
    ),
    "long cell": ("t,v\n1,2\n2," + "x" * 9999 + "\n", "…"),
    "short row": ("t,v\n1,2\n2\n", "line 3: 1 columns, but the header has 2"),
    "empty": ("", "the file is empty"),
    "header only": ("t,v\n", "no rows"),
    "no header": ("1,2\n3,4\n", "line 1 looks like data: '1' is no name"),
    "no header, one row": ("1,2\n", "line 1 looks like data"),
    "no header, times": ("2026-01-01,web\n2026-01-02,web\n", "data: '2026-01-01' is no name"),
    "no header, words": ("web,3\ndb,4\n", "data: '3' is no name; put a line above it with the"),
    "no header, gaps": ("web,,3\ndb,4,5\n", "line 1 looks like data: '3' is no name"),
    "semicolons": ("t;v\n1;2,5\n", "line 1: columns must be separated by commas, not by ';'"),
    "tabs": ("t\tv\n1\t2\n", "line 1: columns must be separated by commas, not by '\\t'"),
    "bars": ("t|v\n1|2\n", "line 1: columns must be separated by commas, not by '|'"),
    "no numbers": ("t,v\n1,a\n", "no column with numbers"),
    "quotes": ('t,v\n1,"2"x\n', "not CSV"),
}


@pytest.mark.parametrize(("content", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_bad_files_are_refused_with_their_place(tmp_path, capfd, content, message):
    path = tmp_path / "x.csv"
    path.write_text(content)
    code, _, _ = score(str(path))
    error = capfd.readouterr().err
    assert code == 1
    assert message in error and len(error) < 400


def test_broken_bytes(tmp_path, capfd):
    path = tmp_path / "x.csv"
    good = b"1,2\n" * 700  # in the same block
    for content, line in (
        (b"t,v\n" + good + "1,grün\n".encode("latin-1") + good, 702),
        ("t,v\n1,2\n".encode("utf-16"), 1),
    ):
        path.write_bytes(content)
        assert score(str(path))[0] == 1
        assert f"line {line}: not UTF-8 text: save as UTF-8" in capfd.readouterr().err


def test_broken_gzip_files(tmp_path, capfd):
    path = tmp_path / "x.csv"
    whole = gzip.compress(b"t,v\n" + b"1,2\n" * 9999)
    damaged = whole[:10] + b"\xff" + whole[11:]
    for content in (whole[:-20], whole[:-8] + bytes(8), damaged):
        path.write_bytes(content)
        assert score(str(path))[0] == 1
        assert "broken gzip file" in capfd.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["nowhere.csv"],
        ["{}", "--columns", "x"],
        ["{}", "--time", "x"],
        ["{}", "--trees", "100000"],
        ["{}", "--shingle", "5000"],
        ["{}", "--shingle", "1000", "--trees", "100"],
    ],
)
def test_wrong_arguments_exit_with_2(spiked, capfd, arguments):
    assert score(*(argument.format(spiked) for argument in arguments))[0] == 2
    assert capfd.readouterr().err.startswith("rcf: ")


@pytest.mark.parametrize("arguments", [[], ["--score", "x"], ["--trees", "0"], ["--format", "xml"]])
def test_wrong_usage_exits_with_2(spiked, arguments):
    assert score(*([spiked, *arguments] if arguments else []))[0] == 2


def test_the_plot_is_one_file_without_the_network(spiked, tmp_path):
    plot = tmp_path / "plot.html"
    assert score(spiked, "--plot", str(plot))[0] == 0
    html = plot.read_text()
    data = json.loads(html.partition("const data = ")[2].partition(";\n")[0])
    assert data["features"] == ["load"] and len(data["x"]) == 600 and data["isTime"]
    assert max(grade for grade in data["grade"] if grade is not None) == 1
    assert "src=" not in html and "@import" not in html and "export function" not in html


@pytest.mark.parametrize("place", ["", "nowhere/plot.html"])
def test_a_plot_that_cannot_be_written_is_refused_before_any_row(spiked, tmp_path, capfd, place):
    code, out, _ = score(spiked, "--plot", str(tmp_path / place))
    assert code == 2 and out == ""
    assert "directory" in capfd.readouterr().err


def test_a_feature_cannot_end_the_script(tmp_path):
    path = write(tmp_path / "x.csv", "</script><b>", [str(v) for v in rows()])
    plot = tmp_path / "plot.html"
    score(path, "--plot", str(plot))
    assert "</script><b>" not in plot.read_text()


def test_thinning_keeps_every_extreme():
    generator = np.random.default_rng(5)
    columns = generator.normal(size=(200_000, 2))
    columns[123_456, 1] = 50
    columns[123_450:123_456, 1] = columns[::9, 0] = np.nan
    always = np.zeros(200_000, dtype=bool)
    always[[7, 77_777]] = True
    keep = extremes(columns, always, MAX_POINTS)
    assert len(keep) <= MAX_POINTS + 4
    assert (np.diff(keep) > 0).all()
    assert {7, 77_777, 123_456} <= set(keep.tolist())
    for column in columns.T:
        assert np.nanmin(column[keep]) == np.nanmin(column)
        assert np.nanmax(column[keep]) == np.nanmax(column)


@pytest.mark.parametrize(
    ("times", "first", "is_time"),
    [
        (["2026-01-01", "2026-01-02"], 1767225600, True),
        (["1700000000", "1700000001"], 1700000000, True),
        (["1700000000000", "1700000001000"], 1700000000, True),
        (["0", "1"], 0, False),
        (["5", "3"], 1, False),
        (["monday", "tuesday"], 1, False),
        ([], 1, False),
    ],
)
def test_axes(times, first, is_time):
    x, found = axis(times, 2)
    assert x[0] == first and found is is_time


def test_rows_are_read_as_they_come():
    def lines():
        yield "t,v\n"
        yield "1,2\n"
        yield "2,3\n"
        raise AssertionError("read further than asked")

    found = Table(lines()).rows()  # type: ignore[arg-type]  # any lines do
    assert next(found).values == [2.0]
    assert next(found).values == [3.0]


def test_a_full_disk_is_told_in_one_line(spiked):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "service", "score", spiked],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == ["rcf: No space left on device"]


def test_what_the_system_refuses_names_the_file(capfd):
    assert _guarded(Path("/nowhere").read_bytes) == 1
    assert capfd.readouterr().err == "rcf: /nowhere: No such file or directory\n"


def test_a_reader_that_leaves_is_no_error(spiked):
    command = f"{sys.executable} -m service score {spiked} 2>/dev/null | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, check=False
    )
    assert done.stdout.startswith(b"timestamp") and done.returncode == 0
