"""Memory limits hold what streams may grow to, and the README says of it what is measured."""

import re

import numpy as np
import pytest

from service.cli.size import MB, Shape, shipped
from service.engine.config import StreamConfig
from tests.deploy.files import ROOT
from tests.deploy.test_settings import environments, pod, workers

GB = 2**30
SERIES = Shape().series().nbytes + shipped().series_bytes


def limits():
    """Where -> bytes that a worker may take there."""
    found = {name: int(each["mem_limit"].removesuffix("g")) for name, each in workers().items()}
    (container,) = pod()["containers"]
    found["ConfigMap"] = int(container["resources"]["limits"]["memory"].removesuffix("Gi"))
    return {where: GB * each for where, each in found.items()}


@pytest.mark.parametrize("where", limits())
def test_a_worker_holds_a_stream_at_its_fullest(where):
    """Alone, and while a partition is saved: each of its series may be copied before it changes."""
    given = environments()[where]
    series = (int(given["RCF_PARTITIONS"]) + 1) * int(given["RCF_MAX_SERIES"])
    assert shipped().worker_mb * MB + series * SERIES <= limits()[where]


def test_the_sizes_are_those_of_a_stream_by_default():
    config, shape = StreamConfig(name="s"), Shape()
    for name in ("shingle_size", "trees", "sample_size"):
        assert getattr(config, name) == getattr(shape, name)


def test_the_readme_says_what_a_series_takes():
    text = " ".join((ROOT / "README.md").read_text("utf-8").split())
    awake = re.search(r"about ([\d.]+) MB a series with the defaults", text)[1]
    asleep = re.search(r"wait as compact bytes \(about ([\d.]+) MB\)", text)[1]
    series = Shape().series()
    series.process(np.sin(np.arange(3_000.0)).reshape(-1, 1))
    assert float(awake) == pytest.approx(SERIES / MB, rel=0.03)
    assert float(asleep) == pytest.approx(len(series.to_bytes()) / MB, rel=0.03)
