"""`observer reference`."""

# ruff: noqa: PLC0415 - imports wait until the command runs, so that help and completion answer at once

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from observer.cli.group import config_option
from observer.cli.orders import order, url_option
from observer.errors import ConfigError, Permanent

if TYPE_CHECKING:
    from observer.cli.reading import Given
    from observer.config import Config

_BUILD = """\b
Examples:
  observer reference build march.parquet --model churn -o churn.reference
  observer reference build training.csv --model churn -o churn.reference \\
      --prediction predicted --score probability --label churned --id customer --drop split
  observer reference build march.parquet --labels march-labels.ndjson --model churn -o churn.reference
  observer reference build 's3://training/churn/*.parquet' --label churned --model churn -o churn.reference
  observer reference build --topic -c observer.yaml --from 2026-11-01T00:00:00Z --to 2026-11-15T00:00:00Z \\
      --model churn -o churn.reference
  observer reference build --feast feature_repo --dataset churn_march --label churned \\
      --model churn -o churn.reference
  observer reference build --feast feature_repo --entities customers.parquet --service churn_v3 \\
      --model churn -o churn.reference
"""
_SHOW = """\b
Example:
  observer reference show churn.reference --plot churn.png
"""

_ACCEPT = """\b
Example:
  observer reference accept -c observer.yaml churn 7 --since 2026-11-20T00:00:00Z
"""


@click.group()
def command() -> None:
    """Build, look at and accept reference profiles: what a model's events look like when all is well."""


@command.command(name="build", epilog=_BUILD)
@click.argument("source", required=False)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="File to write.")
@click.option("--model", required=True, help="Name of the model.")
@click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take task, types and privacy of the model, and settings of storage, from this configuration.",
)
@click.option("--topic", is_flag=True, help="Instead of SOURCE: the topic of predictions that CONFIG names.")
@click.option("--from", "start", metavar="BOUND", help="Topic: a time, or offsets by partition (0:150,1:90).")
@click.option("--to", "end", metavar="BOUND", help="Topic: where to stop; by default at its present end.")
@click.option(
    "--feast",
    "repo",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Instead of SOURCE: a Feast repository.",
)
@click.option(
    "--feast-python", metavar="FILE", type=click.Path(path_type=Path), help="Interpreter that has Feast."
)
@click.option("--dataset", metavar="NAME", help="Feast: a saved dataset.")
@click.option(
    "--entities", metavar="FILE", help="Feast: entity rows with event_timestamp, to get features for."
)
@click.option(
    "--feature", "features", multiple=True, metavar="VIEW:NAME", help="Feast: a feature; repeatable."
)
@click.option("--service", metavar="NAME", help="Feast: a feature service, instead of --feature.")
@click.option("--prediction", help="Plain table: the column with predictions.")
@click.option("--score", help="Plain table: the column with the score of the positive class.")
@click.option("--label", help="Plain table: the column with labels.")
@click.option("--labels", metavar="FILE", help="Events: a file, glob or URL with their labels.")
@click.option("--topic-labels", is_flag=True, help="Events: their labels are in the topic that CONFIG names.")
@click.option("--id", "id_column", help="Plain table: the column with ids, which is no feature.")
@click.option("--drop", multiple=True, help="Plain table: a column that is no feature; repeatable.")
def build_command(
    source: str | None,
    output: Path,
    model: str,
    config_path: Path | None,
    topic: bool,
    start: str | None,
    end: str | None,
    repo: Path | None,
    feast_python: Path | None,
    dataset: str | None,
    entities: str | None,
    features: tuple[str, ...],
    service: str | None,
    prediction: str | None,
    score: str | None,
    label: str | None,
    labels: str | None,
    topic_labels: bool,
    id_column: str | None,
    drop: tuple[str, ...],
) -> None:
    """Build a profile from SOURCE, a range of a topic, or Feast.

    SOURCE is a file, a glob or a URL such as s3://bucket/training/*.parquet: Parquet, CSV, NDJSON or Arrow.
    It holds prediction events (columns id, model, time, prediction, ...) or is a plain table such as
    a training set, whose columns are features. Types and the task are inferred; what is left out, such as
    a constant or an identifier, is named. Of more than a million rows a uniform sample is taken.

    From Feast come plain tables, whose features have the types that their views declare.

    With labels the profile also learns to estimate quality before labels come. They should be of rows that
    the model was not fitted to.
    """
    from observer.cli.reading import Origin, given_rows
    from observer.config import load as load_config
    from observer.history import history
    from observer.pipeline.spec import ModelSpec
    from observer.references import Overrides, RowLabels, build
    from observer.training import Roles
    from observer.windows import duration

    overrides, config, spec = Overrides(), None, ModelSpec()
    if config_path is not None:
        config = load_config(config_path)
        spec = config.model(model)
        overrides = spec.overrides(config.hash_key.get_secret_value().encode())
    origin = Origin(source, topic, start, end, repo, feast_python, dataset, features, service, entities)
    with given_rows(origin, model, Roles(prediction, score, id_column, drop, label), config) as given:
        rows = given.rows
        _attach(given, model, labels, config, topic_labels=topic_labels)
        labelled = None if rows.label is None else RowLabels(rows.label, rows.order, rows.weight)
        overrides = replace(overrides, types={**given.types, **overrides.types})
        name = given.name.rpartition("/")[2]
        reference = build(rows.keys, rows.columns, overrides, name, rows.tags, rows.vectors, labelled)
        if given.log is not None:
            reference = replace(reference, history=history(given.log, model, reference, spec, overrides))
    try:
        reference.save(output)
    except OSError as error:
        raise Permanent(f"{output} cannot be written: {error.strerror}") from error
    schema = reference.schema
    used = f"{reference.summary.n:,} rows"
    if reference.summary.n < rows.total:
        used = f"a sample of {used} of {rows.total:,}"
    click.echo(f"{output}: reference {reference.version} from {used} of {given.name}")
    if reference.history is not None:
        size = duration(reference.history.window)
        click.echo(f"  {len(reference.history.rows)} windows of {size}, with which a watch can begin")
    click.echo(f"  {len(schema.features)} features, task {schema.task or 'unknown'}")
    if reference.estimator is not None:
        click.echo(f"  {reference.estimator.outcomes.n:,} labels, from which quality can be estimated")
    for column, note in sorted({**reference.notes, **rows.notes}.items()):
        click.echo(f"  {column}: {note}")
    if schema.task is None:
        click.echo("  it has no predictions, so their drift is not watched; --prediction names their column")
    if rows.rejected:
        click.echo(f"  {rows.rejected:,} events were left out; the first: {rows.first_problem}", err=True)


def _attach(
    given: Given, model: str, labels: str | None, config: Config | None, *, topic_labels: bool
) -> None:
    """Give the rows the labels that are events of their own."""
    from tempfile import TemporaryDirectory

    from observer.cli.reading import local
    from observer.sources.kafka import KafkaSpec
    from observer.sources.log import of_files, of_topic
    from observer.sources.storage import Storage
    from observer.training import labels_of

    if labels is None and not topic_labels:
        return
    option = "--labels" if labels is not None else "--topic-labels"
    if given.log is None:
        raise ConfigError(
            [f"{given.name} is a plain table; {option} goes with events, accepted here: --label"]
        )
    if labels is not None:
        with TemporaryDirectory(prefix="observer-build-") as scratch:
            pattern, name = local(labels, Storage(None if config is None else config.storage), Path(scratch))
            found = labels_of(of_files(pattern, "labels", name), model)
    else:
        stream = None if config is None else config.labels
        if stream is None or not isinstance(stream.source, KafkaSpec):
            raise ConfigError(["--topic-labels: accepted with a configuration whose `labels` are in Kafka"])
        found = labels_of(of_topic(stream.source, stream.encoding, "labels"), model)
    if not found.attach(given.rows):
        raise ConfigError(
            [f"{option}: none of {len(found.keys):,} labels has the id of a row of {given.name}"]
        )


@command.command(name="show", epilog=_SHOW)
@click.argument("path", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--plot", metavar="FILE", type=click.Path(path_type=Path), help="Draw every column: PNG, SVG or PDF."
)
def show_command(path: Path, plot: Path | None) -> None:
    """Print a profile, and draw it."""
    from rich.console import Console

    from observer.references import load
    from observer.terminal import print_reference

    reference = load(path)
    print_reference(reference, Console())
    if plot is not None:
        from observer.plots import draw_reference

        draw_reference(reference, plot)
        click.echo(f"drawn into {plot}")


@command.command(name="accept", epilog=_ACCEPT)
@config_option
@url_option
@click.option("--since", metavar="TIME", help="RFC 3339, or milliseconds since the epoch.")
@click.argument("model")
@click.argument("version")
def accept_command(path: Path, url: str | None, since: str | None, model: str, version: str) -> None:
    """Make what VERSION of MODEL shows now its reference, in a running service.

    The new reference is made of the windows from --since on; by default from where the open incident, or
    else the first ticket, says that the change began. The incident ends, and the watch begins anew with
    those windows.
    """
    body: dict[str, object] = {"model": model, "version": version}
    if since is not None:
        body["since"] = _milliseconds(since)
    click.echo(order(path, url, "reference/accept", body))


def _milliseconds(text: str) -> int:
    from datetime import UTC, datetime

    if text.isdigit():
        return int(text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}; accepted: 2026-11-23T10:00:00Z, or milliseconds") from error
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
