"""The commands in the pages are run, in a folder with what the pages speak of, beside a running service."""

from __future__ import annotations

import gzip
import io
import json
import random
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import httpx
import pyarrow as pa
import pytest
from confluent_kafka import Producer
from pyarrow import csv, parquet

from tests.docs.pages import blocks, pages
from tests.services.kafka import KafkaBroker
from tests.services.process import Process, free_port

HOUR = 3_600_000
FIRST = 1_767_571_200_000
"""2026-01-05T00:00Z, of which the pages speak."""


def events(model: str, version: str, hours: range, a_hour: int = 210) -> Iterator[tuple[dict, dict]]:
    """Predictions of a binary model and their labels; what the model sees moves in the last ten hours."""
    draw = random.Random(f"{model} {version}")
    for number in range(len(hours) * a_hour):
        hour = hours[number // a_hour]
        age = draw.gauss(55 if hours.stop - hour <= 10 else 40, 10)
        time = FIRST + hour * HOUR + number % a_hour * (HOUR // a_hour)
        one = {"id": f"{model}-{version}-{number}", "model": model, "time": time}
        yield (
            {
                **one,
                "version": version,
                "features": {"age": age, "amount": draw.lognormvariate(3, 1), "plan": draw.choice("abc")},
                "prediction": int(age > 50),
                "scores": min(max(age / 100, 0.0), 1.0),
                "tags": {"country": draw.choice(["DE", "FR"])},
            },
            {**one, "time": time + HOUR, "label": int(draw.random() < age / 100)},
        )


def flat(prediction: dict, label: dict) -> dict:
    """A row of a plain table of training data."""
    return {
        **prediction["features"],
        "predicted": prediction["prediction"],
        "probability": prediction["scores"],
        "churned": label["label"],
        "customer": prediction["id"],
        "split": "train",
    }


def lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


CONFIGURATION = """
predictions: {{type: kafka, brokers: "{brokers}", topic: {topic}-predictions}}
labels: {{type: kafka, brokers: "{brokers}", topic: {topic}-labels}}
idle_after: 1s
models:
  churn:
    task: binary
    positive: "1"
    segments: [{{tag: country}}]
    actions: {{rules: [{{name: tell, when: {{finding: ticket}}, do: notify, target: people}}]}}
    rollout: {{target: serving}}
  fraud: {{task: binary, positive: "1"}}
targets:
  people: {{type: command, arguments: ["true"]}}
  serving: {{type: local_split, path: {folder}/share.json}}
http: {{port: {port}, token: secret}}
"""


@pytest.fixture(scope="module")
def stage(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """A folder with `observer.yaml` and files, and the port of the service that watches its topics."""
    folder, port = tmp_path_factory.mktemp("stage"), free_port()
    churn = list(events("churn", "3", range(60))) + list(events("churn", "4", range(60)))
    predictions, labels = map(list, zip(*churn, strict=True))
    for name in ("january", "march"):
        (folder / name).mkdir()
        parquet.write_table(pa.Table.from_pylist(predictions), folder / name / "a.parquet")
        (folder / name / "a.ndjson").write_text(lines(predictions))
        (folder / f"{name}-labels.ndjson").write_text(lines(labels))
    parquet.write_table(pa.Table.from_pylist(predictions), folder / "march.parquet")
    for name in ("labels", "march-labels"):
        with gzip.open(folder / f"{name}.ndjson.gz", "wt") as file:
            file.write(lines(labels))
    plain = [
        {key: value for key, value in one.items() if key not in {"features", "tags"}}
        | {f"features.{name}": value for name, value in one["features"].items()}
        for one in predictions
    ]
    csv.write_csv(pa.Table.from_pylist(plain), folder / "january.csv")
    training = pa.Table.from_pylist([flat(*pair) for pair in churn])
    csv.write_csv(training, folder / "training.csv")
    parquet.write_table(training, folder / "training.parquet")

    topic = f"docs-{port}"
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for one, label in sorted([*churn, *events("fraud", "1", range(60))], key=lambda pair: pair[0]["time"]):
        producer.produce(f"{topic}-predictions", json.dumps(one))
        producer.produce(f"{topic}-labels", json.dumps(label))
    assert producer.flush(60) == 0
    text = CONFIGURATION.format(brokers=kafka.bootstrap, topic=topic, folder=folder, port=port)
    (folder / "observer.yaml").write_text(text)
    log = folder / "observer.log"
    process = Process([sys.executable, "-m", "observer", "run", "-c", str(folder / "observer.yaml")], log)
    try:
        process.wait_until(lambda: judged(port) == {("churn", "3"), ("churn", "4"), ("fraud", "1")}, 240)
        yield folder, port
    finally:
        process.stop()


def judged(port: int) -> set[tuple[str, str]]:
    """Versions whose last closed window is judged."""
    try:
        found = httpx.get(f"http://127.0.0.1:{port}/api/v1/models", timeout=5).json()
    except (httpx.TransportError, ValueError):
        return set()
    last = FIRST + 58 * HOUR  # nothing comes after hour 59, so that one stays open
    return {(one["model"], one["version"]) for one in found if one["start"] == last}


def observer(words: list[str]) -> tuple[int, str]:
    """What the command line says, in this process: starting one for each takes longer than what it does."""
    from observer.cli import main  # noqa: PLC0415 - it is slow to import

    said = io.StringIO()
    before = sys.argv
    sys.argv = ["observer", *words]
    try:
        with redirect_stdout(said), redirect_stderr(said):
            main()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.argv = before
    return code, said.getvalue()


ELSEWHERE = {"docs/tutorial.md"}
"""Pages with a test of their own."""
RUN = [
    page
    for page in pages()
    if page not in ELSEWHERE and any(b.language == "sh" and not b.action for b in blocks(page))
]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", RUN)
def test_commands_of_the_page(page: str, stage: tuple[Path, int], monkeypatch: pytest.MonkeyPatch):
    folder, port = stage
    monkeypatch.chdir(folder)
    for block in blocks(page):
        if block.language != "sh" or block.action:
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["observer"] and "|" not in words:
                end = words.index(">") if ">" in words else len(words)
                code, said = observer(words[1:end])
                if end < len(words):
                    Path(words[-1]).write_text(said)
            elif words:
                here = line.replace("localhost:9464", f"127.0.0.1:{port}")
                done = subprocess.run(
                    ["bash", "-euc", here], capture_output=True, text=True, timeout=100, check=False
                )
                code, said = done.returncode, done.stdout + done.stderr
            assert not words or code == 0, f"{block.place}: {line}\n{said}"
            assert not words or said or end < len(words), f"{block.place}: {line}: says nothing"
