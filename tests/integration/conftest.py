"""What several modules share because it starts slowly."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.kubernetes import Kubernetes
from tests.services.serving import DEFINITIONS, definition


@pytest.fixture(scope="session")
def serving() -> Iterator[Kubernetes]:
    """An API server with the serving platforms' definitions, a namespace `ml`, two users without rights."""
    with Kubernetes({"observer-token": "observer", "stranger-token": "stranger"}, audit=True) as server:
        server.create("/api/v1/namespaces", {"metadata": {"name": "ml"}})
        for plural in DEFINITIONS:
            server.define(definition(plural))
        yield server
