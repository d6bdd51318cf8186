"""The label join on disk: joined pairs per core-second, and bytes a pending prediction.

One horizon of event time passes: predictions in batches of 5,000 with random ids, a label for every one after
a delay (exponential, mean a tenth of the horizon), in the order of label time; a durable commit every 2 s.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import lmdb
import numpy as np

from observer.labels import LabelJoin, record_dtype
from observer.stores.lmdb import LmdbState

BATCH = 5_000
COMMIT_EVERY = 2.0
HORIZON = 7 * 24 * 3_600_000
DTYPE = record_dtype(n_scores=1, n_dims=2)


def events(n: int, orphans: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Keys and times of predictions; keys and times of labels, `orphans` of them without a prediction."""
    rng = np.random.default_rng(1)
    keys = rng.integers(0, 2**64, size=(n, 2), dtype=np.uint64)
    times = np.sort(rng.integers(0, HORIZON, n))
    due = times + np.minimum(rng.exponential(HORIZON / 10, n), HORIZON).astype(np.int64)
    order = np.argsort(due, kind="stable")
    label_keys = keys[order]
    label_keys[rng.random(n) < orphans] ^= np.uint64(1)
    return keys, times, label_keys, due[order]


def used_bytes(folder: str) -> int:
    """Pages in use, without those that wait to be used again."""
    with lmdb.open(folder, readonly=True, lock=False, max_dbs=256) as env, env.begin() as txn:
        spaces = [name for name, _ in txn.cursor() if name.startswith(b"space/")]
        stats = [txn.stat(env.open_db(name, txn=txn)) for name in spaces]
    return sum((s["leaf_pages"] + s["branch_pages"] + s["overflow_pages"]) * s["psize"] for s in stats)


def measure(n: int, orphans: float = 0.0) -> dict[str, float]:
    keys, times, label_keys, due = events(n, orphans)
    records = np.zeros(BATCH, DTYPE)
    values, weights = np.ones(BATCH), np.ones(BATCH)
    with tempfile.TemporaryDirectory() as folder:
        state = LmdbState(Path(folder))
        join = LabelJoin(state, HORIZON)
        pairs = ahead = commits = 0
        last = start = time.perf_counter()
        cpu = time.process_time()
        for begin in range(0, n + BATCH, BATCH):
            batch = slice(begin, begin + BATCH)
            now = HORIZON * 3
            if begin < n:
                records["time"] = times[batch]
                join.predictions(keys[batch], records)
                now = int(times[batch][-1])
            ready = int(np.searchsorted(due, now))
            while ready - ahead >= BATCH or (begin >= n and ahead < n):
                rows = slice(ahead, ahead + BATCH)
                size = len(due[rows])
                found = join.labels(DTYPE, label_keys[rows], due[rows], values[:size], weights[:size])
                pairs += len(found.joined.rows)
                ahead += size
            if time.perf_counter() - last > COMMIT_EVERY or begin >= n:
                join.expire(min(now, HORIZON))
                state.commit()
                commits += 1
                last = time.perf_counter()
        spent, wall = time.process_time() - cpu, time.perf_counter() - start
        size = (Path(folder) / "data.mdb").stat().st_blocks * 512
        state.close()
        used = used_bytes(folder)
    return {
        "keys": n,
        "pairs": pairs,
        "pairs_per_core_second": round(n / spent),
        "pairs_per_second": round(n / wall),
        "commits": commits,
        "bytes_per_prediction": round(used / n, 1),
        "file_bytes_per_prediction": round(size / n, 1),
    }


def run() -> dict[str, dict[str, float]]:
    """Results by case."""
    return {
        "500k": measure(500_000),
        "500k, 5% orphan labels": measure(500_000, orphans=0.05),
        "3M": measure(3_000_000),
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
