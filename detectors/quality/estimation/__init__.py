"""Quality before labels: estimates of the metrics, with bands, and the skill that says whether to use them.

`fit` learns an estimator from labelled rows of a reference; it is asked with `estimate` for each window, kept
with `to_bytes()` and read again with `read_estimator`.
"""

from detectors.quality.estimation.bbse import LabelShift, estimate_shifted, label_shift
from detectors.quality.estimation.estimate import Estimate, Method
from detectors.quality.estimation.estimator import (
    ClassifierEstimator,
    Estimator,
    RegressionEstimator,
    estimate,
    read_estimator,
)
from detectors.quality.estimation.fit import LabelledRows, fit
from detectors.quality.estimation.skill import Skill, Trust, trust

__all__ = [
    "ClassifierEstimator",
    "Estimate",
    "Estimator",
    "LabelShift",
    "LabelledRows",
    "Method",
    "RegressionEstimator",
    "Skill",
    "Trust",
    "estimate",
    "estimate_shifted",
    "fit",
    "label_shift",
    "read_estimator",
    "trust",
]
