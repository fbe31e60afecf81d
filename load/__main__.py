"""`python -m load`: every report, or those that are named."""

from __future__ import annotations

import sys

from load import http, kernels, pipeline

REPORTS = {"kernels": kernels.main, "pipeline": pipeline.main, "http": http.main}


def main(names: list[str]) -> int:
    """Run the reports; 2 if a name is unknown."""
    unknown = [name for name in names if name not in REPORTS]
    if unknown:
        known = ", ".join(REPORTS)
        sys.stderr.write(f"no report named {', '.join(unknown)}; there are: {known}\n")
        return 2
    for name in names or list(REPORTS):
        REPORTS[name]()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
