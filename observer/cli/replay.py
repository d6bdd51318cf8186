"""`observer replay`."""

# ruff: noqa: PLC0415 - imports wait until the command runs, so that help and completion answer at once

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from observer import logs
from observer.cli.group import config_option
from observer.cli.replaying import over_files, progress
from observer.cli.run import until_signalled
from observer.plain import plain, rounded, timestamp

if TYPE_CHECKING:
    from observer.metrics import Metric
    from observer.metrics.values import Snapshot
    from observer.model import QualityEstimate, QualityReport, Stream, WindowReport

_STREAMS: tuple[Stream, ...] = ("predictions", "labels")
_EPILOG = """\b
Examples:
  observer replay -c observer.yaml --predictions 'march/*.parquet' --labels labels.ndjson.gz
  observer replay -c observer.yaml --predictions march.csv --json | jq 'select(.kind == "finding")'
"""


class Lines:
    """Gathers findings, quality values once they are final, and estimates where no label came.

    They are printed in an order of their own, because the order in which windows close depends on how
    events are spread over files.
    """

    def __init__(self) -> None:
        self.windows: Counter[str] = Counter()
        """How many closed, by status."""
        self.findings = 0
        self._lines: list[tuple[dict[str, Any], str]] = []
        self._estimates: dict[tuple[str, str, str, int], tuple[int, tuple[QualityEstimate, ...]]] = {}
        """Model, version, segment and start of a window -> its end, and estimates that no label replaced."""

    def window(self, report: WindowReport) -> None:
        """Take the window's findings."""
        key = report.key
        self.windows[report.status] += 1
        self.findings += len(report.findings)
        if report.estimates:
            self._estimates[key.model, key.version, key.segment, key.start] = report.end, report.estimates
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
                "tier": finding.tier,
                "since": None if finding.since is None else timestamp(finding.since),
                "causes": plain(finding.causes),
                "pairs": plain(finding.pairs),
                "segments": plain(finding.segments),
                "performance": plain(finding.performance),
                "statistic": rounded(verdict.statistic),
                "effect": rounded(verdict.effect),
                "p_value": rounded(verdict.p_value),
                "threshold": rounded(verdict.threshold),
                "n_reference": verdict.n_reference,
                "n_window": verdict.n_window,
                "reason": verdict.reason,
            }
            self._lines.append((line, f"{finding.subject}: {verdict.reason}"))

    def quality(self, report: QualityReport) -> None:
        """Take the cohort's values when no label can change them any more."""
        if not report.final:
            return
        estimates = {one.metric: one for one in report.estimates}
        realised = {value.metric for value in report.values}
        if estimates:
            left = tuple(one for one in report.estimates if one.metric not in realised)
            key = (report.model, report.version, report.segment, report.start)
            self._estimates[key] = report.end, left
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
                "coverage": rounded(report.coverage),
                "metric": value.metric,
                "value": rounded(value.value),
                "error": rounded(value.error),
                "rows": value.rows,
            }
            text = f"{value.metric} {value.value:.4g} from {value.rows} labels ({report.maturity})"
            said = estimates.get(value.metric)
            if said is not None and said.value is not None:
                line["estimate"] = _estimate(said)
                text += f", estimated {said.value:.4g}"
            self._lines.append((line, text))

    def print(self, *, as_json: bool) -> None:
        """Print everything to standard output, in the order of event time."""
        for line, text in sorted([*self._lines, *self._unlabelled()], key=_order):
            if as_json:
                click.echo(json.dumps(line))
            else:
                arm = line.get("arm", "")
                where = " ".join(
                    part for part in (line["model"], line["version"], arm, line["segment"]) if part
                )
                click.echo(f"{line['start']}  {line['kind']:<8} {where:<24} {text}")

    def _unlabelled(self) -> Iterator[tuple[dict[str, Any], str]]:
        """Estimates that no label has replaced."""
        for (model, version, segment, start), (end, estimates) in self._estimates.items():
            for one in estimates:
                if one.value is None or one.low is None or one.high is None:
                    continue
                line = {
                    "kind": "estimate",
                    "model": model,
                    "version": version,
                    "segment": segment,
                    "start": timestamp(start),
                    "end": timestamp(end),
                    "metric": one.metric,
                    **_estimate(one),
                }
                skill = "not known" if one.skill is None else f"{one.skill:.2f}"
                text = f"{one.metric} {one.value:.4g} ({one.low:.4g} to {one.high:.4g}), skill {skill}"
                yield line, text if one.usable else f"{text}: not to be used"


def _estimate(one: QualityEstimate) -> dict[str, Any]:
    return {
        "value": rounded(one.value),
        "low": rounded(one.low),
        "high": rounded(one.high),
        "method": one.method,
        "rows": one.rows,
        "skill": rounded(one.skill),
        "cohorts": one.cohorts,
        "backtest": one.backtest,
        "usable": one.usable,
    }


def _order(entry: tuple[dict[str, Any], str]) -> tuple[str, ...]:
    line = entry[0]
    keys = ("end", "kind", "model", "version", "segment", "arm", "subject", "detector", "metric")
    return tuple(line.get(key, "") for key in keys)


@click.command(epilog=_EPILOG)
@config_option
@click.option("--predictions", required=True, help="File or glob: NDJSON, Parquet, Arrow or CSV.")
@click.option("--labels", help="The same for labels; without it no quality is computed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(path: Path, predictions: str, labels: str | None, as_json: bool) -> None:
    """Run the pipeline of a configuration over files, in event time.

    Gives one line per finding and per final quality value, the same ones at every run. The sources and
    the state that the configuration names are not touched; rejected events go to its `dead_letters_file`.
    """
    from observer.app import Service
    from observer.clock import SystemClock
    from observer.config import load
    from observer.engines.local import Pace

    config = load(path)
    logs.to_stderr("warning")
    stopping = until_signalled()
    lines = Lines()
    with tempfile.TemporaryDirectory(prefix="observer-replay-") as scratch:
        replayed = over_files(config, predictions, labels, Path(scratch))
        letters = {stream: config.dead_letters_path(stream) for stream in _STREAMS}
        before = {letter for letter in letters.values() if letter.exists()}
        pace = Pace(checkpoint_every=60.0)
        try:
            with (
                Service(replayed, SystemClock(), reports=[lines], serve=False, pace=pace) as service,
                progress(service) as step,
            ):
                service.run(lambda: step() or stopping())
            told = service.counters.read()
        finally:
            for letter in set(letters.values()) - before:
                if letter.exists() and not letter.stat().st_size:
                    letter.unlink()  # it was opened for nothing
    lines.print(as_json=as_json)
    _summarise(lines, told, letters)
    if stopping():
        click.echo("stopped before the end of the files", err=True)


def _summarise(lines: Lines, told: Snapshot, letters: Mapping[Stream, Path]) -> None:
    """Say on standard error what was read, what came of it, and what was not used."""
    from observer.metrics import catalog

    events = _counts(told, catalog.EVENTS)
    rejected = _counts(told, catalog.EVENTS_REJECTED)
    for stream, letter in letters.items():
        used = sum(n for (of, _, how), n in events.items() if of == stream and how != "rejected")
        reasons = {why: n for (of, why), n in sorted(rejected.items()) if of == stream}
        if used or reasons:
            click.echo(f"{used:,.0f} {stream}", err=True)
        if reasons:
            listed = ", ".join(f"{count:,.0f} {reason}" for reason, count in reasons.items())
            click.echo(f"{sum(reasons.values()):,.0f} {stream} rejected ({listed}): see {letter}", err=True)
    closed = ", ".join(f"{count:,} {status}" for status, count in sorted(lines.windows.items()))
    click.echo(f"{lines.windows.total():,} windows{f': {closed}' if closed else ''}", err=True)
    click.echo(f"{lines.findings:,} findings", err=True)


def _counts(told: Snapshot, metric: Metric) -> dict[tuple[str, ...], float]:
    return {labels: n for labels, n in told.series.get(metric, {}).items() if isinstance(n, float)}
