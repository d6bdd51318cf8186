"""`observer explain`."""

# ruff: noqa: PLC0415 - imports wait until the command runs, so that help and completion answer at once

from __future__ import annotations

import json
from pathlib import Path

import click

from observer.cli.group import config_option

_EPILOG = """\b
Examples:
  observer explain -c observer.yaml churn
  observer explain -c observer.yaml churn --at 2026-01-06T03:00Z --slices
  observer explain -c observer.yaml churn --json | jq '.features[0]'
"""


def moment(_ctx: click.Context, _param: click.Parameter, text: str | None) -> int | None:
    """RFC 3339, of which seconds and the offset may be left out, as milliseconds since the epoch."""
    from datetime import UTC, datetime

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        msg = f"{text!r} is no time; accepted: as in 2026-01-06T03:00Z"
        raise click.BadParameter(msg) from error


@click.command(epilog=_EPILOG)
@config_option
@click.argument("model")
@click.option("--version", help="Of the model; by default the one with most events in the latest window.")
@click.option("--segment", default="", help="As in country=DE; by default all events.")
@click.option("--at", metavar="TIME", callback=moment, help="A time in the window, UTC; default: the latest.")
@click.option("--importance", is_flag=True, help="Ask a classifier which columns tell the window apart.")
@click.option("--slices", is_flag=True, help="Search for slices of rows that became more frequent.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    path: Path,
    model: str,
    version: str | None,
    segment: str,
    at: int | None,
    importance: bool,
    slices: bool,
    as_json: bool,
) -> None:
    """Say what changed in a window of MODEL, and what it goes together with.

    Reads the state that the service saved last, running or not, and changes nothing. Columns, ranked by
    evidence; pairs of columns; which change is likely to matter for quality; segments; and how the error
    splits over them. --importance and --slices need scikit-learn.
    """
    from observer.config import load
    from observer.explain import Question, explain
    from observer.explain import as_json as plain
    from observer.judge import ModelJudge
    from observer.stores.reader import LmdbReader

    config = load(path)
    settings = config.model(model)
    horizon = config.labels.horizon if config.labels else 0
    question = Question(model, version, segment, at, importance, slices)
    with LmdbReader(config.state.path, config.state.max_size) as state:
        judge = ModelJudge(
            model,
            settings.judge,
            settings.budget,
            settings.window.size,
            settings.features,
            state,
            has_labels=config.labels is not None,
        )
        found = explain(question, state, settings, judge.judge, horizon, judge.streams)
    if as_json:
        click.echo(json.dumps(plain(found)))
        return
    from rich.console import Console

    from observer.terminal.explanation import print_explanation

    print_explanation(found, Console())
