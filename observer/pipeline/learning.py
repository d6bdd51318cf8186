"""Learning a reference from the first windows of live traffic."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

from detectors.summaries.packing import pack, unpack
from detectors.summaries.sample import Sample
from observer.pipeline.inputs import LEARNING_ROWS, Window
from observer.pipeline.spec import LearnSpec
from observer.references import Overrides, Reference, learn

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Learner:
    """Collects samples of a version's first windows until they make a reference."""

    windows: int = 0
    sample: Sample = field(default_factory=lambda: Sample(LEARNING_ROWS))

    def add(self, window: Window) -> None:
        """Take a closed window in."""
        self.windows += 1
        size = min(self.sample.size, window.summary.sample.size)
        self.sample.shorten(size)
        window.summary.sample.shorten(size)
        self.sample.merge(window.summary.sample)

    def enough(self, spec: LearnSpec) -> bool:
        """Whether there is as much as was asked for, or as a wide table's sample can hold."""
        return self.windows >= spec.windows and len(self.sample) >= min(spec.rows, self.sample.size)

    def reference(self, model: str, overrides: Overrides) -> Reference:
        """The profile; what is declared of a column that no event has had is named and let be."""
        absent = sorted(set(overrides.types) - set(self.sample.columns))
        if absent:
            log.warning("model %s: no event has had the features %s", model, ", ".join(absent))
        types = {name: kind for name, kind in overrides.types.items() if name not in absent}
        return learn(self.sample, replace(overrides, types=types), f"learnt from {self.windows} windows")

    def to_bytes(self) -> bytes:
        """Compact bytes."""
        return pack({"windows": self.windows, "sample": self.sample.to_bytes()})

    @classmethod
    def from_bytes(cls, data: bytes) -> Learner:
        """The learner that gave `data`."""
        fields = unpack(data)
        return cls(fields["windows"], Sample.from_bytes(fields["sample"]))
