"""`observer schema`."""

from __future__ import annotations

import json
from typing import cast

import click

from observer.codecs.schema import arrow_schema, avro_schema, event_schema
from observer.model import Stream


@click.command()
@click.argument("stream", type=click.Choice(["predictions", "labels"]), default="predictions")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["json", "arrow", "avro"]),
    default="json",
    show_default=True,
    help="JSON Schema, or the columns of an Arrow message, or an Avro schema.",
)
def command(stream: str, kind: str) -> None:
    """Print the contract of prediction or label events."""
    of = cast("Stream", stream)
    if kind == "json":
        click.echo(json.dumps(event_schema(of), indent=2))
    elif kind == "avro":
        click.echo(avro_schema(of))
    else:
        click.echo(arrow_schema(of).to_string())
