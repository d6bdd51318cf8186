"""alibi-detect's detectors that need PyTorch: `make test-torch`, not part of `make test`.

The environment takes 2 GB and minutes to install.
"""

from __future__ import annotations

from typing import Any

import pytest

from detectors import catalog
from detectors.adapters import process
from detectors.base import Status, Verdict
from tests.services import peers
from tests.unit.adapters.samples import summaries

LINEAR = {"class": "torch.nn.Linear", "args": [2, 2]}
DROPOUT = {
    "class": "torch.nn.Sequential",
    "args": [{"class": "torch.nn.Linear", "args": [2, 1]}, {"class": "torch.nn.Dropout"}],
}
KERNEL = {"class": "alibi_detect.utils.pytorch.DeepKernel", "args": [LINEAR]}
ONLINE = {"ert": 1500, "window_size": 20, "n_bootstraps": 2000}

pytestmark = pytest.mark.services


@pytest.fixture(scope="module", autouse=True)
def _closed():
    yield
    process.close()


def verdicts(detector: str, columns=("amount", "age"), context=(), **kwargs: Any) -> list[Verdict]:
    """Of an unchanged window and of one in which `amount` moved."""
    built = catalog.build(
        "alibi_detect",
        python=peers.interpreter("alibi-torch"),
        timeout=600,
        start_timeout=600,
        memory=8192,
        detector=detector,
        columns=list(columns),
        context=list(context),
        kwargs={"backend": "pytorch", **kwargs},
    )
    reference, *windows = summaries(reference=300, window=200, shift=1.5)
    return [built.compare(reference, window, 0.02)[0] for window in windows]


@pytest.mark.parametrize(
    ("detector", "kwargs"),
    [
        ("MMDDrift", {}),
        ("LSDDDrift", {}),
        ("ContextMMDDrift", {"columns": ["amount"], "context": ["age"]}),
        ("LearnedKernelDrift", {"kernel": KERNEL, "epochs": 2}),
        ("SpotTheDiffDrift", {"epochs": 3, "n_folds": 2}),
        ("ClassifierDrift", {"model": LINEAR, "epochs": 20, "n_folds": 2, "learning_rate": 0.05}),
        ("MMDDriftOnline", ONLINE),
    ],
)
def test_a_shift_is_found_and_nothing_else(detector, kwargs):
    quiet, loud = verdicts(detector, **kwargs)
    assert quiet.status is Status.STABLE, quiet.reason
    assert loud.status is Status.DRIFT, loud.reason
    assert loud.reason.startswith(f"alibi_detect.{detector}: ")


def test_lsdd_online_is_judged():
    """By its own threshold, which unchanged rows were seen to pass within 20 rows."""
    quiet, loud = verdicts("LSDDDriftOnline", **ONLINE)
    assert quiet.status in {Status.STABLE, Status.DRIFT}, quiet.reason
    assert loud.status is Status.DRIFT, loud.reason


@pytest.mark.parametrize(
    ("detector", "kwargs"),
    [
        ("ClassifierUncertaintyDrift", {"model": LINEAR, "preds_type": "logits"}),
        ("RegressorUncertaintyDrift", {"model": DROPOUT, "n_evals": 5, "uncertainty_type": "mc_dropout"}),
    ],
)
def test_uncertainty_of_a_given_model_is_judged(detector, kwargs):
    """The model is drawn at random, so what it is unsure of says little; that it is asked is the test."""
    for verdict in verdicts(detector, **kwargs):
        assert verdict.status in {Status.STABLE, Status.DRIFT}, verdict.reason
        assert verdict.p_value is not None
        assert 0 <= verdict.p_value <= 1
