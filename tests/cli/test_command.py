"""The command itself: quick help, exit codes, a whole life of `rcf dev`."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import ClassVar

import httpx
import pytest
import typer

from service import settings
from service.cli.app import app
from service.cli.errors import CommandError
from service.cli.serve import listen, url
from service.settings import SettingsError

RCF = [sys.executable, "-m", "service"]


def run(*arguments, **options):
    return subprocess.run(
        [*RCF, *arguments], capture_output=True, text=True, timeout=60, check=False, **options
    )


def test_help_is_quick():
    # The least of several: other work on the machine can only add.
    times = []
    for _ in range(5):
        began = time.perf_counter()
        assert run("--help").returncode == 0
        times.append(time.perf_counter() - began)
    assert min(times) < 0.3


def test_help_loads_nothing_heavy():
    code = "import sys, service.cli.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {
        "numba",
        "numpy",
        "fastapi",
        "pydantic",
        "pydantic_settings",
        "uvicorn",
        "rcf",
    }


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), (["--version"], 0), (["dev", "-h"], 0), (["nothing"], 2), (["score"], 2)],
)
def test_exit_codes(arguments, code):
    assert run(*arguments).returncode == code


def test_a_wrong_setting_is_named_with_what_is_allowed():
    done = run("serve", env={**os.environ, "RCF_PORT": "99999", "RCF_LOG_LEVEL": "loud"})
    assert done.returncode == 2
    assert "RCF_PORT" in done.stderr and "65535" in done.stderr
    assert "RCF_LOG_LEVEL" in done.stderr and "warning" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_flag_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("RCF_PORT", "1234")
    monkeypatch.setenv("RCF_HOST", "0.0.0.0")
    chosen = settings.load(port=4321, host=None)
    assert chosen.port == 4321 and chosen.host == "0.0.0.0"
    with pytest.raises(SettingsError, match="RCF_PORT"):
        settings.load(port=-1)


def test_errors_name_the_flags_that_there_are():
    group = typer.main.get_command(app)
    given = [group.commands[name].params for name in ("dev", "serve")]
    flags = {parameter.name for parameters in given for parameter in parameters}
    assert flags & settings.Settings.model_fields.keys() == settings.FLAGS


def test_settings_are_frozen_and_unset_choices_fall_by_command():
    chosen = settings.load()
    with pytest.raises(ValueError, match="frozen"):
        chosen.port = 1
    assert chosen.for_command(dev=True).demo and not chosen.for_command(dev=False).demo
    assert settings.load(demo=False).for_command(dev=True).demo is False


def test_time_zones_need_no_files_of_the_system():
    code = (
        "from service.engine.config import StreamConfig; from zoneinfo import TZPATH; "
        "print(TZPATH, *(StreamConfig(name='s', zone=zone).zone for zone in ('UTC', 'Asia/Tokyo')))"
    )
    environment = os.environ | {"PYTHONTZPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "() UTC Asia/Tokyo\n"


def test_a_taken_port_says_what_to_do():
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match="--port or RCF_PORT"):
            listen("127.0.0.1", port)
    with pytest.raises(CommandError, match="cannot listen"):
        listen("no.such.host.invalid", 0)


def test_addresses():
    assert url("127.0.0.1", 80) == "http://127.0.0.1:80"
    assert url("0.0.0.0", 80) == "http://127.0.0.1:80"
    assert url("::1", 80) == "http://[::1]:80"


def test_an_unwritable_data_directory(tmp_path):
    file = tmp_path / "file"
    file.touch()
    done = run("serve", "--port", "0", "--data-dir", str(file / "below"))
    assert done.returncode == 1
    assert "--data-dir or RCF_DATA_DIR" in done.stderr


@pytest.fixture(autouse=True)
def no_process_is_left():
    """One that outlived its test would slow the next ones down."""
    yield
    while Life.running:
        with Life.running.pop() as process:
            process.kill()


class Life:
    """One `rcf dev` from start to stop."""

    running: ClassVar[list[subprocess.Popen]] = []

    def __init__(self, data_dir, *arguments, **variables):
        command = [*RCF, "dev", "--port", "0", "--data-dir", str(data_dir), *arguments]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **variables}
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.running.append(self._process)
        self.began = time.monotonic()
        assert self._process.stdout is not None
        first = self._process.stdout.readline()
        self.url = first.split(" on ")[1].split(",")[0]
        self.lines = [first]

    def wait_until_ready(self, within_s):
        while time.monotonic() - self.began < within_s:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    return time.monotonic() - self.began
            time.sleep(0.05)
        raise AssertionError(f"not ready within {within_s} s")

    def wait_until_it_answers(self, within_s):
        while time.monotonic() - self.began < within_s:
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"{self.url}/readyz").json()["detail"]
            time.sleep(0.05)
        raise AssertionError(f"no answer within {within_s} s")

    def stop(self, with_signal):
        began = time.monotonic()
        self._process.send_signal(with_signal)
        rest, _ = self._process.communicate(timeout=30)
        return self._process.returncode, time.monotonic() - began, "".join(self.lines) + rest


@pytest.mark.slow
def test_a_newcomer_sees_an_anomaly_within_a_minute_and_a_second_start_is_quick(tmp_path):
    life = Life(tmp_path)
    life.wait_until_ready(60)
    ready = time.monotonic()
    events = f"{life.url}/v1/streams/demo/events"
    with httpx.stream("GET", events, params={"anomalies": True}, timeout=60) as answer:
        told = (json.loads(line[5:]) for line in answer.iter_lines() if line.startswith("data:"))
        anomaly = next(each for each in told if "incident" not in each)
        assert time.monotonic() - ready < 60
        assert anomaly["anomaly"] is True and anomaly["score"] > anomaly["threshold"]

        posted = httpx.post(f"{life.url}/v1/streams/mine/records", content='{"values": [21.5]}')
        assert posted.status_code == 200
        code, seconds, said = life.stop(signal.SIGTERM)
    assert code == 0 and seconds < 10
    for part in ("/docs", "/v1/streams/mine/records", "events?anomalies=true", "stopped"):
        assert part in said

    again = Life(tmp_path)
    assert again.wait_until_ready(20) < 10
    streams = httpx.get(f"{again.url}/v1/streams").json()["streams"]
    assert [stream["name"] for stream in streams] == ["demo", "host", "mine"]
    kept = httpx.get(f"{again.url}/v1/streams/mine/results").json()["results"]
    assert [result["values"] for result in kept] == [[21.5]]
    steps = [
        (result["key"], result["timestamp"])
        for result in httpx.get(f"{again.url}/v1/streams/demo/results?limit=100000").json()[
            "results"
        ]
    ]
    assert len(steps) == len(set(steps)), "a restart sends no step twice"
    code, seconds, _ = again.stop(signal.SIGINT)
    assert code == 0 and seconds < 10


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_does_not_wait_for_the_compilation(tmp_path, how):
    life = Life(tmp_path / "data", RCF_CACHE_DIR=str(tmp_path / "kernels"))
    assert "compiling" in life.wait_until_it_answers(60)
    time.sleep(1)  # so that it is in the middle of it
    code, seconds, said = life.stop(how)
    assert code == 0 and seconds < 5
    assert said.splitlines()[-1] == "stopped before it was ready"


def test_warm_leaves_kernels_in_the_cache():
    done = run("warm")
    assert done.returncode == 0 and "kernels ready after" in done.stderr


def test_two_processes_cannot_share_a_data_directory(tmp_path):
    life = Life(tmp_path, "--no-demo")
    life.wait_until_ready(60)
    done = run("serve", "--port", "0", "--data-dir", str(tmp_path))
    assert done.returncode == 1 and "in use" in done.stderr
    assert life.stop(signal.SIGTERM)[0] == 0


def test_the_demo_finds_what_is_labelled():
    done = run("demo", "--seconds", "400", "--speed", "0", "--format", "jsonl")
    assert done.returncode == 0
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 2000 * 8
    assert {row["label"] for row in rows} == {
        None, "spike", "broken_period", "level_shift", "drop_to_zero", "noise_burst",
    }  # fmt: skip
    found, total = done.stderr.splitlines()[-1].split(" labelled")[0].split(" of ")
    assert int(total) >= 14 and int(found) >= 0.9 * int(total)
    assert int(done.stderr.split(" false alarms")[0].split()[-1]) <= 2


@pytest.mark.parametrize("place", ["snaps", "/var/snaps", "s3://bucket", "s3://bucket/a/b"])
def test_snapshots_go_to_a_directory_or_a_bucket(place):
    assert settings.load(snapshots=place).snapshots == place


@pytest.mark.parametrize("place", ["", " ", "s3:///prefix", "ftp://host/x", "s3://bucket?x=1"])
def test_other_places_for_snapshots_are_refused(place):
    said = r"RCF_SNAPSHOTS \(--snapshots\) = .*: must be a directory or s3://bucket/prefix\."
    with pytest.raises(SettingsError, match=said):
        settings.load(snapshots=place)


@pytest.mark.parametrize("user", ["AKID:hush", "AKID:wJal/hush", "AKID:@/hush", "wJal/hush"])
def test_credentials_in_the_place_for_snapshots_are_refused_and_not_repeated(user):
    with pytest.raises(SettingsError, match="without credentials") as caught:
        settings.load(snapshots=f"s3://{user}@bucket/x")
    assert "hush" not in str(caught.value) and "s3://…@bucket/x" in str(caught.value)


@pytest.mark.parametrize("place", ["s3://AKID:wJal/hush@bucket/x", "s3://AKID:wJal/hush"])
def test_credentials_are_in_neither_stream(place, tmp_path):
    environment = os.environ | {"RCF_SNAPSHOTS": place}
    done = run("serve", "--port", "0", "--data-dir", str(tmp_path), env=environment)
    assert done.returncode == 2 and "RCF_SNAPSHOTS" in done.stderr
    assert "hush" not in done.stdout + done.stderr and "AKID" not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_store_of_snapshots_that_is_not_there_is_named_at_the_start(tmp_path):
    environment = os.environ | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_REGION": "x"}
    environment |= {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "hush"}
    place = ["--data-dir", str(tmp_path), "--snapshots", "s3://bucket"]
    done = run("serve", "--port", "0", *place, env=environment)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("rcf: snapshots: listing") and "RCF_SNAPSHOTS" in last
    assert "Traceback" not in done.stderr and "hush" not in done.stderr


def test_schemas_are_printed_without_a_server():
    assert json.loads(run("schema", "score").stdout)["title"] == "Result"
    assert run("schema", "scores").returncode == 2
