"""How often a peer may be wrong: in bounded memory, and whatever the clock does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from observer.web import attempts
from observer.web.attempts import EVERY, MOST, Attempts
from tests.unit.web.plane import Moving


def worn_out(clock: Moving, host: str = "10.0.0.1") -> Attempts:
    made = Attempts(clock.now)
    for _ in range(MOST):
        made.wrong(host)
    return made


def test_a_peer_waits_alone():
    made = worn_out(Moving(0.0))
    assert made.wait("10.0.0.1") == EVERY
    assert made.wait("::ffff:10.0.0.1") == EVERY
    assert made.wait("10.0.0.2") == 0


def test_a_network_of_ipv6_is_one_peer():
    made = worn_out(Moving(0.0), "2001:db8:1:2::1")
    assert made.wait("2001:db8:1:2:ffff::9%eth0") == EVERY
    assert made.wait("2001:db8:1:3::1") == 0


def test_memory_is_bounded_and_who_was_wrong_lately_is_remembered(monkeypatch):
    monkeypatch.setattr(attempts, "PEERS", 50)
    made = worn_out(Moving(0.0), "fresh")
    for i in range(500):
        made.wrong(f"host-{i}")
        made.wrong("fresh")
        assert len(made) <= 50
    assert made.wait("fresh") > 0
    assert made.wait("host-0") == 0


@given(st.lists(st.tuples(st.floats(-1e4, 1e4), st.booleans()), max_size=200))
def test_nobody_is_looked_at_more_often_than_the_time_allows_and_nobody_waits_for_ever(steps):
    clock = Moving(1e6)
    made = Attempts(clock.now)
    looked, passed = 0, 0.0
    for seconds, tries in steps:
        clock.at += seconds
        passed += max(seconds, 0.0)
        if tries and not made.wait("peer"):
            looked += 1
            made.wrong("peer")
        assert made.wait("peer") <= EVERY * 1.001 + 1
    assert looked <= MOST + passed / EVERY + 1e-6
