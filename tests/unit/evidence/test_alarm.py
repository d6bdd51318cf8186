import numpy as np
import pytest
from pydantic import ValidationError

from detectors.evidence.alarm import EVERY, Alarm, Budget, Tier
from detectors.evidence.season import DAY, HOUR, Season

YES, NO = np.ones(4, bool), np.zeros(4, bool)
AGE = np.arange(1, 5)


def alarm(able=YES):
    return Alarm(Budget(), Season(HOUR), able)


def mask(*streams):
    return np.isin(np.arange(4), streams)


def logs(**evidence):
    """Evidence of streams a, b, c, d; 1 where not given."""
    return np.log([evidence.get(name, 1.0) for name in "abcd"])


def test_the_budget_gives_the_patience():
    assert Budget().page_patience(Season(HOUR)) == 720
    assert Budget(false_pages_per_month=2).page_patience(Season(HOUR // 4)) == 1440
    assert Budget().ticket_patience(Season(DAY)) == 7.5
    assert Budget(false_pages_per_month=100).page_patience(Season(DAY)) == 1
    with pytest.raises(ValidationError, match="greater than 0"):
        Budget(false_pages_per_month=0)


def test_a_page_needs_the_mean_of_all_streams():
    running = alarm()
    assert not running.update(logs(a=719), YES, NO, AGE).page
    decision = running.update(logs(a=1500, b=1379, c=800), YES, NO, AGE)
    assert decision.page
    assert decision.log_mean == pytest.approx(np.log((1500 + 1379 + 800 + 1) / 4))
    assert decision.paged.tolist() == [0, 1, 2]
    assert running.opened == 1
    assert running.since.tolist() == [1, 0, -1, -1]


def test_a_page_needs_material_effects_and_history():
    much = logs(a=1e6, b=1e6)
    assert not alarm().update(much, NO, NO, AGE).page
    assert not alarm(able=mask(2, 3)).update(much, YES, NO, AGE).page
    # What may not page does not carry what may.
    assert not alarm().update(logs(a=1e6, b=1000), mask(1), NO, AGE).page
    decision = alarm(able=mask(1)).update(much, YES, NO, AGE)
    assert decision.paged.tolist() == [1]
    assert decision.ticketed.tolist() == [0]


def test_a_shift_that_lasts_pages_once():
    running = alarm()
    assert running.update(logs(a=1e6), YES, NO, AGE).page
    for _ in range(100):
        assert not running.update(logs(a=1e9), YES, NO, AGE).page
    assert running.opened == 0


def test_streams_that_follow_within_a_day_join_silently_and_later_ones_page():
    running = alarm()
    running.update(logs(a=1e6), YES, NO, AGE)
    decision = running.update(logs(a=1e6, b=721), YES, NO, AGE)
    assert (decision.page, decision.paged.tolist()) == (False, [1])
    for _ in range(23):
        assert not len(running.update(logs(c=719), YES, NO, AGE).paged)
    assert not running.update(logs(c=721), YES, NO, AGE).page
    decision = running.update(logs(c=1e6), YES, NO, AGE)
    assert (decision.page, decision.paged.tolist()) == (True, [2])
    assert running.opened == 0


def test_an_incident_ends_when_all_its_streams_are_stable():
    running = alarm()
    running.update(logs(a=1e6, b=1e6), YES, NO, AGE)
    first = running.update(logs(a=1e6), YES, mask(0), AGE)
    assert (first.cleared.tolist(), first.closed, first.page) == ([0], False, False)
    last = running.update(logs(), YES, mask(0, 1), AGE)
    assert (last.cleared.tolist(), last.closed) == ([1], True)
    assert running.opened is None
    assert (running.tier == Tier.QUIET).all()
    assert running.update(logs(a=1e6), YES, NO, AGE).page


def test_a_person_may_close_it():
    running = alarm()
    running.update(logs(a=1e6), YES, NO, AGE)
    running.close()
    assert running.opened is None
    assert running.update(logs(a=1e6), YES, NO, AGE).page


def test_tickets_follow_e_d_bh():
    running = alarm()  # A' = 180: one stream needs 720, two need 360 each
    assert not len(running.update(logs(a=700), NO, NO, AGE).ticketed)
    assert not len(running.update(logs(a=700, b=350), NO, NO, AGE).ticketed)
    decision = running.update(logs(a=700, b=361, c=1e9), NO, mask(2), AGE)
    assert decision.ticketed.tolist() == [0, 1]
    assert running.since.tolist() == [2, 1, -1, -1]
    assert not len(running.update(logs(a=700, b=361), NO, NO, AGE).ticketed)
    decision = running.update(logs(a=1e6), YES, NO, AGE)
    assert decision.page
    assert running.since[0] == 2  # since the ticket
    assert running.tier.tolist() == [Tier.PAGE, Tier.TICKET, Tier.QUIET, Tier.QUIET]


def test_a_snapshot_holds_everything():
    running, other = alarm(), alarm()
    running.update(logs(a=1e6, c=1e4), mask(0), NO, AGE)
    other.restore(running.snapshot())
    for evidence in (logs(c=1e5), logs(d=1e6)):
        one, two = (each.update(evidence, YES, NO, AGE) for each in (running, other))
        assert (one.page, one.paged.tolist(), one.log_mean) == (two.page, two.paged.tolist(), two.log_mean)
    assert other.snapshot() == running.snapshot()
    other.restore(alarm().snapshot())
    assert other.opened is None
    with pytest.raises(ValueError, match="instead of"):
        Alarm(Budget(), Season(HOUR), np.ones(3, bool)).restore(running.snapshot())


def test_streams_of_an_incidents_subjects_join_it_however_late():
    """A shift of a column moves its spread too, but less: the same change must not page twice."""
    running = Alarm(Budget(), Season(HOUR), YES, np.array([0, 0, 1, EVERY]))
    assert running.update(logs(a=1e6), YES, NO, AGE).page
    for _ in range(1000):
        running.update(logs(), YES, NO, AGE)
    assert not len(running.update(logs(b=719), YES, NO, AGE).paged)
    decision = running.update(logs(b=721), YES, NO, AGE)
    assert (decision.page, decision.paged.tolist()) == (False, [1])
    decision = running.update(logs(d=1e9), YES, NO, AGE)
    assert (decision.page, decision.paged.tolist()) == (False, [3])
    decision = running.update(logs(c=1e6), YES, NO, AGE)
    assert (decision.page, decision.paged.tolist()) == (True, [2])
    assert running.opened == 0


def test_what_could_join_does_not_help_others_to_page():
    running = Alarm(Budget(), Season(HOUR), YES, np.array([0, 0, 1, 2]))
    running.update(logs(a=1e6), YES, NO, AGE)
    for _ in range(24):
        running.update(logs(), YES, NO, AGE)
    decision = running.update(logs(b=4 * 720, c=700), YES, NO, AGE)
    assert (decision.page, decision.paged.tolist()) == (False, [1])
    assert decision.log_mean == pytest.approx(np.log(700 / 4), abs=0.01)


def test_more_of_what_a_page_is_about_is_no_ticket():
    running = Alarm(Budget(), Season(HOUR), YES, np.array([0, 0, 1, EVERY]))  # b: of the same column as a
    decision = running.update(logs(a=1e6, b=400), mask(0), NO, AGE)
    assert (decision.page, decision.paged.tolist(), decision.ticketed.tolist()) == (True, [0, 1], [])
    decision = running.update(logs(a=1e6, c=400, d=400), NO, NO, AGE)
    assert (decision.page, decision.paged.tolist(), decision.ticketed.tolist()) == (False, [3], [2])
    running.close()
    decision = running.update(logs(a=1e6, b=1e6), NO, NO, AGE)
    assert decision.ticketed.tolist() == [0, 1]


def test_a_change_of_everything_explains_no_other_change():
    running = Alarm(Budget(), Season(HOUR), YES, np.array([0, 1, 2, EVERY]))
    assert running.update(logs(d=1e6), YES, NO, AGE).page
    for _ in range(24):
        running.update(logs(), YES, NO, AGE)
    assert running.update(logs(a=1e6), YES, NO, AGE).page


def test_subjects_are_new_again_after_the_incident():
    running = Alarm(Budget(), Season(HOUR), YES, np.array([0, 0, 1, 2]))
    running.update(logs(a=1e6), YES, NO, AGE)
    running.close()
    for _ in range(24):
        running.update(logs(), YES, NO, AGE)
    assert running.update(logs(b=1e6), YES, NO, AGE).page
