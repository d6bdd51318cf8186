"""An explanation in print, for whoever is on call."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from detectors.why.changes import CategoryChange, NumberChange
from detectors.why.covariance import CLEAR, Pair
from detectors.why.decomposition import Decomposition
from detectors.why.ranking import RankedFeature, RankedSegment
from observer.explain import Explanation
from observer.model import Period
from observer.terminal.plots import moment, p_text, share, short
from observer.terminal.words import subject

_MOST = 10
"""Lines of a part; JSON has all."""
_NOTEWORTHY = 0.1  # sigma
_WIDER = 1.15
_POINT = 0.005  # of a share
_WIDE = 110
"""Columns from which there is room for more."""
_NUMBER = " >"
_STYLES = {"drift": "bold red", "stable": "green", "insufficient": "yellow"}
_PARTS = {
    "impact": "likely effect on quality",
    "segments": "segments",
    "performance": "quality",
    "importance": "importance",
    "slices": "slices",
}


def print_explanation(found: Explanation, console: Console) -> None:
    """Print all parts there are, and why the others are not."""
    _head(found, console)
    _streams(found, console)
    _features(found, console)
    _pairs(found.pairs, console)
    _impact(found, console)
    _segments(found, console)
    _performance(found, console)
    _importance(found, console)
    _slices(found, console)
    if found.missing:
        _title(console, "not given")
        for name, why in found.missing.items():
            console.print(Text(f"  {_PARTS[name]}: {why}", style="dim"), soft_wrap=True)
    console.print()
    console.print(Text(found.note, style="dim"), soft_wrap=True)


def _head(found: Explanation, console: Console) -> None:
    head = Text(f"{found.model} {found.version}", "bold")
    head.append(f" {found.segment}" if found.segment else "")
    head.append(f", {_period(found.start, found.end)}: ", "default").append(
        found.status, _STYLES[found.status]
    )
    head.append(
        f"\n{found.rows:,} events against {found.reference_rows:,} of reference {found.reference}", "default"
    )
    console.print(head, highlight=False, soft_wrap=True)


def _title(console: Console, text: str, more: str = "") -> None:
    console.print()
    title = Text(text, "bold")
    title.append(f": {more}" if more else "", "not bold dim")
    console.print(title, highlight=False, soft_wrap=True)


def _table(*columns: str) -> Table:
    """A table; numbers, whose names end in >, stand right and are never cut."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in columns:
        if name.endswith(_NUMBER):
            table.add_column(name.removesuffix(_NUMBER), justify="right", no_wrap=True)
        else:
            table.add_column(name, overflow="fold")
    return table


def _indented(console: Console, table: Table) -> None:
    console.print(Padding(table, (0, 0, 0, 2)), highlight=False)


def _period(start: int, end: int) -> str:
    same = moment(start)[:5] == moment(end)[:5]
    return f"{moment(start)} to {moment(end)[6:] if same else moment(end)} UTC"


def _windows(period: Period) -> str:
    many = f"{period.windows} windows" if period.windows > 1 else "window"
    return f"{many} {_period(period.start, period.end)}"


def _named(column: str) -> str:
    return subject("@table", column[7:]) if column.startswith("@table.") else subject(column, "")


def _streams(found: Explanation, console: Console) -> None:
    raised = [one for one in found.streams if one.tier]
    if not raised:
        return
    _title(console, "raised by the evidence over time")
    table = _table("column", "statistic", "evidence >", "effect >", "")
    for one in raised[:_MOST]:
        where = f"{_named(one.subject)} {one.segment}".strip()
        since = f"{one.tier}, since {moment(one.since)}" if one.since is not None else one.tier
        table.add_row(where, one.statistic, f"10^{one.evidence:.1f}", short(one.effect), since)
    _indented(console, table)


# What changed


def _features(found: Explanation, console: Console) -> None:
    drifting = [one for one in found.features if one.drifts]
    shown = drifting or list(found.features)
    if not shown:
        _title(console, "what changed", "too few events to say")
        return
    more = "" if drifting else "nothing beyond chance and minimum effects; strongest first"
    _title(console, "what changed" + (", most evidence first" if drifting else ""), more)
    wide = console.width >= _WIDE
    table = _table("column", "before → now", "effect >", "p >", *([""] if wide else []))
    for one in shown[:_MOST]:
        cells = [
            Text(_named(one.name), "bold red" if one.drifts else ""),
            Text(_change(one, found)),
            Text(f"{one.detector} {short(round(one.effect, 3))}"),
            Text(p_text(one.p_value)),
        ]
        also = Text(f"also {', '.join(one.others)}" if one.others else "", "dim")
        table.add_row(*cells, *([also] if wide else []))
    _indented(console, table)
    if len(shown) > _MOST:
        console.print(Text(f"  and {len(shown) - _MOST} more; --json has all", "dim"))


def _change(one: RankedFeature, found: Explanation) -> str:
    change = found.columns.get(one.name)
    if isinstance(change, CategoryChange):
        return ", ".join(f"{name} {share(a)} → {share(b)}" for name, a, b in change.moved)
    if isinstance(change, NumberChange):
        return ", ".join(_number(change))
    _, colon, note = one.reason.partition(": ")
    return note if colon else ""


def _number(change: NumberChange) -> Iterator[str]:
    before, now = change.reference, change.window
    told = False
    for what, a, b in (
        ("missing", before.missing, now.missing),
        ("beyond the range", before.outside, now.outside),
    ):
        if abs(b - a) >= _POINT:
            told = True
            yield f"{what} {share(a)} → {share(b)}"
    if before.deviation and now.deviation is not None:
        ratio = now.deviation / before.deviation
        if not 1 / _WIDER < ratio < _WIDER:
            told = True
            yield f"spread x{ratio:.2f}"
    if before.mean is None or now.mean is None:
        return
    shift = change.shift or 0.0
    if abs(shift) >= _NOTEWORTHY or not told:
        yield f"mean {short(before.mean)} → {short(now.mean)} ({shift:+.2f} sigma)"


def _pairs(pairs: Sequence[Pair], console: Console) -> None:
    clear = [pair for pair in pairs if abs(pair.moved) > CLEAR * pair.error]
    if not clear:
        return
    _title(console, "pairs of columns that go together otherwise", "of normal scores, whitened")
    for pair in clear:
        if pair.first == pair.second:
            what = f"spread of {_named(pair.first)} x{pair.now / pair.before:.2f}"
        else:
            names = f"{_named(pair.first)} and {_named(pair.second)}"
            what = f"correlation of {names} {pair.before:+.2f} → {pair.now:+.2f}"
        console.print(Text(f"  {what} (moved {pair.moved:+.2f} ± {pair.error:.2f})"), soft_wrap=True)


# Quality


def _points(value: float) -> str:
    return f"{value * 100:+.2f}"


def _impact(found: Explanation, console: Console) -> None:
    if found.impact is None:
        return
    _title(console, "likely effect on quality", found.impact.loss)
    clear = [one for one in found.impact.columns if one.clear]
    if not clear:
        console.print(Text("  no column's change of mix moves it by more than three standard errors"))
        return
    table = _table("column", "points >", "± >")
    for one in clear[:_MOST]:
        table.add_row(_named(one.name), _points(one.effect), f"{one.error * 100:.2f}")
    _indented(console, table)


def _segments(found: Explanation, console: Console) -> None:
    ranking = found.segments
    if ranking is None:
        return
    _title(console, "segments", f"each against its own {_windows(ranking.baseline)}")
    if not ranking.segments:
        console.print(Text("  too few events to say"))
        return
    table = _table("segment", "evidence >", "columns that drift in it")
    for one in ranking.segments[:_MOST]:
        evidence = f"10^{max(one.log_e, 0.0) / math.log(10):.1f}"
        table.add_row(Text(one.name, "bold red" if one.named else ""), evidence, _drifting(one))
    _indented(console, table)
    if not any(one.named for one in ranking.segments):
        console.print(Text("  none differs from its past by more than chance"))


def _drifting(segment: RankedSegment) -> str:
    names = [_named(feature.name) for feature in segment.features if feature.drifts]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _performance(found: Explanation, console: Console) -> None:
    performance = found.performance
    if performance is None:
        return
    rate = performance.loss == "error rate"
    change = performance.change
    before, now = (_loss(loss, rate=rate) for loss in (change.reference_loss, change.window_loss))
    moved = f"{_difference(change.change, rate=rate)} ± {_difference(change.error, rate=rate).lstrip('+')}"
    points = " points" if rate else ""
    _title(console, "quality", f"{performance.loss} {before} → {now}, {moved}{points}")
    cohort = f"{performance.labelled:,} of {performance.predictions:,} labelled"
    baseline = f"{performance.baseline_labelled:,} labels"
    told = f"{_windows(performance.cohort)}, {cohort}, against {_windows(performance.baseline)}, {baseline}"
    console.print(Text(f"  {told}", "dim"), soft_wrap=True)
    for dimension, split in performance.by.items():
        console.print(
            Text(
                f"  by {dimension}: changed mix {_difference(split.mix, rate=rate)},"
                f" within segments {_difference(split.within, rate=rate)}"
            ),
            highlight=False,
        )
        _indented(console, _split(split, rate=rate))


def _split(split: Decomposition, *, rate: bool) -> Table:
    table = _table("segment", "share", "loss", "mix >", "within >", "± >")
    for one in split.contributions[:_MOST]:
        losses = (one.reference_loss, one.window_loss)
        table.add_row(
            Text(one.cell),
            f"{share(one.reference_share)} → {share(one.window_share)}",
            " → ".join("none" if loss is None else _loss(loss, rate=rate) for loss in losses),
            _difference(one.mix, rate=rate),
            _difference(one.within, rate=rate),
            _difference(one.error, rate=rate).lstrip("+"),
        )
    return table


def _loss(value: float, *, rate: bool) -> str:
    return f"{value:.2%}" if rate else short(value)


def _difference(value: float, *, rate: bool) -> str:
    if rate:
        return _points(value)
    return ("+" if value >= 0 else "") + short(value)


# On demand


def _importance(found: Explanation, console: Console) -> None:
    if found.importance is None:
        return
    _title(
        console,
        "importance",
        "loss of AUC in telling the window's rows from the reference's without the column",
    )
    table = _table("column", "AUC >")
    for name, drop in _strongest(found.importance):
        table.add_row(_named(name), f"{drop:.3f}")
    _indented(console, table)


def _strongest(pairs: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    return sorted(pairs, key=lambda pair: -pair[1])[:_MOST]


def _slices(found: Explanation, console: Console) -> None:
    if found.slices is None:
        return
    _title(console, "slices that became more frequent", "of sampled rows that had no part in finding them")
    if not found.slices:
        console.print(Text("  none"))
    for one in found.slices:
        console.print(
            Text(
                f"  {one.slice.words}: {share(one.reference_share)} → {share(one.window_share)} of rows,"
                f" p {p_text(one.slice.adjusted)}"
            ),
            soft_wrap=True,
            highlight=False,
        )
