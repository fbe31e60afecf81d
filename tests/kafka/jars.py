"""The class path of an Apache Kafka broker: jars that Maven resolves once and keeps."""

from __future__ import annotations

import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

POM = Path(__file__).with_name("pom.xml")
RESOLVE_S = 300


class NotToBeHadError(Exception):
    """The broker cannot be started here; the message says why, and what to do."""


def class_path(version: str | None = None) -> str:
    """Return the class path of a broker, fetching its jars when they are not there.

    Args:
        version: of Apache Kafka; None takes the one in pom.xml.

    Raises:
        NotToBeHadError: Java or Maven is missing, or Maven reaches no repository.
    """
    java()
    kept = _cache() / f"{sha256(POM.read_bytes()).hexdigest()[:16]}-{version or 'pom'}.classpath"
    if kept.exists():
        found = kept.read_text()
        if all(Path(jar).exists() for jar in found.split(os.pathsep)):
            return found
    if shutil.which("mvn") is None:
        raise NotToBeHadError("Maven is missing: `apt-get install maven`")
    fresh = kept.with_suffix(f".{os.getpid()}")
    command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:build-classpath"]
    command += [f"-Dmdep.outputFile={fresh}", "-Dmdep.includeScope=runtime"]
    command += [f"-Dkafka.version={version}"] if version else []
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=RESOLVE_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotToBeHadError(f"Maven did not fetch the jars within {RESOLVE_S} s") from None
    if done.returncode:
        said = next((line for line in done.stdout.splitlines() if "ERROR" in line), "")
        raise NotToBeHadError(f"Maven could not fetch the jars: {said[:200]}")
    fresh.rename(kept)
    return kept.read_text()


def java() -> str:
    """Return the java command.

    Raises:
        NotToBeHadError: there is none.
    """
    found = shutil.which("java")
    if found is None:
        raise NotToBeHadError("Java is missing: `apt-get install openjdk-17-jre-headless`")
    return found


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "rcf-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
