"""Our MMD and KS beside alibi-detect's on the same rows, each on one thread.

`python -m benchmarks.statistics speed`: 1,000 rows against 1,000 of 20 columns, 100 permutations.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.peers_null import in_environment
from detectors import catalog
from detectors.base import Numbers
from detectors.conformance import summarise, table_of
from detectors.learned.mmd import mmd_test

SHIFTS = (0.0, 0.03, 0.05)
ROWS, COLUMNS, PERMUTATIONS, REPEATS = 1000, 20, 100, 5

# Runs in the peer's environment.
_SCRIPT = """
import json, sys, time
import numpy as np
import torch
from alibi_detect.cd import KSDrift, MMDDrift
torch.set_num_threads(1)
data = np.load(sys.argv[1])
reference = data["reference"]
detectors = {
    "mmd": MMDDrift(reference, backend="pytorch", n_permutations=int(sys.argv[2])),
    "ks": KSDrift(reference, correction="bonferroni"),
}
out = {name: [] for name in detectors}
for window in data["windows"]:
    for name, detector in detectors.items():
        start = time.process_time()
        found = detector.predict(window)["data"]
        taken = time.process_time() - start
        out[name].append({
            "seconds": taken,
            "p_value": np.asarray(found["p_val"], float).tolist(),
            "statistic": np.asarray(found["distance"], float).tolist(),
        })
print(json.dumps(out))
"""


def _theirs(reference: np.ndarray, windows: np.ndarray) -> dict[str, list[dict[str, Any]]]:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "rows.npz"
        np.savez(data, reference=reference.astype(np.float32), windows=windows.astype(np.float32))
        return in_environment("alibi-torch", _SCRIPT, str(data), str(PERMUTATIONS))


def _median(call: Callable[[], Any]) -> float:
    """CPU seconds, when what follows from a reference is known already."""
    call()
    taken = []
    for _ in range(REPEATS):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return float(np.median(taken))


def rows() -> Iterator[dict[str, Any]]:
    """CPU milliseconds of either, how many times faster ours is, and how far the answers are apart."""
    rng = np.random.default_rng(909)
    reference = rng.standard_normal((ROWS, COLUMNS))
    windows = np.stack([shift + rng.standard_normal((ROWS, COLUMNS)) for shift in SHIFTS])
    theirs = _theirs(reference, windows)
    columns = [
        {f"x{i}": Numbers(column) for i, column in enumerate(rows.T)} for rows in (reference, *windows)
    ]
    table = table_of(columns[0])
    before, *now = (summarise(table, each) for each in columns)
    ks, mmd = catalog.build("ks"), catalog.build("mmd", permutations=PERMUTATIONS)
    calls = {
        "mmd": lambda: mmd_test(reference, windows[0], permutations=PERMUTATIONS),
        "mmd, reference known": lambda: mmd.compare(before, now[0]),
        "ks": lambda: ks.compare(before.numbers, now[0].numbers),
    }
    with threadpool_limits(1):
        for name, call in calls.items():
            ours = _median(call)
            peer = float(np.median([each["seconds"] for each in theirs[name.split(",")[0]]]))
            yield {
                "test": name,
                "ms": round(1e3 * ours, 2),
                "alibi-detect 0.11.4, ms": round(1e3 * peer, 2),
                "times faster": round(peer / ours, 1),
            }
    for i, (shift, peer) in enumerate(zip(SHIFTS, theirs["mmd"], strict=True)):
        found = mmd_test(reference, windows[i], permutations=PERMUTATIONS, seed=i)
        yield {
            "mmd, shift": shift,
            "permutation p": round(found.permuted, 3),
            "alibi-detect's": round(peer["p_value"], 3),
            "statistics apart": float(f"{abs(found.statistic - peer['statistic']):.1g}"),
        }
    apart = [
        abs(verdict.statistic - exact)
        for window, peer in zip(now, theirs["ks"], strict=True)
        for verdict, exact in zip(ks.compare(before.numbers, window.numbers), peer["statistic"], strict=True)
    ]
    yield {
        "ks distances apart at most": round(max(apart), 5),
        "largest bin of the reference": float(before.numbers.counts.max() / ROWS),
    }
