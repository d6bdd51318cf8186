"""Quality before labels: what is said of each closed window, and how far off it was once labels had come."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from detectors.quality import Metric
from detectors.quality.estimation import (
    ClassifierEstimator,
    Estimate,
    Method,
    Skill,
    estimate,
    trust,
)
from detectors.summaries.packing import pack, unpack
from observer.model import QualityEstimate, WindowKey
from observer.pipeline.inputs import Window, expired
from observer.pipeline.quality import Shape
from observer.pipeline.spec import Wanted
from observer.ports import Checkpoints
from observer.references import Reference
from observer.windows import model_prefix, storage_key, window_storage_key

log = logging.getLogger(__name__)

ESTIMATES, SKILLS = "estimates", "skills"
_BACKTESTED: frozenset[Method] = frozenset({"cbpe", "dle"})
"""Methods that a reference's backtest tells of."""
_METHODS: dict[Wanted, Method] = {"auto": "cbpe", "pape": "pape", "bbse": "bbse"}


@dataclass(slots=True)
class _Record:
    """Skill of what was said on one basis: a reference and a way to estimate."""

    basis: str
    skill: Skill
    dirty: bool = False


@dataclass(slots=True)
class Estimates:
    """The estimates of one model.

    Skill is measured by version on all its events; those of a segment are never more than shown, since
    what they would have to beat, the segment's own past, is not known.

    Parameters
    ----------
    wanted : str
        As in `ModelSpec.estimate`.
    """

    model: str
    state: Checkpoints
    wanted: Wanted
    _records: dict[str, _Record] = field(default_factory=dict)
    """By version."""
    _silent: set[str] = field(default_factory=set)
    """References of which it was told that they give no estimates."""

    def restore(self) -> None:
        """Read the skills of the last checkpoint."""
        for _, value in self.state.scan(SKILLS, model_prefix(self.model)):
            fields = unpack(value)
            skill = Skill.from_bytes(fields.packed("skill"))
            self._records[fields["version"]] = _Record(fields["basis"], skill)

    def save(self) -> None:
        """Write what changed since the last call."""
        for version, record in self._records.items():
            if record.dirty:
                record.dirty = False
                fields = {"version": version, "basis": record.basis}
                packed = pack({**fields, "skill": record.skill.to_bytes()})
                self.state.put(SKILLS, storage_key(self.model, 0, version), packed)

    def release(self, version: str) -> None:
        """Let go of the skills of a version that is not watched any more."""
        if self._records.pop(version, None) is not None:
            self.state.delete(SKILLS, storage_key(self.model, 0, version))

    def forget(self, before: int) -> None:
        """Delete what was said of windows that start before `before`."""
        for key in expired(self.state, ESTIMATES, self.model, before):
            self.state.delete(ESTIMATES, key)

    def close(
        self, window: Window, reference: Reference | None, shape: Shape | None
    ) -> tuple[QualityEstimate, ...]:
        """What can be said of the quality of a window that is about to close."""
        estimator = reference.estimator if reference is not None else None
        if self.wanted == "off" or reference is None or estimator is None:
            return ()
        if window.reference != reference.version:
            return ()
        if isinstance(estimator, ClassifierEstimator) and shape is not None:
            known, used = estimator.table.classes, shape.classes
            if known != used:
                classes = f"its labels are of {', '.join(known)}, the model's of {', '.join(used)}"
                self._tell(window.key.version, reference, classes)
                return ()
        said = estimate(estimator, window.summary, _METHODS[self.wanted])
        if all(one.value is None for one in said):
            self._tell(window.key.version, reference, next((one.reason for one in said), "nothing to say"))
        flat = [_flat(one) for one in said]
        packed = pack({"basis": self._basis(reference), "said": flat})
        self.state.put(ESTIMATES, window_storage_key(window.key), packed)
        return self._trusted(said, window.key, reference, None)

    def _tell(self, version: str, reference: Reference, why: str) -> None:
        if reference.version not in self._silent:
            self._silent.add(reference.version)
            log.warning("model %s %s: no estimates of quality: %s", self.model, version, why)

    def said(
        self, key: WindowKey, reference: Reference | None, before: int | None = None
    ) -> tuple[QualityEstimate, ...]:
        """What was said of a window under its version's present reference, with its skill.

        `before` leaves out of the skill all cohorts that start from then on.
        """
        return self._trusted(self._stored(key, reference), key, reference, before)

    def _stored(self, key: WindowKey, reference: Reference | None) -> list[Estimate]:
        value = self.state.get(ESTIMATES, window_storage_key(key))
        if value is None or reference is None:
            return []
        fields = unpack(value)
        return [Estimate(*one) for one in fields["said"]] if fields["basis"] == self._basis(reference) else []

    def realised(self, key: WindowKey, reference: Reference | None, metrics: Sequence[Metric]) -> None:
        """Take note of what became of a version's window over all segments, once no label can change it."""
        said = self._stored(key, reference)
        if said and reference is not None and reference.estimator is not None:
            record = self._record(key.version, reference)
            record.skill.observe(key.start, said, metrics, reference.estimator.constant)
            record.dirty = True

    def _record(self, version: str, reference: Reference) -> _Record:
        record = self._records.get(version)
        if record is None or record.basis != self._basis(reference):
            record = self._records[version] = _Record(self._basis(reference), Skill())
        return record

    def _basis(self, reference: Reference) -> str:
        return f"{reference.version} {self.wanted}"

    def _trusted(
        self, said: Sequence[Estimate], key: WindowKey, reference: Reference | None, before: int | None
    ) -> tuple[QualityEstimate, ...]:
        if not said or reference is None or reference.estimator is None:
            return ()
        live, backtest = self._record(key.version, reference).skill, reference.estimator.backtest
        told = []
        for one in said:
            name = f"{one.name}.{one.class_name}" if one.class_name else one.name
            values = (one.value, one.low, one.high, one.method, one.n)
            known = Skill() if key.segment else live
            tested = backtest if one.method in _BACKTESTED and not key.segment else None
            found = trust(one.name, known, tested, before)
            of = (found.skill, found.cohorts, found.backtest)
            told.append(QualityEstimate(name, *values, *of, reason=one.reason))
        return tuple(told)


def _flat(one: Estimate) -> list[object]:
    return [one.name, one.value, one.low, one.high, one.method, one.n, one.class_name, one.reason]
