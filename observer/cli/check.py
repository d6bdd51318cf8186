"""`observer check`."""

# ruff: noqa: PLC0415 - imports wait until the command runs, so that help and completion answer at once

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import click

from observer import logs
from observer.cli.group import config_option

_EPILOG = """\b
Example:
  observer check -c observer.yaml
"""
_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


@click.command(epilog=_EPILOG)
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(path: Path, as_json: bool) -> None:
    """Validate a configuration, then reach everything it names; changes nothing.

    One line per check: references are loaded, and columns that the configuration names looked up in them; of
    every stream the topic or the files, what may be done there, and a few events, decoded and held against
    the reference; the state folder; the port. Ends with exit code 1 if anything failed. Brokers that do not
    answer are given up after about 40 seconds.
    """
    from observer.cli.checks import checks
    from observer.config import load

    config = load(path)
    logs.to_stderr("error")
    found: Counter[str] = Counter()
    for line in checks(config, path):
        found[line.status] += 1
        if as_json:
            click.echo(json.dumps({"status": line.status, "subject": line.subject, "detail": line.detail}))
        else:
            status = click.style(f"{line.status:<8}", fg=_COLOURS[line.status])
            click.echo(f"{status} {line.subject}: {line.detail}")
    raise SystemExit(1 if found["failed"] else 0)
