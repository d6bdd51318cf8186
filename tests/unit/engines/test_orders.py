"""Orders wait for the loop, and are answered once what they did is saved."""

from __future__ import annotations

import threading
import time

import pytest

from observer.engines.orders import Orders
from observer.errors import ConfigError, Permanent, Retryable


def give(orders: Orders, order):
    """The order, given by another thread, and where its answer comes."""
    answer: list[object] = []

    def ask() -> None:
        try:
            answer.append(orders.give(order))
        except Exception as error:
            answer.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    while orders._waiting.empty() and thread.is_alive():
        time.sleep(0.001)
    return thread, answer


def test_an_order_is_answered_after_it_was_saved():
    orders, log = Orders(), []
    thread, answer = give(orders, lambda: log.append("done") or "it is done")
    orders.carry_out(lambda: log.append("saved") or True)
    thread.join(60)
    assert (answer, log) == (["it is done"], ["done", "saved"])


def test_without_orders_nothing_is_saved():
    Orders().carry_out(lambda: pytest.fail("saved"))


@pytest.mark.parametrize("error", [ConfigError(["no such model"]), Permanent("broken")])
def test_what_cannot_be_done_is_told_to_who_asked_and_saves_nothing(error):
    def order() -> str:
        raise error

    orders = Orders()
    thread, answer = give(orders, order)
    orders.carry_out(lambda: pytest.fail("saved"))
    thread.join(60)
    assert answer == [error]


def test_a_fault_of_one_order_leaves_nobody_without_an_answer():
    orders = Orders()
    first, one = give(orders, lambda: "done")
    second, other = give(orders, lambda: {}["nothing"])
    while orders._waiting.qsize() < 2:
        time.sleep(0.001)
    orders.carry_out(lambda: True)
    first.join(60)
    second.join(60)
    assert one == ["done"]
    assert "KeyError" in str(other[0])


def test_a_save_put_off_is_said():
    orders = Orders()
    thread, answer = give(orders, lambda: "done")
    orders.carry_out(lambda: False)
    thread.join(60)
    assert answer == ["done; it will be saved with the next checkpoint"]


def test_an_order_that_nobody_came_to_is_withdrawn():
    orders = Orders(patience=0.01)
    with pytest.raises(Retryable, match=r"did not come to it within 0\.01 s"):
        orders.give(lambda: pytest.fail("carried out"))
    orders.carry_out(lambda: pytest.fail("saved"))
