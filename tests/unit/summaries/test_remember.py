import gc
import weakref

import numpy as np

from detectors.base import Categories
from detectors.summaries.categories import CategoryCounts, Vocabularies
from detectors.summaries.remember import per_reference


def counts(codes: list[int]) -> CategoryCounts:
    summary = Vocabularies(("c",), (("a", "b"),), (frozenset(),)).zero()
    values = Categories(np.array(codes, np.int32), ("a", "b"))
    summary.update(0, summary.vocabularies.encode(0, values), values)
    summary.count(len(codes))
    return summary


def test_what_is_learnt_is_kept_until_rows_come_and_no_longer_than_its_reference():
    asked = []

    @per_reference
    def shares(reference: CategoryCounts) -> list[float]:
        asked.append(reference.n)
        return (reference.counts[0, :2] / reference.n).tolist()

    one, other = counts([0, 0, 1, 1]), counts([0, 0, 0, 1])
    assert [shares(one), shares(other), shares(one)] == [[0.5, 0.5], [0.75, 0.25], [0.5, 0.5]]
    assert asked == [4, 4]
    one.merge(counts([1, 1, 1, 1]))
    assert shares(one) == [0.25, 0.75]
    assert asked == [4, 4, 8]
    alive = weakref.ref(one)
    del one
    gc.collect()
    assert alive() is None
