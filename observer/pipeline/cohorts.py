"""Quality by cohort: the predictions of one window, whenever their labels come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.base import Ints
from detectors.summaries.outcomes import Outcomes
from detectors.summaries.packing import Packable, pack, unpack
from observer.labels import Joined, Records
from observer.model import ARMS
from observer.pipeline.inputs import expired, groups
from observer.pipeline.quality import Shape
from observer.ports import Checkpoints
from observer.segments import UNSETTLED, Dimension
from observer.windows import model_prefix, storage_key

COHORTS = "cohorts"


class CohortKey(NamedTuple):
    """Predictions of one version, arm and segment within one window; `""` for all arms, all segments."""

    version: str
    arm: str
    segment: str
    start: int


@dataclass(slots=True, eq=False)
class Cohort:
    """How many predictions there were, and the outcomes of those whose label came."""

    predictions: int
    outcomes: Outcomes
    dirty: bool = True

    @property
    def labelled(self) -> int:
        """Predictions whose label came and could be used."""
        return self.outcomes.n

    @property
    def coverage(self) -> float:
        """Share of the predictions that have a label."""
        return self.labelled / self.predictions if self.predictions else 0.0


def _within(rows: NDArray[np.intp] | None, codes: Ints) -> Iterator[tuple[int, NDArray[np.intp] | None]]:
    """`groups` of `codes` among `rows`, as row numbers of the whole."""
    for code, members in groups(codes if rows is None else codes[rows]):
        if rows is None:
            yield code, members
        else:
            yield code, rows if members is None else rows[members]


@dataclass(slots=True)
class Cohorts:
    """The cohorts of one model; those not touched for a while rest in the state only."""

    model: str
    state: Checkpoints
    shape: Shape
    versions: list[str]
    """Names by the codes that joined rows bear."""
    loaded: dict[CohortKey, Cohort] = field(default_factory=dict)
    known: dict[CohortKey, int] = field(default_factory=dict)
    """Every cohort kept -> revision, which grows with each change."""
    revision: int = 0

    def restore(self) -> None:
        """Learn which cohorts the last checkpoint has."""
        for _, value in self.state.scan(COHORTS, model_prefix(self.model)):
            self.known[CohortKey(*unpack(value)["key"])] = 0

    def predicted(self, rows: Records, starts: Ints, dimensions: tuple[Dimension, ...]) -> None:
        """Count predictions: records of `observer.labels`, and the start of each one's window."""
        for key, members in self._split(rows, starts, dimensions):
            self.get(key).predictions += len(rows) if members is None else len(members)
            self._touch(key)

    def labelled(self, joined: Joined, starts: Ints, dimensions: tuple[Dimension, ...]) -> None:
        """Add or take back labelled predictions, given the start of each prediction's window."""
        rows, sign = joined.rows, joined.sign
        for key, members in self._split(rows, starts, dimensions):
            outcomes = self.get(key).outcomes
            if members is None:
                self.shape.update(outcomes, rows, sign)
            else:
                self.shape.update(outcomes, rows[members], sign[members])
            self._touch(key)

    def _split(
        self, rows: Records, starts: Ints, dimensions: tuple[Dimension, ...]
    ) -> Iterator[tuple[CohortKey, NDArray[np.intp] | None]]:
        """Every cohort that has rows, and which; None for all of them."""
        versions, arms = rows["version"].astype(np.int64), rows["arm"].astype(np.int64)
        for start, at_start in groups(starts):
            for version, members in _within(at_start, versions):
                named = [(ARMS[code], chosen) for code, chosen in _within(members, arms) if code]
                for arm, of_arm in [("", members), *named]:
                    yield CohortKey(self.versions[version], arm, "", start), of_arm
                    for d, dimension in enumerate(dimensions):
                        for value, chosen in _within(of_arm, rows["segments"][:, d].astype(np.int64)):
                            if value != UNSETTLED:
                                key = CohortKey(self.versions[version], arm, dimension.name(value), start)
                                yield key, chosen

    def _touch(self, key: CohortKey) -> None:
        self.loaded[key].dirty = True
        self.revision += 1
        self.known[key] = self.revision

    def get(self, key: CohortKey) -> Cohort:
        """The cohort, from the state if need be; a new one if there is none."""
        cohort = self.loaded.get(key)
        if cohort is None:
            value = self.state.get(COHORTS, self._key(key)) if key in self.known else None
            if value is None:
                cohort = Cohort(0, self.shape.zero())
            else:
                fields = unpack(value)
                outcomes = self.shape.read(fields["outcomes"])
                cohort = Cohort(fields["predictions"], outcomes, dirty=False)
            self.loaded[key] = cohort
        return cohort

    def kept(self, key: CohortKey) -> Cohort | None:
        """The cohort, if there is one."""
        return self.get(key) if key in self.known else None

    def starts(self, version: str, last: int) -> list[int]:
        """Starts of a version's cohorts of all arms and segments, up to `last`, in order."""
        of = (key for key in self.known if (key.version, key.arm, key.segment) == (version, "", ""))
        return sorted(key.start for key in of if key.start <= last)

    def _key(self, key: CohortKey) -> bytes:
        return storage_key(self.model, key.start, key.version, key.arm, key.segment)

    def save(self) -> None:
        """Write what changed since the last call; let go of what did not."""
        for key, cohort in list(self.loaded.items()):
            if cohort.dirty:
                fields: dict[str, Packable] = {
                    "key": list(key),
                    "predictions": cohort.predictions,
                    "outcomes": cohort.outcomes.to_bytes(),
                }
                self.state.put(COHORTS, self._key(key), pack(fields))
                cohort.dirty = False
            else:
                del self.loaded[key]

    def forget(self, before: int) -> None:
        """Delete cohorts that start before `before`."""
        for stored in expired(self.state, COHORTS, self.model, before):
            self.state.delete(COHORTS, stored)
        for key in [key for key in self.known if key.start < before]:
            del self.known[key]
            self.loaded.pop(key, None)
