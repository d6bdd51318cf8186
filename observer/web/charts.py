"""Small pictures as SVG, drawn by the server: no script needed, and every foreign text escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from detectors.base import Status, Verdict
from observer.model import Distribution, WindowReport
from observer.web.words import moment, number, share, subject


def _svg(width: float, height: float, kind: str, label: str, *parts: Markup) -> Markup:
    """An image of `width` by `height` units with a text for those who do not see it."""
    # Written out, as below: a page has thousands, and Markup.format would take most of its time.
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    head = f'<svg class="{kind}" {size} role="img" aria-label="{escape(label)}">'
    return Markup(f"{head}{''.join(parts)}</svg>")


def _rect(x: float, y: float, width: float, height: float, kind: str, title: str = "") -> Markup:
    place = f'x="{x:.4g}" y="{y:.4g}" width="{max(width, 0.0):.4g}" height="{max(height, 0.0):.4g}"'
    if not title:
        return Markup(f'<rect class="{kind}" {place}/>')
    return Markup(f'<rect class="{kind}" {place}><title>{escape(title)}</title></rect>')


def recent(windows: Sequence[tuple[int, int, str]], slots: int = 48) -> Markup:
    """The last windows as bars: height for events, colour for what was found."""
    shown = windows[-slots:]
    most = max((rows for _, rows, _ in shown), default=0) or 1
    first = slots - len(shown)
    bars: dict[str, list[str]] = {}
    for i, (_, rows, status) in enumerate(shown):
        height = max(20.0 * rows / most, 1.5)
        bars.setdefault(status, []).append(f"M{(first + i) * 3} 20v-{height:.3g}h2.4v{height:.3g}z")
    drifting = sum(status == "drift" for _, _, status in shown)
    label = f"last {len(shown)} windows, {drifting} with drift"
    paths = [Markup(f"<path class='w-{escape(kind)}' d='{''.join(d)}'/>") for kind, d in bars.items()]
    return _svg(slots * 3, 20, "spark", label, *paths)


def gauge(value: float, threshold: float, counts: str = "page", *, welcome: bool = False) -> Markup:
    """Evidence as a part of that which pages, or does what `counts` says; `welcome` evidence is good news."""
    part = min(max(value / threshold, 0.0), 1.0) if threshold > 0 else 0.0
    kind = "g-won" if welcome else "g-over" if part >= 1 else "g-near" if part >= 0.5 else "g-well"
    label = f"evidence 10^{number(value)} of the 10^{number(threshold)} that {counts}"
    return _svg(80, 6, "gauge", label, _rect(0, 0, 80, 6, "g-all"), _rect(0, 0, 80 * part, 6, kind))


def budget(remaining: float | None) -> Markup:
    """What is left of an error budget."""
    part = min(max(remaining or 0.0, 0.0), 1.0)
    kind = "g-over" if part <= 0 else "g-near" if part < 0.25 else "g-well"
    label = f"{share(remaining)} of the error budget left"
    return _svg(80, 6, "gauge", label, _rect(0, 0, 80, 6, "g-all"), _rect(0, 0, 80 * part, 6, kind))


def part(value: float, label: str) -> Markup:
    """A share of a whole."""
    wide = 80 * min(max(value, 0.0), 1.0)
    return _svg(80, 6, "gauge", label, _rect(0, 0, 80, 6, "g-all"), _rect(0, 0, wide, 6, "g-part"))


def small(one: Distribution) -> Markup:
    """A distribution against its reference, small: the reference as an area, the window as a line."""
    width, height = 120.0, 28.0
    return _svg(width, height, "dist", _said(one), *_bars(one, 0, 0, width, height - 1))


def large(one: Distribution) -> Markup:
    """The same, large, with axes."""
    width, height, left, bottom = 640.0, 240.0, 58.0, 34.0
    inner = width - left - 8
    tall = height - bottom - 8
    parts = list(_bars(one, left, 8, inner, tall))
    most = _most(one)
    for at in (0.0, 0.5, 1.0):
        y = 8 + tall * (1 - at)
        parts.append(
            Markup('<line class="grid" x1="{:g}" x2="{:g}" y1="{:g}" y2="{:g}"/>').format(
                left, width - 8, y, y
            )
        )
        parts.append(_text(left - 6, y + 4, share(most * at), "end"))
    many = len(one.reference)
    if one.edges:
        for at in (0, 0.25, 0.5, 0.75, 1):
            value = one.edges[0] + (one.edges[-1] - one.edges[0]) * at
            parts.append(
                _text(
                    left + inner * at,
                    height - 12,
                    number(value),
                    "middle" if 0 < at < 1 else ("start", "end")[at == 1],
                )
            )
    else:
        room = max(int(inner / many / 7), 1)
        for i, name in enumerate(one.names):
            shown = name if len(name) <= room else f"{name[: max(room - 1, 1)]}…"
            parts.append(_text(left + inner * (i + 0.5) / many, height - 12, shown, "middle", name))
    return _svg(width, height, "dist large", _said(one), *parts)


def _text(x: float, y: float, said: str, anchor: str, title: str = "") -> Markup:
    inner = Markup("<title>{}</title>").format(title) if title else Markup("")
    return Markup('<text x="{:.4g}" y="{:.4g}" text-anchor="{}">{}{}</text>').format(
        x, y, anchor, said, inner
    )


def _most(one: Distribution) -> float:
    return max((*one.reference, *one.window), default=0.0) or 1.0


def _bars(one: Distribution, left: float, top: float, width: float, height: float) -> list[Markup]:
    many, most = max(len(one.reference), 1), _most(one)
    step = width / many
    parts = []
    if one.edges:
        points = []
        for i, (before, now) in enumerate(zip(one.reference, one.window, strict=True)):
            x, tall = left + i * step, height * max(before, 0.0) / most
            title = f"{number(one.edges[i])} to {number(one.edges[i + 1])}: {share(before)} → {share(now)}"
            parts.append(_rect(x, top + height - tall, step, tall, "d-ref", title))
            y = top + height * (1 - max(now, 0.0) / most)
            points += [f"{x:.4g},{y:.4g}", f"{x + step:.4g},{y:.4g}"]
        parts.append(Markup('<polyline class="d-now" points="{}"/>').format(" ".join(points)))
        return parts
    for i, (before, now) in enumerate(zip(one.reference, one.window, strict=True)):
        title = f"{one.names[i]}: {share(before)} → {share(now)}"
        x = left + i * step
        for part, (value, kind) in enumerate(((before, "d-ref"), (now, "d-bar"))):
            tall = height * max(value, 0.0) / most
            parts.append(
                _rect(x + step * (0.1 + 0.4 * part), top + height - tall, step * 0.38, tall, kind, title)
            )
    return parts


def _said(one: Distribution) -> str:
    moved = 0.5 * sum(abs(a - b) for a, b in zip(one.reference, one.window, strict=True))
    return f"distribution of {one.column} against the reference; {share(moved)} of the mass moved"


def heat(windows: Sequence[WindowReport], most: int = 40) -> Markup:
    """Columns by time, coloured by what their verdicts say; `windows` oldest first.

    The columns that drift most often come first, at most `most` of them.
    """
    cells: dict[str, dict[int, tuple[int, float, str]]] = {}
    for i, window in enumerate(windows):
        for one in window.judged:
            level, strength = _level(one.verdict)
            name = subject(one.subject, one.detector)
            title = f"{name}, {moment(window.key.start)}: {one.detector} effect {number(one.verdict.effect)}"
            before = cells.setdefault(name, {}).get(i)
            if before is None or (level, strength) > before[:2]:
                cells[name][i] = (level, strength, title)
    ranked = sorted(cells, key=lambda name: (-sum(one[0] == 3 for one in cells[name].values()), name))[:most]
    step, row, left = 13.0, 18.0, 150.0
    parts = []
    for y, name in enumerate(ranked):
        shown = name if len(name) <= 20 else f"{name[:19]}…"
        parts.append(_text(left - 8, y * row + 13, shown, "end", name))
        for i, (level, _, title) in cells[name].items():
            parts.append(_rect(left + i * step, y * row, step - 1.5, row - 1.5, f"h-{level}", title))
    drifting = [name for name in ranked if any(one[0] == 3 for one in cells[name].values())]
    label = f"drift by column over {len(windows)} windows; drifting: {', '.join(drifting[:10]) or 'none'}"
    bottom = max(len(ranked), 1) * row
    if windows:
        parts.append(_text(left, bottom + 14, moment(windows[0].key.start), "start"))
        end = left + len(windows) * step
        parts.append(_text(max(end, left + 260), bottom + 14, moment(windows[-1].key.start), "end"))
    return _svg(left + max(len(windows) * step, 260), bottom + 20, "heat", label, *parts)


def _level(verdict: Verdict) -> tuple[int, float]:
    """0 to 3 for the colour, and how strong the evidence is."""
    p = verdict.p_value
    drifts = verdict.status is Status.DRIFT
    strength = -math.log10(max(p, 1e-300)) if p is not None and not math.isnan(p) else 99.0 * drifts
    return 3 if drifts else 2 if strength > 3 else 1 if strength > 1.3 else 0, strength
