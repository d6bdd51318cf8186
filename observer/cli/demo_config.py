"""The configuration of the demo: the script's models, and what is done about one of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import numpy as np
import yaml
from pydantic import SecretStr

from detectors.base import Numbers
from observer.actions.rollout_spec import RolloutSpec
from observer.actions.spec import ActionsSpec
from observer.actions.targets import CommandSpec, LocalSplitSpec
from observer.codecs import Limits
from observer.config import Config, HttpConfig, LabelConfig, ModelConfig, PredictionConfig
from observer.model import Task
from observer.references import Overrides, Reference, RowLabels, build, load
from observer.segments import SegmentSpec
from observer.slo import ObjectiveSpec
from observer.sources.demo import Script
from observer.sources.demo.trainer import Rows, train
from observer.sources.files import FilesSpec
from observer.stores.lmdb import StateSpec

ALERT: Final = "NewTrainingTable"
"""The alert from outside that has the served model retrained on a table that is out of date."""

_ACTIONS: Final = {
    "rules": [
        {
            "name": "retrain",
            "when": {"objective": "page"},
            "do": "retrain",
            "target": "training",
            "approval": {"unless_rejected_within": "8h"},
            "fresh_labels": 4_000,
            "cooldown": "7d",
            "parameters": {"table": "live"},
        },
        {
            "name": "new-table",
            "when": {"alert": {"alertname": ALERT}},
            "do": "retrain",
            "target": "training",
            "approval": {"unless_rejected_within": "8h"},
            "parameters": {"table": "copy"},
        },
    ],
    "guards": {"most_per_day": 10, "largest_step": 50},
}
_ROLLOUT: Final = {
    "target": "split",
    "steps": [10, 50],
    "bake": "2h",
    "minimum": 200,
    "watch": "8h",
    "start": "after_retrain",
    "promote_approval": {"unless_rejected_within": "6h"},
}
# Burn rates over hours, since days pass in minutes here.
_BURN: Final = {
    "period": "1d",
    "alerts": [{"severity": "page", "short": "1h", "long": "3h", "factor": 1.4}],
}


class Places:
    """Where things lie in the demo's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models = folder / "models"
        self.events = folder / "events"
        self.split = folder / "split.json"
        self.config = folder / "observer.yaml"
        """For the command line: where the service is, and its token."""
        self.models.mkdir()


def references(script: Script, places: Places) -> dict[str, Path]:
    """Make each model's reference, and of the served one its first version; paths by model."""
    paths = {}
    for model in script.models:
        if model.served:
            keys, columns, _ = script.reference_columns(model.name)
            labels = script.reference_labels(model.name)
            assert not isinstance(labels, Numbers)  # noqa: S101 - classes are named
            features = {name: column for name, column in columns.items() if not name.startswith("@")}
            rows = Rows(keys, features, labels.codes.astype(np.float64), np.arange(len(keys)))
            train(model.name, rows, places.models)
            paths[model.name] = places.models / f"{model.name}-{{version}}.reference"
        else:
            paths[model.name] = places.folder / f"{model.name}.reference"
            _reference(script, model.name).save(paths[model.name])
    return paths


def known(paths: dict[str, Path]) -> dict[str, Reference]:
    """All references that there are by now, by their version."""
    found = (file for path in paths.values() for file in path.parent.glob(path.name.format(version="*")))
    return {reference.version: reference for reference in map(load, found)}


def configuration(script: Script, places: Places, paths: dict[str, Path], port: int, token: str) -> Config:
    """What the service is told."""
    nowhere = FilesSpec(path="demo")
    program = (sys.executable, "-m", "observer.sources.demo.trainer", str(places.events), str(places.models))
    return Config(
        predictions=PredictionConfig(source=nowhere),
        labels=LabelConfig(source=nowhere),
        models={model.name: _model(script, model.name, paths[model.name]) for model in script.models},
        learn_unknown=False,
        limits=Limits(max_ahead=1e9),  # event time runs ahead of the clock
        state=StateSpec(path=places.folder / "state"),
        http=HttpConfig(port=port, token=SecretStr(token)),
        targets={
            "training": CommandSpec(arguments=program, folder=places.folder / "runs"),
            "split": LocalSplitSpec(path=places.split),
        },
    )


def for_orders(url: str, token: str) -> str:
    """A configuration with which the command line finds the demo, and may give it orders."""
    address = urlsplit(url)
    http = {"host": address.hostname, "port": address.port, "token": token}
    return yaml.safe_dump({"predictions": {"type": "files", "path": "demo"}, "http": http})


def _model(script: Script, name: str, path: Path) -> ModelConfig:
    model = script.model(name)
    if model.served:
        return ModelConfig(
            reference=path,
            task=model.task,
            classes=model.classes,
            positive=model.classes[-1],
            objectives={"correct": _correct(0.78, "1d", burn_windows=_BURN)},
            actions=ActionsSpec.model_validate(_ACTIONS),
            rollout=RolloutSpec.model_validate(_ROLLOUT),
        )
    segments = tuple(SegmentSpec(tag=tag.name, limit=3) for tag in model.tags[:1])
    return ModelConfig(reference=path, segments=segments, objectives=_objectives(model.task))


def _objectives(task: Task | None) -> dict[str, ObjectiveSpec]:
    """What the models' users may expect: somewhat less than a healthy model gives."""
    if task == "regression":
        good = {"type": "error_within", "relative": 0.5}
        return {"close": ObjectiveSpec.model_validate({"indicator": good, "target": 0.8, "window": "7d"})}
    return {"correct": _correct(0.7, "7d")}


def _correct(target: float, window: str, **more: object) -> ObjectiveSpec:
    wanted = {"indicator": {"type": "correct"}, "target": target, "window": window, **more}
    return ObjectiveSpec.model_validate(wanted)


def _reference(script: Script, model: str) -> Reference:
    keys, columns, tags = script.reference_columns(model)
    task = script.model(model).task
    # Estimates of a regression's quality are learnt from rows by trees, for which nobody should have to wait.
    labels = None
    if task != "regression":
        labels = RowLabels(script.reference_labels(model), np.arange(len(keys)))
    return build(keys, columns, Overrides(task=task), "scripted, healthy", tags, labels=labels)
