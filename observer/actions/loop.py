"""The thread in which the control plane turns, and in which what people decide is carried out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from observer.errors import ObserverError

log = logging.getLogger(__name__)


LARGEST_DRIFT: Final = 5.0
"""Seconds by which the machine's clock may move against the time that passes before that counts as a jump."""


class Turning(Protocol):
    """What turns."""

    def tick(self, now: float) -> None:
        """One turn."""

    def jumped(self, seconds: float) -> None:
        """The machine's clock was set, by so much: what waits for a time waits no longer and no shorter."""


class Answering(Protocol):
    """What people decided, waiting."""

    def carry_out(self, save: Callable[[], bool]) -> None:
        """Carry it out, and answer."""


class ControlLoop:
    """Turns once a second; what fails is told once, and tried again at the next turn."""

    def __init__(
        self,
        control: Turning,
        orders: Answering,
        now: Callable[[], float],
        every: float = 1.0,
        passed: Callable[[], float] | None = time.monotonic,
    ) -> None:
        """`passed` is None where `now` is no machine's clock, and cannot be set."""
        self._control, self._orders, self._now, self._every = control, orders, now, every
        self._passed = passed
        self._ahead = 0.0 if passed is None else now() - passed()
        """Of the clock, of the time that passed."""
        self._ending = threading.Event()
        self.problem = ""
        """What is wrong, in words; empty while all is well."""
        self._thread = threading.Thread(target=self._run, name="actions", daemon=True)

    def start(self) -> None:
        """Begin to turn."""
        self._thread.start()

    def stop(self) -> None:
        """End after the present turn."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(30.0)

    def turn(self) -> None:
        """One turn."""
        try:
            self._watch_clock()
            self._orders.carry_out(lambda: True)
            self._control.tick(self._now())
        except ObserverError as error:
            if not self.problem:
                log.warning("actions wait: %s", error)
            self.problem = str(error)
        except Exception as error:
            if not self.problem:
                log.exception("actions wait")
            self.problem = f"a fault of the service: {error!r}"[:300]
        else:
            if self.problem:
                log.info("actions go on")
            self.problem = ""

    def _watch_clock(self) -> None:
        if self._passed is None:
            return
        ahead = self._now() - self._passed()
        jump, self._ahead = ahead - self._ahead, ahead
        if abs(jump) > LARGEST_DRIFT:
            log.warning("the machine's clock was set by %+.0f s: what waits for a time waits as long", jump)
            self._control.jumped(jump)

    def _run(self) -> None:
        while not self._ending.is_set():
            self.turn()
            self._ending.wait(self._every)
