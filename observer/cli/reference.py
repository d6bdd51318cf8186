"""`observer reference`."""

from __future__ import annotations

from pathlib import Path

import click

from observer.config import load as load_config
from observer.references import Overrides, build, load
from observer.training import Roles, read


@click.group()
def command() -> None:
    """Build and look at reference profiles: what a model's events look like when all is well."""


@command.command(name="build")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="File to write.")
@click.option("--model", required=True, help="Name of the model.")
@click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="Take task, types and privacy of the model from this configuration.",
)
@click.option("--prediction", help="Plain table: the column with predictions.")
@click.option("--score", help="Plain table: the column with the score of the positive class.")
@click.option("--id", "id_column", help="Plain table: the column with ids, which is no feature.")
@click.option("--drop", multiple=True, help="Plain table: a column that is no feature; repeatable.")
def build_command(
    source: Path,
    output: Path,
    model: str,
    config_path: Path | None,
    prediction: str | None,
    score: str | None,
    id_column: str | None,
    drop: tuple[str, ...],
) -> None:
    """Build a profile from SOURCE: Parquet, CSV, NDJSON or Arrow.

    SOURCE holds prediction events (columns id, model, time, prediction, ...) or is a plain table such as
    a training set, whose columns are features.
    """
    overrides = Overrides()
    if config_path is not None:
        config = load_config(config_path)
        overrides = config.model(model).overrides(config.hash_key.get_secret_value().encode())
    rows = read(source, model, Roles(prediction, score, id_column, drop))
    reference = build(rows.keys, rows.columns, overrides, source.name, rows.tags)
    reference.save(output)
    click.echo(f"{output}: reference {reference.version} of {reference.summary.n} rows from {source}")
    for name, note in sorted(reference.notes.items()):
        click.echo(f"  {name}: {note}")
    if rows.rejected:
        click.echo(f"  {rows.rejected} rows were left out; the first: {rows.first_problem}", err=True)


@command.command(name="show")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--plot", type=click.Path(path_type=Path), help="Also draw every column into this SVG or PNG file."
)
def show_command(path: Path, plot: Path | None) -> None:
    """Print and plot a profile."""
    from rich.console import Console  # noqa: PLC0415 - only where it prints

    from observer.terminal import print_reference  # noqa: PLC0415

    reference = load(path)
    print_reference(reference, Console())
    if plot is not None:
        from observer.plots import draw_reference  # noqa: PLC0415 - matplotlib is an extra

        draw_reference(reference, plot)
        click.echo(f"drawn into {plot}")
