"""Which windows and factors alert: data files, the field's two usual ones packaged with the service."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from observer.errors import ConfigError
from observer.windows import Milliseconds, duration

Packaged = Literal["google-30d", "pyrra-28d"]
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
RATES = (5 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR, DAY, 3 * DAY)
"""Windows whose burn rates are given whatever alerts; those of Sloth's recording rules."""


class AlertRule(BaseModel):
    """One rule: both windows burn faster than the factor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    severity: Literal["page", "ticket"]
    """Whether it calls somebody or waits for working hours."""
    short: Annotated[Milliseconds, Field(ge=1_000)]
    """So that it ends soon after the burning does."""
    long: Annotated[Milliseconds, Field(ge=1_000)]
    """So that a moment does not set it off."""
    factor: Annotated[float, Field(gt=0)]
    """Burn rate above which it fires."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.short >= self.long:
            raise ValueError(f"short, {duration(self.short)}, must be less than long, {duration(self.long)}")
        return self


class BurnWindows(BaseModel):
    """The rules of one data file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    period: Annotated[Milliseconds, Field(ge=1_000)]
    """The objective's window that the factors were chosen for."""
    alerts: Annotated[tuple[AlertRule, ...], Field(min_length=1, max_length=8)]
    """The pairs of windows that alert."""

    def spanning(self, size: int) -> tuple[AlertRule, ...]:
        """The rules for events that come `size` milliseconds apart.

        A short window needs two of them, or it is empty most of the time; a rule without room for that in
        its long window is left out.
        """
        stretched = (rule.model_copy(update={"short": max(rule.short, 2 * size)}) for rule in self.alerts)
        return tuple(rule for rule in stretched if rule.short < rule.long)


def read(name: str | Path | BurnWindows) -> BurnWindows:
    """Packaged burn windows by name, or those of a file, or these.

    Raises
    ------
    ConfigError
        The file cannot be read, or is none of burn windows.
    """
    if isinstance(name, BurnWindows):
        return name
    packaged = files("observer.slo") / "burn_windows" / f"{name}.yaml"
    try:
        text = packaged.read_text("utf-8") if isinstance(name, str) else name.read_text("utf-8")
        return BurnWindows.model_validate(yaml.safe_load(text))
    except OSError as error:
        raise ConfigError([f"{name}: cannot be read: {error.strerror}"]) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError([f"{name}: is no YAML"]) from error
    except ValidationError as error:
        told = (
            f"{name}: {'.'.join(map(str, one['loc'])) or 'the file'}: {one['msg']}" for one in error.errors()
        )
        raise ConfigError(list(told)) from error
