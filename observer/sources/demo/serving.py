"""The demo's model servers: each request goes to the champion or the challenger, whose coefficients answer.

Which versions there are is what lies in a folder; how requests are divided is what a file says, the one that
the traffic target `local_split` writes. While that names a `shadow`, the challenger answers copies of so many
requests too, and those answers are logged as such.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from detectors.base import NULL, Categories, Column, Floats, Ints
from observer.sources.demo.logistic import Logistic

ARMS: Final = ("champion", "challenger", "shadow")


class Answers(NamedTuple):
    """Which version answered each request, as which arm (missing where there is one), and what it said.

    Those of the n requests come first, then those of the copies; `copied` int64[c]: the request of each copy.
    """

    version: Categories
    arm: Categories
    score: Floats
    copied: Ints


class _Era(NamedTuple):
    """From `start` (milliseconds) on, requests were divided so; `share` and `shadow` are percent."""

    start: int
    champion: str
    challenger: str
    share: float
    shadow: float


@dataclass(slots=True)
class Serving:
    """The servers of one model.

    Requests are divided with the share that held at their own time, whenever they are asked for: from the
    last look before a change was seen on.

    Parameters
    ----------
    model : str
    models : Path
        Folder of trained versions.
    split : Path
        File with the challenger's `share` and `shadow`, percent; 0 while it is not there.
    now : callable
        Event time, seconds since the epoch.
    """

    model: str
    models: Path
    split: Path
    now: Callable[[], float]
    champion: str = "1"
    _eras: list[_Era] = field(default_factory=list)
    _looked: int = 0
    _loaded: dict[str, Logistic] = field(default_factory=dict)

    def look(self) -> None:
        """Take note of new versions and of how requests are to be divided."""
        versions = trained(self.models, self.model)
        said = self._said() if versions[-1] != self.champion else {}
        share, shadow = (float(said.get(name, 0.0)) for name in ("share", "shadow"))
        challenger = versions[-1] if share or shadow else self.champion
        era = _Era(self._looked, self.champion, challenger, share, shadow)
        if not self._eras or era[1:] != self._eras[-1][1:]:
            self._eras.append(era)
        self._looked = round(self.now() * 1000)

    def adopt(self) -> None:
        """The newest version becomes the champion, and the challenger's place is empty again."""
        self.champion = trained(self.models, self.model)[-1]
        fresh = self.split.with_suffix(".adopted")
        fresh.write_text(json.dumps({**self._said(), "share": 0, "shadow": 0}))
        fresh.replace(self.split)
        self.look()

    def answer(self, features: Mapping[str, Column], time: Ints, rng: np.random.Generator) -> Answers:
        """Answer n requests made at `time`, milliseconds."""
        self.look()
        era = np.searchsorted([one.start for one in self._eras], time, side="right") - 1
        share = np.array([one.share for one in self._eras])[era]
        second = rng.random(len(time)) * 100 < share
        names = tuple(sorted({name for one in self._eras for name in (one.champion, one.challenger)}))
        champions = np.array([names.index(one.champion) for one in self._eras], np.int32)[era]
        challengers = np.array([names.index(one.challenger) for one in self._eras], np.int32)[era]
        shadow = np.array([one.shadow for one in self._eras])[era]
        copied = (
            np.flatnonzero(rng.random(len(time)) * 100 < shadow) if shadow.any() else np.zeros(0, np.int64)
        )
        request = np.concatenate((np.arange(len(time)), copied))
        codes = np.concatenate((np.where(second, challengers, champions), challengers[copied])).astype(
            np.int32
        )
        score = np.empty(len(request))
        for code in np.unique(codes):
            rows = np.flatnonzero(codes == code)
            taken = {name: column.take(request[rows]) for name, column in features.items()}
            score[rows] = self._version(names[code]).score(taken)
        arm = np.concatenate((np.where(share == 0, NULL, second), np.full(len(copied), ARMS.index("shadow"))))
        return Answers(Categories(codes, names), Categories(arm.astype(np.int32), ARMS), score, copied)

    def _said(self) -> dict[str, float]:
        try:
            said: dict[str, float] = json.loads(self.split.read_text())
        except FileNotFoundError:
            return {}
        return said

    def _version(self, name: str) -> Logistic:
        if name not in self._loaded:
            self._loaded[name] = Logistic.from_json(path(self.models, self.model, name).read_text())
        return self._loaded[name]


def path(models: Path, model: str, version: str) -> Path:
    """The coefficients of a version."""
    return models / f"{model}-{version}.json"


def trained(models: Path, model: str) -> list[str]:
    """Versions of a model, the newest last."""
    found = (one.stem.removeprefix(f"{model}-") for one in models.glob(f"{model}-*.json"))
    return sorted(found, key=int)
