"""Real streams through a version's watch: a part of `make bench-statistics ARGS=real`."""

from __future__ import annotations

from functools import cache

import pytest

from benchmarks.real_streams import Stream, covtype, elec, shuffled, turned, weather

STREAMS = {"elec": elec, "weather": weather, "covtype": covtype}

pytestmark = pytest.mark.slow


@cache
def stream(name: str) -> Stream:
    return STREAMS[name]()


@pytest.mark.parametrize("name", STREAMS)
def test_shuffled_rows_raise_no_page(name):
    found = shuffled(stream(name), seed=11, live=120)
    assert found["windows"] >= 84
    assert found["pages"] == 0


@pytest.mark.parametrize("name", STREAMS)
def test_two_regimes_in_turn_are_found(name):
    found = turned(stream(name), seed=12, changed=12)
    assert found["false pages"] == 0
    assert found["page"] <= 8
    assert found["causes"]
