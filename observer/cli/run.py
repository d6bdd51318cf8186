"""`observer run`."""

# ruff: noqa: PLC0415 - imports wait until the command runs, so that help and completion answer at once

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import click

from observer import logs
from observer.cli.main import config_option

_EPILOG = """\b
Example:
  observer run -c observer.yaml
  curl localhost:9464/metrics
"""


def until_signalled() -> Callable[[], bool]:
    """True once SIGTERM or SIGINT came; a second SIGINT interrupts at once."""
    stop = threading.Event()

    def handle(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    return stop.is_set


@click.command(epilog=_EPILOG)
@config_option
def command(path: Path) -> None:
    """Watch models until SIGTERM: consume events, judge windows, export to Prometheus.

    The state folder that the configuration names makes restarts exact: whatever kills the process, the
    next one goes on from the last checkpoint and no event is lost or counted twice. A second Ctrl-C ends
    the process at once, which costs nothing but the reading since that checkpoint.
    """
    from observer.app import Service
    from observer.clock import SystemClock
    from observer.config import load

    config = load(path)
    logs.to_stderr(config.log_level, config.log_format)
    stopping = until_signalled()
    with Service(config, SystemClock()) as service:
        assert service.server is not None  # noqa: S101 - served by default
        log = logging.getLogger("observer")
        log.info("serving http://%s:%d/, metrics at /metrics", service.server.host, service.server.port)
        service.run(stopping)
        log.info("stopped at checkpoint %d", service.pipeline.checkpoint_number)
