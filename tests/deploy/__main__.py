"""`make image-test`: build the Dockerfile without an engine, start the image, print figures.

The base is a Debian made by debootstrap, without documentation and package lists, as the official
images are. Needs Linux, root, and Debian's packages buildah and debootstrap; takes a few minutes.
Exit code 1 when a figure is not kept.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.deploy.container import Container, Image, image_of, missing_tools
from tests.deploy.files import ROOT
from tests.kafka.broker import free_ports

MOST_BYTES = 400_000_000
FIRST_SCORE_S = 2.0
WAIT_S = 300.0
SUITE = "trixie"
PACKAGES = "python3-minimal,python3-venv,ca-certificates"
LEFT_OUT = ("var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/doc", "usr/share/man")
LEFT_OUT += ("usr/share/locale", "usr/share/info")
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
BASE, TAG = "localhost/rcf-base", "localhost/rcf-stream"


class NotKeptError(Exception):
    """A figure is not kept, or a step failed; the message says which."""


class Builder:
    """buildah, with a storage of its own."""

    def __init__(self, folder: Path) -> None:
        self._places = ["--root", str(folder / "storage"), "--runroot", str(folder / "run")]

    def __call__(self, *arguments: str) -> str:
        """Run it; return what it prints.

        Raises:
            NotKeptError: it fails.
        """
        done = subprocess.run(
            ["buildah", *self._places, *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise NotKeptError(f"buildah {arguments[0]}: {(done.stdout + done.stderr)[-3000:]}")
        return done.stdout.strip()


def say(text: str) -> None:
    """One line of the report."""
    print(text, flush=True)  # noqa: T201  (its output)


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Say how long something took."""
    began_s = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - began_s:.0f} s")


def base_archive() -> Path:
    """The base's files in a tar archive, made once and kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    kept = Path(home) / "rcf-tests" / f"{SUITE}.tar"
    if kept.exists():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made, timed(f"debootstrap {SUITE}"):
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, made]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotKeptError(f"debootstrap: {done.stdout[-2000:]}{done.stderr[-1000:]}")
        for place in LEFT_OUT:
            shutil.rmtree(Path(made) / place)
            (Path(made) / place).mkdir()
        fresh = kept.with_suffix(".fresh")
        subprocess.run(["tar", "-C", made, "--one-file-system", "-cf", fresh, "."], check=True)
        fresh.rename(kept)
    return kept


def build(builder: Builder) -> tuple[str, int]:
    """Build base and image; return what `inspect` says of the image, and its bytes unpacked."""
    scratch = builder("from", "scratch")
    builder("add", scratch, str(base_archive()), "/")
    builder("commit", "--format", "docker", "--quiet", scratch, BASE)
    options = ["--format", "docker", "--isolation", "chroot", "--network", "host"]
    options += ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro", "--build-arg", f"BASE={BASE}"]
    with timed("Dockerfile built by buildah"):
        builder("bud", *options, "--tag", TAG, str(ROOT))
    inspected = builder("inspect", "--type", "image", TAG)
    layers = json.loads(json.loads(inspected)["Manifest"])["layers"]
    sizes = [layer["size"] for layer in layers]
    say(f"size: {sum(sizes) / 1e6:.0f} MB, {sizes[0] / 1e6:.0f} of them the base")
    return inspected, sum(sizes)


def ask(url: str, body: bytes | None = None) -> bytes | None:
    """The answer of a service; None while it has none."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=30) as answer:
            return answer.read()
    except (urllib.error.URLError, OSError):
        return None


def until(container: Container, url: str, body: bytes | None = None) -> tuple[bytes, float]:
    """An answer, and the seconds since the container's start.

    Raises:
        NotKeptError: there is none in time.
    """
    while time.monotonic() - container.began_s < WAIT_S:
        found = ask(url, body)
        if found is not None:
            return found, time.monotonic() - container.began_s
        if container.process.poll() is not None:
            raise NotKeptError(f"the container ended: {container.said()[-2000:]}")
        time.sleep(0.01)
    raise NotKeptError(f"{url} did not answer within {WAIT_S} s")


def metric(text: str, name: str) -> float:
    """The value of a metric without labels."""
    return float(next(line for line in text.splitlines() if line.startswith(f"{name} ")).split()[1])


def start(image: Image, data: Path, what: str, settings: Mapping[str, str]) -> float:
    """Start the service, get a first score, say figures; return the seconds until that score."""
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    body = json.dumps({"records": [{"values": [n % 7]} for n in range(300)]}).encode()
    settings = {"RCF_PORT": str(port), "RCF_AUTO_CREATE": "true"} | dict(settings)
    with Container(image, data, environment=settings) as container:
        _, ready_s = until(container, f"{address}/readyz")
        answer, scored_s = until(container, f"{address}/v1/streams/first/records", body)
        text = (ask(f"{address}/metrics") or b"").decode()
        if json.loads(answer)["results"][-1]["score"] is None:
            raise NotKeptError("the last of 300 records has no score")
        check = image.config["Healthcheck"]["Test"][1:]
        with Container(image, data, check, settings) as health:
            health.process.wait(60)
        if health.process.returncode:
            raise NotKeptError("the HEALTHCHECK fails")
    say(
        f"{what}: ready after {ready_s:.2f} s, first score after {scored_s:.2f} s "
        f"({metric(text, 'process_cpu_seconds_total'):.2f} s of processor, kernels "
        f"{metric(text, 'rcf_jit_seconds'):.2f} s), healthy, "
        f"{metric(text, 'process_resident_memory_bytes') / 1e6:.0f} MB resident"
    )
    return scored_s


def look_around(image: Image, data: Path) -> None:
    """Who it is, and what it can write.

    Raises:
        NotKeptError: more than /data, or as root.
    """
    script = "id -u; for each in / /tmp /opt/rcf /data; do touch $each/x && echo wrote $each; done"
    with Container(image, data, ["/bin/sh", "-c", f"({script}) 2>/dev/null; true"]) as container:
        said = container.said().split("\n")
    if said != ["10001", "wrote /data", ""]:
        raise NotKeptError(f"user and writable places are {said}")
    say("runs as user 10001; of /, /tmp, /opt/rcf and /data only /data can be written")


def kernels(data: Path) -> set[str]:
    """Names of the compiled kernels in /data."""
    return {path.name for path in data.rglob("*.nbc")}


def serve(image: Image, folder: Path) -> None:
    """Start the image in several ways.

    Raises:
        NotKeptError: a figure is not kept.
    """
    data = folder / "data"
    look_around(image, data)
    seconds = [
        start(image, folder / f"fresh-{n}", f"start {n}, empty volume", {}) for n in (1, 2, 3)
    ]
    baked = {path.name for path in (image.root / "opt/rcf/kernels").rglob("*.nbc")}
    if not baked or kernels(folder / "fresh-1") != baked:
        raise NotKeptError("the kernels in the image were not those that the start used")
    start(image, folder / "fresh-1", "again, same volume", {})
    other = {"NUMBA_CPU_NAME": "generic"}
    start(image, data, "another processor, empty volume: compiles", other)
    if not kernels(data) > baked:
        raise NotKeptError("what another processor compiled is not in /data")
    start(image, data, "another processor, again", other)
    if min(seconds) > FIRST_SCORE_S:
        raise NotKeptError(f"no first score within {FIRST_SCORE_S} s: {seconds}")


def main() -> int:
    """Build, start, report; 1 when something is not kept."""
    argparse.ArgumentParser(prog="make image-test", description=__doc__).parse_args()
    missing = missing_tools()
    if missing or os.getuid():
        say(f"needs root and Debian's buildah and debootstrap; missing: {missing or 'root'}")
        return 1
    say(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        builder = Builder(folder)
        try:
            inspected, size = build(builder)
            container = builder("from", TAG)
            serve(image_of(Path(builder("mount", container)), inspected), folder)
            if size >= MOST_BYTES:
                raise NotKeptError(f"the image has {size} bytes")
        except NotKeptError as error:
            say(f"NOT KEPT: {error}")
            return 1
        finally:
            with contextlib.suppress(NotKeptError):
                builder("rm", "--all")
                builder("rmi", "--all")
    say("image-test passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
