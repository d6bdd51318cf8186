"""Every detector by name: the built-in ones, and third parties' from the entry-point groups.

A plugin's distribution declares a name under `[project.entry-points."observer.detectors"]` for a `Spec`
that compares windows, or under `"observer.online_detectors"` for an `OnlineSpec` (`ONLINE`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, get_args

from detectors.adapters.alibi import AlibiDetect
from detectors.adapters.evidently import Evidently
from detectors.adapters.river import River
from detectors.adapters.river_online import RiverOnline
from detectors.base import Verdict
from detectors.learned.domain_classifier import DomainClassifier
from detectors.learned.fourier import FourierMmd
from detectors.learned.mmd import MaximumMeanDiscrepancy
from detectors.online.adwin import Adwin
from detectors.online.calibration import Calibration
from detectors.online.cramer_von_mises import OnlineCramerVonMises
from detectors.online.mmd import OnlineMMD
from detectors.online.page_hinkley import PageHinkley
from detectors.online.spec import Fed, OnlineSpec
from detectors.registry import Parameter, Registry
from detectors.statistical.anderson_darling import AndersonDarling
from detectors.statistical.covariance import Covariance
from detectors.statistical.cramer_von_mises import CramerVonMises
from detectors.statistical.data_quality import (
    Constant,
    Duplicates,
    Missing,
    OutOfRange,
    TypeErrors,
    UnseenCategories,
)
from detectors.statistical.hellinger import Hellinger
from detectors.statistical.homogeneity import ChiSquare, GTest, TotalVariation
from detectors.statistical.jensen_shannon import JensenShannon
from detectors.statistical.ks import KolmogorovSmirnov
from detectors.statistical.psi import PopulationStability
from detectors.statistical.spec import Kind, Spec
from detectors.statistical.wasserstein import Wasserstein
from detectors.summaries.table import TableSummary

GROUP = "observer.detectors"
ONLINE_GROUP = "observer.online_detectors"

BUILT_IN: tuple[type[Spec], ...] = (
    KolmogorovSmirnov,
    CramerVonMises,
    AndersonDarling,
    Wasserstein,
    PopulationStability,
    JensenShannon,
    Hellinger,
    GTest,
    ChiSquare,
    TotalVariation,
    Covariance,
    FourierMmd,
    MaximumMeanDiscrepancy,
    DomainClassifier,
    Missing,
    TypeErrors,
    OutOfRange,
    UnseenCategories,
    Constant,
    Duplicates,
    AlibiDetect,
    Evidently,
    River,
)

ONLINE_BUILT_IN: tuple[type[OnlineSpec], ...] = (
    Adwin,
    PageHinkley,
    OnlineCramerVonMises,
    OnlineMMD,
    Calibration,
    RiverOnline,
)

DEFAULTS: Mapping[Kind, tuple[str, ...]] = {
    "number": ("ks", "wasserstein", "missing", "type_errors", "out_of_range", "constant"),
    "category": ("g_test", "total_variation", "missing", "type_errors", "unseen_categories", "constant"),
    "embedding": ("rff_mmd", "missing", "type_errors"),
    "table": ("covariance", "duplicates"),
    "outcomes": (),
}
"""What judges a column of each kind, or a whole table, when nothing is configured."""

Compared: TypeAlias = Any
"""The summary that a detector's kind names: see `part`."""


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


def _refused(loaded: type[object]) -> str:
    if not (issubclass(loaded, Spec) and callable(getattr(loaded, "compare", None))):
        return "is not a detectors.statistical.spec.Spec with a compare method"
    return "" if getattr(loaded, "applies_to", ()) else "needs `applies_to`"


def _refused_online(loaded: type[object]) -> str:
    if not (issubclass(loaded, OnlineSpec) and loaded.fresh is not OnlineSpec.fresh):
        return "is not a detectors.online.spec.OnlineSpec with a fresh method"
    known = get_args(Fed)
    return "" if getattr(loaded, "fed", None) in known else f"needs `fed`, one of {', '.join(known)}"


WINDOWED: Registry[Spec] = Registry(GROUP, BUILT_IN, _refused)
ONLINE: Registry[OnlineSpec] = Registry(ONLINE_GROUP, ONLINE_BUILT_IN, _refused_online)

problems, find = WINDOWED.problems, WINDOWED.find
spec_type, json_schema = WINDOWED.spec_type, WINDOWED.json_schema


def names(kind: Kind | None = None) -> list[str]:
    """Names of all detectors of windows, or of those for one kind, sorted."""
    return sorted(name for name, spec in WINDOWED.all().items() if kind is None or kind in spec.applies_to)


def build(name: str, **params: Parameter) -> ColumnDetector:
    """The detector with these parameters. Raises `DetectorError` with everything that is wrong."""
    return WINDOWED.build(name, **params)  # type: ignore[return-value]  # compare: checked


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
