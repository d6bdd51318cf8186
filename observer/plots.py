"""A reference as a picture, one small chart a column; and evidence over time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from detectors.base import Floats, Ints
from observer.errors import ConfigError, Permanent
from observer.references import Reference

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".svg", ".pdf")
MOST = 200
"""Columns of one picture."""
_ACROSS = 4
_BINS = 40
_FEW = 20  # numbers of at most so many different values are drawn value by value
_TOP = 7
_FILL, _REST, _DARK, _PALE = "#4878a8", "#b9c4d0", "#222222", "#6b6b6b"
_THRESHOLD = "#c44e52"

_Panel: TypeAlias = "tuple[str, str, Callable[[Axes], None]]"


def may_draw(path: Path) -> None:
    """Raise what stands in the way of a picture: `ConfigError` its suffix, `Permanent` missing matplotlib."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError([f"{path}: no picture of that kind; accepted: {', '.join(SUFFIXES)}"])
    try:
        import matplotlib.figure  # noqa: F401, PLC0415 - an extra, and slow to import
    except ModuleNotFoundError as error:
        raise Permanent("pictures need matplotlib: install ml-observer[plot]") from error


def draw_reference(reference: Reference, path: Path) -> None:
    """Draw every column of a reference into a file: the prediction and scores first, then features by name.

    Numbers are histograms over the middle 98% of values (all values where only a few differ), categories
    the shares of the most frequent names.

    Parameters
    ----------
    path : Path
        Its suffix tells the format: `.png`, `.svg` or `.pdf`.

    Raises
    ------
    ConfigError
        Another suffix.
    Permanent
        matplotlib is not installed, or the file cannot be written.
    """
    may_draw(path)
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415

    panels = sorted([*_numbers(reference), *_categories(reference)], key=_order)
    shown = panels[:MOST]
    down = max(math.ceil(len(shown) / _ACROSS), 1)
    layout = ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1)
    figure = Figure(figsize=(3.4 * _ACROSS, 2.1 * down + 0.6), layout=layout, facecolor="white")
    schema, rows = reference.schema, reference.summary.n
    more = f" (of {len(panels):,} columns the first {MOST})" if len(panels) > MOST else ""
    head = f"reference {reference.version}: {rows:,} rows, task {schema.task or 'unknown'}{more}"
    figure.suptitle(
        f"{head}\n{_short(reference.description, 150)}", x=0.01, ha="left", fontsize=12, color=_DARK
    )
    axes: Any = figure.subplots(down, _ACROSS, squeeze=False)
    for place, ax in enumerate(axes.flat):
        if place >= len(shown):
            ax.set_visible(False)
            continue
        name, about, draw = shown[place]
        ax.set_title(_short(name, 34), loc="left", fontsize=10, color=_DARK, pad=14, parse_math=False)
        ax.text(0, 1.04, about, transform=ax.transAxes, fontsize=7.5, color=_PALE, parse_math=False)
        ax.tick_params(labelsize=8, colors=_PALE, length=2)
        for side in ("top", "right", "left"):
            ax.spines[side].set_visible(False)
        ax.spines["bottom"].set_color(_REST)
        draw(ax)
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise Permanent(f"{path} cannot be written: {error.strerror}") from error


@dataclass(frozen=True, slots=True, eq=False)
class EvidenceLine:
    """The evidence of one watch over time, n windows.

    Attributes
    ----------
    name : str
    time : int64[n]
        Ends of windows, milliseconds since the epoch.
    evidence, threshold : float64[n]
        Decimal logarithms: mean evidence, and where it pages; NaN where it cannot.
    pages : int64[P]
        When pages were sent.
    """

    name: str
    time: Ints
    evidence: Floats
    threshold: Floats
    pages: Ints


def draw_evidence(lines: Sequence[EvidenceLine], path: Path) -> None:
    """Draw a chart a watch: mean evidence against the threshold, pages marked; raises as `draw_reference`."""
    may_draw(path)
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # noqa: PLC0415 - as above
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415

    shown = lines[:MOST]
    layout = ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1)
    figure = Figure(figsize=(10, 2.6 * max(len(shown), 1) + 0.3), layout=layout, facecolor="white")
    axes: Any = figure.subplots(max(len(shown), 1), 1, squeeze=False)
    for line, ax in zip(shown, axes.flat, strict=False):
        _evidence(line, ax)
        locator = AutoDateLocator()  # type: ignore[no-untyped-call]
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise Permanent(f"{path} cannot be written: {error.strerror}") from error


def _evidence(line: EvidenceLine, ax: Axes) -> None:
    time, pages = (moments.astype("datetime64[ms]") for moments in (line.time, line.pages))
    pageable = line.threshold[np.isfinite(line.threshold)]
    # Above the threshold only that it was reached matters: what follows it must not flatten the rest.
    top = 1.6 * max(float(pageable.max(initial=0.0)), 1.0)
    ax.plot(time, np.minimum(line.evidence, top), color=_FILL, linewidth=1.2)
    ax.plot(time, line.threshold, color=_THRESHOLD, linewidth=1, linestyle="--")
    if len(pageable):
        at = int(np.flatnonzero(np.isfinite(line.threshold))[0])
        ax.text(time[at], line.threshold[at], " pages here", va="bottom", fontsize=8, color=_THRESHOLD)
    else:
        ax.text(0.5, 0.5, "too little history to page", transform=ax.transAxes, ha="center", color=_PALE)
    for page in pages:
        ax.axvline(page, color=_THRESHOLD, linewidth=0.8, alpha=0.5)
    reached = np.interp(line.pages, line.time, np.minimum(line.evidence, top))
    ax.plot(pages, reached, "v", color=_THRESHOLD, markersize=8)
    sent = f"{len(pages)} page{'s' * (len(pages) != 1)}"
    ax.set_title(f"{_short(line.name, 80)}: {sent}", loc="left", fontsize=10, color=_DARK, parse_math=False)
    ax.set_ylabel("mean evidence, log10", fontsize=8, color=_PALE)
    ax.set_ylim(0, top * 1.05)
    ax.tick_params(labelsize=8, colors=_PALE, length=2)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(_REST)


def _order(panel: _Panel) -> tuple[bool, str]:
    return not panel[0].startswith("@"), panel[0]


def _numbers(reference: Reference) -> list[_Panel]:
    numbers = reference.summary.numbers
    bins = numbers.bins
    panels: list[_Panel] = []
    for i, name in enumerate(numbers.names):
        counts, boundaries = numbers.counts[i], numbers.binning.columns[i]
        absent = float(counts[bins + 2] + counts[bins + 3]) / max(int(counts.sum()), 1)
        about = "number" + _missing(absent)
        if not len(boundaries):
            panels.append((name, about, _nothing))
            continue
        low, high = _number(numbers.minimum[i]), _number(numbers.maximum[i])
        about += f", mean {_number(float(numbers.mean[i]))}, {low} to {high}"
        panels.append((name, about, _histogram(boundaries, counts[1 : len(boundaries)])))
    return panels


def _categories(reference: Reference) -> list[_Panel]:
    categories = reference.summary.categories
    top = categories.vocabularies.top
    panels: list[_Panel] = []
    for name, names, rare, counts in zip(
        categories.names,
        categories.vocabularies.columns,
        categories.vocabularies.rare,
        categories.counts,
        strict=True,
    ):
        kind = reference.schema.features.get(name, "category")
        different = len(names) + len(rare)
        rows = int(counts.sum())
        about = f"{kind}{_missing(float(counts[top + 2]) / max(rows, 1))}, {different:,} different"
        panels.append((name, about, _bars(names, counts[: len(names)], int(counts[top]), rows)))
    return panels


def _histogram(boundaries: Floats, counts: Ints) -> Callable[[Axes], None]:
    from matplotlib.ticker import FixedLocator, MaxNLocator  # noqa: PLC0415 - as above

    def draw(ax: Axes) -> None:
        reached = np.concatenate(([0.0], np.cumsum(counts))) / max(int(counts.sum()), 1)
        low, high = np.interp([0.01, 0.99], reached, boundaries)
        values, shares = boundaries[:-1], np.diff(reached)
        middle = (values >= np.floor(low)) & (values <= high)
        whole = bool((values == np.floor(values)).all())
        if len(values) <= _FEW or (whole and np.count_nonzero(middle) <= _FEW):
            values, shares = (values, shares) if len(values) <= _FEW else (values[middle], shares[middle])
            gap = float(np.diff(values).min()) if len(values) > 1 else 1.0
            ax.bar(values, shares, width=0.8 * gap, color=_FILL)
            if len(values) == 1:
                ax.set_xlim(values[0] - 2, values[0] + 2)
        else:
            edges = np.linspace(low, high, _BINS + 1)
            ax.stairs(np.diff(np.interp(edges, boundaries, reached)), edges, fill=True, color=_FILL)
        ax.xaxis.set_major_locator(FixedLocator(values.tolist()) if len(values) <= 6 else MaxNLocator(4))
        ax.xaxis.set_major_formatter(lambda value, _: _tick(value))
        ax.set_ylim(bottom=0)
        ax.set_yticks([])

    return draw


def _bars(names: tuple[str, ...], counts: Ints, rest: int, rows: int) -> Callable[[Axes], None]:
    def draw(ax: Axes) -> None:
        shown = list(zip(names, counts.tolist(), strict=True))
        others = sum(count for _, count in shown[_TOP:]) + rest
        shares = [(name, count / max(rows, 1), _FILL) for name, count in shown[:_TOP]]
        if others:
            shares.append(("all others", others / max(rows, 1), _REST))
        if not shares:
            _nothing(ax)
            return
        places = range(len(shares))
        ax.barh(places, [share for _, share, _ in shares], color=[c for _, _, c in shares], height=0.72)
        ax.set_yticks(places, [_short(name, 16) for name, _, _ in shares], parse_math=False)
        widest = max(share for _, share, _ in shares)
        for place, (_, share, _) in enumerate(shares):
            ax.text(share + 0.02 * widest, place, f"{share:.1%}", va="center", fontsize=7.5, color=_PALE)
        ax.set_ylim(max(len(shares), 4) - 0.4, -0.6)
        ax.set_xlim(0, widest * 1.18 or 1)
        ax.set_xticks([])
        ax.spines["bottom"].set_visible(False)

    return draw


def _nothing(ax: Axes) -> None:
    ax.text(0.5, 0.5, "no value", ha="center", va="center", fontsize=9, color=_PALE, transform=ax.transAxes)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines["bottom"].set_visible(False)


def _missing(share: float) -> str:
    return f", {share:.1%} missing" if share else ""


def _number(value: float) -> str:
    """Four digits, with separators, or a power of ten."""
    size = abs(value)
    if 1_000 <= size < 10_000_000:
        return f"{value:,.0f}"
    return f"{round(value, 12):.4g}"


def _tick(value: float) -> str:
    """A number in as few characters as an axis has room for."""
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if unit * 10 <= abs(value) < 1e9:
            return f"{value / unit:.4g}{letter}"
    return f"{round(value, 12):.4g}".replace("e+", "e")


def _short(text: str, most: int) -> str:
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return printable if len(printable) <= most else printable[: most - 1] + "…"
