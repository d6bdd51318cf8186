import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.evidence.multiple import e_bh


@settings(max_examples=100)
@given(st.lists(st.floats(0.001, 1e6), max_size=12), st.sampled_from([0.01, 0.1, 0.5]))
def test_e_bh_rejects_the_largest_set_that_may_be(values, alpha):
    e = np.array(values)
    size = len(e)
    allowed = [k for k in range(1, size + 1) if np.sort(e)[::-1][k - 1] >= size / (k * alpha) * (1 - 1e-12)]
    rejected = e_bh(np.log(e), alpha)
    assert rejected.sum() == max(allowed, default=0)
    assert not rejected.any() or e[rejected].min() >= e[~rejected].max(initial=0)


def test_no_evidence_rejects_nothing():
    assert not e_bh(np.array([np.nan, -np.inf, 0.0]), 0.1).any()
    assert e_bh(np.array([np.nan, np.inf]), 0.1).tolist() == [False, True]


def test_of_true_hypotheses_few_are_rejected_whatever_their_dependence():
    rng = np.random.default_rng(0)
    share = []
    for _ in range(2000):
        z = 0.9 * rng.standard_normal() + np.sqrt(1 - 0.81) * rng.standard_normal(20)
        z[:5] += 4
        rejected = e_bh(3 * z - 4.5, 0.1)
        share.append(rejected[5:].sum() / max(rejected.sum(), 1))
    assert np.mean(share) <= 0.1
