"""The one reader of the clocks that the service goes by."""

from __future__ import annotations

import time


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()


def passed() -> float:
    """Seconds since some moment, whatever the clock is set to; a suspended machine does not count them."""
    return time.monotonic()
