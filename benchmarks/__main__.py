"""`make bench`: every speed the documentation quotes, measured in one run, as a table and as JSON."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import client, consume, decode, inference, join, judge, memory, peers, pipeline, scrape
from tests.services.kafka import KafkaBroker

RESULTS = Path("bench-results.json")


def machine() -> dict[str, Any]:
    """What was measured on."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": model[0].split(":", 1)[1].strip() if model else platform.processor(),
        "cores": len(model),
        "python": platform.python_version(),
    }


def rows(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What, measured, goal."""
    table: list[tuple[str, str, str]] = []
    goals = {
        "JSON, whole service, no join": ("130,000/s, 0.6 of bare"),
        "JSON with labels, pairs": "60,000/s",
        "Arrow of 1000 rows, whole service, rows": "1,000,000/s",
    }
    for row in results.get("pipeline", []):
        value = f"{row['per_cpu_second']:,.0f}/s, {row['of_bare']:.2f} of bare"
        table.append((row["name"], value, goals.get(row["name"], "")))
    if "memory" in results:
        first, last = (results["memory"][key] for key in sorted(results["memory"], key=int))
        table.append(("memory after 1M / 10M events", f"{first:.0f} / {last:.0f} MB", "x1.1, 400 MB"))
    if "whylogs" in results and "pipeline" in results:
        ours = next(r["per_cpu_second"] for r in results["pipeline"] if r["name"].startswith("Arrow"))
        table.append(
            ("whylogs, rows", f"{results['whylogs']:,.0f}/s, ours x{ours / results['whylogs']:.1f}", "x5")
        )
    if "scrape" in results:
        found = results["scrape"]
        table.append((f"scrape of {found['series']:,} series", f"{found['http_seconds']:.2f} s", "1 s"))
    table.extend(
        (
            row["name"],
            f"{row['cpu_us']:.1f} us a row, {row['process_us']:.1f} all threads",
            _client_goal(row["name"]),
        )
        for row in results.get("client", [])
    )
    table.extend(
        (row["way"], f"{row['messages_per_cpu_s']:,.0f}/s", "") for row in results.get("consume", [])
    )
    table.extend(
        (row["name"], f"{row['pairs_per_core_second']:,.0f} pairs/s", "")
        for row in results.get("inference", [])
    )
    table.extend(
        (f"label join alone, {name}", json.dumps(found), "120,000/s")
        for name, found in results.get("join", {}).items()
    )
    return table


def _client_goal(name: str) -> str:
    if not name.startswith("client"):
        return ""
    return "5 us" if "frames" in name else "30 us"


def main() -> None:
    """Measure everything, or what was asked for."""
    with_broker: dict[str, Callable[[str], Any]] = {
        "consume": consume.run,
        "pipeline": pipeline.run,
        "memory": memory.run,
        "client": client.run,
    }
    alone: dict[str, Callable[[], Any]] = {
        "decode": decode.run,
        "inference": inference.run,
        "join": join.run,
        "judge": judge.cost,
        "scrape": scrape.run,
        "whylogs": peers.whylogs_rate,
    }
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("only", nargs="*", choices=[*with_broker, *alone, []], help="default: all")
    chosen = parser.parse_args().only or [*with_broker, *alone]
    results: dict[str, Any] = {"machine": machine()}
    print(f"{results['machine']['cpu']}, {results['machine']['cores']} cores", flush=True)
    if any(name in with_broker for name in chosen):
        with KafkaBroker() as broker:
            for name in [name for name in with_broker if name in chosen]:
                print(f"... {name}", flush=True)
                results[name] = with_broker[name](broker.bootstrap)
    for name in [name for name in alone if name in chosen]:
        print(f"... {name}", flush=True)
        results[name] = alone[name]()
    for what, measured, goal in rows(results):
        print(f"{what:<42} {measured:<60} {goal}")
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
