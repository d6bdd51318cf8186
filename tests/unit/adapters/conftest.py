"""Workers whose peer does what a test writes down."""

import sys

import pytest

from detectors.adapters.peer import _SCRIPT
from detectors.adapters.process import Worker


@pytest.fixture
def scripted(tmp_path):
    """`scripted(source)`: a worker, in a folder that stands for the worker's own, with that peer."""
    workers = []

    def make(source):
        folder = tmp_path / "worker"
        folder.mkdir()
        for file in _SCRIPT.parent.glob("*.py"):
            (folder / file.name).write_text(file.read_text())
        (folder / "scripted.py").write_text(source)
        workers.append(Worker([sys.executable, "-I", str(folder / "__main__.py"), "scripted", "512"], 60))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()
