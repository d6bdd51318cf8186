"""What the two arms of an experiment showed in one cohort."""

from __future__ import annotations

from typing import NamedTuple

from detectors.base import DetectorError


class Arms(NamedTuple):
    """Counts of one cohort of requests, all assigned with the same probability.

    Attributes
    ----------
    share : float
        Probability, above 0 and below 1, that a request went to the challenger.
    challenger, champion : float
        Requests of each arm.
    challenger_hits, champion_hits : float
        How many of those had the outcome that is counted: a success, an error, a label that arrived.
    """

    share: float
    challenger: float
    champion: float
    challenger_hits: float
    champion_hits: float

    @property
    def n(self) -> float:
        """Requests of both arms."""
        return self.challenger + self.champion

    @property
    def hits(self) -> float:
        """Hits of both arms."""
        return self.challenger_hits + self.champion_hits

    def plus(self, other: Arms) -> Arms:
        """Both, when their shares are equal; raises `DetectorError` when they are not."""
        if self.share != other.share:
            raise DetectorError(f"cohorts of shares {self.share:g} and {other.share:g} cannot be added up")
        return Arms(self.share, *(mine + more for mine, more in zip(self[1:], other[1:], strict=True)))

    def checked(self) -> Arms:
        """Itself; raises `DetectorError` when the numbers are impossible."""
        fits = (
            0 < self.share < 1
            and 0 <= self.challenger_hits <= self.challenger
            and 0 <= self.champion_hits <= self.champion
        )
        if not fits:
            raise DetectorError(f"{self}: accepted are a share within 0..1 and hits among the requests")
        return self
