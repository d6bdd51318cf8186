"""The demo's training pipeline: a program of its own, which the retrain target `command` runs.

    python -m observer.sources.demo.trainer ROWS MODELS

reads the order in `$OBSERVER_RUN`, joins logged predictions with their labels, learns from them, and leaves
coefficients and the reference that belongs to them in MODELS, and in `result.json` the new version's name.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.base import Column, Floats, Ints, Numbers
from observer.codecs import ArrowSpec, Limits, codec
from observer.model import Messages, Origin, Partition, Stream
from observer.references import PREDICTION, SCORE, Overrides, RowLabels, build
from observer.sources.demo import serving
from observer.sources.demo.logistic import Logistic

_HELD_OUT = 5
"""Every so many rows one is kept to see how good the version is."""


class Rows(NamedTuple):
    """n labelled rows: keys of 64 bits, features, labels of 0 or 1, event time in milliseconds."""

    keys: NDArray[np.uint64]
    features: Mapping[str, Column]
    label: Floats
    time: Ints


class Outcome(NamedTuple):
    """What a training left: version, rows learnt from, share of the rows held out that it got right."""

    version: str
    rows: int
    accuracy: float


def train(model: str, rows: Rows, models: Path) -> Outcome:
    """Learn the next version of a model; raises `ValueError` where there is nothing to learn."""
    held = np.arange(len(rows.label)) % _HELD_OUT == 0
    learnt = Logistic.fit(_taken(rows.features, ~held), rows.label[~held])
    score = learnt.score(rows.features)
    right = float(np.mean((score[held] >= 0.5) == rows.label[held]))
    version = str(max(map(int, serving.trained(models, model)), default=0) + 1)
    # What the version's traffic will be compared with: the rows that it has not learnt from.
    fair = np.flatnonzero(held) if held.sum() >= 2_000 else np.arange(len(held))
    columns: dict[str, Column] = {name: column.take(fair) for name, column in rows.features.items()}
    columns[SCORE] = Numbers(score[fair])
    columns[PREDICTION] = Numbers((score[fair] >= 0.5).astype(np.float64))
    labels = RowLabels(Numbers(rows.label[fair]), rows.time[fair])
    told = f"rows that version {version} was tested on"
    reference = build(rows.keys[fair], columns, Overrides(task="binary"), told, labels=labels)
    reference.save(models / f"{model}-{version}.reference")
    path = serving.path(models, model, version)
    fresh = path.with_suffix(".new")
    fresh.write_text(learnt.to_json())
    fresh.replace(path)
    return Outcome(version, int(np.count_nonzero(~held)), right)


def read(folder: Path, model: str, since: float | None) -> Rows:
    """Logged predictions made since (seconds since the epoch) that have their label.

    Raises `ValueError` where there are none.
    """
    decode = codec(ArrowSpec(), {}, Limits(max_ahead=1e12), learn_unknown=True)
    predictions = decode.predictions(_messages(folder, "predictions"), 0.0).predictions
    labels = decode.labels(_messages(folder, "labels"), 0.0).labels
    made = next((one for one in predictions if one.model == model), None)
    came = next((one for one in labels if one.model == model), None)
    if made is None or came is None or not isinstance(came.label, Numbers):
        raise ValueError(f"{folder}: no labelled predictions of {model}")
    _, first = np.unique(made.keys[:, 0], return_index=True)  # some are sent twice
    made = made.take(np.sort(first))
    latest = {int(key): value for key, value in zip(came.keys[:, 0], came.label.values, strict=True)}
    label = np.array([latest.get(int(key), np.nan) for key in made.keys[:, 0]])
    start = -np.inf if since is None else since * 1000
    chosen = made.take(np.flatnonzero(np.isfinite(label) & (made.time >= start)))
    kept = label[np.isfinite(label) & (made.time >= start)]
    return Rows(chosen.keys[:, 0], chosen.features, kept, chosen.time)


def _messages(folder: Path, stream: Stream) -> Messages:
    values = [path.read_bytes() for path in sorted(folder.glob(f"{stream}-*.arrow"))]
    partition = np.zeros(len(values), np.int32)
    return Messages(
        values, partition, (Partition(stream, "files", 0),), {}, lambda number: Origin("files", 0, number)
    )


def _taken(features: Mapping[str, Column], rows: NDArray[np.bool_]) -> dict[str, Column]:
    return {name: column.take(np.flatnonzero(rows)) for name, column in features.items()}


def main(rows: Path, models: Path, run: Path) -> None:
    """Follow the order of a run."""
    parameters = json.loads((run / "order.json").read_text())["parameters"]
    model = parameters["model"]
    found = read(rows / parameters.get("table", "live"), model, parameters["since"])
    outcome = train(model, found, models)
    print(f"{model} {outcome.version}: learnt from {outcome.rows} rows, {outcome.accuracy:.1%} right")  # noqa: T201
    (run / "result.json").write_text(json.dumps(outcome._asdict()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(os.environ["OBSERVER_RUN"]))
