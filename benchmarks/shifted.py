"""`dle` on numbers whose features shift and nothing else, so that its assumption is true: ours and NannyML's.

Of each data set 60,000 rows are the reference, and 16 windows of 5,000 are drawn from the others: 4 as they
come, 8 tilted along two features, and 4 of which a corner that holds some 4% of the rows becomes the most.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.estimation import CACHE, CHUNK, NAMES, PACKAGES, Data, measured
from benchmarks.real_streams import _multiflow
from tests.services.peers import environment

REFERENCE = 60_000
MODELLED = 20_000
"""Rows that the model under watch is fitted to, where it is fitted."""

# Runs in NannyML's environment: what its DLE says of each window.
_SCRIPT = """
import json, os, sys, warnings
os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
warnings.filterwarnings("ignore")
import numpy as np, pandas as pd, nannyml as nml
home, chunk = sys.argv[1], int(sys.argv[2])
file = np.load(f"{home}.npz")
def frame(period):
    table = {}
    for key in file:
        of, kind, *name = key.split(" ", 2)
        if of == period:
            values = pd.Categorical(file[key].astype(str)) if kind == "category" else file[key]
            table[name[0] if name else kind] = values
    return pd.DataFrame(table)
before, after = frame("reference"), frame("analysis")
features = [c for c in before if c not in {"label", "prediction"}]
estimator = nml.DLE(feature_column_names=features, y_pred="prediction", y_true="label", chunk_size=chunk,
                    metrics=["mae", "rmse", "mape"])
estimator.fit(before)
found = estimator.estimate(after.drop(columns="label")).filter(period="analysis").to_df()
told = {metric: {"value": found[metric]["value"].tolist()} for metric in ("mae", "rmse", "mape")}
json.dump(told, open(f"{home}.json", "w"))
"""

_Numbers = NDArray[np.float64]


def _log_normal() -> tuple[_Numbers, _Numbers, _Numbers, int]:
    """Prices: errors in proportion to the price, larger and of heavy tails in two rare groups."""
    rng = np.random.default_rng(5)
    n = 400_000
    x, group = rng.normal(size=(n, 5)), rng.choice(6, n, p=[0.4, 0.25, 0.2, 0.1, 0.04, 0.01])
    kind = rng.integers(0, 3, n)
    mean = 3 + 0.6 * x[:, 0] + 0.4 * np.sin(2 * x[:, 1]) + 0.3 * x[:, 2] * (group == 2)
    mean += 0.8 * (group == 5) - 0.5 * (group == 4)
    scatter = 0.15 + 0.1 * (kind == 1) + 0.25 * (x[:, 3] > 1) + 0.3 * (group >= 4)
    actual = np.exp(mean + scatter * rng.normal(size=n))
    said = np.exp(3.02 + 0.55 * x[:, 0] + 0.4 * np.sin(2 * x[:, 1]) + 0.05 * x[:, 2])
    return np.column_stack([x, group, kind]), said, actual, 2


def _additive() -> tuple[_Numbers, _Numbers, _Numbers, int]:
    """A linear model without an interaction, errors of Student's t whose size depends on three features."""
    rng = np.random.default_rng(3)
    n = 300_000
    x, group = rng.uniform(-1, 1, (n, 6)), rng.choice(4, n, p=[0.6, 0.3, 0.07, 0.03])
    scatter = 2 + 3 * (x[:, 3] > 0.5) + 6 * (group == 3) + 3 * np.abs(x[:, 4])
    actual = 50 + 20 * x[:, 0] + 10 * x[:, 1] * x[:, 2] + scatter * rng.standard_t(6, n)
    return np.column_stack([x, group]), 50 + 18 * x[:, 0] + 4 * x[:, 2], actual, 1


def _covtype(target: str) -> tuple[_Numbers, _Numbers, _Numbers, int]:
    """A number of forest cover, predicted by boosted trees from the others without the kind of soil."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    table = _multiflow("covtype")
    names = table.column_names
    order = np.random.default_rng(0).permutation(len(table))
    numbers = [name for name in names[:10] if name != target]
    flags = (
        np.column_stack([table[name].to_numpy() for name in some]) for some in (names[10:14], names[14:54])
    )
    columns = [*(table[name].to_numpy() for name in numbers), *(one.argmax(axis=1) for one in flags)]
    x, actual = np.column_stack(columns).astype(float)[order], table[target].to_numpy().astype(float)[order]
    actual += actual.min() == 0
    part = slice(MODELLED)
    model = HistGradientBoostingRegressor(max_iter=30, random_state=0).fit(x[part, :-1], actual[part])
    part = slice(MODELLED, None)
    return x[part], model.predict(x[part, :-1]), actual[part], 2


SETS = {
    "log-normal": (_log_normal, 5),
    "additive": (_additive, 3),
    "elevation": (lambda: _covtype("Elevation"), 1),
    "distance to fires": (lambda: _covtype("Horizontal_Distance_To_Fire_Points"), 10),
}
"""Name -> what makes features, predictions, labels and says how many of the last features are names; seed."""


def _windows(rng: np.random.Generator, x: _Numbers) -> Iterator[NDArray[np.intp]]:
    rest = np.arange(REFERENCE, len(x))
    z = ((x - x[:REFERENCE].mean(axis=0)) / (x[:REFERENCE].std(axis=0) + 1e-9))[rest]
    numeric = [i for i in range(x.shape[1]) if len(np.unique(x[:2_000, i])) > 2]
    for i in range(16):
        share = np.ones(len(rest))
        if i >= 4:
            pair = rng.choice(numeric, 2, replace=False)
        if 4 <= i < 12:
            tilt = rng.choice([0.7, 1.5]) * rng.choice([-1, 1], 2)
            share = np.exp(np.clip(z[:, pair] @ tilt, -6, 6))
        elif i >= 12:
            turned = z[:, pair] * rng.choice([-1, 1], 2)
            inside = (turned > np.quantile(turned, 0.8, axis=0)).all(axis=1)
            share = np.where(inside, 0.7 / max(inside.sum(), 1), 0.3 / len(rest))
        yield rng.choice(rest, CHUNK, replace=False, p=share / share.sum())


def _data(name: str) -> Data:
    make, seed = SETS[name]
    x, said, actual, names = make()
    drawn = list(_windows(np.random.default_rng(seed), x))
    rows: dict[str, Any] = {}
    for period, at in (("reference", np.arange(REFERENCE)), ("analysis", np.concatenate(drawn))):
        rows[f"{period} label"], rows[f"{period} prediction"] = actual[at], said[at]
        for i in range(x.shape[1]):
            numeric = i < x.shape[1] - names
            kind, dtype = ("number", float) if numeric else ("category", np.int32)
            rows[f"{period} {kind} x{i}"] = x[at, i].astype(dtype)
    home = (CACHE / f"shifted {name}").resolve()
    if not home.with_suffix(".json").exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(home.with_suffix(".npz"), **rows)
        command = [
            str(environment("nannyml", PACKAGES)),
            "-W",
            "ignore",
            "-c",
            _SCRIPT,
            str(home),
            str(CHUNK),
        ]
        variables = {"PATH": "/usr/bin:/bin", "HOME": str(CACHE.resolve()), "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=variables, capture_output=True)
    peer = json.loads(home.with_suffix(".json").read_text())
    return Data(rows, peer, np.split(np.arange(len(drawn) * CHUNK), np.arange(1, len(drawn)) * CHUNK))


def _both(name: str, data: Data) -> Iterator[dict[str, Any]]:
    """With the usual sample of a window, and with all its rows."""
    estimator = data.estimator()
    for sampled in (data.sampled, CHUNK):
        given = replace(data, sampled=sampled)
        for row in measured(name, given, estimator, NAMES["price"], "dle"):
            yield {**row, "sampled": sampled}


def prices() -> Iterator[dict[str, Any]]:
    """NannyML's car prices alone, and how much of the errors is the luck of the sample: the mean of ten."""
    data = Data.of("price")
    yield from _both("price", data)
    estimator = data.estimator()
    drawn = [
        list(measured("price", replace(data, draw=draw), estimator, NAMES["price"], "dle"))
        for draw in range(10)
    ]
    for same in zip(*drawn, strict=True):
        means = {
            key: round(float(np.mean([row[key] for row in same])), 4) for key in ("error", "in the band")
        }
        yield {"data": "price", "metric": same[0]["metric"], "draws": len(same), **means}


def rows() -> Iterator[dict[str, Any]]:
    """The data sets of this module."""
    for name in SETS:
        yield from _both(name, _data(name))
