"""The objectives of all models: fed by the data plane and by reports, saved with everything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from detectors.base import Bools, Status
from detectors.summaries.packing import pack, unpack
from observer.metrics import Counters, catalog
from observer.model import ObjectiveStanding, Predictions, QualityReport, WindowReport
from observer.ports import Checkpoints
from observer.slo.good import LabelledRows, Places, of_labels, of_predictions
from observer.slo.objective import SLICE, Objective
from observer.slo.spec import (
    Complete,
    Correct,
    Drift,
    ErrorWithin,
    Freshness,
    LabelCoverage,
    Latency,
    ObjectiveSpec,
    Quality,
)
from observer.windows import storage_key

TABLE = "objectives"


class Wanted(NamedTuple):
    """What a model's configuration says of its objectives."""

    specs: Mapping[str, ObjectiveSpec]
    window: int
    """Milliseconds of the model's windows."""


@dataclass(slots=True)
class ModelObjectives:
    """The objectives of one model, as its monitor sees them."""

    model: str
    every: tuple[Objective, ...]
    newest: int = 0
    """Time of the latest prediction."""

    def predicted(self, batch: Predictions, places: Places, kept: Bools, features: Sequence[str]) -> None:
        """Take predictions; `kept` bool[n]: neither repeated nor left out for being late."""
        if len(batch):
            self.newest = max(self.newest, int(batch.time.max()))
        for one in self.every:
            if isinstance(one.spec.indicator, Complete | Latency):
                usable, good = of_predictions(one.spec.indicator, batch, features)
                rows = np.flatnonzero(usable & kept & places.within(one.spec))
                times = batch.time[rows]
                one.count(times, times, good[rows], np.ones(len(rows), np.int64))

    def labelled(self, rows: LabelledRows, places: Places) -> None:
        """Take predictions whose label came, or take them back."""
        for one in self.every:
            indicator = one.spec.indicator
            if isinstance(indicator, Correct | ErrorWithin) and one.spec.waits_for_labels:
                usable, good = of_labels(indicator, rows)
                mine = np.flatnonzero(usable & places.within(one.spec))
                times, arrivals = rows.time[mine], np.maximum(rows.time, rows.label_time)[mine]
                one.count(times, arrivals, good[mine], rows.sign[mine].astype(np.int64))


@dataclass(slots=True)
class Objectives:
    """Everything about objectives; a receiver of `Reports`.

    Parameters
    ----------
    wanted : callable
        Model name -> its objectives.
    """

    wanted: Callable[[str], Wanted]
    state: Checkpoints
    counters: Counters
    latest: tuple[ObjectiveStanding, ...] = ()
    """As of the last `standing`; replaced as a whole, so that any thread may read it."""
    _models: dict[str, ModelObjectives] = field(default_factory=dict)
    _now: int = 0

    def of(self, model: str) -> ModelObjectives:
        """The objectives of a model, as the last checkpoint left them."""
        known = self._models.get(model)
        if known is None:
            specs, size = self.wanted(model)
            known = ModelObjectives(
                model, tuple(Objective(model, name, s, size) for name, s in specs.items())
            )
            self._models[model] = known
            self._restore(known)
        return known

    def _restore(self, known: ModelObjectives) -> None:
        if not known.every:
            return
        newest = self.state.get(TABLE, storage_key(known.model, 0))
        known.newest = 0 if newest is None else unpack(newest).count("newest")
        for one in known.every:
            value = self.state.get(TABLE, storage_key(known.model, 1, one.name))
            if value is not None:
                one.restore(value)
            for metric in (catalog.SLO_EVENTS, catalog.SLO_GOOD_EVENTS):
                self.counters.add(metric, (one.model, one.name), 0)

    # What happened

    def window(self, report: WindowReport) -> None:
        """Count a window that closed, by how much of it drifts and by what is estimated of its quality.

        One with answers to copies of requests says nothing of what was served.
        """
        if report.copied:
            return
        self._estimated(report)
        drifting = {item.subject for item in report.judged if item.verdict.status is Status.DRIFT}
        stable = {item.subject for item in report.judged if item.verdict.status is Status.STABLE}
        judged = drifting | stable
        if report.status not in {"stable", "drift"} or not judged:
            return
        key = report.key
        for one in self.of(key.model).every:
            indicator = one.spec.indicator
            if isinstance(indicator, Drift) and _is_about(one.spec, key.version, "", key.segment):
                good = len(drifting) <= indicator.at_most * len(judged)
                _set(one, key.version, key.start, report.end, report.rows, good=good)

    def _estimated(self, report: WindowReport) -> None:
        """Count what is estimated without labels, by estimators that have skill."""
        values = {one.metric: one.value for one in report.estimates if one.usable and one.value is not None}
        key = report.key
        for one in self.of(key.model).every if values else ():
            indicator = one.spec.indicator
            if one.spec.waits_for_labels or not _is_about(one.spec, key.version, "", key.segment):
                continue
            if isinstance(indicator, Correct) and "accuracy" in values:
                good = round(values["accuracy"] * report.rows)
                one.set(key.version, key.start, report.end, good, report.rows)
            elif isinstance(indicator, Quality) and indicator.metric in values:
                holds = indicator.holds(values[indicator.metric])
                _set(one, key.version, key.start, report.end, report.rows, good=holds)

    def quality(self, report: QualityReport) -> None:
        """A cohort's quality changed; what has not matured is not counted yet."""
        if report.maturity != "matured" and not report.final:
            return
        values = {item.metric: item.value for item in report.values}
        arrival = max(report.end, self._now)
        for one in self.of(report.model).every:
            indicator = one.spec.indicator
            if not _is_about(one.spec, report.version, report.arm, report.segment):
                continue
            if isinstance(indicator, LabelCoverage) and report.predictions:
                good = report.coverage >= indicator.at_least
            elif isinstance(indicator, Quality) and one.spec.waits_for_labels and indicator.metric in values:
                good = indicator.holds(values[indicator.metric])
            else:
                continue
            _set(one, report.version, report.start, arrival, report.predictions, good=good)

    def look(self, now: float) -> None:
        """Look at freshness, by the clock: seconds since the epoch."""
        moment = int(now * 1000)
        for known in self._models.values():
            for one in known.every:
                if isinstance(one.spec.indicator, Freshness):
                    one.advance(moment)
                    if known.newest:
                        good = moment - known.newest <= one.spec.indicator.within
                        start = moment // SLICE * SLICE
                        if all(start > seen for _, seen in one.marks):
                            one.marks.clear()  # nothing more is said of earlier ones, and there are many
                            one.set("", start, start, int(good), 1)

    def advance(self, now: int) -> None:
        """Let event time be `now`, milliseconds."""
        self._now = max(self._now, now)
        for known in self._models.values():
            for one in known.every:
                if not isinstance(one.spec.indicator, Freshness):
                    one.advance(now)

    # Where they stand

    def standing(self) -> tuple[ObjectiveStanding, ...]:
        """Where every objective stands; counts what newly arrived."""
        every = [one for known in self._models.values() for one in known.every]
        for one in every:
            self.counters.add(catalog.SLO_EVENTS, (one.model, one.name), one.news.total)
            self.counters.add(catalog.SLO_GOOD_EVENTS, (one.model, one.name), one.news.good)
            one.news.good = one.news.total = 0
        self.latest = tuple(one.standing() for one in every)
        return self.latest

    def save(self) -> None:
        """Write what changed into the state; the caller commits."""
        for known in self._models.values():
            changed = [one for one in known.every if one.dirty]
            for one in changed:
                self.state.put(TABLE, storage_key(known.model, 1, one.name), one.to_bytes())
                one.dirty = False
            if changed:
                self.state.put(TABLE, storage_key(known.model, 0), pack({"newest": known.newest}))


def _is_about(spec: ObjectiveSpec, version: str, arm: str, segment: str) -> bool:
    return spec.version in (None, version) and (spec.arm or "") == arm and spec.segment == segment


def _set(one: Objective, version: str, start: int, arrival: int, rows: int, *, good: bool) -> None:
    total = 1 if getattr(one.spec.indicator, "weight", "traffic") == "windows" else rows
    one.set(version, start, arrival, total if good else 0, total)
