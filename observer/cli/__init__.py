"""The command line: thin, one file per command."""

from __future__ import annotations

import os
import sys

# One thread for linear algebra: the matrices are small, and a core's budget is what is promised.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

_OURS = ("observer", "detectors")


def main() -> None:
    """Run the command line; says what to install where a library of the service is missing."""
    try:
        from observer.cli.group import run  # noqa: PLC0415 - the base install has no click

        run()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if not missing or missing in _OURS:
            raise
        sys.stderr.write(f"error: {missing} is not installed; the commands need ml-observer[service]\n")
        sys.exit(1)
