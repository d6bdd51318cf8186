"""The live view: models above, findings below; plain lines where nobody watches."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from detectors.quality.catalog import CATALOG
from observer.model import QualityReport, QualityValue, WindowReport
from observer.references import Reference
from observer.terminal.plots import bar, duration, moment, p_text, share, short, trend
from observer.terminal.state import HISTORY, Incident, Row, State, Status, Told, Tone, main_value
from observer.terminal.words import subject

WIDE = 130
"""Columns from which there is room for more."""
_COHORTS = 16
_STYLES = {"drift": "bold red", "stable": "green", "insufficient": "yellow", "learning": "cyan"}
_SHORT = {"insufficient": "few", "learning": "learns"}
_MARKS = {"insufficient": "·", "learning": "?"}
_TONES: dict[Tone, str] = {
    "plain": "",
    "good": "bold green",
    "bad": "bold red",
    "ask": "bold yellow",
    "script": "cyan",
}
_NAMES = {"roc_auc": "auc", "accuracy": "acc"}


class TerminalView:
    """Reports on a terminal, live; elsewhere a line per finding when it begins and when it is over.

    Use as a context manager. Not for several threads.
    """

    def __init__(self, console: Console, references: Mapping[str, Reference] | None = None) -> None:
        """`references` by their version; more may come with `know`."""
        self.state = State(references=dict(references or {}))
        self._console = console
        self._live = (
            Live(console=console, auto_refresh=False, vertical_overflow="crop")
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def know(self, references: Mapping[str, Reference]) -> None:
        """Remember references, by their version, to say by how much a column moved."""
        self.state.know(references)

    def window(self, report: WindowReport) -> None:
        """A window closed and was judged."""
        began, ended = self.state.window(report)
        if self._live is None:
            for incident in began:
                self._print(incident)
            for incident in ended:
                self._print(incident)

    def quality(self, report: QualityReport) -> None:
        """A cohort's quality changed, or became final."""
        self.state.quality(report)

    def tell(self, at: int, text: str, tone: Tone) -> None:
        """A step of an action, at an event time."""
        told = Told(at, text, tone)
        self.state.told.appendleft(told)
        if self._live is None:
            self._console.print(f"{moment(at)} {text}", soft_wrap=True, highlight=False, markup=False)

    def update(self, status: Status) -> None:
        """Show how the service is doing, and everything that was reported since the last call."""
        self.state.status = status
        if self._live is not None:
            width, height = self._console.size
            self._live.update(render(self.state, width, height), refresh=True)

    def _print(self, incident: Incident) -> None:
        self._console.print(line(incident), soft_wrap=True, highlight=False, markup=False)


def line(incident: Incident) -> str:
    """A finding as one line of plain text."""
    finding = incident.finding
    where = f"{moment(finding.window.start)} {_who(incident)} {incident.subject}"
    if incident.over:
        return f"{where}: over after {incident.windows} {'window' if incident.windows == 1 else 'windows'}"
    return f"{where}: {incident.words} ({_evidence(incident)})"


def render(state: State, width: int, height: int) -> RenderableType:
    """The view for a terminal of that many columns and lines; depends on nothing else."""
    wide = width >= WIDE
    header = _header(state.status, width)
    rows = sorted(state.rows.values(), key=lambda row: (row.model, row.version))
    room = max((height - len(header) - 2) * 2 // 3, 3)
    hidden = len(rows) - room
    if hidden > 0:  # those in trouble stay
        rows.sort(key=lambda row: row.latest is None or row.latest.status != "drift")
        rows = sorted(rows[:room], key=lambda row: (row.model, row.version))
    parts: list[RenderableType] = [*header, _models(rows, width, wide=wide)]
    used = len(header) + 1 + len(rows)
    if hidden > 0:
        parts.append(Text(f"and {hidden} more, none of which drifts more", style="dim"))
        used += 1
    left = height - used - 3  # the title, and a line free for the cursor
    if state.told or state.status.asks:
        story = _story(state, width, max(left * 2 // 3, 3))
        parts.extend(story)
        left -= len(story)
    if left > 0:
        parts.append(_title(state, width))
        parts.extend(_finding(incident, width) for incident in list(state.incidents)[:left])
        if not state.incidents:
            parts.append(Text("none yet", style="dim"))
    return Group(*parts)


def _cut(text: Text, width: int) -> Text:
    text.no_wrap = True
    text.truncate(width, overflow="ellipsis")
    return text


def _header(status: Status, width: int) -> list[Text]:
    """As many lines as it takes, and a blank one."""
    pieces = [
        Text("observer", "bold"),
        Text("waiting" if status.event_time is None else f"{moment(status.event_time)} UTC", "bold"),
        Text(f"x{status.speed:,.0f}" if status.speed is not None else ""),
        Text(f"{status.events:,} events"),
        Text(f"{status.per_second:,.0f}/s"),
        Text(f"{status.windows:,} windows"),
        Text(f"up {duration(status.uptime)}"),
        Text(status.page_url, "blue"),
    ]
    lines = [pieces[0]]
    for piece in filter(len, pieces[1:]):
        if len(lines[-1]) + 2 + len(piece) > width:
            lines.append(piece)
        else:
            lines[-1] = Text("  ").join([lines[-1], piece])
    return [*(_cut(text, width) for text in lines), Text("")]


def _models(rows: list[Row], width: int, *, wide: bool) -> Table:
    table = Table(
        box=None, padding=(0, 1 if not wide else 2, 0, 0), pad_edge=False, header_style="dim", width=width
    )
    columns: list[tuple[str, int, str]] = [
        ("model", 13 if wide else 10, "left"),
        ("window", 12 if wide else 6, "left"),
        ("rows", 6, "right"),
        ("worst column", 18 if wide else 13, "left"),
        ("effect", 6, "right"),
        ("p", 6, "right"),
        ("quality", 32 if wide else 14, "left"),
    ]
    if wide:
        columns.append(("cohorts", _COHORTS, "left"))
    gaps = len(columns) * (2 if wide else 1)
    history = min(max(width - sum(c[1] for c in columns) - gaps, 4), HISTORY)
    columns.append(("last windows" if history >= 12 else "windows", history, "left"))
    for name, size, side in columns:
        table.add_column(name, width=size, justify=side, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]  # left or right
    for row in rows:
        table.add_row(*_cells(row, history, wide=wide))
    return table


def _cells(row: Row, history: int, *, wide: bool) -> list[Text]:
    name = Text(row.model).append(f" {row.version}", "dim")
    report, worst = row.latest, row.worst
    status = report.status if report else ""
    style = _STYLES.get(status, "")
    loud = style if status == "drift" else ""
    cells = [
        name,
        Text(status if wide else _SHORT.get(status, status), style=style),
        Text(f"{report.rows:,}" if report else ""),
        Text(subject(worst.subject, worst.detector) if worst else "", style=loud),
        Text(short(round(worst.verdict.effect, 3)) if worst else "", style=loud),
        Text(p_text(worst.verdict.p_value) if worst else "", style=loud),
        _quality(row, wide=wide),
    ]
    if wide:
        cells.append(_cohorts(row))
    cells.append(_history(row, history))
    return cells


def _history(row: Row, width: int) -> Text:
    """A mark a window: drift by its effect, all else low."""
    out = Text()
    for status, effect in list(row.history)[-width:]:
        # The root makes small effects differ; the least drift stands out against "stable".
        mark = bar(max(min(effect, 1.0) ** 0.5, 0.3)) if status == "drift" else _MARKS.get(status, "▁")
        out.append(mark, _STYLES[status] if status != "stable" else "dim green")
    return out


def _quality(row: Row, *, wide: bool) -> Text:
    """The latest matured cohort; by ~ the latest provisional one, by ≈ the latest window's estimate."""
    matured, fresh = row.quality("matured"), row.quality("provisional")
    out = Text()
    if matured is not None:
        out.append(_value(matured[1])).append(f" {share(round(matured[0].coverage, 2))}", "dim")
    if fresh is not None and (wide or matured is None):
        name = "" if matured is not None else _NAMES.get(fresh[1].metric, fresh[1].metric) + " "
        out.append(" " if matured is not None else "")
        out.append(f"{name}~{_number(fresh[1])}", "italic")
        out.append(f" {share(round(fresh[0].coverage, 2))}", "dim")
    estimate = row.estimate
    if estimate is not None and estimate.value is not None and (wide or not len(out)):
        # Before labels; in brackets where it is no better than assuming no change, or nobody knows.
        name = "" if len(out) else _NAMES.get(estimate.metric, estimate.metric) + " "
        text = f"{name}≈{_digits(estimate.value)}"
        out.append(" " if len(out) else "")
        out.append(text if estimate.usable else f"({text})", "cyan" if estimate.usable else "dim")
    return out


def _number(value: QualityValue) -> str:
    return _digits(value.value)


def _digits(value: float) -> str:
    return f"{value:.3f}".removeprefix("0") if abs(value) < 10 else short(value)


def _value(value: QualityValue) -> str:
    return f"{_NAMES.get(value.metric, value.metric)} {_number(value)}"


def _cohorts(row: Row) -> Text:
    """The main metric of the last cohorts that have enough labels."""
    reports = [row.cohorts[key] for key in sorted(row.cohorts)]
    chosen = [(r, v) for r in reports if r.coverage >= 0.2 and (v := main_value(r)) is not None][-_COHORTS:]
    values = [value.value for _, value in chosen]
    if not values:
        return Text()
    bounded = CATALOG[chosen[0][1].metric].high == 1.0
    return Text(trend(values, 1.0 if bounded else max(values)))


def _story(state: State, width: int, room: int) -> list[RenderableType]:
    """What was done, the newest first, under what a person is asked now; at most `room` lines."""
    whole = Text("\n".join(state.status.asks), "bold yellow")
    asks = whole.wrap(Console(width=width), width) if state.status.asks else ()
    parts: list[RenderableType] = [Text(""), Text("actions", style="dim"), *asks]
    for told in state.told:
        words = Text().append(f"{moment(told.at)} ", "dim").append(told.text, _TONES[told.tone])
        parts.extend(words.wrap(Console(width=width), width))
        if len(parts) >= room:
            break
    return parts[:room]


def _title(state: State, width: int) -> Text:
    running = sum(not incident.over for incident in state.incidents)
    title = Text().append("findings", "dim")
    if running:
        title.append(f", {running} going on", "bold red")
    return Text("\n").append_text(_cut(title, width))


def _who(incident: Incident) -> str:
    key = incident.finding.window
    return f"{key.model} {key.version}" + (f" {key.segment}" if key.segment else "")


def _evidence(incident: Incident) -> str:
    verdict = incident.finding.verdict
    p = p_text(verdict.p_value)
    first = f"{incident.detectors[0]} {short(round(verdict.effect, 3))}" + (f", p {p}" if p else "")
    others = ", ".join(incident.detectors[1:])
    return f"{first}; also {others}" if others else first


def _finding(incident: Incident, width: int) -> Text:
    quiet = "dim" if incident.over else ""
    out = Text(style=quiet)
    times = f"x{incident.windows}" if incident.windows > 1 else ""
    out.append(f"{moment(incident.since)} {times:<4} ", "dim")
    if incident.tier != "info":
        out.append(f"{incident.tier} ", quiet or ("bold red" if incident.tier == "page" else "bold yellow"))
    out.append(f"{_who(incident)} ")
    out.append(incident.subject, quiet or "bold red")
    out.append(f"{' (over)' if incident.over else ''}: {incident.words}")
    out.append(f" ({_evidence(incident)})", "dim")
    return _cut(out, width)
