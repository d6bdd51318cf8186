"""The pictures of `docs/evidence.md`: simulations with fixed seeds through the service's detectors.

`python -m documentation.evidence` draws them anew; it needs `ml-observer[plot]` and takes some seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import erfc

from benchmarks.evidence import MINIMUM, NOISE, PIT, REGIMES, Alarms, monitor, pit_means
from detectors.evidence.alarm import Budget
from detectors.evidence.edetector import log_mean_exp
from detectors.evidence.season import HOUR, Season

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOLDER = Path(__file__).parents[1] / "docs"
REFERENCE = 672
"""Four weeks of hourly windows."""
STREAMS = 50
MONTH = 720
"""Hourly windows of 30 days: A, the threshold of one false page a month."""
_BLUE, _GREY, _RED, _DARK = "#4878a8", "#9aa5b1", "#c44e52", "#222222"
_FLOOR = -3.0
"""Evidence below a thousandth is drawn as that."""


def shifted(regime: str, shift: float, after: int, windows: int, seed: int) -> np.ndarray:
    """float64[REFERENCE + windows, STREAMS]: the first stream moves by `shift` sigma after some windows."""
    values = pit_means(np.random.default_rng(seed), regime, REFERENCE + windows, STREAMS)
    values[REFERENCE + after :, 0] += PIT * shift
    return values


def followed(values: np.ndarray) -> tuple[np.ndarray, int | None]:
    """The mean evidence of all streams after each window behind the reference, log10; and when they page."""
    running, strata = monitor(values, REFERENCE, MINIMUM)
    evidence, paged = [], None
    for t in range(REFERENCE, len(values)):
        seen, decision = running.update(values[t], int(strata[t]))
        evidence.append(float(log_mean_exp(seen.log_evidence, STREAMS)) / np.log(10))
        if decision.page and paged is None:
            paged = t - REFERENCE
    return np.asarray(evidence), paged


def shift() -> Figure:
    """One stream with and without a shift, and the evidence of all fifty."""
    after, windows, seed = 72, 120, 3
    figure, (above, below) = _figure(2, 4.6)
    hours = np.arange(windows)
    for size, colour, label in ((0.0, _GREY, "nothing changes"), (0.25, _BLUE, "a shift of a quarter sigma")):
        values = shifted("seasonal", size, after, windows, seed)
        evidence, paged = followed(values)
        end = windows if paged is None else paged + 1  # then it begins anew
        above.plot(hours, values[REFERENCE:, 0], color=colour, linewidth=1.2, label=label)
        below.plot(hours[:end], evidence[:end], color=colour, linewidth=1.4)
    for axes in (above, below):
        axes.axvline(after, color=_DARK, linewidth=0.8, linestyle=":")
    _threshold(below, "1 false page a month")
    if paged is not None:
        below.plot([paged], evidence[paged], "v", color=_RED)
        below.text(paged + 1, evidence[paged], f"page, {paged - after + 1} hours after the shift", color=_RED)
    above.set_ylabel("mean rank of a feature,\nless one half")
    above.legend(loc="upper left", frameon=False)
    below.set(ylabel="evidence of 50 streams", xlabel="hours; the shift begins at the dotted line")
    _powers(below)
    return figure


def budget() -> Figure:
    """A weak shift against the thresholds of three budgets."""
    after, windows = 24, 60
    figure, (axes,) = _figure(1, 3.2)
    values = shifted("iid", 0.1, after, windows, 1)
    running, strata = monitor(values, REFERENCE)
    logs = [
        running.adapter.update(values[t], int(strata[t])).log_evidence for t in range(REFERENCE, len(values))
    ]
    evidence = np.array([float(log_mean_exp(one, STREAMS)) for one in logs]) / np.log(10)
    axes.plot(np.arange(windows), evidence, color=_BLUE, linewidth=1.4)
    axes.axvline(after, color=_DARK, linewidth=0.8, linestyle=":")
    for pages in (10.0, 1.0, 0.1):
        patience = np.log10(Budget(false_pages_per_month=pages).page_patience(Season(HOUR)))
        reached = int(np.flatnonzero(evidence[after:] >= patience)[0]) + 1
        axes.axhline(patience, color=_RED, linewidth=0.9, linestyle="--")
        axes.text(
            0,
            patience + 0.08,
            f"{pages:g} false pages a month: reached {reached} hours after the shift",
            color=_RED,
        )
    axes.set(
        ylabel="evidence of 50 streams", xlabel="hours; the shift begins at the dotted line", ylim=(-1, 6)
    )
    _powers(axes)
    return figure


def stages() -> Figure:
    """The same shift while the watch learns, when it may raise tickets, and when it may page."""
    names = (
        (12, "learning: half a day of reference"),
        (168, "tickets: a week"),
        (REFERENCE, "paging: four weeks"),
    )
    figure, panels = _figure(len(names), 5.4)
    after, windows = 24, 48
    for axes, (reference, name) in zip(panels, names, strict=True):
        values = pit_means(np.random.default_rng(5), "iid", reference + windows, STREAMS)
        values[reference + after :, 0] += PIT * 0.5
        running, strata = monitor(values, reference, MINIMUM)
        evidence = np.full(windows, _FLOOR)
        raised = "", 0
        for t in range(windows):
            seen, decision = running.update(values[reference + t], int(strata[reference + t]))
            evidence[t] = max(seen.log_evidence[0] / np.log(10), _FLOOR)
            if not raised[0] and (decision.page or len(decision.ticketed)):
                raised = "page" if decision.page else "ticket", t
        axes.plot(np.arange(windows), evidence, color=_BLUE, linewidth=1.4)
        axes.axvline(after, color=_DARK, linewidth=0.8, linestyle=":")
        told = (
            f"{raised[0]} after {raised[1] - after + 1} hour(s)" if raised[0] else "no statement by evidence"
        )
        axes.set_title(f"{name}: {told}", loc="left", fontsize=10)
        axes.set_ylim(_FLOOR - 0.3, 12)
        _powers(axes)
    panels[-1].set_xlabel("hours; a shift of half a sigma begins at the dotted line")
    figure.supylabel("evidence of the stream that moved", fontsize=10)
    return figure


def corrected() -> Figure:
    """A month without a change: alarms of p-values corrected for their number, and of evidence."""
    figure, panels = _figure(len(REGIMES), 5.6)
    words = {
        "iid": "independent hours",
        "autocorrelated": "hours resemble their neighbours",
        "seasonal": "days and weekends",
    }
    for axes, regime in zip(panels, REGIMES, strict=True):
        values = pit_means(np.random.default_rng(11), regime, REFERENCE + MONTH, STREAMS)
        z = (values[REFERENCE:] - values[:REFERENCE].mean(0)) / (NOISE * np.sqrt(1 + 1 / REFERENCE))
        alarmed = (STREAMS * erfc(np.abs(z) / np.sqrt(2))).min(1) < 0.05  # Bonferroni
        running, strata = monitor(values, REFERENCE, MINIMUM)
        alarms, pages = Alarms(), []
        for t in range(REFERENCE, len(values)):
            alarms.follow(running, values[t : t + 1], strata[t : t + 1])
            pages.append(alarms.pages)
        days = np.arange(MONTH) / 24
        axes.plot(days, np.cumsum(alarmed), color=_GREY, linewidth=1.6)
        axes.plot(days, pages, color=_BLUE, linewidth=1.6)
        told = f"{words[regime]}: {alarmed.sum()} alarms by corrected p-values, {pages[-1]} pages by evidence"
        axes.set_title(told, loc="left", fontsize=10)
        axes.set_ylim(-0.04 * MONTH, 1.04 * MONTH)
    panels[-1].set_xlabel("days; nothing changes")
    figure.supylabel("alarms so far", fontsize=10)
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "evidence-shift.svg": shift,
    "evidence-budget.svg": budget,
    "evidence-stages.svg": stages,
    "evidence-corrected.svg": corrected,
}


def draw(folder: Path = FOLDER) -> Iterator[Path]:
    """Draw every picture into a folder."""
    import matplotlib as mpl  # noqa: PLC0415 - an extra

    # The same run gives the same file; texts stay texts, which a page's reader can select.
    with mpl.rc_context({"svg.hashsalt": "observer", "svg.fonttype": "none"}):
        for name, picture in PICTURES.items():
            picture().savefig(folder / name, metadata={"Date": None})
            yield folder / name


def _figure(down: int, height: float) -> tuple[Figure, list[Any]]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415

    figure = Figure(figsize=(8, height), layout=ConstrainedLayoutEngine(), facecolor="white")
    panels = list(figure.subplots(down, 1, squeeze=False, sharex=True).flat)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _threshold(axes: Axes, text: str) -> None:
    axes.axhline(np.log10(MONTH), color=_RED, linewidth=0.9, linestyle="--")
    axes.text(0, np.log10(MONTH) + 0.15, f"{text}: {MONTH}", color=_RED)


def _powers(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(lambda value, _: f"$10^{{{value:g}}}$")


if __name__ == "__main__":
    for _ in draw():
        pass
