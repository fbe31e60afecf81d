"""`python -m load [--readme] [REPORT …]`: every report, or those that are named.

With `--readme` the tables replace those in the README. `python -m load drive|soak …` are commands
with options of their own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from load import (
    answers,
    calls,
    compact,
    drive,
    forecast,
    frozen,
    imputation,
    kafka,
    kernels,
    memory,
    multi_mode,
    pipeline,
    quality,
    report,
    score_only,
    series,
    sizes,
    soak,
    start,
    stopping,
    threads,
    transforms,
)

REPORTS: dict[str, Callable[[], None]] = {
    "kernels": kernels.main,
    "score_only": score_only.main,
    "calls": calls.main,
    "answers": answers.main,
    "threads": threads.main,
    "series": series.main,
    "start": start.main,
    "memory": memory.main,
    "pipeline": pipeline.main,
    "kafka": kafka.main,
}

#: Run only when they are named: one needs most of a machine's memory, the others labelled data.
ON_REQUEST: dict[str, Callable[[], None]] = {
    "million": series.million,
    "compact": compact.main,
    "forecast": forecast.main,
    "frozen": frozen.main,
    "imputation": imputation.main,
    "multi_mode": multi_mode.main,
    "quality": quality.main,
    "stopping": stopping.main,
    "transforms": transforms.main,
}

COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "drive": drive.main,
    "soak": soak.main,
    "sizes": sizes.main,
}


def main(names: list[str]) -> int:
    """Run the command, or the reports; 2 if a name is unknown."""
    if names and names[0] in COMMANDS:
        return COMMANDS[names[0]](names[1:])
    readme = "--readme" in names
    names = [name for name in names if name != "--readme"]
    unknown = [name for name in names if name not in REPORTS | ON_REQUEST]
    if unknown:
        known = ", ".join(REPORTS | ON_REQUEST)
        sys.stderr.write(f"no report named {', '.join(unknown)}; there are: {known}\n")
        return 2
    began = time.monotonic()
    for name in names or list(REPORTS):
        (REPORTS | ON_REQUEST)[name]()
        sys.stderr.write(f"{name} done, {(time.monotonic() - began) / 60:.1f} minutes in all\n\n")
    if readme:
        report.write_readme()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
