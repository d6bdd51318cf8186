"""What follows from a reference alone is worked out once: a reference judges many windows."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Protocol, TypeVar
from weakref import WeakKeyDictionary


class _Grows(Protocol):
    @property
    def n(self) -> int:
        """Rows."""


SummaryT = TypeVar("SummaryT", bound=_Grows)
LearntT = TypeVar("LearntT")


def per_reference(learn: Callable[[SummaryT], LearntT]) -> Callable[[SummaryT], LearntT]:
    """Remember what `learn` gives for a summary as long as that lives and holds as many rows.

    A summary only ever gains rows, so their number tells whether it is still the same. What is
    remembered is shared: it must not be written to.
    """
    known: WeakKeyDictionary[SummaryT, tuple[int, LearntT]] = WeakKeyDictionary()

    @wraps(learn)
    def remembered(reference: SummaryT) -> LearntT:
        found = known.get(reference)
        if found is None or found[0] != reference.n:
            found = known[reference] = reference.n, learn(reference)
        return found[1]

    return remembered
