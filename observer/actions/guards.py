"""Guardrails: whether a challenger fails, or is slow, more often than the champion; no labels are needed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

from detectors.experiment.arms import Arms
from detectors.experiment.design import DesignTest
from detectors.experiment.difference import Difference
from detectors.experiment.fairness import SampleRatio
from detectors.summaries.answers import BINS, Answers
from detectors.summaries.packing import pack, unpack

MATERIAL: Final = 0.1
"""It must happen this much more often, relatively: with enough requests any difference can be proved."""
SLOW: Final = 0.95
"""Quantile of the champion's latency in the past; what takes longer is slow."""


class Answered(NamedTuple):
    """How both arms answered the requests of one window; `share` is the chance of the challenger's answer."""

    start: float
    end: float
    share: float
    challenger: Answers
    champion: Answers


@dataclass(slots=True)
class Copies:
    """Whether the challenger answers the copies of requests that it should be sent, marked as such.

    With p percent copied, a request brings the champion's answer and with chance p the challenger's. Taken
    for draws of one arm with chance q = p/(1+p), the bets of `SampleRatio` multiply by less than 1 on
    average: c0 (1-p + p c1) = c0 (2-c0), where q c1 + (1-q) c0 = 1. So the alarm's chance still holds. The
    same goes for the guardrails, whose bets are on a request's two answers: equal chances, given the request,
    gain nothing, and answers that fail together lose.

    Attributes
    ----------
    windows, answered, requests : int
        Windows, copies that were answered in them, and requests that the champion answered.
    expected : float
        Copies that there should have been.
    unmarked : int
        Answers of the challenger that say that they were served.
    """

    windows: int = 0
    answered: int = 0
    requests: int = 0
    expected: float = 0.0
    unmarked: int = 0
    ratio: SampleRatio = field(default_factory=SampleRatio)

    def update(self, window: Answered, percent: float) -> None:
        """Advance by one window."""
        copied = window.challenger.copied
        served = window.champion.n - window.champion.copied
        self.windows += 1
        self.answered += copied
        self.requests += served
        self.expected += served * percent / 100
        self.unmarked += window.challenger.n - copied
        self.ratio.update(window.share, copied, served)

    def missing(self, limit: float) -> bool:
        """Whether there are surely fewer or more than were set, and by enough to matter.

        Mirrors promise nothing of a single request.
        """
        off = abs(self.answered - self.expected)
        return self.ratio.evidence >= limit and off > MATERIAL * self.expected

    @property
    def told(self) -> str:
        """In words."""
        return (
            f"{self.answered} copies of {self.requests} requests answered; about {self.expected:.0f} expected"
        )

    def to_bytes(self) -> bytes:
        """The whole state."""
        counts = [self.windows, self.answered, self.requests, self.expected, self.unmarked]
        return pack({"counts": counts, "ratio": self.ratio.to_bytes()})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What `to_bytes` gave; raises `ValueError` for anything else."""
        fields = unpack(data)
        windows, answered, requests, expected, unmarked = fields["counts"]
        ratio = SampleRatio.from_bytes(fields.packed("ratio"))
        return cls(windows, answered, requests, expected, unmarked, ratio)


@dataclass(slots=True)
class Guard:
    """Evidence that something bad happens to the challenger's requests more often, and by how much."""

    test: DesignTest
    by: Difference = field(default_factory=Difference)

    def update(self, arms: Arms) -> None:
        """Advance by one window; hits are bad."""
        self.test.update(arms)
        self.by = self.by.plus(Difference.of(arms))

    def harmed(self, alpha: float) -> bool:
        """Whether it is proved, at a false alarm's chance of `alpha` at most, and large enough to matter."""
        if self.test.more < math.log(1 / alpha) or self.by.weight <= 0:
            return False
        return self.by.score / self.by.weight > MATERIAL * self.test.hits / self.test.n

    def to_bytes(self) -> bytes:
        """The whole state."""
        return pack({"test": self.test.to_bytes(), "by": list(self.by)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What `to_bytes` gave; raises `ValueError` for anything else."""
        fields = unpack(data)
        return cls(DesignTest.from_bytes(fields.packed("test")), Difference(*fields["by"]))


@dataclass(slots=True)
class Guards:
    """Errors and latency of a rollout's arms, window by window; see `Guard`.

    Attributes
    ----------
    past : Answers
        The champion's, of the windows so far: what counts as slow in the next one follows from it.
    last : float
        End of the last window, seconds since the epoch.
    """

    errors: Guard = field(default_factory=lambda: Guard(DesignTest.expecting(0.01)))
    slow: Guard = field(default_factory=lambda: Guard(DesignTest.expecting(1 - SLOW)))
    past: Answers = field(default_factory=Answers)
    last: float = 0.0

    def update(self, window: Answered) -> None:
        """Advance by one window."""
        one, other = window.challenger, window.champion
        self.last = window.end
        self.errors.update(Arms(window.share, one.n, other.n, one.failed, other.failed))
        beyond = self._slow()
        if beyond is not None:
            counts = [(int(each.latency.sum()), int(each.latency[beyond:].sum())) for each in (one, other)]
            (n1, x1), (n0, x0) = counts
            self.slow.update(Arms(window.share, n1, n0, x1, x0))
        self.past = self.past.plus(other)

    def _slow(self) -> int | None:
        """First bin of what counts as slow; None before the champion's latency is known."""
        total = int(self.past.latency.sum())
        if not total:
            return None
        within = self.past.latency.cumsum() < SLOW * total
        return min(int(within.sum()) + 1, BINS - 1)

    def to_bytes(self) -> bytes:
        """The whole state."""
        return pack(
            {
                "errors": self.errors.to_bytes(),
                "slow": self.slow.to_bytes(),
                "past": self.past.to_bytes(),
                "last": self.last,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What `to_bytes` gave; raises `ValueError` for anything else."""
        fields = unpack(data)
        errors, slow = (Guard.from_bytes(fields.packed(name)) for name in ("errors", "slow"))
        return cls(errors, slow, Answers.from_bytes(fields.packed("past")), float(fields["last"]))
