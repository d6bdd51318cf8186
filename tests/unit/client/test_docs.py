"""What docs/client.md says is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import observer.client
from observer.client import PredictionLogger
from observer.client.buffer import OVERFLOWS

PAGE = (Path(__file__).parents[3] / "docs" / "client.md").read_text("utf-8")


def test_the_three_lines():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[:1]
    assert len([line for line in code.splitlines() if line]) == 3
    names: dict = {}
    exec(compile(code, "docs/client.md", "exec"), names)  # noqa: S102
    logger = names["logger"]
    logger.label(names["id"], "fraud")
    assert logger.stats().logged == 2
    assert not logger.stats().dropped
    logger.close(0)


def test_names():
    for name in re.findall(r"`logger\.(\w+)[(`]", PAGE):
        assert hasattr(PredictionLogger, name), name
    assert {name for name in observer.client.__all__ if name in PAGE} >= {
        "PredictionLogger", "LoggedEstimator", "PredictionMiddleware", "watch_kserve", "KafkaTransport",
        "FileTransport",
    }  # fmt: skip
    assert set(re.findall(r'^\| `"(\w+)"` \|', PAGE, re.MULTILINE)) == set(OVERFLOWS)


def test_reasons():
    source = Path(observer.client.__file__).parent
    used = {
        one
        for path in source.glob("*.py")
        for one in re.findall(r'(?:drop|_drop|refuse|turn_away)\(\s*"(\w+)"', path.read_text("utf-8"))
    }
    table = PAGE.partition("The counters of `dropped`:")[2].partition("\n\n## ")[0]
    told = {
        one
        for line in table.splitlines()
        for one in re.findall(r"`(\w+)`", line.split(" | ")[0])
        if line[:1] == "|"
    }
    assert told == used
