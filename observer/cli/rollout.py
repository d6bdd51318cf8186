"""`observer rollout`: how a challenger fares, and what people make of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from observer.cli.group import config_option
from observer.cli.orders import ask, order, url_option

_EPILOG = """\b
Examples:
  observer rollout start -c observer.yaml churn 7 8 --by ann
  observer rollout status -c observer.yaml
"""
_by = click.option("--by", metavar="NAME", default="", help="Who you are; the ledger keeps it.")
_WIDTH = 61


@click.group(epilog=_EPILOG)
def command() -> None:
    """Champion and challenger."""


@command.command(name="start")
@config_option
@url_option
@_by
@click.argument("model")
@click.argument("champion")
@click.argument("challenger")
def start_command(path: Path, url: str | None, by: str, model: str, champion: str, challenger: str) -> None:
    """Begin to give CHALLENGER a share of the traffic that CHAMPION serves."""
    body = {"model": model, "champion": champion, "challenger": challenger, "actor": by}
    click.echo(order(path, url, "rollouts/start", body))


@command.command(name="status")
@config_option
@url_option
@click.argument("model", required=False)
def status_command(path: Path, url: str | None, model: str | None) -> None:
    """Show share, evidence, and the estimate with its band as it went."""
    found = [one for one in ask(path, url, "rollouts") if model in (None, one["model"])]
    for one in found:
        click.echo(_told(one))
    if not found:
        click.echo("no rollouts" if model is None else f"{model}: no rollout")


def _verb(verb: str, meaning: str) -> None:
    @command.command(name=verb, help=meaning)
    @config_option
    @url_option
    @_by
    @click.argument("model")
    def say(path: Path, url: str | None, by: str, model: str) -> None:
        click.echo(order(path, url, f"rollouts/{verb}", {"model": model, "actor": by}))


_verb("pause", "Stop advancing the rollout of MODEL; harm still rolls it back.")
_verb("resume", "Go on with the rollout of MODEL.")
_verb("promote", "Give the challenger of MODEL all traffic, whatever the evidence.")
_verb("abort", "Give the champion of MODEL all its traffic back.")


def _told(one: dict[str, Any]) -> str:
    pauses = [note["data"]["detail"] for note in one.get("notes", ()) if note["event"] == "rollout_paused"]
    why = pauses[-1] if pauses else one["paused"]
    state = one["result"] or (f"paused: {why}" if one["paused"] else "under way")
    arms = f"{one['challenger']} against {one['champion']}"
    gets = f"copies of {one['shadow']:g}%" if one["shadow"] else f"{one['share']:g}%"
    lines = [f"{one['model']}: {arms}, {gets} of the traffic; {state}", f"  {one['said']}"]
    if one["shadow"]:
        copies = one["copies"]
        answered, expected = f"{copies['answered']:,}", f"{copies['expected']:,}"
        lines.append(f"  {answered} copies answered of about {expected}; {copies['minimum']:,} are needed")
    history = one["history"]
    if history:
        last = history[-1]
        band = f"{last['estimate']:+.4f} ({last['lower']:+.4f} to {last['upper']:+.4f})"
        better, worse = (last[side] / math.log(10) for side in ("better", "worse"))
        lines.append(f"  right predictions {band}; evidence 10^{better:.1f} better, 10^{worse:.1f} worse")
        lines += _plot(history[-20:])
    return "\n".join(lines)


def _plot(points: list[dict[str, float]]) -> list[str]:
    """The band of each cohort as a line of text, zero in the middle; `<` and `>` where it goes further.

    The scale follows the latest band, twice as wide: the first ones knew nothing, and would flatten it.
    """
    edges = [max(abs(p[side]) for side in ("lower", "estimate", "upper")) for p in points]
    reach = max(0.001, min(2 * edges[-1], max(edges)))

    def place(value: float) -> int:
        inside = max(-1.0, min(1.0, value / reach))
        return round((inside + 1) / 2 * (_WIDTH - 1))

    lines = [f"  {-reach:+.3f}{'0':^{_WIDTH - 12}}{reach:+.3f}".rstrip()]
    for p in points:
        row = [" "] * _WIDTH
        row[place(p["lower"]) : place(p["upper"]) + 1] = "-" * (place(p["upper"]) - place(p["lower"]) + 1)
        row[_WIDTH // 2] = "|"
        row[place(p["estimate"])] = "o"
        if p["lower"] < -reach:
            row[0] = "<"
        if p["upper"] > reach:
            row[-1] = ">"
        lines.append(f"  {''.join(row)} {p['share']:g}%")
    return lines
