"""Runs the command line in this process, as a person would."""

from __future__ import annotations

import json
import logging
import random
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from observer.cli import main

HOUR = 3_600_000
START = 490_000 * HOUR


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def observer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Callable[..., Ran]]:
    """`observer(*arguments)`, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    level = logging.getLogger().level

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["observer", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)
    logging.getLogger().setLevel(level)


def events(
    hours: int, a_hour: int = 250, drifts_from: int | None = None, model: str = "m"
) -> list[dict[str, Any]]:
    """Prediction events of a binary model with one numeric and one categorical feature."""
    draw = random.Random(f"{model} {hours}")
    found = []
    for number in range(hours * a_hour):
        hour = number // a_hour
        moved = drifts_from is not None and hour >= drifts_from
        x = draw.gauss(1.5 if moved else 0.0, 1.0)
        found.append(
            {
                "id": f"{model}-{number}",
                "model": model,
                "version": "1",
                "time": START + hour * HOUR + number % a_hour * (HOUR // a_hour),
                "features": {"x": x, "city": draw.choice(["a", "b", "c"])},
                "prediction": int(x > 0),
                "scores": min(max(0.5 + x / 6, 0.0), 1.0),
                "tags": {"region": draw.choice(["eu", "us"])},
            }
        )
    return found


def labels(predictions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A label for nine in ten, ten minutes after its prediction."""
    return [
        {"id": e["id"], "model": e["model"], "time": e["time"] + 600_000, "label": e["prediction"]}
        for number, e in enumerate(predictions)
        if number % 10
    ]


def write(path: Path, rows: list[Any]) -> Path:
    """Rows as NDJSON; a text stays as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path
