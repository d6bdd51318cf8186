"""What adapters cost: seconds to start, memory of the worker, milliseconds a window.

`python -m benchmarks.adapters`; the environments are those of the tests (`tests/services/peers.py`).
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from statistics import median

import numpy as np

from detectors import catalog
from detectors.adapters import process
from detectors.base import Categories, Numbers
from detectors.conformance import summarise, table_of
from detectors.online.spec import Moments
from tests.services import peers

_ROWS, _NUMBERS, _CATEGORIES = 1000, 15, 5
_RUNS = 9
_CASES: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("alibi-0.11", "alibi_detect", {}),
    ("alibi-0.13", "alibi_detect", {}),
    ("alibi-0.11", "alibi_detect", {"detector": "KSDrift"}),
    ("evidently", "evidently", {}),
    ("evidently", "evidently", {"method": "psi"}),
    ("river", "river", {}),
    ("river", "river", {"detector": "PageHinkley"}),
)


def _summaries():
    rng = np.random.default_rng(1)

    def columns():
        names = tuple("abcde")
        out = {f"x{i}": Numbers(rng.standard_normal(_ROWS)) for i in range(_NUMBERS)}
        for i in range(_CATEGORIES):
            out[f"c{i}"] = Categories(rng.integers(0, 5, _ROWS).astype(np.int32), names)
        return out

    rows = columns()
    table = table_of(rows)
    return summarise(table, rows), [summarise(table, columns()) for _ in range(_RUNS)]


def _memory(pid: int) -> float:
    """The most that a process has held in memory so far, megabytes."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")


def _advanced(online, rng) -> float:
    """Seconds for a window."""
    began = time.perf_counter()
    said = online.update(Moments.of_values(rng.random(100)))
    if not said.ready.all():
        raise SystemExit(said.reason)
    return time.perf_counter() - began


def main() -> None:
    """Print a table."""
    reference, windows = _summaries()
    print("| detector | start, s | first window, ms | next windows, ms | memory, MB |\n|---|---|---|---|---|")
    for peer, name, params in _CASES:
        detector = catalog.build(name, python=peers.interpreter(peer), **params)
        detector.version()  # once, so that files are at hand
        process.close()
        began = time.perf_counter()
        version = detector.version()
        started = time.perf_counter() - began
        took = []
        for window in windows:
            began = time.perf_counter()
            verdict = detector.compare(reference, window)[0]
            took.append(time.perf_counter() - began)
            if verdict.status not in {"stable", "drift"}:
                raise SystemExit(verdict.reason)
        memory = _memory(detector._worker().pid)  # noqa: SLF001
        first, *rest = (1000 * each for each in took)
        cells = f"{started:.1f} | {first:.0f} | {median(rest):.0f} | {memory:.0f}"
        print(f"| `{detector.name}` {version} | {cells} |")
        process.close()
    for name in ("ADWIN", "PageHinkley", "KSWIN"):
        spec = catalog.ONLINE.build("river", python=peers.interpreter("river"), detector=name)
        online, rng = spec.fresh(Moments.none(100)), np.random.default_rng(2)
        took = []
        for _ in range(200):
            took.append(_advanced(online, rng))
        process.close()
        again = _advanced(online, rng)
        print(
            f"`{spec.name}` online, 100 streams: {1000 * median(took):.1f} ms a window; "
            f"a new worker with 200 windows: {again:.1f} s"
        )
        process.close()


if __name__ == "__main__":
    main()
