"""`observer run`."""

# ruff: noqa: PLC0415 - imports wait until the command runs, so that help and completion answer at once

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from observer import logs
from observer.cli.group import config_option
from observer.clock import passed

if TYPE_CHECKING:
    from observer.app import Service
    from observer.config import Config
    from observer.ports import Clock

_EPILOG = """\b
Example:
  observer run -c observer.yaml
  curl localhost:9464/metrics
"""
_ASK_AGAIN = 0.2


def until_signalled() -> Callable[[], bool]:
    """True once SIGTERM or SIGINT came; a second SIGINT interrupts at once."""
    stop = threading.Event()

    def handle(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    return stop.is_set


def opened(
    config: Config,
    clock: Clock,
    patience: float,
    stopping: Callable[[], bool],
    passed: Callable[[], float] = passed,
) -> Service:
    """The service; while another process holds the state, for example its predecessor that is ending, wait.

    Raises
    ------
    Retryable
        As the service does, after `patience` seconds or once told to stop.
    """
    from observer.app import Service
    from observer.errors import Retryable

    log = logging.getLogger("observer")
    until, told = passed() + patience, ""
    while True:
        try:
            return Service(config, clock)
        except Retryable as error:
            if passed() >= until or stopping():
                raise
            if str(error) != told:
                told = str(error)
                log.info("%s; waiting for at most %g s", told, until - passed())
        time.sleep(_ASK_AGAIN)


@click.command(epilog=_EPILOG)
@config_option
@click.option(
    "--wait",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=0,
    show_default=True,
    help="Wait so long for another process to let go of the state.",
)
def command(path: Path, wait: float) -> None:
    """Watch models until SIGTERM: consume events, judge windows, export to Prometheus.

    The state folder that the configuration names makes restarts exact: whatever kills the process, the
    next one goes on from the last checkpoint and no event is lost or counted twice. A second Ctrl-C ends
    the process at once, which costs nothing but the reading since that checkpoint.
    """
    from observer.clock import SystemClock
    from observer.config import load

    config = load(path)
    logs.to_stderr(config.log_level, config.log_format)
    stopping = until_signalled()
    with opened(config, SystemClock(), wait, stopping) as service:
        assert service.server is not None  # noqa: S101 - served by default
        log = logging.getLogger("observer")
        log.info("serving http://%s:%d/, metrics at /metrics", service.server.host, service.server.port)
        service.run(stopping)
        log.info("stopped at checkpoint %d", service.pipeline.checkpoint_number)
