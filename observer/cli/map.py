"""`observer map`."""

# ruff: noqa: PLC0415 - imports wait until the command runs, so that help and completion answer at once

from __future__ import annotations

from pathlib import Path

import click

from observer.errors import ConfigError, Permanent

_EPILOG = """\b
Examples:
  observer map infer -c observer.yaml -o mapping.yaml              from the topics that it names
  observer map infer samples.ndjson --features age,income,tenure   from a file
\b
A line of a file is a CloudEvent of KServe's inference logger in structured mode, or
  {"model": "churn", "request": {"instances": [...]}, "response": {"predictions": [...]}}
"""


@click.group()
def command() -> None:
    """Say which tensors of a model server's requests and responses are features, prediction and scores."""


@command.command(name="infer", epilog=_EPILOG)
@click.argument("samples", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take samples from the topics of this configuration's predictions.",
)
@click.option("-n", "--number", default=200, show_default=True, help="Newest messages of each partition.")
@click.option(
    "--features",
    default="",
    metavar="NAMES",
    help="Names of the features, in the order of an input's columns.",
)
@click.option("--model", default="", help="Only this model.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; else it is printed.")
def infer_command(
    samples: tuple[Path, ...],
    config_path: Path | None,
    number: int,
    features: str,
    model: str,
    output: Path | None,
) -> None:
    """Propose a mapping file from samples; it works as it is, and says what to look at.

    Names that the tensors do not hold (of the columns of a matrix, of classes) are made up: edit them before
    the service runs with the file, since learnt references know features by name.
    """
    from observer.cli.mapping import from_files, from_topics, proposal

    if bool(samples) == (config_path is not None):
        raise click.UsageError("accepted: files with samples, or -c FILE")
    pairs, told = from_topics(config_path, number) if config_path is not None else from_files(samples)
    names = [name.strip() for name in features.split(",") if name.strip()]
    if len(set(names)) != len(names):
        raise ConfigError(["--features: a name is given twice"])
    chosen = [pair for pair in pairs if model in ("", pair.model)]
    for line in told:
        click.echo(line, err=True)
    if not chosen:
        raise Permanent(f"no pair of request and response{f' of {model}' if model else ''} among the samples")
    text = proposal(chosen, names)
    if output is None:
        click.echo(text, nl=False)
        return
    if output.exists():
        raise Permanent(f"{output} exists already; give another name, or remove it")
    output.write_text(text)
    click.echo(f"{output} written; look at its remarks")
