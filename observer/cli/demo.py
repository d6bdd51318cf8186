"""`observer demo`."""

from __future__ import annotations

import json
import tempfile
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console

from observer import logs
from observer.app import NoDeadLetters, Service
from observer.cli.run import until_signalled
from observer.clock import SystemClock
from observer.codecs import Limits
from observer.config import Config, HttpConfig, LabelConfig, ModelConfig, StreamConfig
from observer.engines.local import Pace
from observer.metrics import catalog
from observer.model import QualityReport, Stream, Task, WindowReport
from observer.plain import timestamp
from observer.ports import Reports, Source
from observer.references import Overrides, Reference, RowLabels, build
from observer.segments import SegmentSpec
from observer.slo import ObjectiveSpec
from observer.sources.demo import DemoSource, EventClock, Script
from observer.sources.files import FilesSpec
from observer.stores.lmdb import StateSpec
from observer.terminal import Status, TerminalView

_HOURS_PER_SECOND = 2.0


class Tally:
    """What `--json` tells at the end."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.windows = 0
        self.findings = 0
        self.false_findings = 0
        self.tickets = 0
        self.pages = 0
        self.false_alarms = 0
        self.first_finding_at: int | None = None

    def window(self, report: WindowReport) -> None:
        """Hold the findings against the script."""
        self.windows += 1
        if not report.findings:
            return
        key = report.key
        drifting = self._script.drifting(key.model, key.start, report.end)
        alarms = [finding for finding in report.findings if finding.tier != "info"]
        self.tickets += sum(finding.tier == "ticket" for finding in alarms)
        self.pages += sum(finding.tier == "page" for finding in alarms)
        self.false_alarms += 0 if drifting else len(alarms)
        if drifting:
            self.findings += len(report.findings)
            self.first_finding_at = min(self.first_finding_at or report.end, report.end)
        else:
            self.false_findings += len(report.findings)

    def quality(self, report: QualityReport) -> None:
        """Nothing to count."""


@click.command()
@click.option("--for", "seconds", type=click.FloatRange(min=0), help="Stop after so many seconds.")
@click.option("--json", "as_json", is_flag=True, help="No live view; one JSON line at the end.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9464, show_default=True, help="0 takes a free one."
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=_HOURS_PER_SECOND,
    show_default=True,
    help="Hours of event time in a second.",
)
@click.option("--seed", type=int, default=7, show_default=True, help="Another seed gives other events.")
def command(seconds: float | None, as_json: bool, port: int, speed: float, seed: int) -> None:
    """Watch drift being found: four models, days of event time a minute, through the production path.

    Nothing is needed and nothing is kept. Drift is scripted: the view shows it being found and passing
    again, labels coming late, and quality with it. Stop with Ctrl-C.
    """
    logs.to_stderr("warning")
    script = Script.default(seed=seed)
    clock = SystemClock()
    stopping = until_signalled()
    tally = Tally(script)
    with tempfile.TemporaryDirectory(prefix="observer-demo-") as folder:
        references = {model.name: _reference(script, model.name) for model in script.models}
        config = _config(Path(folder), references, port)
        events = EventClock(clock, script.start / 1000, speed * 3600)
        sources: dict[Stream, Source] = {
            stream: DemoSource(script, stream, events) for stream in ("predictions", "labels")
        }
        view = None if as_json else TerminalView(Console())
        reports: list[Reports] = [tally] if view is None else [tally, view]
        ignored = NoDeadLetters()
        with Service(
            config,
            clock,
            sources=sources,
            dead_letters={"predictions": ignored, "labels": ignored},
            reports=reports,
            pace=Pace(publish_every=0.5),
        ) as service:
            if view is not None:
                view.know({reference.version: reference for reference in references.values()})
            turn = _Turn(service, tally, view, speed)
            shown: AbstractContextManager[Any] = nullcontext() if view is None else view
            with shown:
                service.run(lambda: turn.over(seconds) or stopping())
            if as_json:
                click.echo(json.dumps(_summary(script, tally, turn)))


def _summary(script: Script, tally: Tally, turn: _Turn) -> dict[str, Any]:
    return {
        "events": turn.events(),
        "windows": tally.windows,
        "drift_at": _moment(script.drift_at),
        "first_finding_at": _moment(tally.first_finding_at),
        "findings": tally.findings,
        "false_findings": tally.false_findings,
        "tickets": tally.tickets,
        "pages": tally.pages,
        "false_alarms": tally.false_alarms,
        "seconds": round(turn.elapsed(), 3),
    }


def _moment(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else timestamp(milliseconds)


class _Turn:
    """Called once a turn of the loop: refreshes the view, and says when time is up."""

    def __init__(self, service: Service, tally: Tally, view: TerminalView | None, speed: float) -> None:
        self._service = service
        self._tally = tally
        self._view = view
        self._speed = speed * 3600
        self._started = service.clock.now()
        self._lately: deque[tuple[float, int]] = deque(maxlen=40)

    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._service.clock.now() - self._started

    def events(self) -> int:
        """Events taken, both streams."""
        counted = self._service.counters.read().series.get(catalog.EVENTS, {})
        return int(sum(count for count in counted.values() if isinstance(count, float)))

    def over(self, seconds: float | None) -> bool:
        """Whether the time is up."""
        now = self.elapsed()
        if self._view is not None:
            total = self.events()
            self._lately.append((now, total))
            then, before = self._lately[0]
            server = self._service.server
            self._view.update(
                Status(
                    event_time=self._service.pipeline.watermarks["predictions"].current(
                        self._service.clock.now()
                    ),
                    speed=self._speed,
                    events=total,
                    per_second=(total - before) / (now - then) if now > then else 0.0,
                    windows=self._tally.windows,
                    uptime=now,
                    page_url=f"http://{server.host}:{server.port}/" if server else "",
                )
            )
        return seconds is not None and now >= seconds


def _reference(script: Script, model: str) -> Reference:
    keys, columns, tags = script.reference_columns(model)
    task = script.model(model).task
    # Estimates of a regression's quality are learnt from rows by trees, for which nobody should have to wait.
    labels = None
    if task != "regression":
        labels = RowLabels(script.reference_labels(model), np.arange(len(keys)))
    return build(keys, columns, Overrides(task=task), "scripted, healthy", tags, labels=labels)


def _objectives(task: Task | None) -> dict[str, ObjectiveSpec]:
    """What the models' users may expect: somewhat less than a healthy model gives."""
    if task == "regression":
        good = {"type": "error_within", "relative": 0.5}
        return {"close": ObjectiveSpec.model_validate({"indicator": good, "target": 0.8, "window": "7d"})}
    right = {"indicator": {"type": "correct"}, "target": 0.7, "window": "7d"}
    return {"correct": ObjectiveSpec.model_validate(right)}


def _config(folder: Path, references: dict[str, Reference], port: int) -> Config:
    models = {}
    for name, reference in references.items():
        path = folder / f"{name}.reference"
        reference.save(path)
        segments = tuple(SegmentSpec(tag=tag, limit=3) for tag in list(reference.segments)[:1])
        models[name] = ModelConfig(
            reference=path, segments=segments, objectives=_objectives(reference.schema.task)
        )
    nowhere = FilesSpec(path="demo")
    return Config(
        predictions=StreamConfig(source=nowhere),
        labels=LabelConfig(source=nowhere),
        models=models,
        learn_unknown=False,
        limits=Limits(max_ahead=1e9),  # event time runs ahead of the clock
        state=StateSpec(path=folder / "state"),
        http=HttpConfig(port=port),
    )
