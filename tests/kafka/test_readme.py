"""The README's example of Kafka, word for word but for the addresses."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kafka.broker import free_ports
from tests.kafka.test_service import START_S
from tests.left_out import need_curl

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.slow
def test_the_example_works(kafka, tmp_path):
    need_curl()
    (script,) = re.findall(r"^```bash\n(.*?)^```$", README.read_text("utf-8"), re.M | re.S)
    script = script.replace("127.0.0.1:9092", kafka.bootstrap)
    for port, free in zip(("8080", "8081"), free_ports(2), strict=True):
        assert port in script
        script = script.replace(port, str(free))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "RCF_KAFKA_APPLICATION": kafka.application}
    said = tmp_path / "said"
    with said.open("w") as output:
        process = subprocess.Popen(
            ["bash", "-ec", script],
            cwd=tmp_path,
            env=os.environ | environment,
            stdout=output,
            start_new_session=True,
        )
    try:
        assert process.wait(2 * START_S) == 0
        assert '"status":"warming"' in said.read_text()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
