"""Builds the Grafana dashboards that `observer/dashboards` carries: `python -m dashboards` writes them."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import actions, fleet, model, objectives, rollout, service

FOLDER = Path(__file__).parents[1] / "observer" / "dashboards" / "data"
"""Where the JSON is committed."""


def texts() -> dict[str, str]:
    """The JSON of every dashboard, by file name."""
    parts = (fleet, model, objectives, rollout, actions, service)
    return {f"{part.NAME}.json": _text(part.build()) for part in parts}


def _text(board: Dashboard) -> str:
    found = board.build()
    for number, panel in enumerate(found.panels or (), 1):
        panel.id_val = number  # links to a panel last as long as the order does
    return json.dumps(found, cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
