"""AWS's Java forest in a process of its own, `load/java/Loop.java`, without a bridge into Python.

The jars are those inside the package jrcf; a JDK compiles the loop once a run. Blocks travel over
pipes, and the loop times itself, so neither Python nor the pipe counts.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import numpy as np

from load.contender import Do, Setup
from rcf.state import F64

SOURCE = Path(__file__).parent / "java" / "Loop.java"
LEAVE_S = 10.0

#: One thread for the garbage too; no slower than the default collector, which takes a second one.
OPTIONS = ("-XX:+UseSerialGC", "-Xms512m", "-Xmx2g")


def missing() -> str | None:
    """What there is to install; None if nothing."""
    if find_spec("jrcf") is None:
        return "the package jrcf is not installed, whose jars it runs (it is in .lock/dev.txt)"
    if shutil.which("java") is None or shutil.which("javac") is None:
        return "there is no JDK (java and javac 17 or later; Debian: openjdk-17-jdk-headless)"
    return None


@functools.cache
def class_path() -> str:
    """Compile the loop; returns where Java finds it and the forest."""
    spec = find_spec("jrcf")
    assert spec is not None
    assert spec.origin is not None
    jars = str(Path(spec.origin).parent / "lib" / "*")
    folder = tempfile.TemporaryDirectory(prefix="rcf-load-java-")
    atexit.register(folder.cleanup)
    subprocess.run(["javac", "-cp", jars, "-d", folder.name, str(SOURCE)], check=True)
    return f"{folder.name}:{jars}"


def warm(setup: Setup) -> int:
    """Records until the forest is steady and Java has compiled both ways through its trees.

    At 50 trees the pace doubles over the first 9,000 records, and no more after that.
    """
    return setup.warm + 750_000 // setup.trees


class JavaLoop:
    """One forest in one Java process; `close` ends it."""

    def __init__(self, setup: Setup) -> None:
        shape = (setup.features, setup.shingle, setup.trees, setup.sample_size, setup.seed)
        self._features = setup.features
        self._process = subprocess.Popen(
            ["java", *OPTIONS, "-cp", class_path(), "Loop", *map(str, shape)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def run(self, rows: F64, do: Do = Do.BOTH) -> float:
        """Seconds for the records, by the loop's own clock."""
        return self.ask(rows, do)[0]

    def ask(self, rows: F64, do: Do) -> tuple[float, F64]:
        """Seconds for the records, and their scores (0 where none was asked for)."""
        pipes = self._process
        assert pipes.stdin is not None
        assert pipes.stdout is not None
        pipes.stdin.write(bytes([do.value]) + len(rows).to_bytes(4, "big"))
        pipes.stdin.write(np.ascontiguousarray(rows, ">f8").tobytes())
        pipes.stdin.flush()
        nanoseconds = int.from_bytes(_exactly(pipes.stdout, 8), "big")
        scores = np.frombuffer(_exactly(pipes.stdout, 8 * len(rows)), ">f8")
        return nanoseconds / 1e9, scores.astype(np.float64)

    def close(self) -> None:
        """End the process."""
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(LEAVE_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _exactly(stream: IO[bytes], count: int) -> bytes:
    found = stream.read(count)
    if len(found) < count:
        raise RuntimeError("the Java loop ended early; what it said stands above")
    return found
