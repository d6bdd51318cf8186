"""Fixtures for every test: the real servers, unique topics, Hypothesis profiles."""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import settings

from tests.services.kafka import KafkaBroker
from tests.services.prometheus import Prometheus

# Two cores shared with a broker make deadlines mean nothing; in CI a failure must come again.
settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

SERVERS = {"kafka", "prometheus_factory"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if SERVERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.services)


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaBroker]:
    """One broker for the whole session; a test may restart it, never stop it."""
    with KafkaBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def prometheus_factory() -> Iterator[Callable[..., Prometheus]]:
    """Starts a Prometheus that scrapes the given "host:port" targets; all end with the session."""
    with ExitStack() as running:

        def start(*targets: str) -> Prometheus:
            return running.enter_context(Prometheus(targets))

        yield start


@pytest.fixture
def topic_name() -> Callable[..., str]:
    """Names that no topic has had, also on a broker that outlives the tests."""
    run, number = uuid.uuid4().hex[:8], itertools.count()

    def name(stem: str = "test") -> str:
        return f"{stem}-{run}-{next(number)}"

    return name
