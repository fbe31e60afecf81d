"""`make chaos ARGS="[NAME …]"`: what may happen to a service, for longer than the tests take.

Each run must end as if nothing had happened, and says its figures. `make chaos ARGS="kafka [NAME
…]"`: the same and more on a real broker, see `tests.kafka.chaos`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from load.report import Row, one_line, publish, write_readme
from service.adapters.forest import ForestFactory
from tests.engine.fakes import FakeFactory
from tests.simulation.harms import HARMS, Setting

LONG = {"kills": (200_000, 500)}
"""Records and turns of those that take others than the rest."""


def main() -> int:
    """Run and report; 1 when something did not hold."""
    if sys.argv[1:2] == ["kafka"]:
        from tests.kafka.chaos import main as on_kafka

        return on_kafka(sys.argv[2:])
    given = parse(sys.argv[1:])
    rows: list[Row] = []
    for name in given.names or HARMS:
        held, said = 0, ""
        for seed in given.seeds:
            as_it_should_be, said = play(name, seed, given)
            held += as_it_should_be
            text = f"{name}, seed {seed}: {said}"
            print(text, flush=True)  # noqa: T201  (its output)
        rows.append(
            {"harm": name, "runs": len(given.seeds), "identical": held, "the last": one_line(said)}
        )
    publish("chaos, embedded (`make chaos`)", rows)
    failed = any(row["identical"] != row["runs"] for row in rows)
    if given.readme and not failed:
        write_readme()
    return int(failed)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(HARMS))
    parser.add_argument("--records", type=int, help="[60000; kills: 200000]")
    parser.add_argument("--turns", type=int, help="how often harm is done [20; kills: 500]")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--readme", action="store_true", help="put the table into the README")
    parser.add_argument("--fake", action="store_true", help="a toy detector in the forest's place")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in HARMS]
    if unknown:
        parser.error(f"no run named {', '.join(unknown)}; there are: kafka, {', '.join(HARMS)}")
    return given


def play(name: str, seed: int, given: argparse.Namespace) -> tuple[bool, str]:
    """Do one harm behind a bar; whether it held, and what is to be said."""
    began_s = time.monotonic()
    records, turns = LONG.get(name, (60_000, 20))
    with (
        tempfile.TemporaryDirectory(prefix="rcf-chaos-") as folder,
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        task = progress.add_task(f"{name}, seed {seed}", total=1.0)
        setting = Setting(
            Path(folder),
            seed,
            given.records or records,
            given.turns or turns,
            FakeFactory() if given.fake else ForestFactory(),
            lambda share: progress.update(task, completed=share),
        )
        try:
            said = HARMS[name](setting)
        except Exception as error:
            return False, f"FAILED: {type(error).__name__}: {str(error)[:2000]}"
    return True, f"identical; {said}; {time.monotonic() - began_s:.1f} s"


if __name__ == "__main__":
    raise SystemExit(main())
