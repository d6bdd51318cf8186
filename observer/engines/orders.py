"""What people decide, handed from the web server's threads to the loop, which alone touches the state."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from queue import Empty, SimpleQueue
from typing import TypeAlias

from observer.errors import ConfigError, ObserverError, Permanent, Retryable

log = logging.getLogger(__name__)

Order: TypeAlias = Callable[[], str]
"""Does what was decided and says what it did; raises `ConfigError` when it cannot be done."""


class Orders:
    """A queue of orders; each is answered once what it did is saved."""

    def __init__(self, patience: float = 30.0) -> None:
        self._waiting: SimpleQueue[tuple[Order, Future[str]]] = SimpleQueue()
        self._patience = patience

    def give(self, order: Order) -> str:
        """Have the loop carry out an order, and wait for what it says.

        Raises
        ------
        ConfigError
            It cannot be done.
        Retryable
            The loop did not come to it in time; the order is withdrawn.
        """
        answer: Future[str] = Future()
        self._waiting.put((order, answer))
        try:
            return answer.result(self._patience)
        except Late as error:
            if not answer.cancel():  # it is being done just now
                return answer.result(self._patience)
            msg = f"the service did not come to it within {self._patience:g} s; try again"
            raise Retryable(msg) from error

    def carry_out(self, save: Callable[[], bool]) -> None:
        """Carry out what waits, save, then answer; called by the loop."""
        done: list[tuple[Future[str], str]] = []
        while True:
            try:
                order, answer = self._waiting.get_nowait()
            except Empty:
                break
            if not answer.set_running_or_notify_cancel():
                continue
            try:
                done.append((answer, order()))
            except ConfigError as error:
                answer.set_exception(error)
            except ObserverError as error:
                log.warning("an order failed: %s", error)
                answer.set_exception(error)
            except Exception as error:  # the others are answered all the same
                log.exception("an order failed")
                answer.set_exception(Permanent(f"a fault of the service: {error!r}"[:300]))
        if done:
            saved = save()
            for answer, said in done:
                answer.set_result(said if saved else f"{said}; it will be saved with the next checkpoint")
