"""The service speaks through these errors; each message says what is wrong, where, and what is accepted."""

from __future__ import annotations


class ObserverError(Exception):
    """Root of the service's own errors."""


class Retryable(ObserverError):
    """Trying again later may succeed: a server is down, a lock is held."""


class Unclear(ObserverError):
    """Nobody knows whether the other side did it: the answer was lost on the way."""


class Permanent(ObserverError):
    """Trying again will not help: access refused, object missing, data corrupt."""


class ConfigError(ObserverError):
    """The configuration is wrong; holds every problem found, one line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Absent(ConfigError):
    """What was asked for does not exist."""

    def __init__(self, problem: str) -> None:
        super().__init__([problem])
