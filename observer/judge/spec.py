"""What a model's configuration says to the judge."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    TypeAdapter,
    field_validator,
)

from detectors import catalog
from detectors.base import DetectorError
from detectors.online.spec import OnlineSpec
from detectors.registry import Registry
from detectors.statistical.spec import Spec
from detectors.watch.streams import MINIMA
from observer.model import Tier


class _Known:
    """A detector of one family: its name, or a mapping with `type` and parameters."""

    def __init__(self, family: Registry[Any], spec: type[BaseModel]) -> None:
        self._family, self._spec = family, spec

    def __call__(self, value: object) -> object:
        """The detector itself."""
        if isinstance(value, str):
            value = {"type": value}
        if isinstance(value, self._spec):
            return value
        name = value.get("type") if isinstance(value, dict) else None
        if not isinstance(value, dict) or name is None:
            known = ", ".join(sorted(self._family.all()))
            raise ValueError(
                f"accepted: a detector's name, or a mapping with its name as type; names: {known}"
            )
        usual = Spec.model_fields["alpha"].default  # which a dump of a detector has
        if self._spec is Spec and value.get("alpha", usual) != usual:
            msg = f"detector {name!r}: no alpha of its own: one level holds for a whole window, judge.alpha"
            raise ValueError(msg)
        try:
            return self._family.build(str(name), **{k: v for k, v in value.items() if k != "type"})
        except DetectorError as error:
            raise ValueError(str(error).replace("accepted: alpha, ", "accepted: ")) from error

    def __get_pydantic_json_schema__(self, _core: object, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        full = handler(TypeAdapter(self._family.spec_type()).core_schema)
        return {"anyOf": [{"enum": sorted(self._family.all())}, full]}


_WINDOWED, _ONLINE = _Known(catalog.WINDOWED, Spec), _Known(catalog.ONLINE, OnlineSpec)


class Attention(BaseModel):
    """What a person says of how one feature is watched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tier: Tier = "page"
    """The most that a change of this feature may lead to: `page`, `ticket` or `info`."""
    minimum: dict[str, Annotated[float, Field(ge=0, lt=1_000)]] = {}
    """Smallest effect that matters, by statistic: `location`, `spread`, `total_variation`, `missing` ..."""

    @field_validator("minimum")
    @classmethod
    def _known(cls, minimum: dict[str, float]) -> dict[str, float]:
        return known_statistics(minimum)


def known_statistics(minimum: dict[str, float]) -> dict[str, float]:
    """The same, if all are statistics that are watched; raises `ValueError` naming those that are."""
    unknown = sorted(set(minimum) - set(MINIMA))
    if unknown:
        msg = f"no statistic {', '.join(map(repr, unknown))}; accepted: {', '.join(MINIMA)}"
        raise ValueError(msg)
    return minimum


class JudgeSpec(BaseModel):
    """Which detectors judge a window, and how sure they must be."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.0001
    """Chance that an unchanged window of independent rows shows any drift at all (Holm over all verdicts)."""
    detectors: tuple[Annotated[Any, BeforeValidator(_WINDOWED), _WINDOWED], ...] | None = None
    """Names or parameters of detectors, for the kinds of column each applies to; default: the catalog's. With
    `[]` single windows are not judged, and evidence alone raises pages and tickets."""
    online: tuple[Annotated[Any, BeforeValidator(_ONLINE), _ONLINE], ...] = ()
    """Names or parameters of online detectors, which follow each version's windows in their order; a change
    that one finds is a ticket at most."""
    correction: Literal["holm", "benjamini_hochberg", "e_bh"] = "holm"
    """How the verdicts of one window are corrected for their number: `holm` bounds the chance of any false
    one, `benjamini_hochberg` and `e_bh` (under any dependence) the share of false ones."""
    evidence: Literal["adapter", "conformal"] = "adapter"
    """Where the evidence over time comes from: `adapter` models season and autocorrelation; `conformal` ranks
    each window among the reference windows, which keeps the budget by theorem where windows are
    exchangeable, and only there."""
    minimum: dict[str, Annotated[float, Field(ge=0, lt=1_000)]] = {}
    """Smallest effect that may page, by watched statistic: `location` 0.02, `spread` 0.06, `total_variation`
    0.02 ...; of a feature: `features.<name>.minimum`."""
    bound_alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Chance that the lower bound of an effect is ever above it."""
    utc_offset: Annotated[float, Field(ge=-14, le=14)] = 0.0
    """Hours by which the users' local time is ahead of UTC: days and weekends are theirs."""

    @field_validator("minimum")
    @classmethod
    def _watched(cls, minimum: dict[str, float]) -> dict[str, float]:
        return known_statistics(minimum)

    @field_validator("detectors", "online")
    @classmethod
    def _once(cls, detectors: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        names = [detector.name for detector in detectors or ()]
        again = sorted({name for name in names if names.count(name) > 1})
        if again:  # their verdicts would share one series
            raise ValueError(f"accepted: each detector once; more than once: {', '.join(again)}")
        return detectors
