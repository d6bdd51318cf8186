"""Pages, tickets and incidents: from the evidence of a model's streams to what a person is told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from detectors.base import Bools, Floats, Ints
from detectors.evidence.edetector import log_mean
from detectors.evidence.multiple import e_bh
from detectors.evidence.season import Season
from detectors.summaries.packing import pack, unpack

_MONTH = 30
"""Days."""
EVERY = -1
"""Subject of a stream about all subjects at once."""
_SETTLING = 4
"""Windows, at least, in which what follows a page belongs to it: one change shows in several streams."""


class Budget(BaseModel):
    """False alarms that one model may cause, whatever the number of its streams."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    false_pages_per_month: float = Field(1.0, gt=0, description="Pages in 30 days without a change.")
    false_tickets_per_month: float = Field(4.0, gt=0, description="Tickets in 30 days without a change.")
    alpha: float = Field(0.05, gt=0, lt=1, description="Chance that a bound on an effect is ever wrong.")

    def page_patience(self, season: Season) -> float:
        """A: windows between false pages; at least 1."""
        return max(season.windows(_MONTH) / self.false_pages_per_month, 1.0)

    def ticket_patience(self, season: Season) -> float:
        """A': windows between false tickets; at least 1."""
        return max(season.windows(_MONTH) / self.false_tickets_per_month, 1.0)


class Tier(IntEnum):
    """How far a stream's alarm has gone."""

    QUIET = 0
    TICKET = 1
    PAGE = 2


@dataclass(frozen=True, slots=True)
class Decision:
    """What a window has changed.

    Attributes
    ----------
    page : bool
        Somebody is to be called: an incident has opened, or streams beyond its cause have joined it.
    paged, ticketed, cleared : int64[...]
        Indexes of streams that have joined the incident, become a ticket, or left either because they
        were verified stable.
    closed : bool
        The incident has ended: all its streams are verified stable.
    log_mean : float
        ln of the mean evidence of the streams that could page, held against `ln A`.
    """

    page: bool
    paged: Ints
    ticketed: Ints
    cleared: Ints
    closed: bool
    log_mean: float


class Alarm:
    """One model version's alarm over K streams; advances once per closed window.

    **Page**: the mean over all K streams of the evidence reaches A, where a stream counts when it has history
    enough, its effect is material, and it is not part of the incident already. All evidence is then reset. An
    average of e-detectors is an e-detector under any dependence between streams, and leaving streams out only
    lowers it, so false pages come at most once in A windows on average.

    **Incident**: the streams with evidence of at least A at the page (or the one with the most, where only
    their mean has reached it). Without another page join it streams that follow within a day and within four
    windows, and later those of the same subjects, on a ticket's evidence too: one change of a column moves
    several of its statistics, in every segment, some of them much later. It ends when all are verified
    stable, or by `close`. A shift that lasts does not page again; a shift of other subjects, later, does.

    **Ticket**: e-d-BH, without either condition; not for effects verified to be smaller than what matters.

    Parameters
    ----------
    budget : Budget
    season : Season
    able : bool[K]
        Streams whose reference is long enough to page (`may_page`); the others become tickets only.
    subjects : int64[K], optional
        What each stream is about, as a number: a column, in whichever segment. Default: each of its own.
        A stream of `EVERY` joins whatever is open.
    """

    def __init__(self, budget: Budget, season: Season, able: Bools, subjects: Ints | None = None) -> None:
        self.page_patience = budget.page_patience(season)
        self.ticket_patience = budget.ticket_patience(season)
        self.tier = np.zeros(len(able), np.int8)
        self.since = np.full(len(able), -1, np.int64)
        """First window of the shift that each ticket and page is about, counted from 0; -1 for none."""
        self.windows = 0
        self.opened: int | None = None
        """Window that opened the incident; None while there is none."""
        self.able = able
        self._subjects = np.arange(len(able)) if subjects is None else subjects
        self._settling = max(round(season.windows(1)), _SETTLING)

    def update(
        self, log_evidence: Floats, material: Bools, verified: Bools, age: Ints, share: float = 1.0
    ) -> Decision:
        """Advance by one window; fields of `Evidence`, float64[K], bool[K], bool[K], int64[K].

        `share` is among how many alarms the budget is divided: each then waits so many times longer.
        """
        now = self.windows
        page_at = math.log(self.page_patience * share)
        self.windows += 1
        cleared = verified & (self.tier > Tier.QUIET)
        self._quiet(cleared)
        closed = self.opened is not None and not (self.tier == Tier.PAGE).any()
        if closed:
            self.opened = None
        # What has just been verified stable still has the evidence of the shift that is over.
        candidates = self._candidates(material) & ~cleared
        related = self._related()
        counted = np.where(candidates & ~related, log_evidence, -np.inf)
        mean = log_mean(counted)
        page = mean >= page_at
        settling = self.opened is not None and now - self.opened < self._settling
        paged = candidates & (log_evidence >= page_at) & (page | settling | related)
        if page and not (paged & ~related).any():
            paged[counted.argmax()] = True
        page = page and not settling
        if page and self.opened is None:
            self.opened = now
        ticketed = e_bh(np.where(cleared, -np.inf, log_evidence), 1 / (self.ticket_patience * share))
        ticketed &= ~verified & ~paged & (self.tier == Tier.QUIET)
        # More of what a page is about is no news: it joins the incident instead of becoming a ticket.
        known = ticketed & self._related(paged)
        paged, ticketed = paged | known, ticketed & ~known
        self.tier[ticketed], self.tier[paged] = Tier.TICKET, Tier.PAGE
        begun = ticketed | (paged & (self.since < 0))
        self.since[begun] = now + 1 - age[begun]
        return Decision(
            page, np.flatnonzero(paged), np.flatnonzero(ticketed), np.flatnonzero(cleared), closed, mean
        )

    def log_mean(self, log_evidence: Floats, material: Bools) -> float:
        """Of the streams that could page now: ln of their mean evidence."""
        return log_mean(np.where(self._candidates(material) & ~self._related(), log_evidence, -np.inf))

    def _candidates(self, material: Bools) -> Bools:
        return np.asarray(self.able & material & (self.tier < Tier.PAGE))

    def _related(self, paged: Bools | bool = False) -> Bools:
        """bool[K]: streams of the open incident's subjects (and of those `paged`), which join it, no more."""
        about = self._subjects[(self.tier == Tier.PAGE) | paged]
        return np.isin(self._subjects, [*about, EVERY] if len(about) else about)

    def close(self) -> None:
        """A person ends the incident; if its shift lasts, it pages again."""
        self._quiet(self.tier == Tier.PAGE)
        self.opened = None

    def _quiet(self, which: Bools) -> None:
        self.tier[which] = Tier.QUIET
        self.since[which] = -1

    def snapshot(self) -> bytes:
        """The whole state."""
        return pack({"tier": self.tier, "since": self.since, "windows": self.windows, "opened": self.opened})

    def restore(self, state: bytes) -> None:
        """Replace the state by one that `snapshot` gave for as many streams; raises `ValueError` if not."""
        fields = unpack(state)
        size = len(self.able)
        tier, since = fields.array("tier", np.int8, size), fields.array("since", np.int64, size)
        opened = None if fields["opened"] is None else fields.count("opened")
        self.windows, self.tier, self.since, self.opened = fields.count("windows"), tier, since, opened
