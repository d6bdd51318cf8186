"""`observer schema`."""

# ruff: noqa: PLC0415 - imports wait until the command runs, so that help and completion answer at once

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

import click

if TYPE_CHECKING:
    from observer.model import Stream

_EPILOG = """\b
Examples:
  observer schema                                 of predictions, JSON Schema
  observer schema labels --format avro
  observer schema config > observer.schema.json   for editors that complete keys
"""


@click.command(epilog=_EPILOG)
@click.argument("subject", type=click.Choice(["predictions", "labels", "config"]), default="predictions")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["json", "arrow", "avro"]),
    default="json",
    show_default=True,
    help="JSON Schema, the columns of an Arrow message, or an Avro schema.",
)
def command(subject: str, kind: str) -> None:
    """Print the contract of prediction events, of label events, or of the configuration."""
    if subject == "config":
        if kind != "json":
            raise click.UsageError(f"the configuration has a JSON Schema only, not one in {kind}")
        from observer.config.page import json_schema

        click.echo(json.dumps(json_schema(), indent=2))
        return
    from observer.codecs.schema import arrow_schema, avro_schema, event_schema

    of = cast("Stream", subject)
    if kind == "json":
        click.echo(json.dumps(event_schema(of), indent=2))
    elif kind == "avro":
        click.echo(avro_schema(of))
    else:
        click.echo(arrow_schema(of).to_string())
