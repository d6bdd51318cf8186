"""The stages of the data plane, in order: decode, join, window, close; and their checkpoint."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from detectors.base import Ints
from detectors.summaries.packing import unpack
from observer.codecs import Codec
from observer.errors import ConfigError
from observer.labels import LabelJoin
from observer.metrics import Counters, catalog
from observer.model import (
    Decoded,
    EvidenceReport,
    Finding,
    Labels,
    Messages,
    Partition,
    Predictions,
    Rejected,
    Said,
    Schema,
    Stream,
    WindowReport,
)
from observer.pipeline.cohorts import CohortKey
from observer.pipeline.inputs import Window
from observer.pipeline.monitor import MODELS, Monitor, Tally
from observer.pipeline.reporting import quality_report, window_report, with_evidence
from observer.ports import Checkpoints, DeadLetters, Judge, Reports
from observer.references import Reference
from observer.windows import END_OF_TIME, Watermarks

_META = "meta"
B = TypeVar("B", Predictions, Labels)


class Pipeline:
    """Consumes polls of both streams for all models; one thread.

    Parameters
    ----------
    monitor : callable
        Name -> a new monitor; for models that events name and the configuration does not.
    codecs : callable
        Stream and schemas by model -> a codec.
    judges : callable
        Model name -> its judge.
    join : LabelJoin or None
        Shared by all monitors.
    horizon : int
        Milliseconds within which labels join; 0 without labels.
    slack : int
        Milliseconds that events and labels may be out of order without any harm to the join.
    """

    def __init__(
        self,
        *,
        monitor: Callable[[str], Monitor],
        models: Sequence[str],
        codecs: Callable[[Stream, Mapping[str, Schema]], Codec],
        judges: Callable[[str], Judge],
        state: Checkpoints,
        join: LabelJoin | None,
        horizon: int,
        slack: int,
        has_labels: bool,
        dead_letters: Mapping[Stream, DeadLetters],
        reports: Reports,
        counters: Counters,
        idle_after: float,
        now: float,
    ) -> None:
        self._new_monitor = monitor
        self._new_codec = codecs
        self._judges = judges
        self._state = state
        self._join = join
        self._horizon = horizon
        self._slack = slack
        self._dead_letters = dead_letters
        self._reports = reports
        self._counters = counters
        self.watermarks = {stream: Watermarks(idle_after) for stream in _streams(has_labels=has_labels)}
        self.positions: dict[Partition, int] = {}
        self.checkpoint_number = 0
        self._ended = False
        self._begun: set[tuple[str, str, str]] = set()
        """Model, version and reference of the watches that were begun or resumed since the start."""
        saved = [unpack(value)["name"] for _, value in state.scan(MODELS)]
        self.monitors = {name: monitor(name) for name in dict.fromkeys((*models, *saved))}
        self._restore(now)
        self._schemas: dict[str, Schema] = {}
        self._codecs: dict[Stream, Codec] = {}
        self._renew_codecs()
        self._report_again()

    def _restore(self, now: float) -> None:
        value = self._state.get(_META, b"positions")
        if value is None:
            return
        saved = json.loads(value)
        self.checkpoint_number = saved["checkpoint"]
        reached: dict[Stream, dict[Partition, int]] = {"predictions": {}, "labels": {}}
        for stream, source, number, position, time in saved["partitions"]:
            partition = Partition(stream, source, number)
            if position is not None:
                self.positions[partition] = position
            if time is not None:
                reached[stream][partition] = time
        for stream, watermarks in self.watermarks.items():
            watermarks.restore(reached[stream], now)

    def _renew_codecs(self) -> None:
        """Build the codecs anew if what they should expect has changed."""
        schemas = {name: monitor.schema for name, monitor in self.monitors.items()}
        if schemas != self._schemas or not self._codecs:
            self._schemas = schemas
            self._codecs = {stream: self._new_codec(stream, schemas) for stream in self.watermarks}

    @property
    def learning(self) -> bool:
        """Whether some model's events are looked at whole, because its features are not known yet."""
        return not self._schemas or not all(schema.features for schema in self._schemas.values())

    def _report_again(self) -> None:
        """Report the latest windows once more: whoever keeps reports in memory starts with none."""
        for monitor in self.monitors.values():
            judge = self._judges(monitor.name)
            stood = {version: self._resume(monitor, judge, version) for version in monitor.versions}
            for window in monitor.inputs.closed(monitor.last_closed()):
                report = window_report(monitor, window, judge)
                if not window.key.segment and "inputs" in stood[window.key.version]:
                    report = replace(report, evidence=stood[window.key.version]["inputs"][1])
                self._reports.window(report)
            for version, watches in stood.items():
                if "quality" in watches and monitor.cohorts is not None:
                    start, evidence = watches["quality"]
                    key = CohortKey(version, "", "", start)
                    cohort = quality_report(monitor, key, monitor.final_until, self._horizon, final=True)
                    self._reports.quality(replace(cohort, evidence=evidence))

    def _resume(
        self, monitor: Monitor, judge: Judge, version: str
    ) -> Mapping[str, tuple[int, EvidenceReport]]:
        reference = monitor.references.get(version)
        summary, name = (reference.summary, reference.version) if reference else (None, "")
        return judge.resume(version, summary, name)

    # Events

    def decode(self, stream: Stream, messages: Messages, now: float) -> Decoded:
        """Decode one poll; raises `Retryable`, having changed nothing, when a schema registry is away."""
        if not len(messages):
            return Decoded()
        if stream == "labels":
            return self._codecs[stream].labels(messages, now)
        return self._decode(messages, now)

    def take(self, stream: Stream, messages: Messages, decoded: Decoded, now: float) -> None:
        """Process one decoded poll of a stream to the end."""
        watermarks = self.watermarks[stream]
        watermarks.open(messages.partitions, now)
        if len(messages):
            if stream == "predictions":
                self._predictions(decoded.predictions, messages, now)
            else:
                self._labels(decoded.labels, messages, now)
            if decoded.spoiled_cells:
                self._counters.add(catalog.SPOILED_VALUES, (), decoded.spoiled_cells)
            if decoded.dropped_cells:
                self._counters.add(catalog.DROPPED_VALUES, (), decoded.dropped_cells)
            if decoded.rejected:
                self._reject(stream, decoded.rejected)
            self._count_source(stream, messages)
        for partition, count in messages.lost.items():
            where = (stream, partition.source, str(partition.number))
            self._counters.add(catalog.SOURCE_LOST, where, count)
        watermarks.note_caught_up(messages.partitions, messages.caught_up)
        watermarks.finished = messages.finished
        self.positions.update(messages.positions)

    def _decode(self, messages: Messages, now: float) -> Decoded:
        """Decode predictions; of a version that is met for the first time every feature is looked at."""
        before = self._schemas
        decoded = self._codecs["predictions"].predictions(messages, now)
        dropped = {
            batch.model: self._monitor(batch.model).meet(batch.version) for batch in decoded.predictions
        }
        for model, count in dropped.items():
            if count:
                self._counters.add(catalog.NAMES_DROPPED, (model, "version"), count)
        self._renew_codecs()
        if any(schema.features and not self._schemas[name].features for name, schema in before.items()):
            return self._codecs["predictions"].predictions(messages, now)
        return decoded

    def _count_source(self, stream: Stream, messages: Messages) -> None:
        self._counters.add(catalog.SOURCE_BYTES, (stream,), sum(map(len, messages.values)))
        counts = np.bincount(messages.partition, minlength=len(messages.partitions))
        for index in np.flatnonzero(counts):
            partition = messages.partitions[index]
            labels = (stream, partition.source, str(partition.number))
            self._counters.add(catalog.SOURCE_MESSAGES, labels, int(counts[index]))

    def _reject(self, stream: Stream, rejected: Sequence[Rejected]) -> None:
        models = Counter(item.model if item.model in self.monitors else "" for item in rejected)
        for model, count in models.items():
            self._counters.add(catalog.EVENTS, (stream, model, "rejected"), count)
        for reason, count in Counter(item.reason for item in rejected).items():
            self._counters.add(catalog.EVENTS_REJECTED, (stream, reason), count)
        self._dead_letters[stream].reject(rejected)

    def _predictions(self, batches: Sequence[Predictions], messages: Messages, now: float) -> None:
        for batch, before in self._advance("predictions", batches, messages, now):
            monitor = self._monitor(batch.model)
            tally = monitor.predictions(batch, before)
            for outcome, count in tally.outcomes.items():
                if count:
                    self._counters.add(catalog.EVENTS, ("predictions", batch.model, outcome), count)
            self._count_labels(batch.model, tally)

    def _labels(self, batches: Sequence[Labels], messages: Messages, now: float) -> None:
        for batch, _ in self._advance("labels", batches, messages, now):
            tally = self._monitor(batch.model).labels(batch)
            self._counters.add(catalog.EVENTS, ("labels", batch.model, "accepted"), len(batch))
            self._count_labels(batch.model, tally)

    def _count_labels(self, model: str, tally: Tally) -> None:
        for outcome, count in tally.labels.items():
            if count:
                self._counters.add(catalog.LABELS_JOINED, (model, outcome), count)
        if len(tally.delays):
            self._counters.observe(catalog.LABEL_DELAY, (model,), tally.delays / 1000.0)

    def _monitor(self, name: str) -> Monitor:
        monitor = self.monitors.get(name)
        if monitor is None:
            monitor = self.monitors[name] = self._new_monitor(name)
        return monitor

    def _advance(
        self, stream: Stream, batches: Sequence[B], messages: Messages, now: float
    ) -> list[tuple[B, Ints]]:
        """Advance the watermarks in arrival order over all models; each batch with "before" times."""
        watermarks = self.watermarks[stream]
        if not batches:
            return []
        if len(batches) == 1:
            only = batches[0]
            return [(only, watermarks.advance(messages.partitions, only.partition, only.time, now))]
        order = np.argsort(np.concatenate([batch.row for batch in batches]), kind="stable")
        partition: NDArray[np.int32] = np.concatenate([batch.partition for batch in batches])[order]
        time = np.concatenate([batch.time for batch in batches])[order]
        before = np.empty(len(order), np.int64)
        before[order] = watermarks.advance(messages.partitions, partition, time, now)
        cuts = np.cumsum([len(batch) for batch in batches])[:-1]
        return list(zip(batches, np.split(before, cuts), strict=True))

    # Event time

    def advance(self, now: float) -> int:
        """Close the windows whose time has come and report; returns how many closed."""
        watermark = self.watermarks["predictions"].current(now)
        if watermark is None:
            return 0
        closed = 0
        for monitor in self.monitors.values():
            before = monitor.last_closed()
            # All windows of a version that begin together are due together: all events first, then segments.
            for _, group in groupby(monitor.due(watermark), _version_and_start):
                closed += self._close(monitor, list(group))
            if watermark != END_OF_TIME:  # else more may come after all: a file that has grown
                monitor.closed_until = max(monitor.closed_until, watermark)
            if monitor.last_closed() > before:
                monitor.forget()
        self._renew_codecs()
        self._mature(watermark, now)
        return closed

    def _close(self, monitor: Monitor, windows: Sequence[Window]) -> int:
        """Judge, close and report the windows of one version that begin together; how many there were."""
        judge = self._judges(monitor.name)
        reports = [window_report(monitor, window, judge) for window in windows]
        said = self._watch(monitor, judge, windows, reports)
        for window, report in zip(windows, reports, strict=True):
            monitor.close(window)
            if said is not None:
                report = with_evidence(report, said)  # noqa: PLW2901 - the same, and what the watch says
            self._counters.add(catalog.WINDOWS_CLOSED, (monitor.name, report.status))
            self._count(report.findings)
            self._reports.window(report)
        return len(windows)

    def _watch(
        self, monitor: Monitor, judge: Judge, windows: Sequence[Window], reports: Sequence[WindowReport]
    ) -> Said | None:
        """Advance the watch of the windows' version, if they have its reference."""
        key = windows[0].key
        reference = monitor.references.get(key.version)
        if reference is None:
            return None
        judged = {
            report.key.segment: report.judged
            for window, report in zip(windows, reports, strict=True)
            if window.reference == reference.version and report.status in {"stable", "drift"}
        }
        if "" not in judged:
            return None
        if (monitor.name, key.version, reference.version) not in self._begun:
            self._begun.add((monitor.name, key.version, reference.version))
            lessons = monitor.lessons(key.version, key.start)
            history = monitor.history(key.version, key.start)
            judge.remember(key.version, reference.summary, reference.version, lessons, history)
        enough = {w.key.segment: w.summary for w in windows if w.key.segment in judged}
        return judge.inputs(key.version, reference.summary, reference.version, key.start, enough, judged)

    def _count(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            where = (finding.window.model, finding.window.version, finding.detector, finding.tier)
            self._counters.add(catalog.FINDINGS, where)

    def _mature(self, watermark: int, now: float) -> None:
        """Report cohorts that became final, and let the join forget what cannot match any more."""
        if self._join is None:
            return
        labels = self.watermarks.get("labels")
        seen = watermark if labels is None or labels.silent(now) else labels.current(now)
        if seen is None:
            return
        complete = min(watermark, seen)
        if complete == END_OF_TIME and self._ended:
            return
        self._ended = complete == END_OF_TIME
        for monitor in self.monitors.values():
            if monitor.cohorts is None:
                continue
            reach, size = self._reach(monitor), monitor.spec.window.size
            final = []
            if (complete - reach) // size > (monitor.final_until - reach) // size:
                last = monitor.final_until
                final = [key for key in monitor.cohorts.known if last < key.start + reach <= complete]
            final.sort(key=lambda key: (key.start, key))
            for _, group in groupby(final, lambda key: (key.start, key.version)):
                self._finish(monitor, list(group), self._reached(complete))
            if not self._ended:  # else more may come after all
                monitor.final_until = max(monitor.final_until, complete)
        if not self._ended:
            unmatched = self._join.expire(complete - self._slack)
            self._counters.add(catalog.JOINS_EXPIRED, ("prediction",), unmatched.predictions)
            self._counters.add(catalog.JOINS_EXPIRED, ("label",), unmatched.labels)

    def _finish(self, monitor: Monitor, keys: Sequence[CohortKey], reached: int) -> None:
        """Report the final cohorts of one version and window, and what they say of its quality."""
        assert monitor.cohorts is not None  # noqa: S101 - the keys are from there
        cohorts = {key.segment: monitor.cohorts.get(key) for key in keys if not key.arm}
        enough = {
            segment: cohort.outcomes
            for segment, cohort in cohorts.items()
            if cohort.labelled >= monitor.spec.min_labels
        }
        said = None
        if "" in enough:
            said = self._judges(monitor.name).quality(keys[0].version, keys[0].start, enough)
            self._count(said.findings)
        for key in keys:
            report = quality_report(monitor, key, reached, self._horizon, final=True)
            if said is not None and not (key.arm or key.segment):
                report = replace(report, findings=said.findings, evidence=said.report)
            self._reports.quality(report)

    # What people decide

    def accept(self, model: str, version: str, since: int | None) -> Reference:
        """Make what the version's windows show from `since` on its new reference.

        By default from where the open incident, or else the first ticket, says that the change began.

        Raises
        ------
        ConfigError
            There is no such model or version, nothing says since when, or there are too few rows.
        """
        monitor = self._known(model, version)
        judge = self._judges(model)
        if since is None:
            since = self._began(monitor, judge, version)
        reference = monitor.accept(version, since)
        lessons = monitor.lessons(version, monitor.last_closed() + 1, since)
        judge.remember(version, reference.summary, reference.version, lessons)
        self._begun.add((model, version, reference.version))
        self._renew_codecs()
        return reference

    def close_incidents(self, model: str, version: str) -> int:
        """A person ends the incidents of a version; how many were open. Raises `ConfigError` as `accept`."""
        monitor = self._known(model, version)
        judge = self._judges(model)
        self._resume(monitor, judge, version)
        return judge.close(version)

    def _known(self, model: str, version: str) -> Monitor:
        monitor = self.monitors.get(model)
        if monitor is None:
            known = ", ".join(sorted(self.monitors)) or "none yet"
            raise ConfigError([f"no model {model!r}; there are: {known}"])
        if version not in monitor.versions:
            known = ", ".join(map(repr, monitor.versions)) or "none yet"
            raise ConfigError([f"model {model}: no version {version!r}; there are: {known}"])
        return monitor

    def _began(self, monitor: Monitor, judge: Judge, version: str) -> int:
        stood = self._resume(monitor, judge, version).get("inputs")
        streams = stood[1].streams if stood else ()
        begun = [one.since for one in streams if one.tier == "page" and one.since is not None]
        begun = begun or [one.since for one in streams if one.since is not None]
        if not begun:
            told = "no open incident or ticket says since when; say it"
            raise ConfigError([f"model {monitor.name}, version {version!r}: {told}"])
        return min(begun)

    def _reach(self, monitor: Monitor) -> int:
        """From the start of a window until the last label of its predictions can come, milliseconds."""
        return self._horizon + self._slack + monitor.spec.window.size

    def _reached(self, complete: int) -> int:
        """`complete`, or how far event time really came when the streams have ended."""
        if complete != END_OF_TIME:
            return complete
        return max((t for w in self.watermarks.values() for t in w.reached().values()), default=0)

    def report_quality(self, now: float) -> None:
        """Report cohorts that changed or matured since the last call and are not final; for live views."""
        watermark = self.watermarks["predictions"].current(now)
        if watermark is None or self._ended:
            return
        for monitor in self.monitors.values():
            if monitor.cohorts is None:
                continue
            reach, size = self._reach(monitor), monitor.spec.window.size
            ripe = self._reached(watermark) - size - monitor.maturity(self._horizon)
            was_ripe = ripe - size if monitor.matured_until is None else monitor.matured_until
            for key, revision in list(monitor.cohorts.known.items()):
                news = revision > monitor.reported or was_ripe < key.start <= ripe
                if news and key.start + reach > monitor.final_until:
                    reached = self._reached(watermark)
                    report = quality_report(monitor, key, reached, self._horizon, final=False)
                    if report.labelled:
                        self._reports.quality(report)
            monitor.reported = monitor.cohorts.revision
            monitor.matured_until = ripe

    # Checkpoints

    def flush(self) -> None:
        """Make the dead letters so far durable; raises `Retryable` when that fails."""
        for letters in self._dead_letters.values():
            letters.flush()

    def checkpoint(self) -> None:
        """Make everything so far durable in one transaction; dead letters must be so already."""
        for monitor in self.monitors.values():
            monitor.save()
            self._judges(monitor.name).save()
        reached = {p: t for w in self.watermarks.values() for p, t in w.reached().items()}
        partitions = [
            [*partition, self.positions.get(partition), reached.get(partition)]
            for partition in sorted({*self.positions, *reached})
        ]
        self.checkpoint_number += 1
        saved = {"checkpoint": self.checkpoint_number, "partitions": partitions}
        self._state.put(_META, b"positions", json.dumps(saved).encode())
        self._state.commit()


def _streams(*, has_labels: bool) -> tuple[Stream, ...]:
    return ("predictions", "labels") if has_labels else ("predictions",)


def _version_and_start(window: Window) -> tuple[str, int]:
    return window.key.version, window.key.start
