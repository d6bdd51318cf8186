"""What every model's state is: one word, since when, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from observer.model import EvidenceReport, Finding, ObjectiveStanding, QualityReport, VersionState
from observer.web.words import about, burns, cause, subject

ORDER: Final = ("page", "ticket", "silent", "drift", "learning", "insufficient", "stable")
"""Gravest first."""
WORDS: Final[Mapping[str, str]] = {
    "page": "Paging",
    "ticket": "Ticket",
    "silent": "Silent",
    "drift": "Drift",
    "learning": "Learning",
    "insufficient": "Too few events",
    "stable": "Stable",
}
_SILENT_AFTER = 3
"""Windows without which a version that was seen last is silent."""
_GRACE = 600.0
_REPLACED_AFTER = 24
"""Windows after which a version without events counts as replaced by the others."""
_HEADLINES = ("roc_auc", "accuracy", "f1", "mae", "rmse")


@dataclass(frozen=True, slots=True)
class Row:
    """One model version as the fleet shows it."""

    version: VersionState
    state: str
    since: int | None
    why: str
    finding: str
    """Id of the latest page or ticket; empty without one."""
    objectives: tuple[ObjectiveStanding, ...]
    metric: str
    """Headline metric; empty while none is known."""
    value: float | None

    @property
    def budget(self) -> ObjectiveStanding | None:
        """The objective with the least budget left."""
        known = [one for one in self.objectives if one.remaining is not None]
        return min(known, key=lambda one: one.remaining or 0.0, default=None)

    @property
    def evidence(self) -> EvidenceReport | None:
        """The watch that is nearest to a page."""
        watches = [one for one in (self.version.inputs, self.version.quality) if one and one.threshold > 0]
        return max(watches, key=lambda one: one.evidence / one.threshold, default=None)


def fleet(
    versions: Iterable[VersionState],
    objectives: Iterable[ObjectiveStanding],
    findings: Sequence[tuple[str, Finding]],
    now: float,
) -> list[Row]:
    """Every model version in use, gravest first.

    Parameters
    ----------
    findings : sequence
        Pages and tickets with their ids, newest first.
    now : float
        Seconds since the epoch.
    """
    budgets: dict[str, list[ObjectiveStanding]] = {}
    for one in objectives:
        budgets.setdefault(one.model, []).append(one)
    latest: dict[tuple[str, str, str], tuple[str, Finding]] = {}
    for identity, finding in findings:
        key = (finding.window.model, finding.window.version, finding.tier)
        latest.setdefault(key, (identity, finding))
    rows = [_row(version, budgets.get(version.model, []), latest, now) for version in in_use(versions)]
    return sorted(rows, key=lambda row: (ORDER.index(row.state), row.version.model, row.version.version))


def explained(row: Row, found: Sequence[tuple[str, Finding]]) -> Row:
    """A row that drifts, with what `found` (newest first) says of its latest window."""
    here = [(identity, one) for identity, one in found if one.window.start == row.version.start]
    if not here:
        return row
    names = list(dict.fromkeys(subject(one.subject, one.detector) for _, one in here))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    verb = "differs" if len(names) == 1 else "differ"
    return replace(row, why=f"{', '.join(names[:3])}{more} {verb} from the reference", finding=here[0][0])


def in_use(versions: Iterable[VersionState]) -> list[VersionState]:
    """Those versions of each model that others have not long replaced."""
    every = list(versions)
    newest: dict[str, int] = {}
    for one in every:
        newest[one.model] = max(newest.get(one.model, 0), one.end)
    return [one for one in every if one.end >= newest[one.model] - _REPLACED_AFTER * (one.end - one.start)]


def _row(
    version: VersionState,
    objectives: Sequence[ObjectiveStanding],
    latest: Mapping[tuple[str, str, str], tuple[str, Finding]],
    now: float,
) -> Row:
    own = tuple(one for one in objectives if one.version in {"", version.version})
    state, since, why = judge(version, own, now)
    ticket = latest.get((version.model, version.version, "ticket"))
    if state == "drift" and ticket and since is not None and ticket[1].window.start >= since:
        state, why = "ticket", about(ticket[1])  # of a window's own verdict, before there is evidence
    finding, _ = latest.get((version.model, version.version, state), ("", None))
    metric, value = headline(version.cohort)
    return Row(version, state, since, why, finding, own, metric, value)


def judge(
    version: VersionState, objectives: Sequence[ObjectiveStanding], now: float
) -> tuple[str, int | None, str]:
    """State, since when, and why."""
    size = version.end - version.start
    streams = [one for watch in (version.inputs, version.quality) if watch for one in watch.streams]
    for tier in ("page", "ticket"):
        burning = [one for one in objectives if one.severity == tier]
        raised = sorted((one for one in streams if one.tier == tier), key=lambda one: -one.evidence)
        if burning or raised:
            began = [*(one.since for one in raised), *(one.since for one in burning)]
            since = min((moment for moment in began if moment is not None), default=None)
            told = [*map(burns, burning[:1]), *map(cause, raised[:2])]
            more = len(burning) + len(raised) - len(told)
            return tier, since, "; ".join(told) + (f"; {more} more" if more > 0 else "")
    if any(watch and watch.incident is not None for watch in (version.inputs, version.quality)):
        opened = [w.incident for w in (version.inputs, version.quality) if w and w.incident is not None]
        return "page", min(opened), "an incident is open"
    if now - version.seen > _SILENT_AFTER * size / 1000 + _GRACE:
        return "silent", version.end, "no window has closed since"
    if version.status == "drift":
        since = version.start
        for start, _, status in reversed(version.recent):
            if status != "drift":
                break
            since = start
        return "drift", since, "windows differ from the reference"
    return version.status, None, ""


def headline(cohort: QualityReport | None) -> tuple[str, float | None]:
    """The metric that says most of a cohort, and its value."""
    if cohort is None or not cohort.values:
        return "", None
    values = {one.metric: one.value for one in cohort.values}
    metric = next((name for name in _HEADLINES if name in values), cohort.values[0].metric)
    return metric, values[metric]


def summary(rows: Sequence[Row]) -> str:
    """The fleet in one sentence."""
    if not rows:
        return "No model has been seen yet."
    count = {state: sum(row.state == state for row in rows) for state in ORDER}
    said = []
    if count["page"]:
        said.append(f"{count['page']} {_is(count['page'])} paging")
    if count["ticket"]:
        said.append(f"{count['ticket']} {_has(count['ticket'])} a ticket")
    if count["silent"]:
        said.append(f"{count['silent']} {_is(count['silent'])} silent")
    if count["drift"]:
        said.append(f"{count['drift']} {'drifts' if count['drift'] == 1 else 'drift'} without an alarm")
    well = count["stable"]
    if not said:
        return "All is well." if well == len(rows) else f"Nothing is wrong; {well} of {len(rows)} are judged."
    first = said[0].split(" ", 1)
    said[0] = f"{first[0]} {'model' if first[0] == '1' else 'models'} {first[1]}"
    return f"{', '.join(said)}; {well} well." if well else f"{', '.join(said)}."


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _has(number: int) -> str:
    return "has" if number == 1 else "have"
