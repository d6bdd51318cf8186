"""The command line: thin, one file per command."""

from __future__ import annotations

import os

# One thread for linear algebra: the matrices are small, and a core's budget is what is promised.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from observer.cli.main import main

__all__ = ["main"]
