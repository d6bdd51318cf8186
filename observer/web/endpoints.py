"""The JSON API's questions: what each takes and gives. The routes and the OpenAPI document both follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from observer.errors import Absent
from observer.model import (
    EvidenceReport,
    Finding,
    ObjectiveStanding,
    QualityReport,
    ReferenceState,
    VersionState,
    WindowReport,
)
from observer.ports import History

MOST = 1_000
"""Entries of an answer."""
_LATEST = 1 << 53
CURSOR = "[0-9]{1,16}(,[0-9a-f]{16})?"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One query parameter.

    Attributes
    ----------
    kind : str
        `text`, `number` (a whole number from 0 to `most`), `cursor` (a time, and perhaps a finding's id)
        or the accepted words, parted by `|`.
    default : str, int or None
        Only where it is not required.
    """

    name: str
    meaning: str
    kind: str = "text"
    required: bool = False
    default: str | int | None = None
    most: int = _LATEST


@dataclass(frozen=True, slots=True)
class StoredFinding:
    """A finding and the id it is asked for by."""

    id: str
    finding: Finding


@dataclass(frozen=True, slots=True)
class EvidenceAfter:
    """Where a watch stood after a window."""

    start: int
    report: EvidenceReport


@dataclass(frozen=True, slots=True)
class Model:
    """One model: its versions, the latest findings, objectives and references."""

    model: str
    versions: list[VersionState]
    findings: list[StoredFinding]
    objectives: list[ObjectiveStanding]
    references: list[ReferenceState]


@dataclass(frozen=True, slots=True)
class Why:
    """A finding with what it rests on."""

    id: str
    finding: Finding
    window: WindowReport | None
    """Of the finding, with its verdicts, columns and distributions; None where it is not kept any more."""
    inputs: list[EvidenceAfter]
    """The watch of the inputs over the last hundred windows up to the finding's, newest first."""
    quality: list[EvidenceAfter]


@dataclass(frozen=True, slots=True)
class Status:
    """Whether the history is kept."""

    revision: int
    """Grows whenever anything was written."""
    problems: list[str]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One question.

    Attributes
    ----------
    answer : callable
        The history and the parameters -> what `gives` says; raises `Absent`.
    """

    path: str
    summary: str
    parameters: tuple[Parameter, ...]
    gives: Any
    answer: Callable[[History, Mapping[str, Any]], Any]


_MODEL = Parameter("model", "Name of a model.", required=True)
_ANY_MODEL = Parameter("model", "Only of this model.")
_VERSION = Parameter("version", "Version of the model.", default="")
_SEGMENT = Parameter("segment", "As country=DE; empty for all events.", default="")
_BEFORE = Parameter("before", "Only what starts before, milliseconds.", "number")
EARLIER = Parameter(
    "before",
    "Only what ends before, milliseconds. With a finding's id, as in 1772694000000,3f0c9a62d1b84e57, also "
    "what ends just then and is listed after it: end and id of an answer's last entry give the next page.",
    "cursor",
)
_LIMIT = Parameter("limit", "Most entries.", "number", default=100, most=MOST)


def why(history: History, identity: str) -> Why:
    """A finding with what it rests on."""
    finding = history.finding(identity)
    if finding is None:
        raise Absent(f"no finding {identity!r:.60}")
    key = finding.window
    found = history.windows(key.model, key.version, key.segment, before=key.start + 1, limit=1)
    window = next((one for one in found if one.key.start == key.start), None)

    def watched(watch: str) -> list[EvidenceAfter]:
        rows = history.evidence(key.model, key.version, watch, before=key.start + 1, limit=100)
        return [EvidenceAfter(*row) for row in rows]

    return Why(identity, finding, window, watched("inputs"), watched("quality"))


def model(history: History, name: str) -> Model:
    """One model; raises `Absent` where none of its windows was kept."""
    versions = history.versions(name)
    references = history.references(name)
    if not versions and not references:
        raise Absent(f"no model {name!r:.200}")
    found = [StoredFinding(*row) for row in history.findings(name, limit=50)]
    return Model(name, versions, found, history.objectives(name), references)


def _findings(history: History, asked: Mapping[str, Any]) -> list[StoredFinding]:
    tiers = (asked["tier"],) if asked["tier"] else ()
    before, after = asked["before"] or (None, None)
    rows = history.findings(
        asked["model"], asked["version"], tiers, before=before, after=after, limit=asked["limit"]
    )
    return [StoredFinding(*row) for row in rows]


def _evidence(history: History, asked: Mapping[str, Any]) -> list[EvidenceAfter]:
    rows = history.evidence(
        asked["model"], asked["version"], asked["watch"], before=asked["before"], limit=asked["limit"]
    )
    return [EvidenceAfter(*row) for row in rows]


ENDPOINTS = (
    Endpoint(
        "models",
        "Every model version: its latest windows, and where its watches stand.",
        (_ANY_MODEL,),
        list[VersionState],
        lambda history, asked: history.versions(asked["model"]),
    ),
    Endpoint(
        "model",
        "One model: its versions, latest findings, objectives and references.",
        (_MODEL,),
        Model,
        lambda history, asked: model(history, asked["model"]),
    ),
    Endpoint(
        "windows",
        "Windows of a version or segment, newest first, with verdicts, columns and distributions.",
        (_MODEL, _VERSION, _SEGMENT, _BEFORE, _LIMIT),
        list[WindowReport],
        lambda history, asked: history.windows(
            asked["model"], asked["version"], asked["segment"], before=asked["before"], limit=asked["limit"]
        ),
    ),
    Endpoint(
        "segments",
        "The windows of all segments that start at one time.",
        (_MODEL, _VERSION, Parameter("start", "Of the windows, milliseconds.", "number", required=True)),
        list[WindowReport],
        lambda history, asked: history.segments(asked["model"], asked["version"], asked["start"]),
    ),
    Endpoint(
        "evidence",
        "Where a watch stood after each window, newest first.",
        (
            _MODEL,
            _VERSION,
            Parameter("watch", "What is watched.", "inputs|quality", default="inputs"),
            _BEFORE,
            _LIMIT,
        ),
        list[EvidenceAfter],
        _evidence,
    ),
    Endpoint(
        "quality",
        "Quality by cohort of predictions, newest first, as far as labels have come.",
        (
            _MODEL,
            _VERSION,
            Parameter("arm", "Arm of an experiment; empty for all.", default=""),
            _SEGMENT,
            _BEFORE,
            _LIMIT,
        ),
        list[QualityReport],
        lambda history, asked: history.quality(
            asked["model"],
            asked["version"],
            asked["arm"],
            asked["segment"],
            before=asked["before"],
            limit=asked["limit"],
        ),
    ),
    Endpoint(
        "findings",
        "What was found, newest first; of what ends at one time, by id.",
        (
            _ANY_MODEL,
            Parameter("version", "Only of this version."),
            Parameter("tier", "Only of this tier.", "page|ticket|info"),
            EARLIER,
            _LIMIT,
        ),
        list[StoredFinding],
        _findings,
    ),
    Endpoint(
        "finding",
        "One finding, and why: its window's distributions against the reference, the evidence over time.",
        (Parameter("id", "As `findings` gives it.", required=True),),
        Why,
        lambda history, asked: why(history, asked["id"]),
    ),
    Endpoint(
        "slo",
        "Where every objective stands: error budget, burn rates, exhaustion.",
        (_ANY_MODEL,),
        list[ObjectiveStanding],
        lambda history, asked: history.objectives(asked["model"]),
    ),
    Endpoint(
        "references",
        "What the windows of each version are compared with.",
        (_ANY_MODEL,),
        list[ReferenceState],
        lambda history, asked: history.references(asked["model"]),
    ),
)
