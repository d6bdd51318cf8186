"""What the configuration says of rollouts."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, field_validator, model_validator

from observer.actions.spec import ApprovalSpec, ApprovalWish
from observer.windows import Milliseconds, duration


class GateSpec(BaseModel):
    """A server that is posted each step before it is taken; only 200 lets it pass."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: HttpUrl
    """Whole address, with its path."""
    token: SecretStr = SecretStr("")
    """Bearer token."""
    secret: SecretStr = SecretStr("")
    """Signs each body: `X-Observer-Signature: sha256=` and the HMAC."""
    every: Annotated[Milliseconds, Field(ge=1_000)] = 60_000
    """How often it is asked again while it does not say 200."""


class ShadowSpec(BaseModel):
    """Copies of requests that the challenger answers before it serves any; nobody is given its answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    percent: Annotated[int, Field(ge=1, le=100)] = 100
    """Of the requests, how many are copied."""
    bake: Annotated[Milliseconds, Field(ge=0)] = 3_600_000
    """The least time that they are."""
    minimum: Annotated[int, Field(ge=1)] = 1_000
    """Copies that must have been answered."""


class RolloutSpec(BaseModel):
    """How a challenger meets the champion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: Annotated[str, Field(min_length=1)]
    """Name of the traffic target under `targets`."""
    steps: Annotated[tuple[float, ...], Field(min_length=1)] = (5.0, 20.0, 50.0)
    """Whole percents of the traffic that the challenger gets, one after another; promotion is 100. A step up
    waits until it looks better than worse."""
    shadow: ShadowSpec | None = None
    """Before the first step the challenger answers copies of requests; for targets that can copy them."""
    bake: Annotated[Milliseconds, Field(ge=0)] = 3_600_000
    """The least time at each step."""
    minimum: Annotated[int, Field(ge=1)] = 200
    """Labelled requests of the challenger that each step needs."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Chance that a challenger which is no better is promoted, or one no worse rolled back, for being so."""
    margin: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Promote one that is not worse by more than this (difference of rates); by default it must be better."""
    gross: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Once a loss of this much (difference of rates) is excluded, the share jumps to the last step."""
    guard_alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    """The same chance for each guardrail and for the checks that the comparison is fair."""
    no_data: Annotated[Milliseconds, Field(ge=60_000)] = 6 * 3_600_000
    """It pauses when no cohort has come for so long, or after the labels' horizon where that is longer."""
    deadline: Annotated[Milliseconds, Field(ge=60_000)] = 28 * 86_400_000
    """After so long without a verdict it pauses as inconclusive."""
    watch: Annotated[Milliseconds, Field(ge=0)] = 86_400_000
    """After promotion a page about the new version rolls it back, for so long."""
    start: Literal["by_hand", "after_retrain"] = "by_hand"
    """`after_retrain`: a retraining that names a new version starts a rollout of it."""
    approval: ApprovalWish = ApprovalSpec(mode="automatic")
    """Whose word a step up needs; going back needs nobody's."""
    promote_approval: ApprovalWish = ApprovalSpec(mode="required")
    """Whose word promotion needs."""
    gate: GateSpec | None = None
    """A server that is asked before the share is raised; going back needs nobody's leave."""
    randomised: bool = True
    """Whether the platform draws the arm for each request; where it does not (sticky sessions, shares by
    number of replicas) evidence is approximate, and a person must promote."""

    @field_validator("steps")
    @classmethod
    def _rising(cls, steps: tuple[float, ...]) -> tuple[float, ...]:
        if list(steps) != sorted(set(steps)) or not (steps[0] > 0 and steps[-1] < 100):
            raise ValueError("accepted: percentages that rise, above 0 and below 100, as in [5, 20, 50]")
        return steps

    @model_validator(mode="after")
    def _times(self) -> Self:
        baking = self.bake * len(self.steps) + (self.shadow.bake if self.shadow is not None else 0)
        if baking >= self.deadline:
            least, most = duration(baking), duration(self.deadline)
            raise ValueError(f"deadline: {most}; accepted: more than bake for every step takes, {least}")
        return self
