"""Draws dashboards from a Prometheus without a Grafana: the same queries, roughly the same panels.

`python -m dashboards.draw http://localhost:9090 FOLDER model=churn version=.* ...`
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from dashboards import texts
from observer.clock import SystemClock

mpl.rcParams.update({"font.size": 7, "axes.spines.top": False, "axes.spines.right": False})
_ROWS = 12
Panel = Mapping[str, Any]
Series = list[tuple[dict[str, str], list[tuple[float, float]]]]


class Asked:
    """A Prometheus, and the values of the variables of the queries that it is asked."""

    def __init__(self, url: str, values: Mapping[str, str], seconds: float) -> None:
        self._client = httpx.Client(base_url=url, timeout=30, trust_env=False)
        self._values = {"__rate_interval": "10s", "__range": f"{round(seconds)}s", **values}
        self._end = SystemClock().now()
        self._start = self._end - seconds

    def fill(self, text: str) -> str:
        """With the values of its variables."""
        return re.sub(r"\$(\w+)", lambda found: self._values[found[1]], text)

    def series(self, target: Mapping[str, Any], *, now: bool) -> Series:
        """What a target's query gives."""
        asked = {"query": self.fill(target["expr"])}
        if now:
            found = self._ask("query", {**asked, "time": self._end})
            return [(one["metric"], [_point(one["value"])]) for one in found]
        span = {"start": self._start, "end": self._end, "step": (self._end - self._start) / 300}
        found = self._ask("query_range", {**asked, **span})
        return [(one["metric"], [_point(value) for value in one["values"]]) for one in found]

    def _ask(self, path: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        answer = self._client.get(f"/api/v1/{path}", params=parameters)
        answer.raise_for_status()
        result: list[dict[str, Any]] = answer.json()["data"]["result"]
        return result


def draw(board: Mapping[str, Any], asked: Asked, path: Path) -> None:
    """Draw one dashboard into a file."""
    height = max(panel["gridPos"].get("y", 0) + panel["gridPos"]["h"] for panel in board["panels"])
    figure = Figure(figsize=(13, height * 0.3), dpi=75, facecolor="white")
    for panel in board["panels"]:
        box = panel["gridPos"]
        left, top = box.get("x", 0) / 24, 1 - box.get("y", 0) / height
        if panel["type"] == "row":
            figure.text(left + 0.005, top - 0.6 / height, panel["title"], fontsize=10, weight="bold")
            continue
        pads = (0.042, 0.7 / height, 0.012, 1.5 / height)  # left, bottom, right, top
        axes = figure.add_axes(
            (
                left + pads[0],
                top - box["h"] / height + pads[1],
                box["w"] / 24 - pads[0] - pads[2],
                box["h"] / height - pads[1] - pads[3],
            )
        )
        axes.set_title(asked.fill(panel["title"]), loc="left", fontsize=8)
        _DRAWN[panel["type"]](axes, panel, asked)
    figure.savefig(path)


def _lines(axes: Axes, panel: Panel, asked: Asked) -> None:
    dashed = [one["matcher"]["options"].strip("/") for one in panel["fieldConfig"].get("overrides", ())]
    count = 0
    for target in panel["targets"]:
        for labels, points in asked.series(target, now=False):
            name = _legend(target, labels)
            thin = any(re.fullmatch(one, name) for one in dashed)
            style = {"ls": "--", "color": "#b09a9a"} if thin else {}
            times, values = zip(*points, strict=True)
            axes.plot(
                [_time(one) for one in times], values, lw=1, label=name if count < _ROWS else None, **style
            )
            count += 1
    axes.tick_params(axis="x", labelbottom=False)
    axes.yaxis.set_major_formatter(lambda value, _: _shown(value, _unit(panel)))
    if count:
        axes.legend(fontsize=5.5, loc="upper left", frameon=False, ncols=2 if count > 4 else 1)


def _heat(axes: Axes, panel: Panel, asked: Asked) -> None:
    target = panel["targets"][0]
    found = sorted(
        (_legend(target, labels), dict(points)) for labels, points in asked.series(target, now=False)
    )
    times = sorted({moment for _, points in found for moment in points})
    cells = [[points.get(moment, float("nan")) for moment in times] for _, points in found]
    mesh = axes.pcolormesh(cells, cmap="YlOrRd", vmin=0, vmax=panel["options"]["color"].get("max"))
    axes.set_yticks([at + 0.5 for at in range(len(found))], [name for name, _ in found])
    axes.tick_params(axis="y", labelsize=6, direction="in", pad=-2)
    for label in axes.get_yticklabels():
        label.set_horizontalalignment("left")
    axes.tick_params(axis="x", labelbottom=False)
    axes.figure.colorbar(mesh, ax=axes, pad=0.01, aspect=30)


def _number(axes: Axes, panel: Panel, asked: Asked) -> None:
    target = panel["targets"][0]
    found = asked.series(target, now=bool(target.get("instant")))
    words = _words(panel["fieldConfig"]["defaults"].get("mappings", ()))
    told = [
        " ".join(
            filter(
                None,
                (
                    _legend(target, labels) if len(found) > 1 else "",
                    _cell(points[-1][1], _unit(panel), words),
                ),
            )
        )
        for labels, points in found
    ]
    axes.axis("off")
    text = "\n".join(told) or panel["fieldConfig"]["defaults"].get("noValue", "")
    axes.text(0, 0.5, text, fontsize=13 if len(told) < 2 else 9, va="center", color="#2b5d8a")


def _table(axes: Axes, panel: Panel, asked: Asked) -> None:
    renamed = panel["transformations"][1]["options"]["renameByName"]
    hidden = panel["transformations"][1]["options"]["excludeByName"]
    units, words = {}, {}
    for one in panel["fieldConfig"].get("overrides", ()):
        for wish in one["properties"]:
            if wish["id"] == "unit":
                units[one["matcher"]["options"]] = wish["value"]
            elif wish["id"] == "mappings":
                words[one["matcher"]["options"]] = _words(wish["value"])
    merged: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
    for target in panel["targets"]:
        column = f"Value #{target['refId']}"
        name = renamed.get(column, column)
        for labels, points in asked.series(target, now=True):
            kept = {key: value for key, value in labels.items() if key not in hidden}
            line = merged.setdefault(tuple(sorted(kept.items())), {})
            if name not in hidden and column not in hidden:
                line[name] = _cell(points[-1][1], units.get(name, "short"), words.get(name, {}))
    lines = [{**dict(key), **line} for key, line in sorted(merged.items())][:_ROWS]
    columns = list(dict.fromkeys(name for line in lines for name in line))
    axes.axis("off")
    if lines:
        cells = [[line.get(name, "")[:40] for name in columns] for line in lines]
        made = axes.table(cells, colLabels=columns, loc="upper left", cellLoc="left", edges="horizontal")
        made.auto_set_font_size(False)
        made.set_fontsize(6.5)


_DRAWN: dict[str, Callable[[Axes, Panel, Asked], None]] = {
    "timeseries": _lines,
    "heatmap": _heat,
    "stat": _number,
    "table": _table,
}


def _point(pair: list[Any]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])


def _time(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


def _unit(panel: Panel) -> str:
    return str(panel["fieldConfig"]["defaults"].get("unit", "short"))


def _legend(target: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    text: str = target["legendFormat"]
    if text == "__auto":
        return " ".join(labels.values())
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), text)


def _words(mappings: Any) -> dict[str, str]:
    return {key: shown["text"] for one in mappings for key, shown in one["options"].items()}


def _cell(value: float, unit: str, words: Mapping[str, str]) -> str:
    return words.get(f"{value:g}") or _shown(value, unit)


def _shown(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value:.1%}"
    if unit.startswith("dateTime"):
        return f"{_time(value / 1000):%Y-%m-%d %H:%M}"
    if unit == "bytes":
        return f"{value / 2**20:.0f} MiB"
    return f"{value:.4g}{' s' if unit == 's' else ''}"


def main(url: str, folder: str, seconds: str, *values: str) -> None:
    """Draw every dashboard."""
    asked = Asked(url, dict(one.split("=", 1) for one in values), float(seconds))
    for name, text in texts().items():
        path = Path(folder) / f"grafana-{Path(name).stem}.png"
        draw(json.loads(text), asked, path)
        Image.open(path).quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
