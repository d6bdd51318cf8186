"""Detectors of other packages, tried out: whether the package is there, and takes what is configured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np

from detectors.adapters.adapter import Adapter
from detectors.adapters.peer import Peer
from detectors.adapters.river_online import RiverOnline
from detectors.base import DetectorError, Status
from detectors.online.spec import Moments
from observer.config import Config
from observer.references import Reference

Told = tuple[Literal["ok", "warning", "failed"], str, str]
"""Status, subject and detail."""


def tried(config: Config, references: Mapping[str, Reference]) -> Iterator[Told]:
    """Each environment is started once; then each detector judges its model's reference against itself."""
    started: dict[tuple[str, object], bool] = {}
    done = set()
    for model in (*config.models, ""):
        judge = config.model(model).judge
        for key, detectors in (("detectors", judge.detectors or ()), ("online", judge.online)):
            subject = f"{f'models.{model}' if model else 'defaults'}.judge.{key}"
            for detector in detectors:
                if not isinstance(detector, Peer):
                    continue
                environment = detector.type, detector.python
                if environment not in started:
                    status, detail = _started(detector)
                    started[environment] = status == "ok"
                    yield status, subject, detail
                reference = references.get(model) if isinstance(detector, Adapter) else None
                trial = (detector, judge.alpha, reference.version if reference else "")
                if started[environment] and trial not in done:
                    done.add(trial)
                    found = _trial(detector, reference, judge.alpha)
                    yield from ((status, subject, detail) for status, detail in found)


def _started(detector: Peer) -> tuple[Literal["ok", "failed"], str]:
    try:
        return "ok", f"{detector.python} runs {detector.type} {detector.version()}"
    except DetectorError as error:
        return "failed", str(error)


def _trial(
    detector: Peer, reference: Reference | None, alpha: float
) -> Iterator[tuple[Literal["warning", "failed"], str]]:
    """What keeps a detector from working; one that compares windows is tried where there is a reference."""
    if isinstance(detector, RiverOnline):
        standing = detector.fresh(Moments.none(1)).update(Moments.of_values(np.array([0.5])))
        if standing.failed:
            yield "failed", standing.reason
    elif isinstance(detector, Adapter) and reference is not None:
        (verdict,) = detector.compare(reference.summary, reference.summary, alpha)
        if verdict.status is Status.FAILED:
            yield "failed", verdict.reason
        elif verdict.status is Status.INSUFFICIENT:
            yield "warning", f"{detector.name}, of the reference itself: {verdict.reason}"
