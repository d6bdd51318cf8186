"""Running the pipeline over files: what `observer replay` and `observer backtest` have in common."""

# ruff: noqa: PLC0415 - imports wait until a command runs, so that help and completion answer at once

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from observer.app import Service
    from observer.config import Config


def over_files(config: Config, predictions: str, labels: str | None, scratch: Path) -> Config:
    """The configuration with files for sources, state of its own, and nothing that hangs on the clock."""
    from observer.config import LabelConfig
    from observer.sources.files import FilesSpec
    from observer.stores.lmdb import StateSpec

    changes: dict[str, Any] = {
        "predictions": config.predictions.model_copy(update={"source": FilesSpec(path=predictions)}),
        "labels": None,
        "state": StateSpec(path=scratch / "state"),
        "idle_after": 10**12,
        "limits": config.limits.model_copy(update={"max_ahead": 1e12}),
    }
    if labels is not None:
        given = config.labels or LabelConfig(source=FilesSpec(path=labels))
        changes["labels"] = given.model_copy(update={"source": FilesSpec(path=labels)})
    return config.model_copy(update=changes)


class _Bar:
    """A bar of bytes read; called once a turn, never asks to stop."""

    def __init__(self, service: Service) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        from observer.sources.files import FileSource

        self._sources = [s for s in service.sources.values() if isinstance(s, FileSource)]
        self._progress = Progress(
            TextColumn("replay"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self) -> bool:
        total = sum(source.total_bytes for source in self._sources)
        done = sum(source.read_bytes for source in self._sources)
        self._progress.update(self._task, total=total or None, completed=done)
        return False


def progress(service: Service) -> AbstractContextManager[Any]:
    """Shows how far the files are read, where somebody looks; gives what is to be called once a turn."""
    if sys.stderr.isatty():
        return _Bar(service)
    return nullcontext(lambda: False)
