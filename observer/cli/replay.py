"""`observer replay`."""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from observer.app import Service
from observer.cli.main import log_to_stderr
from observer.cli.run import until_signalled
from observer.clock import SystemClock
from observer.config import LabelConfig, load
from observer.engines.local import Pace
from observer.model import QualityReport, WindowReport
from observer.sources.files import FileSource, FilesSpec
from observer.stores.lmdb import StateSpec


def timestamp(milliseconds: int) -> str:
    """RFC 3339, UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat().replace("+00:00", "Z")


class Lines:
    """Prints findings, and quality values once they are final, in the order of event time."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def window(self, report: WindowReport) -> None:
        """Print the window's findings."""
        key = report.key
        for finding in report.findings:
            verdict = finding.verdict
            line = {
                "kind": "finding",
                "model": key.model,
                "version": key.version,
                "segment": key.segment,
                "start": timestamp(key.start),
                "end": timestamp(report.end),
                "subject": finding.subject,
                "detector": finding.detector,
                "statistic": verdict.statistic,
                "effect": verdict.effect,
                "p_value": verdict.p_value,
                "threshold": verdict.threshold,
                "n_reference": verdict.n_reference,
                "n_window": verdict.n_window,
                "reason": verdict.reason,
            }
            self._print(line, f"{finding.subject}: {verdict.reason}")

    def quality(self, report: QualityReport) -> None:
        """Print the cohort's values when no label can change them any more."""
        if not report.final:
            return
        for value in report.values:
            line = {
                "kind": "quality",
                "model": report.model,
                "version": report.version,
                "arm": report.arm,
                "segment": report.segment,
                "start": timestamp(report.start),
                "end": timestamp(report.end),
                "maturity": report.maturity,
                "predictions": report.predictions,
                "labelled": report.labelled,
                "coverage": report.coverage,
                "metric": value.metric,
                "value": value.value,
                "error": value.error,
                "rows": value.rows,
            }
            text = f"{value.metric} {value.value:.4g} from {value.rows} labels ({report.maturity})"
            self._print(line, text)

    def _print(self, line: dict[str, Any], text: str) -> None:
        if self._as_json:
            click.echo(json.dumps(line))
        else:
            where = " ".join(part for part in (line["model"], line["version"], line["segment"]) if part)
            click.echo(f"{line['start']}  {line['kind']:<8} {where:<24} {text}")


@click.command()
@click.option("-c", "--config", "path", required=True, type=click.Path(path_type=Path), help="YAML file.")
@click.option("--predictions", required=True, help="File or glob: NDJSON, Parquet, Arrow or CSV.")
@click.option("--labels", help="The same for labels; without it no quality is computed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(path: Path, predictions: str, labels: str | None, as_json: bool) -> None:
    """Run the pipeline of a configuration over files, in event time.

    Gives one line per finding and per final quality value, the same ones at every run. The sources and
    the state of the configuration are not touched; rejected events go beside the working folder's
    `dead_letters_file`.
    """
    config = load(path)
    log_to_stderr("warning")
    stopping = until_signalled()
    with tempfile.TemporaryDirectory(prefix="observer-replay-") as scratch:
        changes: dict[str, Any] = {
            "predictions": config.predictions.model_copy(update={"source": FilesSpec(path=predictions)}),
            "labels": None,
            "state": StateSpec(path=Path(scratch) / "state"),
            "idle_after": 10**12,
        }
        if labels is not None:
            given = config.labels or LabelConfig(source=FilesSpec(path=labels))
            changes["labels"] = given.model_copy(update={"source": FilesSpec(path=labels)})
        replayed = config.model_copy(update=changes)
        lines = Lines(as_json=as_json)
        with (
            Service(
                replayed, SystemClock(), reports=[lines], serve=False, pace=Pace(checkpoint_every=60.0)
            ) as service,
            _progress(service) as step,
        ):
            service.run(lambda: step() or stopping())
        rejected = sum(
            count
            for metric, series in service.counters.read().series.items()
            if metric.name == "observer_events_rejected_total"
            for count in series.values()
            if isinstance(count, float)
        )
        if rejected:
            click.echo(
                f"{rejected:.0f} events were rejected; see *-{config.dead_letters_file.name}", err=True
            )


class _Bar:
    """A bar of bytes read; called once a turn, never asks to stop."""

    def __init__(self, service: Service) -> None:
        self._sources = [s for s in service.sources.values() if isinstance(s, FileSource)]
        self._progress = Progress(
            TextColumn("replay"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self) -> bool:
        total = sum(source.total_bytes for source in self._sources)
        done = sum(source.read_bytes for source in self._sources)
        self._progress.update(self._task, total=total or None, completed=done)
        return False


def _progress(service: Service) -> AbstractContextManager[Any]:
    if sys.stderr.isatty():
        return _Bar(service)
    return nullcontext(lambda: False)
