"""A rollout: the challenger's share of the traffic grows on evidence, and falls to nothing at once on harm.

All that it knows are cohorts: requests of one window, divided with one share, with the labels both arms
have. It decides; orders, approval and the ledger are elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, Literal, Self

from detectors.base import Floats
from detectors.experiment.arms import Arms
from detectors.experiment.design import DesignTest
from detectors.experiment.difference import Band, Difference
from detectors.experiment.fairness import SampleRatio
from detectors.experiment.loss import LossTest
from detectors.summaries.packing import pack, unpack
from observer.actions.guards import Answered, Copies, Guards
from observer.actions.rollout_spec import RolloutSpec
from observer.actions.steps import Cohort, Point, Reason, Result, Step, Verb
from observer.windows import duration

_TESTS: Final = ("design", "arrival")
_LEAN: Final = (math.log(2), math.log(4))
"""Before a step up, and before the last one."""
_WINDOWS: Final = 2
"""That a shadow takes at least: what counts as slow follows from the windows before."""
HISTORY: Final = 1_000
"""Cohorts whose estimate is kept for the plot."""


@dataclass(slots=True)
class Rollout:
    """The state of one rollout; everything it needs after a restart is in its bytes.

    Attributes
    ----------
    share : float
        Percent that the challenger gets, as last read back from the platform.
    shadow : float
        Percent of the requests that it answers copies of, likewise.
    since : float
        From when on it gets that, seconds since the epoch.
    paused : str
        Reason; "" while it goes on.
    promoted_at : float or None
    result : str
        "" while it is under way.
    """

    model: str
    champion: str
    challenger: str
    spec: RolloutSpec
    started: float
    share: float = 0.0
    since: float = 0.0
    paused: str = ""
    promoted_at: float | None = None
    result: Result | Literal[""] = ""
    last: float = 0.0
    """End of the last cohort."""
    seen: float = 0.0
    """When it came."""
    at_step: float = 0.0
    """Labelled requests of the challenger at this step."""
    design: DesignTest = field(default_factory=DesignTest)
    difference: Difference = field(default_factory=Difference)
    ratio: SampleRatio = field(default_factory=SampleRatio)
    arrival: DesignTest = field(default_factory=DesignTest)
    guards: Guards = field(default_factory=Guards)
    losses: LossTest | None = None
    """Of a regression: what the evidence is by, instead of `design`."""
    history: list[Point] = field(default_factory=list)
    shadow: float = 0.0
    copies: Copies = field(default_factory=Copies)
    extended: float = 0.0
    """When a person had it go on without a verdict: the deadline counts from then."""

    @property
    def deadline(self) -> float:
        """When it pauses without a verdict, seconds since the epoch."""
        return max(self.started, self.extended) + self.spec.deadline / 1000

    @property
    def id(self) -> str:
        """Names it in the ledger."""
        return f"{self.model}/{self.challenger}/{int(self.started)}"

    def observe(self, cohort: Cohort, now: float) -> bool:
        """Take a cohort; False for one that came before, that is out of order, or not of one share.

        Requests near a change of the share are left out: nobody knows with which share they were divided.
        """
        if cohort.start < max(self.since, self.last) or self.result or not 0 < self.share < 100:
            return False
        if cohort.labelled.share != self.share / 100:
            return False
        self.last = cohort.end
        if cohort.outcomes.n:
            self.seen = now
        outcomes = cohort.outcomes if cohort.losses is None else self._within(cohort, cohort.losses)
        if outcomes is not None:
            self.design.update(outcomes)
            self.difference = self.difference.plus(Difference.of(outcomes))
        self.ratio.update(cohort.labelled.share, cohort.labelled.challenger, cohort.labelled.champion)
        self.arrival.update(cohort.labelled)
        self.at_step += cohort.outcomes.challenger
        band = self.band
        self.history.append(Point(cohort.end, self.share, *band, self.better, self.worse))
        del self.history[:-HISTORY]
        return True

    def _within(self, cohort: Cohort, losses: tuple[Floats, Floats]) -> Arms | None:
        """Whose errors are within the median of the past: what a regression's estimate is about."""
        if self.losses is None:
            self.losses = LossTest.fresh(len(losses[0]))
        past = self.losses.past.cumsum()
        hits = [0.0, 0.0]
        if past[-1] > 0:
            middle = int((past < past[-1] / 2).sum()) + 1
            hits = [float(each[:middle].sum()) for each in losses]
        self.losses.update(cohort.outcomes.share, *losses)
        n1, n0 = (float(each.sum()) for each in losses)
        return Arms(cohort.outcomes.share, n1, n0, *hits) if past[-1] > 0 else None

    @property
    def better(self) -> float:
        """Natural logarithm of the evidence that the challenger is better."""
        return self.design.more if self.losses is None else self.losses.smaller

    @property
    def worse(self) -> float:
        """Natural logarithm of the evidence that it is worse."""
        return self.design.fewer if self.losses is None else self.losses.larger

    def answered(self, window: Answered) -> bool:
        """Take how requests of a window were answered; False as for `observe`."""
        late = window.start < max(self.since, self.guards.last)
        if late or self.result or not self.drawn or window.share != self.drawn:
            return False
        if self.shadow:
            self.seen = max(self.seen, window.end)
            self.copies.update(window, self.shadow)
        elif window.challenger.copied:
            return False  # copies and requests that were served cannot be told apart in it
        self.guards.update(window)
        return True

    @property
    def drawn(self) -> float:
        """Chance that an answer is the challenger's; 0 while the champion has no company.

        Of copies of p percent of the requests, p/(1+p): a copy never takes a request's place.
        """
        if self.shadow:
            return self.shadow / (100 + self.shadow)
        return self.share / 100 if self.share < 100 else 0.0

    @property
    def band(self) -> Band:
        """Right predictions: the challenger's rate less the champion's, with bounds valid at all times."""
        # Tightest after a few thousand requests in two equal arms, at the rate so far.
        rate = min(max(self.design.hits / self.design.n, 0.01), 0.99)
        planned = max(self.spec.minimum * len(self.spec.steps), 1_000) * rate * (1 - rate) / 2
        return self.difference.band(self.spec.alpha, planned)

    def applied(self, share: float, now: float, shadow: float = 0.0) -> None:
        """The platform serves this share, and copies so many requests."""
        if (share, shadow) != (self.share, self.shadow):
            self.share, self.shadow, self.since, self.at_step = share, shadow, now, 0.0
        self.seen = max(self.seen, now)
        if share == 100 and self.promoted_at is None:
            self.promoted_at = now
            self.paused = ""
        elif share == shadow == 0 and self.started < now and not self.result:
            self.result = "rolled_back"

    def decide(
        self,
        now: float,
        *,
        drift: bool = False,
        page: str = "",
        largest_step: float = 100.0,
        maturity: float = 0.0,
    ) -> Step:
        """What to do now.

        Parameters
        ----------
        now : float
            Seconds since the epoch.
        drift : bool
            Whether the challenger's own inputs have drifted from its reference.
        page : str
            Why it must go back whatever the evidence, such as a page about the challenger; "" without.
        largest_step : float
            The most percent by which one step may raise the share.
        maturity : float
            Seconds that a cohort's labels take to mature: silence counts from then on only.
        """
        if self.result:
            return self._say("finish", self.share, "stable", f"over: {self.result}")
        if self.promoted_at is not None:
            return self._watch(now, page)
        harm = self._harm()
        if harm is not None:
            return harm
        if page:
            return self._say("rollback", 0.0, "watch", page)
        if self.paused:
            return self._say("wait", self.share, "held", f"paused: {self.paused}")
        unfair = self._unfair(drift=drift)
        if unfair is not None:
            return unfair
        return self._onward(now, largest_step, maturity)

    def _harm(self) -> Step | None:
        spec = self.spec
        if self.guards.errors.harmed(spec.guard_alpha):
            return self._say("rollback", 0.0, "more_errors", "the challenger fails more often")
        if self.guards.slow.harmed(spec.guard_alpha):
            return self._say("rollback", 0.0, "slower", "the challenger is slow more often")
        if self.worse >= math.log(2 / spec.alpha):
            return self._say("rollback", 0.0, "worse", f"{self._what}: {self._told()}")
        return None

    def _unfair(self, *, drift: bool) -> Step | None:
        guard = math.log(1 / self.spec.guard_alpha)
        if self.copies.unmarked:
            detail = (
                f"{self.copies.unmarked} requests of {self.challenger} are logged as served, not as shadow"
            )
            return self._say("pause", self.share, "copies_unmarked", detail)
        if self.copies.missing(guard):
            return self._say("pause", self.share, "copies_missing", self.copies.told)
        if self.ratio.evidence >= guard:
            detail = "requests are not divided as they were meant to be (sample-ratio mismatch)"
            return self._say("pause", self.share, "sample_ratio", detail)
        if max(self.arrival.more, self.arrival.fewer) >= guard:
            detail = "labels come for one arm more often than for the other: the arms cannot be compared"
            return self._say("pause", self.share, "label_mismatch", detail)
        if drift:
            detail = f"what {self.challenger} gets is not what it was trained on"
            return self._say("pause", self.share, "challenger_drift", detail)
        return None

    def _onward(self, now: float, largest_step: float, maturity: float) -> Step:
        spec, band = self.spec, self.band
        if (self.share or self.shadow) and now >= self.seen + max(spec.no_data / 1000, maturity):
            silence = duration(round(now - self.seen) * 1000)
            detail = f"no {'window' if self.shadow else 'cohort'} of both arms for {silence}"
            return self._say("pause", self.share, "no_data", detail)
        better = self.better >= math.log(2 / spec.alpha)
        not_worse = spec.margin is not None and band.lower > -spec.margin
        enough = self.at_step >= spec.minimum and now >= self.since + spec.bake / 1000
        if enough and (better or not_worse):
            reason: Reason = "better" if better else "not_worse"
            if not spec.randomised:
                detail = f"it looks {reason.replace('_', ' ')}, but requests are not divided at random"
                return self._say("pause", self.share, "not_randomised", detail)
            if 100 - self.share > largest_step:
                return self._advance(100.0, largest_step, reason, self._told())
            return self._say("promote", 100.0, reason, f"{self._what}: {self._told()}")
        if now >= self.deadline:
            detail = f"no verdict in {duration(spec.deadline)}: {self._told()}"
            return self._say("pause", self.share, "inconclusive", detail)
        following = [step for step in spec.steps if step > self.share]
        if self.share == 0:
            return self._before_the_first(now, largest_step)
        if not enough:
            if self.at_step < spec.minimum:
                detail = f"{self.at_step:g} labelled requests at this step; {spec.minimum} are needed"
                return self._say("wait", self.share, "samples_too_few", detail)
            return self._say("wait", self.share, "baking", f"each step takes {duration(spec.bake)} at least")
        if not following:
            return self._say("wait", self.share, "gathering", self._told())
        lean = self.better - self.worse
        if band.lower > -spec.gross and lean > self._needed(last=True):
            detail = f"a loss of {spec.gross:g} is excluded: {self._told()}"
            return self._advance(following[-1], largest_step, "gross_harm_excluded", detail)
        if lean > self._needed(last=len(following) == 1):
            return self._advance(following[0], largest_step, "no_harm", self._told())
        detail = f"no more traffic before it looks {'no worse' if spec.margin else 'better'}: {self._told()}"
        return self._say("wait", self.share, "not_better_yet", detail)

    def _needed(self, *, last: bool) -> float:
        """By how much the evidence for better must outweigh that for worse before a step up.

        What harm costs until it is proved grows with the share, as 1/(1-share), whatever time that takes.
        One that need only be no worse may look a little worse.
        """
        if self.spec.margin is not None:
            return -_LEAN[0]
        return _LEAN[last]

    def _before_the_first(self, now: float, largest_step: float) -> Step:
        shadow = self.spec.shadow
        if shadow is None:
            return self._advance(self.spec.steps[0], largest_step, "no_harm", "the first step")
        if not self.shadow:
            detail = f"copies of {shadow.percent:g}% of the requests, answered to nobody"
            return Step("shadow", 0.0, "shadow_first", detail, shadow.percent)
        few = self.copies.answered < shadow.minimum or self.copies.windows < _WINDOWS
        if few or now < self.since + shadow.bake / 1000:
            least = f"{shadow.minimum} and {duration(shadow.bake)} are needed"
            return self._say("wait", 0.0, "shadowing", f"{self.copies.answered} copies answered; {least}")
        detail = f"{self.copies.answered} copies answered, no worse than by {self.champion}"
        return self._advance(self.spec.steps[0], largest_step, "no_harm", detail)

    def _advance(self, share: float, largest_step: float, reason: Reason, detail: str) -> Step:
        return self._say("advance", min(share, self.share + largest_step), reason, detail)

    def _watch(self, now: float, page: str) -> Step:
        assert self.promoted_at is not None  # noqa: S101 - asked before
        if page:
            detail = f"promoted {duration(round(now - self.promoted_at) * 1000)} ago; {page}"
            return self._say("rollback", 0.0, "watch", detail)
        if now < self.promoted_at + self.spec.watch / 1000:
            return self._say("wait", 100.0, "baking", "promoted, and watched for a while")
        return self._say("finish", 100.0, "stable", "promoted, and well")

    @property
    def _what(self) -> str:
        return "right predictions" if self.losses is None else "errors within the median"

    def _told(self) -> str:
        band = self.band
        return f"{band.estimate:+.4f} ({band.lower:+.4f} to {band.upper:+.4f})"

    def _say(self, verb: Verb, share: float, reason: Reason, detail: str) -> Step:
        copying = verb in ("wait", "pause")
        return Step(verb, share, reason, detail, self.shadow if copying else 0.0)

    # People

    def pause(self, reason: str) -> None:
        """Stop advancing; harm still rolls it back."""
        self.paused = reason

    def resume(self, now: float) -> None:
        """Go on, with what comes from now on: how requests were divided meanwhile nobody knows."""
        self.extended = now if self.paused == "inconclusive" else self.extended
        self.paused = ""
        self.since = self.seen = now
        self.ratio, self.arrival, self.copies = SampleRatio(), DesignTest(), Copies()
        self.guards = Guards(past=self.guards.past, last=self.guards.last)

    def jumped(self, seconds: float) -> None:
        """The machine's clock was set: times that are counted from go with it, but for that in its name."""
        self.since += seconds
        self.seen += seconds
        self.extended += seconds if self.extended else 0.0
        self.promoted_at = None if self.promoted_at is None else self.promoted_at + seconds

    def to_bytes(self) -> bytes:
        """The whole state."""
        return pack(
            {
                "model": self.model,
                "champion": self.champion,
                "challenger": self.challenger,
                "spec": self.spec.model_dump_json(exclude_none=True),
                "times": [self.started, self.since, self.last, self.seen, self.at_step, self.share],
                "shadow": self.shadow,
                "extended": self.extended,
                "copies": self.copies.to_bytes(),
                "promoted_at": self.promoted_at,
                "paused": self.paused,
                "result": self.result,
                **{name: getattr(self, name).to_bytes() for name in _TESTS},
                "ratio": self.ratio.to_bytes(),
                "guards": self.guards.to_bytes(),
                "losses": self.losses.to_bytes() if self.losses is not None else b"",
                "difference": list(self.difference),
                "history": [list(point) for point in self.history],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What `to_bytes` gave; raises `ValueError` for anything else."""
        fields = unpack(data)
        started, since, last, seen, at_step, share = fields["times"]
        design, arrival = (DesignTest.from_bytes(fields.packed(name)) for name in _TESTS)
        return cls(
            fields["model"],
            fields["champion"],
            fields["challenger"],
            RolloutSpec.model_validate_json(fields["spec"], extra="ignore"),  # a later release may know more
            started,
            share,
            since,
            fields["paused"],
            fields["promoted_at"],
            fields["result"],
            last,
            seen,
            at_step,
            design,
            Difference(*fields["difference"]),
            SampleRatio.from_bytes(fields.packed("ratio")),
            arrival,
            Guards.from_bytes(fields.packed("guards")),
            LossTest.from_bytes(fields.packed("losses")) if fields["losses"] else None,
            [Point(*one) for one in fields["history"]],
            fields.get("shadow", 0.0),
            Copies.from_bytes(fields.packed("copies")) if "copies" in fields else Copies(),
            fields.get("extended", 0.0),
        )
