"""Every detector by name: the built-in ones, and third parties' from the entry-point group.

A plugin's distribution declares, under `[project.entry-points."observer.detectors"]`, a name and a
`Spec` subclass whose `type` is that name. It is loaded when it is first asked for; one that cannot be
loaded is reported by `problems()` and stops nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from typing import Annotated, Any, Protocol, TypeAlias, Union

from pydantic import Field, TypeAdapter, ValidationError

from detectors.base import DetectorError, Verdict
from detectors.learned.fourier import FourierMmd
from detectors.statistical.covariance import Covariance
from detectors.statistical.data_quality import (
    Constant,
    Duplicates,
    Missing,
    OutOfRange,
    TypeErrors,
    UnseenCategories,
)
from detectors.statistical.homogeneity import ChiSquare, GTest, TotalVariation
from detectors.statistical.jensen_shannon import JensenShannon
from detectors.statistical.ks import KolmogorovSmirnov
from detectors.statistical.psi import PopulationStability
from detectors.statistical.spec import Kind, Spec
from detectors.statistical.wasserstein import Wasserstein
from detectors.summaries.table import TableSummary

GROUP = "observer.detectors"

BUILT_IN: tuple[type[Spec], ...] = (
    KolmogorovSmirnov,
    Wasserstein,
    PopulationStability,
    JensenShannon,
    GTest,
    ChiSquare,
    TotalVariation,
    Covariance,
    FourierMmd,
    Missing,
    TypeErrors,
    OutOfRange,
    UnseenCategories,
    Constant,
    Duplicates,
)

DEFAULTS: Mapping[Kind, tuple[str, ...]] = {
    "number": ("ks", "wasserstein", "missing", "type_errors", "out_of_range", "constant"),
    "category": ("g_test", "total_variation", "missing", "type_errors", "unseen_categories", "constant"),
    "embedding": ("rff_mmd",),
    "table": ("covariance", "duplicates"),
    "outcomes": (),
}
"""What judges a column of each kind, or a whole table, when nothing is configured."""

_TYPES = {_spec.model_fields["type"].default: _spec for _spec in BUILT_IN}


Compared: TypeAlias = Any
"""The summary that a detector's kind names: see `part`."""
Parameter: TypeAlias = Any
"""Checked against the detector's own fields."""
SpecUnion: TypeAlias = Any
"""A type, but one made at run time."""


class ColumnDetector(Protocol):
    """A built detector: a `Spec` that compares the summaries its `applies_to` names."""

    type: str
    applies_to: tuple[Kind, ...]
    alpha: float

    @property
    def name(self) -> str:
        """The catalog's name."""

    def compare(self, reference: Compared, window: Compared, alpha: float | None = None) -> list[Verdict]:
        """One verdict a column, or one for a table."""


_Loaded: TypeAlias = tuple[dict[str, type[Spec]], list[str]]


@cache
def _plugins() -> _Loaded:
    found: dict[str, type[Spec]] = {}
    wrong = []
    for point in entry_points(group=GROUP):
        try:
            if point.name in _TYPES or point.name in found:
                raise DetectorError("the name is taken")
            found[point.name] = _accepted(point.name, point.load())
        except Exception as error:  # a plugin may fail in any way, and must stop nothing
            wrong.append(f"detector plugin {point.name!r} ({point.value}): {type(error).__name__}: {error}")
    return found, wrong


def _accepted(name: str, loaded: object) -> type[Spec]:
    if not (
        isinstance(loaded, type) and issubclass(loaded, Spec) and callable(getattr(loaded, "compare", None))
    ):
        msg = f"{loaded!r} is not a detectors.statistical.spec.Spec with a compare method"
        raise DetectorError(msg)
    if loaded.model_fields["type"].default != name or not getattr(loaded, "applies_to", ()):
        msg = f"{loaded.__name__} needs `type` to default to {name!r}, and `applies_to`"
        raise DetectorError(msg)
    return loaded


def problems() -> list[str]:
    """Why plugins could not be loaded, one line each."""
    return list(_plugins()[1])


def names(kind: Kind | None = None) -> list[str]:
    """Names of all detectors, or of those for one kind, sorted."""
    everything = {**_plugins()[0], **_TYPES}
    return sorted(name for name, spec in everything.items() if kind is None or kind in spec.applies_to)


def find(name: str) -> type[Spec]:
    """The detector's class. Raises `DetectorError`, naming the choices, when there is none."""
    spec = _TYPES.get(name) or _plugins()[0].get(name)
    if spec is None:
        close = get_close_matches(name, names(), n=1)
        hint = f", did you mean {close[0]!r}?" if close else ""
        broken = "".join(f"; {line}" for line in problems())
        msg = f"unknown detector {name!r}{hint} Accepted: {', '.join(names())}{broken}"
        raise DetectorError(msg)
    return spec


def build(name: str, **params: Parameter) -> ColumnDetector:
    """The detector with these parameters. Raises `DetectorError` with everything that is wrong."""
    spec = find(name)
    try:
        return spec.model_validate({"type": name, **params})  # type: ignore[return-value]  # compare: checked
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key = ".".join(map(str, problem["loc"]))
            if problem["type"] == "extra_forbidden":
                accepted = ", ".join(sorted(set(spec.model_fields) - {"type"}))
                lines.append(f"detector {name!r}: unknown parameter {key!r}; accepted: {accepted}")
            else:
                lines.append(f"detector {name!r}: {key}={problem['input']!r}: {problem['msg']}")
        raise DetectorError("\n".join(lines)) from error


def defaults(kind: Kind) -> list[ColumnDetector]:
    """The default detectors of a kind."""
    return [build(name) for name in DEFAULTS[kind]]


def part(kind: Kind, summary: TableSummary) -> Compared:
    """What a detector of `kind` compares, out of a table's summary."""
    if kind == "number":
        return summary.numbers
    if kind == "embedding":
        return summary.embeddings
    return summary.categories if kind == "category" else summary


def spec_type() -> SpecUnion:
    """The union of all detectors' parameters, tagged by `type`, for a pydantic field."""
    specs = tuple(find(name) for name in names())
    return Annotated[Union[specs], Field(discriminator="type")]  # noqa: UP007 - the union is built at run time


def json_schema() -> dict[str, Any]:
    """JSON Schema of one configured detector."""
    return TypeAdapter(spec_type()).json_schema()
