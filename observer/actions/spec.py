"""What the configuration says of actions: rules, guards, whose word is needed."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema

from observer.actions.base import Approval
from observer.windows import Milliseconds

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WhenSpec(_Section):
    """What sets a rule off: exactly one of these."""

    finding: Literal["page", "ticket"] | None = None
    """A finding of this tier, or a graver one."""
    objective: Literal["page", "ticket"] | None = None
    """An objective burns its budget so fast that it calls for a page, or at least a ticket."""
    every: Annotated[Milliseconds, Field(ge=60_000)] | None = None
    """A schedule: once in each such stretch of time, counted from the epoch."""
    alert: dict[str, str] | None = None
    """An alert from outside, through Alertmanager's webhook, that has all these labels."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            named = ", ".join(given) or "none"
            raise ValueError(f"accepted: exactly one of finding, objective, every, alert; given: {named}")
        if self.alert is not None and not self.alert:
            raise ValueError("alert: accepted: at least one label, as in {alertname: FeatureStoreStale}")
        return self


def as_approval(value: object) -> object:
    """`automatic` and `required` alone, as a mapping."""
    return {"mode": value} if isinstance(value, str) else value


class ApprovalSpec(_Section):
    """Whose word an action needs: `automatic`, `required`, or `unless_rejected_within: 30m`."""

    mode: Literal["automatic", "required"] | None = None
    """`automatic`: nobody is asked; `required`: a person approves it. It may stand alone."""
    unless_rejected_within: Annotated[Milliseconds, Field(ge=1_000)] | None = None
    """It starts by itself after this time, unless a person rejects it or puts it on hold."""
    expires: Annotated[Milliseconds, Field(ge=60_000)] = 86_400_000
    """How long one that is required is waited for."""
    silence: Literal["approve", "hold"] | None = None
    """What a silence in Alertmanager, whose author nobody has verified, may do: `approve` too, or only
    `hold` and reject. By default it approves only what lowers exposure."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.mode is None) == (self.unless_rejected_within is None):
            raise ValueError("accepted: automatic, required, or a mapping with unless_rejected_within: 30m")
        return self

    def approval(self, *, lowers_exposure: bool) -> Approval:
        """What it means for one action."""
        by_silence = lowers_exposure if self.silence is None else self.silence == "approve"
        if self.unless_rejected_within is not None:
            return Approval("unless_rejected", self.unless_rejected_within / 1000, by_silence)
        if self.mode == "automatic":
            return Approval("automatic", 0.0, by_silence)
        return Approval("required", self.expires / 1000, by_silence)


class _OrWord:
    """JSON Schema: a word alone, or the mapping."""

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"enum": ["automatic", "required"]}, handler(core_schema)]}


ApprovalWish = Annotated[ApprovalSpec, BeforeValidator(as_approval), _OrWord()]
"""In the configuration a word or a mapping."""


class RuleSpec(_Section):
    """When something happens, what is done about it."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    """Lower-case letters, digits, - and _; unique within the model."""
    when: WhenSpec
    do: Literal["retrain", "rollback", "notify", "start_rollout", "advance_rollout", "pause_rollout"]
    """What is done: a pipeline runs, the champion gets all traffic back, somebody is told; a rollout starts,
    of the version that the alert's label `challenger` names, takes its next step whatever the evidence, or
    pauses."""
    target: str = ""
    """Name under `targets`; none for rollouts, which have their own."""
    approval: ApprovalWish = ApprovalSpec(mode="required")
    cooldown: Annotated[Milliseconds, Field(ge=0)] = 86_400_000
    """After it has fired, it rests for so long."""
    fresh_labels: Annotated[int, Field(ge=0)] = 0
    """It waits until so many labelled predictions have come since the change began: enough to learn from."""
    parameters: dict[str, str | int | float | bool] = {}
    """Handed to the target as they are, beside what the service adds."""
    give_up: Annotated[Milliseconds, Field(ge=1_000)] = 86_400_000
    """It counts as failed when it is not done so long after it was approved."""

    @model_validator(mode="after")
    def _meaningful(self) -> Self:
        of_rollout = self.do.endswith("_rollout")
        if of_rollout and self.target:
            raise ValueError(
                f"target: {self.target!r}; accepted: none with {self.do}, the rollout has its own"
            )
        if not of_rollout and not self.target:
            raise ValueError(f"target is missing; accepted: a name under `targets`, for {self.do}")
        if self.do == "start_rollout" and self.when.alert is None:
            raise ValueError(
                "when: accepted: alert, whose label `challenger` names the version, for start_rollout"
            )
        return self


class FreezeSpec(_Section):
    """Hours in which nothing starts; what is running goes on, and roll-backs always may."""

    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = DAYS
    """On which it begins."""
    start: str = "00:00"
    """Local time (`judge.utc_offset`), as 22:00."""
    end: str = "24:00"
    """Up to, not including; before `start` it is of the next day."""

    @field_validator("start", "end")
    @classmethod
    def _time(cls, value: str) -> str:
        if not (_TIME.fullmatch(value) or value == "24:00"):
            raise ValueError(f"{value!r:.20} is no time of day; accepted: 00:00 to 24:00")
        return value

    def covers(self, local: float) -> bool:
        """Whether a time lies in it, seconds since the epoch, local."""
        day, second = divmod(local, 86_400)
        begin, end = _seconds(self.start), _seconds(self.end)
        today = DAYS[(int(day) + 3) % 7]  # the epoch began on a Thursday
        yesterday = DAYS[(int(day) + 2) % 7]
        if begin < end:
            return today in self.days and begin <= second < end
        return (today in self.days and second >= begin) or (yesterday in self.days and second < end)


def _seconds(time: str) -> int:
    hours, _, minutes = time.partition(":")
    return int(hours) * 3600 + int(minutes) * 60


class GuardSpec(_Section):
    """What holds for all actions of a model."""

    most_per_day: Annotated[int, Field(ge=1)] = 4
    """Actions that may start within 24 hours; roll-backs do not count."""
    concurrent: Annotated[int, Field(ge=1)] = 1
    """Actions that may be open at once; roll-backs do not count."""
    freeze: tuple[FreezeSpec, ...] = ()
    """Hours in which nothing starts."""
    largest_step: Annotated[float, Field(gt=0, le=100)] = 50.0
    """The most whole percents of the traffic by which one step may raise a challenger's share."""
    dry_run: bool = False
    """Decide and say everything, do nothing, whoever approves it; a person can still take traffic back."""

    def frozen(self, local: float) -> str:
        """The freeze that a time lies in, in words; seconds since the epoch, local; empty without one."""
        for one in self.freeze:
            if one.covers(local):
                return f"nothing starts from {one.start} to {one.end} on {', '.join(one.days)}"
        return ""


class ActionsSpec(_Section):
    """What is done about a model's findings."""

    rules: tuple[RuleSpec, ...] = ()
    """When something happens, what is done."""
    guards: GuardSpec = GuardSpec()
    """What holds all of them back."""

    @field_validator("rules")
    @classmethod
    def _distinct(cls, rules: tuple[RuleSpec, ...]) -> tuple[RuleSpec, ...]:
        names = [rule.name for rule in rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"accepted: each rule's name once; more than once: {', '.join(twice)}")
        return rules
