"""The page of findings: whoever follows `Older` sees each of them once."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from observer.model import Finding
from observer.web import views
from observer.web.views import Views
from tests.unit.stores.results import HOUR, START, window


class Past:
    """Findings of windows that end together, newest first, as the history gives them."""

    def __init__(self, counts: list[int]) -> None:
        (one,) = window(0, status="drift").findings[:1]
        made = [
            replace(one, end=START - HOUR * age, subject=f"c{number:04d}")
            for age, count in enumerate(counts)
            for number in range(count)
        ]
        self.rows = [(found.id, found) for found in made]

    def findings(self, model, *, tiers, before, limit) -> list[tuple[str, Finding]]:
        del model, tiers
        return [row for row in self.rows if before is None or row[1].end < before][:limit]


@pytest.mark.parametrize("counts", [[], [3], [10], [4, 4, 4], [11, 2], [9, 9, 1], [40, 1], [1, 40], [10, 10]])
def test_nothing_is_left_out_between_two_pages(monkeypatch, counts):
    monkeypatch.setattr(views, "_FINDINGS", 10)
    past = Past(counts)
    shown = Views(past, SimpleNamespace(), SimpleNamespace())  # type: ignore[arg-type]
    seen, before = [], None
    while True:
        page = shown.findings(None, None, before)
        seen += [identity for identity, _ in page["rows"]]
        before = page["more"]
        if before is None:
            break
    assert seen == [identity for identity, _ in past.rows]
