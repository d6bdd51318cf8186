"""One model as its service last saved it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from detectors.summaries.delays import Delays
from detectors.summaries.outcomes import Outcomes
from detectors.summaries.packing import unpack
from observer.errors import Permanent
from observer.pipeline.cohorts import COHORTS
from observer.pipeline.inputs import CLOSED, Inputs, Window
from observer.pipeline.monitor import MODELS
from observer.pipeline.quality import Shape
from observer.pipeline.spec import ModelSpec
from observer.pipeline.versions import REFERENCES
from observer.ports import Checkpoints
from observer.references import Reference
from observer.segments import Dimension, SegmentSpec
from observer.windows import model_prefix, storage_key


class Cohort(NamedTuple):
    """Predictions of one window, and the outcomes of those whose label came."""

    predictions: int
    outcomes: Outcomes


class StoredModel:
    """What the state holds of a model: closed windows, cohorts, references.

    Parameters
    ----------
    state : Checkpoints
        Is only read.
    spec : ModelSpec
        The size of windows and the retention are taken from it.

    Raises
    ------
    Permanent
        The state does not know the model; the message names those it does.
    """

    def __init__(self, state: Checkpoints, name: str, spec: ModelSpec) -> None:
        self.name = name
        self.spec = spec
        self._state = state
        saved = state.get(MODELS, model_prefix(name))
        if saved is None:
            known = sorted(unpack(value)["name"] for _, value in state.scan(MODELS))
            told = f"it knows: {', '.join(known)}" if known else "it knows none yet"
            msg = f"the state has no model {name!r}; {told}"
            raise Permanent(msg)
        fields = unpack(saved)
        self.versions: tuple[str, ...] = tuple(fields["versions"])
        self._closed_until: int = fields["closed_until"]
        self._delays = Delays.from_bytes(fields["delays"])
        self.dimensions = tuple(
            Dimension(SegmentSpec.model_validate(one), tuple(values)) for one, values in fields["dimensions"]
        )
        self.shape = Shape.from_bytes(fields["shape"]) if fields["shape"] else None
        stored = (Reference.from_bytes(value) for _, value in state.scan(REFERENCES, model_prefix(name)))
        self.references = {reference.version: reference for reference in stored}
        tables = {version: reference.table for version, reference in self.references.items()}
        kept = next(iter(state.scan(CLOSED, model_prefix(name))), None)
        self.first: int | None = None if kept is None else int(unpack(kept[1])["start"])
        """Start of the oldest window kept, of any version and segment; None while there is none."""
        self._inputs = Inputs(name, state, {}, tables, 0, frozenset())

    def starts(
        self, version: str, segment: str = "", before: int | None = None, *, newest_first: bool = False
    ) -> Iterator[int]:
        """Starts of the windows kept, in order; only those before `before` if it is given."""
        if self.first is None:
            return
        size = self.spec.window.size
        stop = self._closed_until if before is None else min(before, self._closed_until)
        possible = range(self.first, stop, size)
        for start in reversed(possible) if newest_first else possible:
            if self._state.get(CLOSED, storage_key(self.name, start, version, segment)) is not None:
                yield start

    def windows(self, start: int) -> dict[tuple[str, str], Window]:
        """The windows kept that start at `start`, by version and segment."""
        found = self._inputs.closed(start)
        return {(window.key.version, window.key.segment): window for window in found}

    # Labels

    def cohort(self, version: str, segment: str, start: int) -> Cohort | None:
        """The cohort over all arms, if it is kept."""
        value = self._state.get(COHORTS, storage_key(self.name, start, version, "", segment))
        if value is None or self.shape is None:
            return None
        fields = unpack(value)
        return Cohort(fields["predictions"], self.shape.read(fields["outcomes"]))

    def matured(self, start: int, horizon: int) -> bool:
        """Whether nearly all labels of a window's predictions have come, as far as event time was saved."""
        late = self._delays.quantile(0.99) if self._delays.count >= 100 else None
        age = horizon if late is None else min(max(round(late), 0), horizon)
        return self._closed_until >= start + self.spec.window.size + age
