"""`observer demo`."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import tempfile
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from observer import logs
from observer.app import NoDeadLetters, Service
from observer.cli import demo_config
from observer.cli.run import until_signalled
from observer.cli.story import Story
from observer.clock import SystemClock
from observer.engines.local import Pace
from observer.metrics import catalog
from observer.model import QualityReport, Stream, WindowReport
from observer.plain import timestamp
from observer.ports import Reports, Source
from observer.sources.demo import Archive, DemoSource, EventClock, Script, Serving
from observer.terminal import Status, TerminalView

_HOURS_PER_SECOND = 0.5
_RATE = 0.6
"""Of the traffic of the script: enough to see everything, and easy on the machine."""


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
@click.option("--once", is_flag=True, help="Stop when the story is over.")
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
def command(seconds: float | None, once: bool, as_json: bool, port: int, speed: float, seed: int) -> None:
    """Watch drift being found and acted on: five models, a day of event time in 48 seconds.

    Everything goes the production path. Drift is scripted, what follows is not: an objective burns, a model
    is retrained, meets the champion on a share of the traffic and is promoted on evidence; a worse one is
    rolled back. That takes some four minutes, in which you may approve and reject. Nothing is needed and
    nothing is kept. Stop with Ctrl-C.
    """
    logs.to_stderr("warning")
    script = Script.default(seed=seed, rate=_RATE)
    clock = SystemClock()
    stopping = until_signalled()
    tally = Tally(script)
    with tempfile.TemporaryDirectory(prefix="observer-demo-", ignore_cleanup_errors=True) as folder:
        places = demo_config.Places(Path(folder))
        paths = demo_config.references(script, places)
        token = secrets.token_hex(8)
        config = demo_config.configuration(script, places, paths, port, token)
        events = EventClock(clock, script.start / 1000, speed * 3600, running=False)
        serving = Serving(script.served.name, places.models, places.split, events.now)
        archive = Archive(places.events, script.served.name, script.turns)
        sources: dict[Stream, Source] = {
            stream: DemoSource(script, stream, events, serving=serving, archive=archive)
            for stream in ("predictions", "labels")
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
            pace=Pace(publish_every=0.5, act_every=0.25),
            act_by=events,
        ) as service:
            assert service.server is not None  # noqa: S101 - served by default
            url = f"http://{service.server.host}:{service.server.port}"
            places.config.write_text(demo_config.for_orders(url, token))
            tell = view.tell if view is not None else lambda *_: None
            story = Story(service, serving, script.turns_at, events.now, tell)
            turn = _Turn(service, tally, story, view, speed, f"{url}/  token {token}", places.config)
            if view is not None:
                view.know(demo_config.known(paths))
            shown: AbstractContextManager[Any] = nullcontext() if view is None else view
            events.begin()
            with shown:
                service.run(lambda: turn.over(seconds, once=once) or stopping())
            summary = {**_summary(script, tally, turn), **story.summary()}
            story.close()
        if as_json:
            click.echo(json.dumps(summary))


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
    """Called once a turn of the loop: tells the story, refreshes the view, and says when time is up."""

    def __init__(
        self,
        service: Service,
        tally: Tally,
        story: Story,
        view: TerminalView | None,
        speed: float,
        page: str,
        orders: Path,
    ) -> None:
        self._service = service
        self._tally = tally
        self._story = story
        self._view = view
        self._speed = speed * 3600
        self._page = page
        self._orders = f"{_program()} actions %s -c {orders}"
        self._started = service.clock.now()
        self._lately: deque[tuple[float, int]] = deque(maxlen=40)

    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._service.clock.now() - self._started

    def events(self) -> int:
        """Events taken, both streams."""
        counted = self._service.counters.read().series.get(catalog.EVENTS, {})
        return int(sum(count for count in counted.values() if isinstance(count, float)))

    def over(self, seconds: float | None, *, once: bool) -> bool:
        """Whether the time is up, or the story over where that ends it."""
        now = self.elapsed()
        self._story.turn()
        if self._view is not None:
            total = self.events()
            self._lately.append((now, total))
            then, before = self._lately[0]
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
                    page_url=self._page,
                    asks=self._asks(),
                )
            )
        return (seconds is not None and now >= seconds) or (once and self._story.over)

    def _asks(self) -> tuple[str, ...]:
        """What a person can say now, and how."""
        if self._story.over:
            return ("the story is over; everything goes on until Ctrl-C",)
        return tuple(
            f"{left / self._speed:.0f} s left to say otherwise: {self._orders % 'reject'} {name}"
            for name, left in self._story.waiting[:1]
        )


def _program() -> str:
    """How the command line is reached from here."""
    beside = Path(sys.executable).with_name("observer")
    if shutil.which("observer") or not beside.exists():
        return "observer"
    return str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)
