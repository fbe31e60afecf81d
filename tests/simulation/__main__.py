"""`make chaos`: random kills over more records, more kills and more seeds than the tests take.

`make chaos ARGS="kafka [NAME …]"`: the same and more on a real broker, see `tests.kafka.chaos`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from service.adapters.forest import ForestFactory
from tests.engine.fakes import FakeFactory
from tests.simulation.chaos import run_chaos


def main() -> int:
    """Run and report; 1 when a run differs from its undisturbed twin."""
    if sys.argv[1:2] == ["kafka"]:
        from tests.kafka.chaos import main as on_kafka

        return on_kafka(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--fake", action="store_true", help="a toy detector in the forest's place")
    given = parser.parse_args()
    differing = 0
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as directory:
            outcome = run_chaos(
                Path(directory),
                seed,
                records=given.records,
                kills=given.kills,
                factory=FakeFactory() if given.fake else ForestFactory(),
            )
        same = outcome.found == outcome.reference and "results" in outcome.found
        differing += not same
        statuses = outcome.found.get("statuses", outcome.found)
        verdict = "identical" if same else "DIFFERENT"
        text = f"seed {seed}: {outcome.kills} kills, {statuses}, {outcome.seconds:.1f} s: {verdict}"
        print(text, flush=True)  # noqa: T201  (its output)
    return int(differing > 0)


if __name__ == "__main__":
    raise SystemExit(main())
