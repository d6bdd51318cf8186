"""`observer backtest`."""

# ruff: noqa: PLC0415 - imports wait until the command runs, so that help and completion answer at once

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from observer import logs
from observer.cli.group import config_option
from observer.cli.replaying import over_files, progress
from observer.cli.run import until_signalled
from observer.plain import rounded, timestamp

if TYPE_CHECKING:
    from detectors.watch.backtest import FalseAlarms
    from observer.config import Config
    from observer.metrics.values import Snapshot
    from observer.model import Finding
    from observer.terminal.backtest import VersionBacktest, WatchBacktest

_EPILOG = """\b
Examples:
  observer backtest -c observer.yaml --predictions 'autumn/*.parquet' --labels labels.ndjson.gz
  observer backtest -c observer.yaml --predictions autumn.csv --plot evidence.svg
  observer backtest -c observer.yaml --predictions autumn.csv --json | jq '.alerts[].causes[0]'
"""
_ALWAYS = 10**14
"""Milliseconds that nothing is older than."""


@click.command(epilog=_EPILOG)
@config_option
@click.option("--predictions", required=True, help="File or glob: NDJSON, Parquet, Arrow or CSV.")
@click.option("--labels", help="The same for labels; without it quality is not watched.")
@click.option(
    "--runs",
    type=click.IntRange(0, 10_000),
    default=20,
    show_default=True,
    help="Months that are simulated for false alarms; 0 for none.",
)
@click.option(
    "--plot",
    "picture",
    metavar="PICTURE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the evidence over time: .png, .svg or .pdf.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a model and version, a line each.")
def command(
    path: Path, predictions: str, labels: str | None, runs: int, picture: Path | None, as_json: bool
) -> None:
    """Replay history under the configured policy: what would have paged, and what it can be expected to do.

    For each model and version: pages and tickets that would have been raised, windows of drift that were not,
    false alarms to expect in 30 days, and the smallest shifts that are found within a day. The sources, the
    state and the dead letters that the configuration names are not touched.
    """
    from rich.console import Console

    from observer.app import NoDeadLetters, Service
    from observer.cli.backtesting import History, backtested
    from observer.clock import SystemClock
    from observer.config import load
    from observer.engines.local import Pace
    from observer.plots import draw_evidence, may_draw
    from observer.terminal.backtest import print_backtest

    config = load(path)
    if picture is not None:
        may_draw(picture)  # now rather than after all the work
    logs.to_stderr("warning")
    stopping = until_signalled()
    history = History()
    with tempfile.TemporaryDirectory(prefix="observer-backtest-") as scratch:
        kept = _kept(over_files(config, predictions, labels, Path(scratch)))
        with Service(
            kept,
            SystemClock(),
            dead_letters={"predictions": NoDeadLetters(), "labels": NoDeadLetters()},
            reports=[history],
            serve=False,
            pace=Pace(checkpoint_every=60.0),
        ) as service:
            with progress(service) as step:
                service.run(lambda: step() or stopping())
            told = service.counters.read()
            if sys.stderr.isatty() and runs:
                click.echo("simulating ...", err=True)  # it can take a minute
            found = backtested(service, history, runs)
    if as_json:
        for one in found:
            click.echo(json.dumps(_line(one)))
    else:
        console = Console(soft_wrap=False)
        for one in found:
            print_backtest(one, console)
    if picture is not None and found:
        draw_evidence(history.drawn(), picture)
    _summarise(told, len(found))
    for one in found if labels is not None else ():
        if all(watch.kind != "quality" for watch in one.watches):
            least = config.model(one.model).min_labels
            click.echo(
                f"{one.model} {one.version}: quality was not watched: no final cohort has {least} labels"
                " (min_labels)",
                err=True,
            )
    if stopping():
        click.echo("stopped before the end of the files", err=True)


def _kept(config: Config) -> Config:
    """The configuration with closed windows kept to the end, however old."""
    changes = {"retention": _ALWAYS}
    models = {name: model.model_copy(update=changes) for name, model in config.models.items()}
    return config.model_copy(
        update={"models": models, "defaults": config.defaults.model_copy(update=changes)}
    )


def _summarise(told: Snapshot, versions: int) -> None:
    """Say on standard error what was read, and what was not used."""
    from observer.metrics import catalog

    read: dict[tuple[str, bool], float] = {}
    for (stream, _, outcome), number in told.series.get(catalog.EVENTS, {}).items():
        if isinstance(number, float):
            key = stream, outcome == "rejected"
            read[key] = read.get(key, 0.0) + number
    for (stream, rejected), number in sorted(read.items()):
        text = f"{number:,.0f} {stream}"
        click.echo(f"{text} rejected: observer replay shows why" if rejected else text, err=True)
    if not versions:
        click.echo("no window closed: the files hold no event that could be used", err=True)


# For machines


def _line(found: VersionBacktest) -> dict[str, Any]:
    """All of it as one JSON object; times in RFC 3339, numbers to nine digits, null for what is not known."""
    return {
        "model": found.model,
        "version": found.version,
        "start": timestamp(found.first),
        "end": timestamp(found.end),
        "windows": found.windows,
        "alerts": [_alert(alert) for alert in found.alerts],
        "incidents": [
            {
                "watch": one.watch,
                "opened": timestamp(one.opened),
                "closed": _time(one.closed),
                "hours": rounded(one.lasted(found.end) / 3_600_000),
            }
            for one in found.incidents
        ],
        "missed": [
            {
                "subject": one.subject,
                "windows": one.windows,
                "first": timestamp(one.first),
                "last": timestamp(one.last),
            }
            for one in found.missed
        ],
        "watches": [_watch(one) for one in found.watches],
    }


def _alert(alert: Finding) -> dict[str, Any]:
    from observer.terminal.backtest import causes

    return {
        "time": timestamp(alert.end),
        "tier": alert.tier,
        "subject": alert.subject,
        "detector": alert.detector,
        "segment": alert.causes[0].segment if alert.causes else alert.window.segment,
        "since": _time(alert.since),
        "causes": list(causes(alert)),
    }


def _watch(watch: WatchBacktest) -> dict[str, Any]:
    return {
        "watch": watch.kind,
        "stage": watch.stage,
        "history": watch.history,
        "needed": watch.needed,
        "pages_since": _time(watch.pages_since),
        "windows": watch.windows,
        "left_out": watch.left_out,
        "false_alarms": {
            name: _simulated(one)
            for name, one in (("rows_shuffled", watch.shuffled), ("days_resampled", watch.resampled))
        },
        "why_not_simulated": watch.why_not or None,
        "smallest_shifts": [
            {
                "segment": one.key.segment,
                "subject": one.key.subject,
                "statistic": one.key.statistic,
                "shift": rounded(one.shift),
                "standard_deviations": rounded(
                    watch.in_deviations.get(one.key.subject)
                    if one.key.statistic == "location" and not one.key.segment
                    else None
                ),
                "can_page": one.able,
            }
            for one in watch.shifts
        ],
    }


def _simulated(one: FalseAlarms | None) -> dict[str, Any] | None:
    if one is None:
        return None
    rates = {
        name: dict(zip(("rate", "low", "high"), map(rounded, one.monthly(alarms)), strict=True))
        for name, alarms in (("pages", one.pages), ("tickets", one.tickets))
    }
    return {"runs": one.runs, "windows": one.windows, "days": one.days, "a_month": rates}


def _time(moment: int | None) -> str | None:
    return None if moment is None else timestamp(moment)
