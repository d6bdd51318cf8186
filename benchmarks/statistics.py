"""`make bench-statistics`: what the documentation says of statistics, simulated and measured anew.

`python -m benchmarks.statistics null delay ...` runs some parts only.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

RESULTS = Path("bench-statistics.json")

PARTS = {
    "null": "evidence.nulls",
    "odd": "evidence.odd_nulls",
    "conformal": "evidence.conformal",
    "days": "evidence.days",
    "delay": "evidence.shifts",
    "gate": "evidence.gate",
    "many": "evidence.many_streams",
    "rates": "evidence.rates",
    "cost": "evidence.cost",
    "peers": "peers_null.both",
    "real": "real_streams.rows",
    "service": "whole_service.rows",
    "power": "power.power",
    "levels": "power.levels",
    "detector_nulls": "judge.null_rows",
    "detector_power": "judge.power_rows",
    "detector_cost": "judge.cost_rows",
    "false_windows": "judge.false_rows",
    "embeddings": "embeddings.rows",
    "heavy": "power.heavy",
    "heavy_pages": "power.heavy_pages",
    "rate_power": "power.rate_power",
    "fifty": "judge.fifty",
    "speed": "speed.rows",
    "estimation": "estimation.rows",
    "estimation_prices": "shifted.prices",
    "estimation_shifts": "shifted.rows",
    "estimation_cost": "estimation.cost",
    "online": "online.rows",
    "rollout": "rollout.rollout",
    "regret": "rollout.regret",
}
"""Name -> module and function that makes its rows."""


def main(wanted: list[str]) -> None:
    """Run the parts asked for, all by default; prints each row and keeps them in `RESULTS`."""
    results: dict[str, list[dict[str, Any]]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in wanted or list(PARTS):
        print(name, flush=True)
        results[name] = []
        module, _, function = PARTS[name].partition(".")
        for row in getattr(import_module(f"benchmarks.{module}"), function)():
            results[name].append(row)
            print("  ", ", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
