"""What a backtest found, in print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from detectors.watch.backtest import FalseAlarms, Smallest
from observer.judge.words import describe
from observer.model import Finding
from observer.plain import timestamp
from observer.terminal.words import subject

MOST_LINES = 30
"""Of a table; of more, the first are printed and the others counted."""
_STYLES = {"page": "bold red", "ticket": "yellow"}


@dataclass(slots=True)
class Incident:
    """From the page that opened it until its streams were verified stable; times in milliseconds."""

    watch: str
    opened: int
    """End of the window that paged."""
    closed: int | None = None
    """End of the window that ended it; None while it lasts."""

    def lasted(self, now: int) -> int:
        """Milliseconds, until `now` if it is still open."""
        return (now if self.closed is None else self.closed) - self.opened


@dataclass(frozen=True, slots=True)
class Missed:
    """Windows of drift on a subject that nobody was told of within a day."""

    subject: str
    windows: int
    first: int
    """Start of the first, milliseconds."""
    last: int


@dataclass(slots=True)
class WatchBacktest:
    """One watch of a version: how far it came, and what its policy does.

    Attributes
    ----------
    windows, left_out : int
        Of its history, and those of them in incidents, which are no part of what is simulated.
    why_not : str
        Why there is no simulation by days; "" where there is one.
    in_deviations : mapping
        Column -> its smallest shift of location, in standard deviations.
    """

    kind: Literal["inputs", "quality"]
    stage: Literal["learning", "tickets", "paging"] = "learning"
    history: int = 0
    needed: int = 0
    pages_since: int | None = None
    """End of the first window that could have paged, milliseconds."""
    windows: int = 0
    left_out: int = 0
    shuffled: FalseAlarms | None = None
    resampled: FalseAlarms | None = None
    why_not: str = ""
    shifts: tuple[Smallest, ...] = ()
    in_deviations: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(slots=True)
class VersionBacktest:
    """All that a backtest says of a model's version; times in milliseconds."""

    model: str
    version: str
    first: int
    """Start of the first window."""
    end: int
    """End of the last."""
    windows: int
    alerts: list[Finding]
    """Pages and tickets, in order of time."""
    incidents: list[Incident]
    missed: list[Missed]
    watches: list[WatchBacktest]


def print_backtest(found: VersionBacktest, console: Console) -> None:
    """Print what would have been raised and missed, false alarms to expect, and the smallest shifts."""
    head = Text(f"{found.model} {found.version}".rstrip(), style="bold")
    head.append(f"  {found.windows:,} windows, {_minute(found.first)} to {_minute(found.end)}", "not bold")
    console.print(head, highlight=False, soft_wrap=True)
    for watch in found.watches:
        console.print(f"{watch.kind}: {reach(watch)}", highlight=False, soft_wrap=True)
    _alerts(found, console)
    _missed(found, console)
    for watch in found.watches:
        _false_alarms(watch, console)
    for watch in found.watches:
        _shifts(watch, console)
    console.print()


def reach(watch: WatchBacktest) -> str:
    """Whether the history was long enough to page at all, in words."""
    had = f"{watch.history:,} reference windows"
    if watch.stage == "paging":
        since = "" if watch.pages_since is None else f" from {_minute(watch.pages_since)} on"
        return f"could page{since} ({had}; {watch.needed:,} are needed)"
    if watch.stage == "tickets":
        return f"too little history to page: {had}, {watch.needed:,} are needed; it could raise tickets only"
    if not watch.needed:
        return "nothing could be watched: no window was judged against a reference"
    return f"too little history for any evidence: {had}; to page, {watch.needed:,} are needed"


def _table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 2), pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(
            name,
            justify="right" if name in right else "left",
            overflow="fold",
            no_wrap=name in {"pages", "tickets"},
        )
    return table


def _more(count: int, console: Console) -> None:
    if count > MOST_LINES:
        console.print(f"  and {count - MOST_LINES:,} more: --json gives all", style="dim", highlight=False)


def _title(text: str, console: Console, note: str = "") -> None:
    console.print(Text(f"\n{text}", style="bold").append(f"  {note}" if note else "", "not bold dim"))


def _minute(milliseconds: int) -> str:
    return timestamp(milliseconds, "minutes")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _alerts(found: VersionBacktest, console: Console) -> None:
    pages = sum(alert.tier == "page" for alert in found.alerts)
    _title(f"Raised: {_count(pages, 'page')}, {_count(len(found.alerts) - pages, 'ticket')}", console)
    for alert in found.alerts[:MOST_LINES]:
        text = Text(f"  {_minute(alert.end)}  ")
        text.append(f"{alert.tier:<8}", _STYLES.get(alert.tier, ""))
        for number, cause in enumerate(causes(alert)):
            text.append(f"\n{'':29}{cause}" if number else cause)
        console.print(text, highlight=False, soft_wrap=True)
    _more(len(found.alerts), console)
    for incident in found.incidents:
        days = incident.lasted(found.end) / 86_400_000
        ended = "and still is, at the end" if incident.closed is None else f"until {_minute(incident.closed)}"
        line = f"  incident ({incident.watch}) open from {_minute(incident.opened)} {ended}: {days:.1f} days"
        console.print(line, highlight=False, soft_wrap=True)


def causes(alert: Finding) -> tuple[str, ...]:
    """The first three causes in words."""
    first = f"{subject(alert.subject, alert.detector)}: {alert.verdict.reason}"
    return (first, *(f"{subject(one.subject, one.statistic)}: {describe(one)}" for one in alert.causes[1:3]))


def _missed(found: VersionBacktest, console: Console) -> None:
    if not found.missed:
        _title("Missed: no window of drift that was not raised within a day", console)
        return
    _title("Missed: windows of drift on what nothing was raised about within a day", console)
    table = _table("subject", "windows", "first", "last", right=("windows",))
    for one in found.missed[:MOST_LINES]:
        table.add_row(one.subject, f"{one.windows:,}", _minute(one.first), _minute(one.last))
    console.print(table)
    _more(len(found.missed), console)


def _false_alarms(watch: WatchBacktest, console: Console) -> None:
    left = f", without {watch.left_out:,} in incidents" if watch.left_out else ""
    _title("False alarms to expect in 30 days", console, f"{watch.kind}; {watch.windows:,} windows{left}")
    rows = [("rows shuffled", watch.shuffled), ("days resampled", watch.resampled)]
    if any(one is not None for _, one in rows):
        table = _table("if nothing changes", "pages", "tickets", "simulated")
        for name, one in rows:
            if one is not None:
                simulated = f"{one.days:,.0f} days, {one.windows:,} windows"
                table.add_row(name, interval(one, one.pages), interval(one, one.tickets), simulated)
        console.print(table)
    if watch.why_not:
        console.print(f"  {watch.why_not}", highlight=False, soft_wrap=True)


def interval(simulated: FalseAlarms, alarms: int) -> str:
    """A rate per 30 days with its 95% interval."""
    rate, low, high = simulated.monthly(alarms)
    return f"{rate:.2f} ({low:.2f}-{high:.2f})"


def _shifts(watch: WatchBacktest, console: Console) -> None:
    if not watch.shifts:
        return
    able = any(one.able for one in watch.shifts)
    note = "" if able else "; once there is history enough to page"
    _title("Smallest lasting shift paged for within a day", console, f"{watch.kind}, all events{note}")
    rows: dict[str, list[str]] = {}
    for name, text in _described(watch, able=able):
        rows.setdefault(name, []).append(text)
    table = _table("subject", "shift")
    for name in list(rows)[:MOST_LINES]:
        table.add_row(Text(name), Text(", ".join(rows[name])))
    console.print(table)
    _more(len(rows), console)


def _described(watch: WatchBacktest, *, able: bool) -> Iterator[tuple[str, str]]:
    for one in watch.shifts:
        if one.key.segment:
            continue
        statistic = one.key.statistic.replace("_", " ")
        if able and not one.able:
            yield one.key.subject, f"{statistic} cannot page"
        elif one.shift is None:
            yield one.key.subject, f"{statistic} none"
        else:
            sigma = watch.in_deviations.get(one.key.subject) if one.key.statistic == "location" else None
            of = "" if sigma is None else f" ({sigma:.2f} sd)"
            yield one.key.subject, f"{statistic} {one.shift:.3g}{of}"
