"""Forks and ends of processes."""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from collections.abc import Callable
from typing import Protocol


class Forked(Protocol):
    """What a forked child must begin anew."""

    def after_fork(self) -> None:
        """Called in the child."""


alive: weakref.WeakSet[Forked] = weakref.WeakSet()


def at_exit(
    owner: object, close: Callable[[], None], close_child: Callable[[float], None], timeout: float
) -> None:
    """Have the process end with `close`, before the Kafka library's own end, which comes later here."""
    atexit.register(close)
    multiprocessing = sys.modules.get("multiprocessing.util")
    if multiprocessing is not None and multiprocessing.__dict__.get("_exiting") is False:
        # Children forked by multiprocessing end without atexit.
        multiprocessing.Finalize(owner, close_child, args=(timeout,), exitpriority=10)


def keep(inherited: object) -> None:
    """Never destroy what a child has inherited: a producer would wait for threads that do not exist."""
    import ctypes  # noqa: PLC0415 - only for forked processes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))


def _after_fork() -> None:
    for one in list(alive):
        one.after_fork()


os.register_at_fork(after_in_child=_after_fork)
