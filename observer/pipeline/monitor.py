"""One model, watched: its versions, references, open windows and cohorts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from detectors.base import Bools, Categories, Ints
from detectors.summaries.delays import Delays
from detectors.summaries.packing import Packable, pack, unpack
from detectors.summaries.table import TableSummary
from detectors.watch.history import Row
from observer.labels import Joined, LabelJoin, Outcome, record_dtype
from observer.model import ARMS, Labels, Predictions, Schema
from observer.pipeline.cohorts import Cohorts
from observer.pipeline.estimates import Estimates
from observer.pipeline.inputs import Inputs, Window, columns_of
from observer.pipeline.learning import summarised_again
from observer.pipeline.quality import Shape, settle
from observer.pipeline.spec import ModelSpec
from observer.pipeline.versions import Versions
from observer.ports import Checkpoints
from observer.references import Overrides, Reference, private
from observer.segments import UNSETTLED, Dimension, SegmentSpec
from observer.segments import settle as settle_segments
from observer.slo import LabelledRows, ModelObjectives, Places
from observer.windows import END_OF_TIME, duration, model_prefix

log = logging.getLogger(__name__)

_SHADOW = ARMS.index("shadow")
_APART = np.frombuffer(b"copies of served", np.uint64)
MODELS = "models"
MOST_LESSONS = 2_000
"""Stored windows that a watch may begin with."""


@dataclass(slots=True)
class Tally:
    """What became of a batch, for counters."""

    outcomes: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    delays: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """Label time less prediction time of new matches, milliseconds."""

    def add(self, other: Tally) -> None:
        """Add what became of another one."""
        self.outcomes += other.outcomes
        self.labels += other.labels
        self.delays = np.concatenate((self.delays, other.delays))


class Monitor:
    """Everything the data plane keeps of one model.

    Parameters
    ----------
    join : LabelJoin or None
        None where neither labels are joined nor duplicates looked for.
    has_labels : bool
        Whether labels come for this service at all; without them no cohorts are kept.
    slack : int
        How much longer than its horizon the join keeps predictions, milliseconds.
    objectives : ModelObjectives
        Told of every prediction, and of every label that joins.
    """

    def __init__(
        self,
        name: str,
        spec: ModelSpec,
        state: Checkpoints,
        join: LabelJoin | None,
        *,
        has_labels: bool,
        slack: int,
        objectives: ModelObjectives,
        hash_key: bytes = b"",
    ) -> None:
        self.name = name
        self.spec = spec
        self._state = state
        self._join = join
        self._objectives = objectives
        self._held_for = slack + join.horizon if join is not None else 0
        self._has_labels = has_labels and join is not None
        self._deduplicate = join is not None and (
            has_labels if spec.deduplicate is None else spec.deduplicate
        )
        self._overrides: Overrides = spec.overrides(hash_key)
        self._known = Versions(name, spec, self._overrides, state)
        self.versions = self._known.names.listed
        """By code; what is watched of them says `watched`."""
        self.references = self._known.references
        self.learners = self._known.learners
        self.failed = self._known.failed
        self.dimensions: tuple[Dimension, ...] = ()
        self.shape: Shape | None = None
        self.delays = Delays()
        self.closed_until = 0
        """Windows that end, lateness included, at or before this were closed; milliseconds."""
        self.final_until = 0
        """Cohorts whose last label could come at or before this were reported final."""
        self.reported = 0
        """Revision of the cohorts up to which they were reported."""
        self.matured_until: int | None = None
        """Cohorts that matured at or before this were reported so; None before the first time."""
        hidden = frozenset(name for name, wish in self._overrides.privacy.items() if wish != "keep")
        self.inputs = Inputs(name, state, self.references, self._known.tables, spec.sample_rows, hidden)
        self.estimates = Estimates(name, state, spec.estimate)
        self.estimates.restore()
        self._restore()
        self._settle()
        self.cohorts: Cohorts | None = None
        self._open_cohorts()

    # State

    def _restore(self) -> None:
        saved = self._state.get(MODELS, model_prefix(self.name))
        fields = None if saved is None else unpack(saved)
        if fields is not None:
            self.closed_until, self.final_until = fields["closed_until"], fields["final_until"]
        self._known.restore(fields, self.last_closed())
        if fields is None:
            return
        self.delays = Delays.from_bytes(fields["delays"])
        dimensions = [(SegmentSpec.model_validate(spec), values) for spec, values in fields["dimensions"]]
        if tuple(spec for spec, _ in dimensions) == self.spec.segments:
            self.dimensions = tuple(Dimension(spec, tuple(values)) for spec, values in dimensions)
        if fields["shape"]:
            self.shape = Shape.from_bytes(fields["shape"])
        self.inputs.restore()

    def save(self) -> None:
        """Write what changed into the state; the caller commits."""
        self.inputs.save()
        self.estimates.save()
        if self.cohorts is not None:
            self.cohorts.save()
        fields: dict[str, Packable] = {
            "name": self.name,
            **self._known.saved(),
            "closed_until": self.closed_until,
            "final_until": self.final_until,
            "delays": self.delays.to_bytes(),
            "dimensions": [(d.spec.model_dump(mode="json"), list(d.values)) for d in self.dimensions],
            "shape": self.shape.to_bytes() if self.shape else b"",
        }
        self._state.put(MODELS, model_prefix(self.name), pack(fields))

    # What is known of the model

    @property
    def schema(self) -> Schema:
        """What decoders should expect: the features of all versions' references."""
        return Schema(self._known.features, self.shape.task if self.shape else self.spec.task)

    def _settle(self) -> None:
        reference = self._known.default
        if self.shape is None:
            known = reference.schema if reference else Schema({})
            declared = Schema(
                {},
                self.spec.task or known.task,
                self.spec.classes or known.classes,
                self.spec.positive or known.positive,
            )
            self.shape = settle(declared, reference)
        if not self.dimensions and self.spec.segments:
            self.dimensions = settle_segments(self.spec.segments, reference.frequent if reference else None)

    def _open_cohorts(self) -> None:
        if self.cohorts is None and self.shape is not None and self._has_labels:
            self.cohorts = Cohorts(self.name, self._state, self.shape, self.versions)
            self.cohorts.restore()

    @property
    def watched(self) -> list[str]:
        """The versions that did not give way."""
        return self._known.names.watched

    def meet(self, column: Categories, time: Ints) -> int:
        """Take note of the versions that events name; see `Names.meet`."""
        dropped = self._known.meet(column, time, END_OF_TIME if self._join is None else self._join.floor)
        unsettled = self.shape is None or (self.spec.segments and not self.dimensions)
        if unsettled and self._known.default is not None:  # a reference came with its version
            self._settle()
            self._open_cohorts()
        return dropped

    # Events

    def predictions(self, batch: Predictions, before: Ints) -> Tally:
        """Take prediction events, whose versions were met (`meet`).

        `before` int64[n] is how far each one's partition had come before it. Copies of requests show their
        version's inputs, errors and latency; labels and objectives are of what was served.
        """
        copies = _arms(batch) == _SHADOW
        if not copies.any():
            return self._taken(batch, before)
        tally = Tally()
        served = np.flatnonzero(~copies)
        if len(served):
            tally.add(self._taken(batch.take(served), before[served]))
        shadow = np.flatnonzero(copies)
        copied = batch.take(shadow)
        copied.keys = copied.keys ^ _APART  # a copy bears the id of the request that was served
        tally.add(self._taken(copied, before[shadow], copied=True))
        return tally

    def _taken(self, batch: Predictions, before: Ints, *, copied: bool = False) -> Tally:
        tally = Tally()
        if self._deduplicate or self.cohorts is not None:
            held = np.flatnonzero(batch.time > before - self._held_for)
            if len(held) < len(batch):  # whether one of the others is a duplicate, nobody can know any more
                tally.outcomes["late_counted"] += len(batch) - len(held)
                batch, before = batch.take(held), before[held]
        window = self.spec.window
        starts = window.start(batch.time)
        ends = starts + (window.size + window.lateness)
        versions = self._known.names.codes(batch.version)
        segments = np.full((len(batch), len(self.spec.segments)), UNSETTLED, np.uint8)
        for d, dimension in enumerate(self.dimensions):
            segments[:, d] = dimension.codes(batch)
        late = ends <= before
        if copied:
            keep, repeated = self._told_apart(batch)
        else:
            keep, repeated = self._meet(batch, versions, segments, starts, tally)
        closed = ends <= self.closed_until
        # What retention has deleted does not come back; a window for every wrong time would take hours.
        gone = ends <= before - self.spec.retention
        keep &= ~(late if window.late == "count" else gone)
        late |= closed
        wishes = self._overrides
        columns = private(columns_of(batch), wishes.privacy, wishes.hash_key, wishes.types)
        for code in np.unique(versions):
            mine = versions == code
            version = self.versions[code]
            rows = np.flatnonzero(mine & keep)
            if len(rows) == len(batch):
                self.inputs.add(
                    version, batch, columns, starts, self.dimensions, segments, late, closed, copied=copied
                )
            elif len(rows):
                part = {name: column.take(rows) for name, column in columns.items()}
                self.inputs.add(
                    version,
                    batch.take(rows),
                    part,
                    starts[rows],
                    self.dimensions,
                    segments[rows],
                    late[rows],
                    closed[rows],
                    copied=copied,
                )
            if repeated.any():
                again = mine & repeated & ~gone
                self.inputs.duplicates(version, starts[again], late[again], closed[again])
        if self._objectives.every and not copied:
            places = Places(self.versions, self.dimensions, versions, _arms(batch), segments)
            self._objectives.predicted(batch, places, keep, tuple(self.schema.features))
        kept = int(np.count_nonzero(keep))
        late_kept = int(np.count_nonzero(keep & late))
        repeats = int(np.count_nonzero(repeated))
        tally.outcomes.update(
            accepted=kept - late_kept,
            late_folded=late_kept,
            duplicate=repeats,
            late_counted=len(batch) - kept - repeats,
        )
        return tally

    def _meet(
        self,
        batch: Predictions,
        versions: NDArray[np.uint16],
        segments: NDArray[np.uint8],
        starts: Ints,
        tally: Tally,
    ) -> tuple[Bools, Bools]:
        """Join with labels that came before and look for duplicates; which rows to keep, which repeat."""
        if self._join is None or not (self._deduplicate or self.cohorts is not None):
            return np.ones(len(batch), np.bool_), np.zeros(len(batch), np.bool_)
        if self.cohorts is None or self.shape is None:
            return self._told_apart(batch)
        records = np.zeros(len(batch), self._dtype())
        records["time"] = batch.time
        records["version"] = versions
        records["arm"] = _arms(batch)
        records["segments"] = segments
        records["prediction"] = self.shape.values(batch.prediction)
        records["scores"] = self.shape.scores(batch.scores, len(batch))
        met = self._join.predictions(batch.keys, records)
        counted = np.flatnonzero(met.fresh)
        self.cohorts.predicted(records[counted], starts[counted], self.dimensions)
        self._joined(met.joined, tally)
        tally.labels.update({outcome.name.lower(): count for outcome, count in met.waited.items()})
        if not self._deduplicate:
            return np.ones(len(batch), np.bool_), np.zeros(len(batch), np.bool_)
        return met.fresh.copy(), ~met.fresh & ~met.late

    def _told_apart(self, batch: Predictions) -> tuple[Bools, Bools]:
        """Which events count, and which were seen before: of those that no label joins."""
        if self._join is None or not self._deduplicate:
            return np.ones(len(batch), np.bool_), np.zeros(len(batch), np.bool_)
        fresh, lost = self._join.deduplicate(batch.keys, batch.time)
        return fresh, ~fresh & ~lost

    def labels(self, batch: Labels) -> Tally:
        """Take label events."""
        tally = Tally()
        if self._join is None or self.cohorts is None or self.shape is None:
            tally.labels["unused"] += len(batch)
            return tally
        values = self.shape.values(batch.label)
        met = self._join.labels(self._dtype(), batch.keys, batch.time, values, batch.weight)
        counts = np.bincount(met.outcome, minlength=len(Outcome))
        tally.labels.update(
            {outcome.name.lower(): int(counts[outcome]) for outcome in Outcome if counts[outcome]}
        )
        self._joined(met.joined, tally)
        return tally

    def _dtype(self) -> np.dtype[np.void]:
        return record_dtype(self.shape.n_scores if self.shape else 0, len(self.spec.segments))

    def _joined(self, joined: Joined, tally: Tally) -> None:
        if len(joined.rows) == 0 or self.cohorts is None:
            return
        rows = joined.rows
        self.cohorts.labelled(joined, self.spec.window.start(rows["time"]), self.dimensions)
        delay = rows["label_time"] - rows["time"]
        self.delays.update(delay, joined.sign.astype(np.int64))
        tally.delays = delay[joined.sign > 0]
        if self._objectives.every and self.shape is not None:
            labelled = LabelledRows(
                rows["time"],
                rows["label_time"],
                rows["label"].astype(np.float64),
                rows["prediction"].astype(np.float64),
                rows["weight"].astype(np.float64),
                joined.sign,
                len(self.shape.classes),
            )
            places = Places(self.versions, self.dimensions, rows["version"], rows["arm"], rows["segments"])
            self._objectives.labelled(labelled, places)

    # Windows

    def due(self, watermark: int) -> list[Window]:
        """Windows that may close, oldest first."""
        window = self.spec.window
        return self.inputs.due(watermark - window.size - window.lateness + 1)

    def close(self, window: Window) -> None:
        """Store a window; when its version is being learnt, learn from it."""
        window_spec = self.spec.window
        end = window.key.start + window_spec.size + window_spec.lateness
        self.closed_until = max(self.closed_until, end)
        is_lesson = not window.reference and not window.key.segment
        version = window.key.version
        new = not window.key.segment and version in self.failed and self._known.repaired(version)
        if is_lesson and version in self.learners and window.summary.n >= window_spec.min_events:
            new = self._known.learn(window)
        if new:
            self._settle()
            self._open_cohorts()
        self.inputs.close(window)

    def give_way(self, version: str, start: int) -> list[str]:
        """Let go of the versions that give way now that windows of `version` closed; see `Names.closed`."""
        gone = self._known.names.closed(version, start)
        for name, last, back in gone:
            self._known.release(name, last, back=back)
            self.estimates.release(name)
        return [name for name, _, _ in gone]

    def lessons(
        self, version: str, before: int, since: int | None = None
    ) -> Iterator[tuple[int, TableSummary]]:
        """Stored windows of a version that start before `before`, under its present reference, oldest first.

        From `since` on, if it is given; else those that were learnt from. Windows of another reference can
        be summarised again from their sampled rows only.
        """
        reference = self.references.get(version)
        if reference is None:
            return
        table = replace(reference.table, sample_size=0)
        earliest = max(since or 0, before - MOST_LESSONS * self.spec.window.size)
        for window in self.inputs.closed_of(version, earliest):
            known = since is not None or window.reference in {"", reference.version}
            if not known or window.key.start >= before or window.summary.n < self.spec.window.min_events:
                continue
            if window.reference == reference.version:
                yield window.key.start, window.summary
            elif len(window.summary.sample):
                yield window.key.start, summarised_again(window, table, self.inputs.hidden)

    def history(self, version: str, before: int) -> Sequence[bytes]:
        """Windows that came with a version's reference, if they are windows as this model has them."""
        reference = self.references.get(version)
        known = reference.history if reference is not None else None
        if known is None or not known.rows:
            return ()
        names = tuple(spec.dimension for spec in self.spec.segments)
        told = ""
        if known.window != self.spec.window.size:
            told = f"they last {duration(known.window)}, the model's {duration(self.spec.window.size)}"
        elif known.segments != names:
            told = f"their segments are {', '.join(known.segments) or 'none'}, the model's {', '.join(names)}"
        elif Row.from_bytes(known.rows[-1]).start >= before:
            told = "they are not older than the model's own"
        if told:
            log.warning(
                "model %s %s: the windows of its reference are not used: %s", self.name, version, told
            )
        return () if told else known.rows

    def accept(self, version: str, since: int) -> Reference:
        """Make what the version's windows show from `since` on its new reference.

        Raises `ConfigError` when they hold too little.
        """
        least = self.spec.window.min_events
        windows = (one for one in self.inputs.closed_of(version, since) if one.summary.n >= least)
        return self._known.accept(version, windows, self.inputs.hidden)

    def last_closed(self) -> int:
        """Start of the latest window that event time has passed; 0 if it has passed none."""
        window = self.spec.window
        return max((self.closed_until - window.size - window.lateness) // window.size * window.size, 0)

    def forget(self) -> None:
        """Delete what is older than the retention."""
        before = self.last_closed() - self.spec.retention
        self.inputs.forget(before)
        self._known.forget(before)
        self.estimates.forget(before)
        if self.cohorts is not None:
            self.cohorts.forget(before)

    def maturity(self, horizon: int) -> int:
        """Age at which nearly all labels have come: the 99th percentile of delays, at most the horizon."""
        late = self.delays.quantile(0.99) if self.delays.count >= 100 else None
        return horizon if late is None else min(max(round(late), 0), horizon)


def _arms(batch: Predictions) -> NDArray[np.uint8]:
    codes = np.array([*(ARMS.index(name) if name in ARMS else 0 for name in batch.arm.names), 0, 0], np.uint8)
    return np.asarray(codes[batch.arm.codes])
