"""What the Python of a page speaks of without making it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from observer.codecs import ArrowSpec, codec
from observer.config import load
from observer.model import Schema
from tests.unit.codecs.helpers import messages

N = 200
_DRAW = np.random.default_rng(5)
_SCORES = _DRAW.random(N)
_OUTCOMES = {"labels": (_DRAW.random(N) < _SCORES).astype(int), "predicted": (_SCORES > 0.5).astype(int)}


def given(page: str, folder: Path) -> dict[str, Any]:
    """Names for a page; `folder` holds the `observer.yaml` of a service that has run."""
    if page == "docs/why.md":
        config = load(folder / "observer.yaml")
        assert config.labels is not None
        return {"config": config, "horizon": config.labels.horizon}
    if page == "docs/quality.md":
        old = {"old_labels": _OUTCOMES["labels"][:9], "predicted_then": _OUTCOMES["predicted"][:9]}
        return {
            **_OUTCOMES,
            **old,
            "reference_scores": _SCORES,
            "scores": _SCORES,
            "scores_then": _SCORES[:9],
        }
    if page == "docs/events.md":
        return {
            "ids": [str(number) for number in range(N)],
            "milliseconds": np.arange(N) + 1_767_571_200_000,
            "classes": [("genuine", "fraud")[one] for one in _OUTCOMES["predicted"]],
            "scores": _SCORES,
            "amounts": _DRAW.lognormal(3.0, 1.0, N),
            "countries": ["DE", "FR"] * (N // 2),
            "vectors": _DRAW.normal(size=(N, 8)).astype(np.float32),
        }
    return {}


def check(page: str, made: dict[str, Any]) -> None:
    """Whether what the page's Python has made is what the page says that it is."""
    if page == "docs/events.md":
        decoded = codec(ArrowSpec(), {"fraud": Schema({})}).predictions(messages([made["payload"]]), 2e9)
        assert not decoded.rejected
        assert sum(map(len, decoded.predictions)) == N
    if page == "docs/quality.md":
        values = {one.name: one for one in made["evaluate"](made["outcomes"])}
        assert values["accuracy"].n == N - 9
    if page == "docs/why.md":
        assert made["as_json"](made["found"])["model"] == "fraud"
    if page == "docs/client.md" and "logger" in made:
        made["logger"].label(made["id"], "genuine")
        made["logger"].close()
        told = made["logger"].stats()
        assert (told.logged, told.delivered, told.dropped) == (2, 2, {}), told
