"""The judge of one model: verdicts on single windows, and a watch of each version's inputs and quality."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from detectors.base import Status
from detectors.evidence.alarm import Budget
from detectors.evidence.season import DAY, HOUR, Season
from detectors.summaries.outcomes import Outcomes, RegressionOutcomes
from detectors.summaries.packing import Fields, Packable, pack, unpack
from detectors.summaries.table import TableSummary
from detectors.watch.history import Row
from detectors.watch.online import Heard, OnlineWatch
from detectors.watch.streams import MINIMA, OutcomeStreams, Reading, TableStreams
from detectors.watch.watch import Watch
from observer.judge.spec import Attention, JudgeSpec
from observer.judge.why import with_pairs, with_segments
from observer.judge.windows import WindowJudge
from observer.judge.words import alarms, findings, reported, streams_of
from observer.model import EvidenceReport, Finding, Judged, Said, StreamEvidence, WindowKey
from observer.ports import Checkpoints
from observer.windows import model_prefix, storage_key, storage_rest

WATCHES, HISTORY = "watches", "history"
Kind = Literal["inputs", "quality"]
INPUTS: Final = "inputs"
QUALITY: Final = "quality"
_FINDINGS = TypeAdapter(tuple[Finding, ...])
_SETTLING = 4
"""Windows, at least, and a day: an online detector's alarms this close are about one change."""


@dataclass(slots=True)
class _Watching:
    """One watch, and the reference that it is about."""

    reference: str
    streams: TableStreams | OutcomeStreams
    watch: Watch
    online: OnlineWatch
    stored: int = 0
    """Rows of its history that the state holds."""
    drifting: set[tuple[str, str, str]] = field(default_factory=set)
    """Segment, subject and detector of the last window's verdicts of drift."""
    findings: tuple[Finding, ...] = ()
    raised: frozenset[tuple[str, str, str]] = frozenset()
    """What was new in the last window, as in `Said`."""
    dirty: bool = True


@dataclass(slots=True)
class ModelJudge:
    """Judges the windows of one model; the budget is one for all its versions, segments and columns.

    Parameters
    ----------
    model : str
    spec : JudgeSpec
    budget : Budget
    window : int
        Length of a window, milliseconds.
    attention : mapping
        Feature -> how it is watched, where a person has said so.
    state : Checkpoints
    has_labels : bool
        Whether there is a watch of quality, which has half of the budget.
    """

    model: str
    spec: JudgeSpec
    budget: Budget
    window: int
    attention: Mapping[str, Attention]
    state: Checkpoints
    has_labels: bool
    _windows: WindowJudge = field(init=False)
    _season: Season = field(init=False)
    _watching: dict[tuple[Kind, str], _Watching] = field(init=False, default_factory=dict)
    _lasts: dict[tuple[Kind, str], int] = field(init=False, default_factory=dict)
    """Watch and version -> start of its last window; also of those that were not needed since the start."""

    def __post_init__(self) -> None:
        self._windows = WindowJudge(self.spec)
        self._season = Season(self.window, round(self.spec.utc_offset * HOUR))
        for _, value in self.state.scan(WATCHES, model_prefix(self.model)):
            fields = unpack(value)
            if fields["last"] >= 0:
                self._lasts[fields["kind"], fields["version"]] = fields["last"]

    def judge(self, reference: TableSummary, window: TableSummary) -> tuple[Judged, ...]:
        """Every verdict on the window, corrected for how many there are."""
        return self._windows.judge(reference, window)

    # Watches

    def inputs(
        self,
        version: str,
        reference: TableSummary,
        name: str,
        start: int,
        windows: Mapping[str, TableSummary],
        judged: Mapping[str, Sequence[Judged]],
    ) -> Said:
        """Advance the watch of a version's inputs; see `observer.ports.Judge`."""
        watching = self._of_inputs(version, reference, name)
        streams = watching.streams
        assert isinstance(streams, TableStreams)  # noqa: S101 - as made
        if self._told(INPUTS, version, start):
            return Said(self._standing(INPUTS, version, watching), ())
        readings = {segment: streams.read(one, joint=not segment) for segment, one in windows.items()}
        said = self._advance(watching, INPUTS, version, start, readings, windows)
        drifting = {
            (segment, item.subject, item.detector)
            for segment, items in judged.items()
            for item in items
            if item.verdict.status is Status.DRIFT
        }
        raised: frozenset[tuple[str, str, str]] = frozenset()
        if said.report.stage == "learning":  # what lasts is raised once, whichever detectors go on seeing it
            lasting = {(segment, subject) for segment, subject, _ in watching.drifting}
            raised = frozenset(one for one in drifting if one[:2] not in lasting)
        watching.drifting, watching.raised = drifting, raised
        watching.findings = with_pairs(said.findings, reference, windows[""])
        return replace(said, findings=watching.findings, raised=raised)

    def quality(self, version: str, start: int, cohorts: Mapping[str, Outcomes]) -> Said:
        """Advance the watch of a version's quality; see `observer.ports.Judge`."""
        kind = next(iter(cohorts.values()), None)
        watching = self._of_quality(version, regression=isinstance(kind, RegressionOutcomes))
        assert isinstance(watching.streams, OutcomeStreams)  # noqa: S101 - as made
        if self._told(QUALITY, version, start):
            return Said(self._standing(QUALITY, version, watching), ())
        readings = {segment: watching.streams.read(one) for segment, one in cohorts.items()}
        return self._advance(watching, QUALITY, version, start, readings, cohorts)

    def remember(
        self,
        version: str,
        reference: TableSummary,
        name: str,
        lessons: Iterable[tuple[int, TableSummary]],
        history: Sequence[bytes] = (),
    ) -> None:
        """Begin the watch of a version's inputs with reference windows; see `observer.ports.Judge`."""
        watching = self._of_inputs(version, reference, name)
        streams, watch = watching.streams, watching.watch
        assert isinstance(streams, TableStreams)  # noqa: S101 - as made
        if (INPUTS, version) not in self._lasts and not watch.history:
            rows = [Row.from_bytes(one) for one in history]
            rows = rows or [Row(start, {"": streams.read(one)}) for start, one in lessons]
            watch.remember(rows)
            watching.online.remember(rows)
            watching.dirty = True

    def streams(
        self, version: str, reference: TableSummary, name: str, start: int
    ) -> tuple[StreamEvidence, ...]:
        """What the watches say after a window, their last; nothing of an earlier one or another reference.

        Changes nothing, so that the state may be one that is only read.
        """
        if self._lasts.get((INPUTS, version)) != start or not self._fits(self._saved(INPUTS, version), name):
            return ()
        found = self._standing(INPUTS, version, self._of_inputs(version, reference, name)).streams
        quality = self._saved(QUALITY, version)
        if (QUALITY, version) in self._lasts and self._fits(quality, quality["reference"]):
            found += self._standing(QUALITY, version, self._of_quality(version, regression=None)).streams
        return found

    def resume(
        self, version: str, reference: TableSummary | None, name: str
    ) -> Mapping[str, tuple[int, Said]]:
        """Where a version's watches stood at the last checkpoint; see `observer.ports.Judge`."""
        found: dict[Kind, _Watching] = {}
        if reference is not None and (INPUTS, version) in self._lasts:
            found[INPUTS] = self._of_inputs(version, reference, name)
        if (QUALITY, version) in self._lasts:
            found[QUALITY] = self._of_quality(version, regression=None)
        return {
            kind: (
                self._lasts[kind, version],
                Said(self._standing(kind, version, one), one.findings, one.raised),
            )
            for kind, one in found.items()
            if (kind, version) in self._lasts
        }

    def close(self, version: str) -> int:
        """A person ends the version's incidents; returns how many were open."""
        closed = 0
        for (_, name), watching in self._watching.items():
            if name == version and watching.watch.close():
                watching.dirty = True
                closed += 1
        return closed

    def release(self, version: str) -> None:
        """Let go of a version's watches: it is not watched any more, or begins anew."""
        for kind in (INPUTS, QUALITY):
            self._watching.pop((kind, version), None)
            self._lasts.pop((kind, version), None)
            self.state.delete(WATCHES, storage_key(self.model, 0, kind, version))
            for key, _ in self._rows(kind, version):
                self.state.delete(HISTORY, key)

    def _of_inputs(self, version: str, reference: TableSummary, name: str) -> _Watching:
        watching = self._watching.get((INPUTS, version))
        if watching is None or watching.reference != name:
            watching = self._open(INPUTS, version, name, TableStreams(reference), reference)
        return watching

    def _of_quality(self, version: str, *, regression: bool | None) -> _Watching:
        watching = self._watching.get((QUALITY, version))
        if watching is None:
            if regression is None:
                regression = self._saved(QUALITY, version)["reference"] == "regression"
            name = "regression" if regression else "classes"
            watching = self._open(QUALITY, version, name, OutcomeStreams(regression=regression), None)
        return watching

    def _advance(
        self,
        watching: _Watching,
        kind: Kind,
        version: str,
        start: int,
        readings: Mapping[str, Reading],
        windows: Mapping[str, TableSummary] | Mapping[str, Outcomes],
    ) -> Said:
        watched = watching.watch.update(start, readings, self._share(kind, version, start))
        heard: tuple[Heard, ...] = ()
        if "" in windows:
            heard = watching.online.update(start, windows[""], readings[""])
        self._lasts[kind, version] = start
        watching.dirty = True
        streams = streams_of(watched)
        window = WindowKey(self.model, version, "", start)
        report = reported(kind, watched, streams, heard)
        raised = with_segments(
            findings(window, start + self.window, watched, streams), streams, report.threshold
        )
        shown = frozenset(name for name, wish in self.attention.items() if wish.tier == "info")
        watching.findings = (
            *raised,
            *alarms(window, start + self.window, heard, shown),
        )
        return Said(report, watching.findings)

    def _told(self, kind: Kind, version: str, start: int) -> bool:
        """Whether the watch has seen the window before, or a later one."""
        return start <= self._lasts.get((kind, version), -1)

    def _standing(self, kind: Kind, version: str, watching: _Watching) -> EvidenceReport:
        watched = watching.watch.standing(self._share(kind, version, self._lasts.get((kind, version), 0)))
        return reported(kind, watched, streams_of(watched), watching.online.standing())

    def _share(self, kind: Kind, version: str, start: int) -> float:
        """Among how many watches the budget is divided: of versions with a window within the last day.

        Of the same kind: how far inputs and quality are apart depends on polls, and verdicts must not.
        """
        since = start - max(DAY, 2 * self.window)
        recent = {name for (own, name), last in self._lasts.items() if own == kind and last >= since}
        return float(len(recent | {version}) * (2 if self.has_labels else 1))

    # State

    def _saved(self, kind: Kind, version: str) -> Fields:
        saved = self.state.get(WATCHES, storage_key(self.model, 0, kind, version))
        return unpack(saved) if saved is not None else Fields()

    def _open(
        self,
        kind: Kind,
        version: str,
        reference: str,
        streams: TableStreams | OutcomeStreams,
        summary: TableSummary | None,
    ) -> _Watching:
        """The watch as the state has it; a new one if it has none, or of another reference or evidence."""
        settling = max(DAY, _SETTLING * self.window)
        online = OnlineWatch(self.spec.online, streams, summary, settling)
        watching = _Watching(reference, streams, self.fresh(streams), online)
        fields = {} if (kind, version) in self._watching else self._saved(kind, version)
        if self._fits(fields, reference):
            rows = [Row.from_bytes(value) for _, value in self._rows(kind, version)]
            watching.watch.restore(fields["watch"], rows)
            watching.online.restore(fields["online"])
            watching.drifting = {(one[0], one[1], one[2]) for one in fields["drifting"]}
            watching.raised = frozenset((one[0], one[1], one[2]) for one in fields["raised"])
            watching.findings = _FINDINGS.validate_python(fields["findings"])
            watching.stored, watching.dirty = len(rows), False
        else:
            self._lasts.pop((kind, version), None)
            for key, _ in self._rows(kind, version):
                self.state.delete(HISTORY, key)
        self._watching[kind, version] = watching
        return watching

    def _fits(self, saved: Mapping[str, Any], reference: str) -> bool:
        """Whether a saved watch is about this reference, by the evidence that is configured."""
        return (saved.get("reference"), saved.get("evidence")) == (reference, self.spec.evidence)

    def fresh(self, streams: TableStreams | OutcomeStreams) -> Watch:
        """A watch of these streams under the model's configuration, which has seen nothing."""
        minima, tiers = {}, {}
        for stream in (*streams.values, *streams.rates):
            wish = self.attention.get(stream.subject, Attention())
            usual = self.spec.minimum.get(stream.statistic, MINIMA[stream.statistic])
            minima[stream], tiers[stream] = wish.minimum.get(stream.statistic, usual), wish.tier
        return Watch(
            self.budget,
            self._season,
            streams.values,
            streams.rates,
            minima,
            quiet=frozenset(stream for stream, tier in tiers.items() if tier == "ticket"),
            silent=frozenset(stream for stream, tier in tiers.items() if tier == "info"),
            ranks=self.spec.evidence == "conformal",
        )

    def _rows(self, kind: Kind, version: str) -> list[tuple[bytes, bytes]]:
        own = storage_rest(storage_key(self.model, 0, kind, version))
        found = self.state.scan(HISTORY, model_prefix(self.model))
        return [(key, value) for key, value in found if storage_rest(key) == own]

    def save(self) -> None:
        """Write what changed into the state; the caller commits."""
        for (kind, version), watching in self._watching.items():
            if not watching.dirty:
                continue
            watching.dirty = False
            watch = watching.watch
            fields: dict[str, Packable] = {
                "kind": kind,
                "version": version,
                "reference": watching.reference,
                "evidence": self.spec.evidence,
                "last": self._lasts.get((kind, version), -1),
                "drifting": [list(one) for one in sorted(watching.drifting)],
                "raised": [list(one) for one in sorted(watching.raised)],
                "findings": _FINDINGS.dump_python(watching.findings, mode="json"),
                "watch": watch.snapshot(),
                "online": watching.online.snapshot(),
            }
            self.state.put(WATCHES, storage_key(self.model, 0, kind, version), pack(fields))
            if watch.complete and watch.rows:  # nothing will be fitted to them any more
                for key, _ in self._rows(kind, version):
                    self.state.delete(HISTORY, key)
                watch.rows, watching.stored = [], 0
            for row in watch.rows[watching.stored :]:
                key = storage_key(self.model, row.start, kind, version)
                self.state.put(HISTORY, key, row.to_bytes())
            watching.stored = len(watch.rows)
