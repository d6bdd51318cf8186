"""`observer actions`: what was done about findings, what waits for a word, and why nothing was done."""

# ruff: noqa: PLC0415 - imports wait until the command runs, so that help and completion answer at once

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from observer.cli.group import config_option
from observer.cli.orders import ask, order, url_option
from observer.errors import Permanent
from observer.plain import timestamp

_EPILOG = """\b
Examples:
  observer actions list -c observer.yaml
  observer actions approve -c observer.yaml 6f1c... --by ann --comment "looks right"
  observer actions explain -c observer.yaml
"""
_by = click.option("--by", metavar="NAME", default="", help="Who you are; the ledger keeps it.")
_comment = click.option("--comment", default="", help="Why; the ledger keeps it.")


@click.group(epilog=_EPILOG)
def command() -> None:
    """What is done about findings."""


@command.command(name="list")
@config_option
@url_option
@click.option("--all", "ended", is_flag=True, help="Those that ended too.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_command(path: Path, url: str | None, *, ended: bool, as_json: bool) -> None:
    """Show the actions of a running service, newest first."""
    import json

    found = [one for one in ask(path, url, "actions") if ended or one["state"] not in _ENDED]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for one in found:
        then = f"; {one['then']} at {timestamp(1000 * one['deadline'])}" if one["deadline"] else ""
        last = f"\n    last: {one['detail']}" if one["detail"] else ""
        click.echo(
            f"{one['id']}  {one['state']:<9}  {one['action']} {one['model']} through {one['target']}\n"
            f"    {one['why']}{then}{last}"
        )
    if not found:
        click.echo("no open actions" if not ended else "no actions")


_ID = 36
"""Characters of an id."""
_ENDED = frozenset({"succeeded", "failed", "rejected", "expired", "stopped"})


@command.command(name="show")
@config_option
@url_option
@click.argument("action")
def show_command(path: Path, url: str | None, action: str) -> None:
    """Show one ACTION: what was ordered, why, and every row of the ledger about it."""
    import json

    click.echo(json.dumps(ask(path, url, f"actions/{_whole(path, url, action)}"), indent=2))


@command.command(name="explain")
@config_option
@url_option
def explain_command(path: Path, url: str | None) -> None:
    """Say what each rule made of what could have set it off, and why nothing was done."""
    found = ask(path, url, "evaluations")
    for one in found:
        click.echo(f"{one['model']} {one['rule']}: {one['reason']}  {one['cause']}\n    {one['detail']}")
    if not found:
        click.echo("nothing has set off any rule since the service started")


def _whole(path: Path, url: str | None, action: str) -> str:
    """The id; of its beginning, four characters at least, that of the only action that begins so."""
    begins = action.rstrip(".")
    if not 4 <= len(begins) < _ID:
        return action
    found = [one["id"] for one in ask(path, url, "actions") if one["id"].startswith(begins)]
    if len(found) > 1:
        raise Permanent(f"action {action!r}: {len(found)} begin so; accepted: more of the id")
    return str(found[0]) if found else action


def _verb(verb: str, meaning: str) -> None:
    @command.command(name=verb, help=meaning)
    @config_option
    @url_option
    @_by
    @_comment
    @click.argument("action")
    def say(path: Path, url: str | None, by: str, comment: str, action: str) -> None:
        what = f"actions/{_whole(path, url, action)}/{verb}"
        click.echo(order(path, url, what, {"actor": by, "comment": comment}))


_verb("approve", "Let an ACTION that waits go on; one that is stuck is sent again.")
_verb("reject", "Drop an ACTION that waits, stop one that runs.")
_verb("hold", "Stop the clock of an ACTION that waits.")


@command.command(name="export")
@config_option
@url_option
def export_command(path: Path, url: str | None) -> None:
    """Write the whole ledger, a JSON object a line."""
    for row in ask(path, url, "ledger"):
        click.echo(_line(row))


@command.command(name="verify")
@config_option
@url_option
def verify_command(path: Path, url: str | None) -> None:
    """Check that no row of the ledger was changed, taken out or put in; says its head."""
    from observer.actions.ledger import broken
    from observer.model import LedgerRow

    rows = [LedgerRow(**row) for row in ask(path, url, "ledger")]
    wrong = broken(rows)
    if wrong is not None:
        raise Permanent(f"the ledger is not as it was written: row {wrong} of {len(rows)}")
    head = rows[-1].hash if rows else "none"
    click.echo(f"{len(rows)} rows, unbroken; head {head}")
    click.echo("It is the whole truth where the head is that of observer_ledger_head_info.")


def _line(row: Any) -> str:
    import json

    return json.dumps(row, sort_keys=True, ensure_ascii=False)
