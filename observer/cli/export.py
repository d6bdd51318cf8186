"""`observer export`."""

# ruff: noqa: PLC0415 - imports wait until the command runs, so that help and completion answer at once

from __future__ import annotations

from pathlib import Path

import click

from observer.cli.explain import moment
from observer.cli.group import config_option

_EPILOG = """\b
Examples:
  observer export evidently -c observer.yaml churn -o churn.html
  observer export evidently -c observer.yaml churn --at 2026-01-06T03:00Z -o churn.json
"""


@click.group()
def command() -> None:
    """Hand a window to another package."""


@command.command(epilog=_EPILOG)
@config_option
@click.argument("model")
@click.option("--version", help="Of the model; by default the one with most events in the latest window.")
@click.option("--at", metavar="TIME", callback=moment, help="A time in the window, UTC; default: the latest.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="FILE.html or FILE.json")
@click.option("--python", type=click.Path(path_type=Path), help="Interpreter that has evidently.")
def evidently(
    path: Path, model: str, version: str | None, at: int | None, output: Path, python: Path | None
) -> None:
    """Write evidently's data drift report on a window of MODEL.

    It compares the rows that window and reference keep, at most sample_rows of each. The interpreter is
    --python, else that of the `evidently` detector that the model's configuration has, with its method and
    threshold, else peers/evidently/bin/python beside the configuration file. Reads the state that
    the service saved last, running or not.
    """
    from detectors.adapters.evidently import Evidently
    from observer.config import load
    from observer.config.load import anchored
    from observer.errors import Permanent
    from observer.explain import Question
    from observer.explain.export import evidently_report
    from observer.stores.reader import LmdbReader

    if output.suffix not in {".html", ".json"}:
        raise click.BadParameter(f"{output}: its name ends neither in .html nor in .json", param_hint="-o")
    config = load(path)
    settings = config.model(model)
    configured = [one for one in settings.judge.detectors or () if isinstance(one, Evidently)]
    peer = configured[0] if configured else Evidently.model_validate({})
    if python is not None:
        peer = peer.model_copy(update={"python": python})
    elif not configured:
        peer = anchored(peer, path.parent)
    question = Question(model, version, "", at)
    with LmdbReader(config.state.path, config.state.max_size) as state:
        window, report = evidently_report(question, state, settings, peer, as_json=output.suffix == ".json")
    try:
        output.write_bytes(report)
    except OSError as error:
        raise Permanent(f"{output} cannot be written: {error.strerror}") from error
    click.echo(f"{output}: version {window.version}, {len(report):,} bytes")
