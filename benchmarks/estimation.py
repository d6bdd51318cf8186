"""Quality before labels on real data: our estimates, NannyML's, and those of assuming no change.

The data of NannyML (employment in Massachusetts, car loans, cards, car prices) in its own chunks of 5,000
rows, estimated by NannyML in an environment of its own; and elec, whose concept drifts, where no estimate
from scores can be right. A chunk is estimated as the service does it: all its predictions are counted, 1,000
rows sampled.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.judge import table_of
from benchmarks.real_streams import _multiflow
from detectors.base import Categories, Column, Numbers
from detectors.quality import evaluate
from detectors.quality.estimation import (
    ClassifierEstimator,
    Estimate,
    Estimator,
    LabelledRows,
    Method,
    RegressionEstimator,
    estimate,
    fit,
)
from detectors.summaries.outcomes import RegressionOutcomes, score_edges
from detectors.summaries.predicted import PREDICTION, SCORE, ClassTable
from detectors.summaries.sample import Sample
from tests.services.peers import environment

CACHE = Path(".cache/estimation")
PACKAGES = "nannyml==0.13.1 statsmodels 'setuptools<80'"
CHUNK, SAMPLED = 5_000, 1_000
FEW = 10
"""Chunks of a data set that `pape` estimates, at least."""
NAMES = {
    "employment": {"roc_auc": "roc_auc", "f1": "f1", "accuracy": "accuracy", "average_precision": "pr_auc"},
    "loan": {"roc_auc": "roc_auc", "f1": "f1", "accuracy": "accuracy", "average_precision": "pr_auc"},
    "cards": {"roc_auc": "macro_roc_auc", "f1": "macro_f1", "accuracy": "accuracy"},
    "price": {"mae": "mae", "rmse": "rmse", "mape": "mape"},
}
"""NannyML's name of a metric -> ours; of prices errors are relative."""

# Runs in NannyML's environment: writes the rows of a data set, and what NannyML says of its chunks.
_SCRIPT = """
import json, os, sys, time, warnings
os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
warnings.filterwarnings("ignore")
import numpy as np, pandas as pd, nannyml as nml
name, folder, chunk = sys.argv[1], sys.argv[2], int(sys.argv[3])
load = {"employment": nml.load_us_census_ma_employment_data, "loan": nml.load_synthetic_car_loan_dataset,
        "price": nml.load_synthetic_car_price_dataset,
        "cards": nml.load_synthetic_multiclass_classification_dataset}[name]
before, after, targets = load()
label = {"employment": "employed", "loan": "repaid"}.get(name, "y_true")
said = "prediction" if name == "employment" else "y_pred"
scores = {"employment": ["predicted_probability"], "loan": ["y_pred_proba"], "price": [],
          "cards": [f"y_pred_proba_{c}_card" for c in ("highstreet", "prepaid", "upmarket")]}[name]
after = after.merge(targets, on="id")
features = [c for c in before if c not in {"id", "timestamp", "year", label, said, *scores}]
if name == "price":
    estimator = nml.DLE(feature_column_names=features, y_pred=said, y_true=label, chunk_size=chunk,
                        metrics=["mae", "mse", "rmse", "mape"])
else:
    of = scores[0] if name != "cards" else {c.removeprefix("y_pred_proba_"): c for c in scores}
    metrics = ["roc_auc", "f1", "accuracy", "precision", "recall"]
    metrics += ["average_precision"] if name != "cards" else []
    kind = "classification_multiclass" if name == "cards" else "classification_binary"
    estimator = nml.CBPE(y_pred_proba=of, y_pred=said, y_true=label, problem_type=kind, metrics=metrics,
                         chunk_size=chunk)
cpu = [time.process_time()]
estimator.fit(before)
cpu.append(time.process_time())
found = estimator.estimate(after.drop(columns=label)).filter(period="analysis")
cpu.append(time.process_time())
found = found.to_df()
told = {}
for metric in {one[0] for one in found.columns if one[0] != "chunk"}:
    part = found[metric]
    ends = ("lower_confidence_boundary", "upper_confidence_boundary")
    told[metric] = {"value": part["value"].tolist()}
    told[metric] |= {k: part[c].tolist() for k, c in zip(("low", "high"), ends) if c in part}
rows = {}
for period, frame in (("reference", before), ("analysis", after)):
    rows[f"{period} label"], rows[f"{period} prediction"] = frame[label].to_numpy(), frame[said].to_numpy()
    if name == "cards":
        rows[f"{period} label"], rows[f"{period} prediction"] = (
            rows[f"{period} {c}"].astype(str) for c in ("label", "prediction"))
    for i, column in enumerate(scores):
        rows[f"{period} score {i}"] = frame[column].to_numpy()
for column in features:
    if before[column].dtype.kind in "fi":
        for period, frame in (("reference", before), ("analysis", after)):
            rows[f"{period} number {column}"] = frame[column].to_numpy(float)
    else:
        known = sorted({*before[column].dropna().astype(str), *after[column].dropna().astype(str)})
        for period, frame in (("reference", before), ("analysis", after)):
            codes = pd.Categorical(frame[column].astype(str), categories=known).codes
            rows[f"{period} category {column}"] = codes.astype(np.int32)
np.savez_compressed(f"{folder}/{name}.npz", **rows)
json.dump(told, open(f"{folder}/{name}.json", "w"))
spent = {"learning": cpu[1] - cpu[0], "chunk": (cpu[2] - cpu[1]) / len(found)}
json.dump(spent, open(f"{folder}/{name}.seconds.json", "w"))
"""

_Rows = NDArray[np.intp]


@dataclass
class Data:
    """A data set: rows of a reference, then chunks; and what NannyML said of the chunks."""

    rows: Mapping[str, NDArray[Any]]
    peer: Mapping[str, Mapping[str, list[float]]]
    chunks: list[_Rows]
    sampled: int = SAMPLED
    """Rows of a chunk."""
    draw: int = 0
    """Which sample of them."""

    @classmethod
    def of(cls, name: str) -> Data:
        """One of NannyML's, in its chunks: the last one takes what is left over."""
        if not (CACHE / f"{name}.json").exists():
            _ask(name)
        with np.load(CACHE / f"{name}.npz") as file:
            rows = dict(file)
        peer = json.loads((CACHE / f"{name}.json").read_text())
        count = len(next(iter(peer.values()))["value"])
        cuts = np.arange(1, count) * CHUNK
        return cls(rows, peer, np.split(np.arange(len(rows["analysis label"])), cuts))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names as text; none where labels are numbers to predict."""
        labels = self.rows["reference label"]
        if labels.dtype.kind == "U":
            return tuple(sorted(set(labels)))
        return ("0", "1") if "reference score 0" in self.rows else ()

    def column(self, values: NDArray[Any]) -> Column:
        """Labels or predictions."""
        if not self.classes:
            return Numbers(values.astype(float))
        texts = values if values.dtype.kind == "U" else values.astype(int).astype(str)
        return Categories(np.searchsorted(self.classes, texts).astype(np.int32), self.classes)

    def features(self, period: str, at: _Rows) -> dict[str, Column]:
        out: dict[str, Column] = {}
        for key, values in self.rows.items():
            of, kind, *name = key.split(" ", 2)
            if of == period and kind == "number":
                out[name[0]] = Numbers(values[at])
            elif of == period and kind == "category":
                out[name[0]] = Categories(values[at], tuple(map(str, range(int(values.max()) + 1))))
        return out

    def scores(self, period: str, at: _Rows) -> dict[str, Column]:
        names = ("",) if len(self.classes) == 2 else self.classes
        found = {name: self.rows.get(f"{period} score {i}") for i, name in enumerate(names)}
        return {name: Numbers(values[at]) for name, values in found.items() if values is not None}

    def table(self) -> ClassTable | None:
        """As a reference of these rows has it."""
        if not self.classes:
            return None
        binary = len(self.classes) == 2
        every = self.scores("reference", np.arange(len(self.rows["reference label"])))
        edges = [score_edges(one.values, 256 if binary else 64) for one in every.values()]  # type: ignore[union-attr]
        return ClassTable(self.classes, np.array(edges), binary=binary)

    def estimator(self) -> Estimator:
        n = len(self.rows["reference label"])
        every = np.arange(n)
        labelled = LabelledRows(
            _keys(n, 0),
            self.features("reference", every),
            self.column(self.rows["reference prediction"]),
            self.scores("reference", every),
            self.column(self.rows["reference label"]),
            np.ones(n),
            every,
        )
        return fit(labelled, self.table())

    def estimate(self, estimator: Estimator, at: _Rows, method: Method) -> list[Estimate]:
        """What the service would say of these rows."""
        return self.ask(estimator, at, method)()

    def ask(self, estimator: Estimator, at: _Rows, method: Method) -> Callable[[], list[Estimate]]:
        """The estimate of a window of these rows, already summarised."""
        predicted, scores = self.rows["analysis prediction"][at], self.scores("analysis", at)
        sample = Sample(self.sampled)
        of_scores = {f"{SCORE}.{name}" if name else SCORE: column for name, column in scores.items()}
        kept = {**self.features("analysis", at), **of_scores, PREDICTION: self.column(predicted)}
        keys = _keys(len(at), 1 + int(at[0]) + self.draw)
        sample.update(keys, kept)
        if isinstance(estimator, RegressionEstimator):
            every = np.arange(len(self.rows["reference label"]))
            told = self.column(self.rows["reference prediction"])
            layout = table_of({**self.features("reference", every), PREDICTION: told})
            summary = replace(layout, sample_size=self.sampled).zero()
            summary.update(summary.table.encode(keys, kept))
            return partial(estimate, estimator, summary)
        table, window = estimator.table, estimator.table.zero()
        codes = table.codes(self.column(predicted))
        window.update(table.encode(codes, table.scores(scores, len(at))))
        return partial(estimator.estimate, window, sample, method)

    def realised(self, estimator: Estimator, at: _Rows) -> dict[str, float]:
        label, predicted = (self.rows[f"analysis {what}"][at] for what in ("label", "prediction"))
        if isinstance(estimator, ClassifierEstimator):
            table, outcomes = estimator.table, estimator.table.outcomes()
            codes = (table.codes(self.column(one)) for one in (label, predicted))
            scores = table.scores(self.scores("analysis", at), len(at))
            outcomes.update(*codes, scores[:, 0] if table.binary else scores)
        else:
            outcomes = RegressionOutcomes()
            outcomes.update(label.astype(float), predicted)
        return {one.name: one.value for one in evaluate(outcomes) if one.value is not None}


def _keys(n: int, seed: int) -> NDArray[np.uint64]:
    return np.random.default_rng(seed).integers(0, 2**64, n, dtype=np.uint64)


def _ask(name: str) -> None:
    """Let NannyML write a data set and its estimates into the cache."""
    python = environment("nannyml", PACKAGES)
    CACHE.mkdir(parents=True, exist_ok=True)
    variables = {"NML_DISABLE_USAGE_LOGGING": "1", "PATH": "/usr/bin:/bin", "HOME": str(CACHE.resolve())}
    variables["OMP_NUM_THREADS"] = "1"
    command = [str(python), "-W", "ignore", "-c", _SCRIPT, name, str(CACHE), str(CHUNK)]
    subprocess.run(command, check=True, env=variables)


def elec() -> Data:
    """Prices of electricity that rise or fall: a logistic regression on the first 10,000 half hours.

    The next 10,000 are the reference; then windows of 500.
    """
    from pyarrow import csv
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    home = _multiflow_file("elec")
    table = csv.read_csv(home)
    x = np.column_stack([table[c].to_numpy() for c in table.column_names if c != "target"])
    y = table["target"].to_numpy()
    scaler = StandardScaler().fit(x[:10_000])
    model = LogisticRegression().fit(scaler.transform(x[:10_000]), y[:10_000])
    score = model.predict_proba(scaler.transform(x))[:, 1]
    rows: dict[str, NDArray[Any]] = {}
    for period, part in (("reference", slice(10_000, 20_000)), ("analysis", slice(20_000, 45_000))):
        rows[f"{period} label"] = y[part].astype(np.int64)
        rows[f"{period} prediction"] = (score[part] > 0.5).astype(np.int64)
        rows[f"{period} score 0"] = score[part]
        for i in range(x.shape[1]):
            rows[f"{period} number x{i}"] = x[part, i]
    return Data(rows, {}, np.split(np.arange(25_000), np.arange(1, 50) * 500))


def _multiflow_file(name: str) -> Path:
    _multiflow(name)  # sees to it that the package is there
    return Path(".cache/data/scikit-multiflow/skmultiflow/data/datasets") / f"{name}.csv"


@dataclass
class _Errors:
    """Errors on one metric, a chunk each."""

    ours: list[float] = field(default_factory=list)
    constant: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    inside: list[bool] = field(default_factory=list)


def rows() -> Iterator[dict[str, Any]]:
    """Mean absolute errors of each metric, data set and method."""
    sets = {**dict.fromkeys(NAMES), "elec": None}
    for name in sets:
        data = elec() if name == "elec" else Data.of(name)
        estimator = data.estimator()
        wanted = NAMES.get(name, {"": "accuracy", " ": "f1", "  ": "roc_auc"})
        for method in _methods(data):
            yield from measured(name, data, estimator, wanted, method)


def measured(
    name: str, data: Data, estimator: Estimator, wanted: Mapping[str, str], method: Method
) -> Iterator[dict[str, Any]]:
    """Mean absolute errors of a method on all chunks, of numbers relative; `wanted` as in `NAMES`."""
    constant = {one.name: one.value for one in estimator.constant}
    errors = {metric: _Errors() for metric in wanted.values()}
    used, seen = 0, 0
    every = max(len(data.chunks) // FEW, 1) if method == "pape" else 1  # it costs a second a chunk
    for i, at in list(enumerate(data.chunks))[::every]:
        seen += 1
        real = data.realised(estimator, at)
        said = {one.name: one for one in data.estimate(estimator, at, method) if not one.class_name}
        used += any(one.method == method for one in said.values())
        for theirs, metric in wanted.items():
            one, error = said.get(metric), errors[metric]
            if one is None or one.value is None or one.low is None or one.high is None:
                continue
            unit = 1.0 if data.classes else real[metric]
            error.ours.append(abs(one.value - real[metric]) / unit)
            error.constant.append(abs(float(constant[metric] or 0) - real[metric]) / unit)
            error.inside.append(one.low <= real[metric] <= one.high)
            if theirs in data.peer:
                error.peer.append(abs(data.peer[theirs]["value"][i] - real[metric]) / unit)
    for metric, error in errors.items():
        if error.ours:
            ours, none = float(np.mean(error.ours)), float(np.mean(error.constant))
            yield {
                "data": name,
                "chunks": len(error.ours),
                "metric": metric,
                "method": method if used == seen else f"{method} on {used} chunks",
                "error": round(ours, 4),
                "no change": round(none, 4),
                "nannyml": round(float(np.mean(error.peer)), 4) if error.peer else None,
                "skill": round(1 - ours / none, 2),
                "in the band": round(float(np.mean(error.inside)), 2),
            }


def _methods(data: Data) -> tuple[Method, ...]:
    return ("cbpe", "bbse", "pape") if data.classes else ("dle",)


def cost() -> Iterator[dict[str, Any]]:
    """CPU milliseconds that the estimates of a window of 5,000 rows take once its summary is there.

    Beside them those of NannyML, which estimates the same chunk from its rows; either on one thread.
    """
    with threadpool_limits(1):
        for name in NAMES:
            _ask(name)
            data, theirs = Data.of(name), json.loads((CACHE / f"{name}.seconds.json").read_text())
            start = time.process_time()
            estimator = data.estimator()
            data.estimate(estimator, data.chunks[0], "dle" if not data.classes else "cbpe")
            learning = time.process_time() - start
            for method in _methods(data):
                spent = []
                for at in data.chunks[: 3 if method == "pape" else FEW]:
                    ask, start = data.ask(estimator, at, method), time.process_time()
                    ask()
                    spent.append(time.process_time() - start)
                peer = method in {"cbpe", "dle"}
                yield {
                    "data": name,
                    "method": method,
                    "ms a window": round(1e3 * float(np.median(spent)), 2),
                    "NannyML, ms": round(1e3 * theirs["chunk"], 1) if peer else None,
                    "learning, s": round(learning, 1),
                    "NannyML's, s": round(theirs["learning"], 1) if peer else None,
                }


def check() -> Iterator[dict[str, Any]]:
    """Let NannyML speak again, and compare with what the cache has."""
    for name in NAMES:
        before = json.loads((CACHE / f"{name}.json").read_text()) if (CACHE / f"{name}.json").exists() else {}
        _ask(name)
        now = json.loads((CACHE / f"{name}.json").read_text())
        apart = [
            float(np.max(np.abs(np.subtract(now[metric]["value"], before[metric]["value"]))))
            for metric in before.keys() & now.keys()
        ]
        yield {"data": name, "largest difference": max(apart, default=None)}


if __name__ == "__main__":
    for row in check() if "check" in sys.argv else rows():
        print("  ", ", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
