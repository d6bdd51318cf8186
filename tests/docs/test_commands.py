"""The commands and the Python in the pages are run, in a folder with what they speak of, beside a service."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import httpx
import pyarrow as pa
import pytest
from confluent_kafka import Producer
from pyarrow import csv, parquet

from tests.docs import given
from tests.docs.pages import Block, blocks, pages
from tests.docs.runner import PATIENCE
from tests.services.kafka import KafkaBroker
from tests.services.peers import interpreter
from tests.services.process import Process, free_port
from tests.services.s3 import S3
from tests.unit.actions.server import served
from tests.unit.dashboards.test_push import TOKEN, Grafana

HOUR = 3_600_000
FIRST = 1_767_571_200_000
"""2026-01-05T00:00Z, of which the pages speak."""


def is_run(block: Block) -> bool:
    return block.language in {"sh", "python"} and not block.action


def events(model: str, version: str, hours: range, a_hour: int = 210) -> Iterator[tuple[dict, dict]]:
    """Predictions of a binary model and their labels; what the model sees moves after hour 50."""
    draw = random.Random(f"{model} {version}")
    for number in range(len(hours) * a_hour):
        hour = hours[number // a_hour]
        age = draw.gauss(55 if hour >= 50 else 40, 10)
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
    versions: {{"4": churn-4.reference}}   # which has seen enough to page
    window: {{min_events: 20}}
    segments: [{{tag: country}}]
    actions:
      rules:
        - {{name: tell, when: {{finding: ticket}}, do: notify, target: people}}
{asking}
    rollout: {{target: serving}}
  fraud: {{task: binary, positive: "1"}}
targets:
  people: {{type: command, arguments: ["true"]}}
  serving: {{type: local_split, path: {folder}/share.json}}
http: {{port: {port}, token: secret}}
"""
ASKING = "{{name: ask-{}, when: {{every: 1d}}, do: notify, target: people, approval: required}}"
ID = re.compile(r"\bID\b|6f1c\.\.\.")
"""In the pages, of an action that waits; each is used once."""
WAITING = sum(len(ID.findall(block.text)) for page in pages() for block in blocks(page) if is_run(block))


@dataclass
class Stage:
    """A folder with what the pages speak of, and the service that watches its topics.

    Attributes
    ----------
    port : int
        Of the service.
    instead : dict
        Texts of the pages, and what stands in their place here.
    """

    folder: Path
    port: int
    instead: dict[str, str]

    def here(self, text: str) -> str:
        """A command as it is run."""
        for told, found in self.instead.items():
            text = text.replace(told, found)
        waiting = iter(self.waiting() if ID.search(text) else ())
        return ID.sub(lambda _: next(waiting), text)

    def waiting(self) -> list[str]:
        """Actions that nobody has said anything about."""
        code, said = observer(["actions", "list", "-c", str(self.folder / "observer.yaml"), "--json"])
        assert code == 0, said
        return [one["id"] for one in json.loads(said) if one["state"] == "waiting"]


def files(folder: Path, churn: list[tuple[dict, dict]]) -> None:
    """Events and training data, as the pages call them."""
    predictions, labels = map(list, zip(*churn, strict=True))
    for name in ("january", "march"):
        (folder / name).mkdir()
        parquet.write_table(pa.Table.from_pylist(predictions), folder / name / "a.parquet")
        (folder / name / "a.ndjson").write_text(lines(predictions))
        (folder / f"{name}-labels.ndjson").write_text(lines(labels))
        parquet.write_table(pa.Table.from_pylist(predictions), folder / f"{name}.parquet")
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
    past = [prediction for prediction, _ in events("churn", "2", range(-16 * 24, 0), 30)]
    (folder / "past.ndjson").write_text(lines(past))
    (folder / "grafana-of-the-system").mkdir()
    environment = interpreter("evidently").parents[1]
    (folder / "peers").mkdir()
    (folder / "peers/evidently").symlink_to(environment)


@pytest.fixture(scope="module")
def stage(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder, port = tmp_path_factory.mktemp("stage"), free_port()
    churn, other = (list(events("churn", version, range(60))) for version in "34")
    files(folder, churn)
    topic = f"docs-{port}"
    text = CONFIGURATION.format(
        brokers=kafka.bootstrap,
        topic=topic,
        folder=folder,
        port=port,
        asking="\n".join(f"        - {ASKING.format(number)}" for number in range(WAITING)),
    )
    path = folder / "observer.yaml"
    path.write_text(text)
    reference = ["reference", "build", str(folder / "past.ndjson"), "--model", "churn", "-c", str(path)]
    code, said = observer([*reference, "-o", str(folder / "churn-4.reference")])
    assert code == 0, said
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for one, label in sorted(
        [*churn, *other, *events("fraud", "1", range(60))], key=lambda pair: pair[0]["time"]
    ):
        for stream, event in (("predictions", one), ("labels", label)):
            producer.produce(f"{topic}-{stream}", json.dumps(event), timestamp=event["time"])
    assert producer.flush(60) == 0
    with ExitStack() as stack:
        command = [sys.executable, "-m", "observer", "run", "-c", str(path)]
        process = Process(command, folder / "observer.log")
        stack.callback(process.stop)
        process.wait_until(lambda: judged(port) == {("churn", "3"), ("churn", "4"), ("fraud", "1")}, 240)
        grafana = stack.enter_context(served(Grafana().handle)).url
        s3 = stack.enter_context(S3())
        s3.create_bucket("training")
        s3.put("training/churn/2026-03/a.parquet", (folder / "training.parquet").read_bytes())
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        keys = {"ACCESS_KEY_ID": s3.key, "SECRET_ACCESS_KEY": s3.secret, "ENDPOINT_URL": s3.url}
        for name, value in keys.items():
            environment.setenv(f"AWS_{name}", value)
        instead = {
            "localhost:9464": f"127.0.0.1:{port}",
            "kafka:9092": kafka.bootstrap,
            "/tmp/observer-demo-x/": f"{folder}/",  # noqa: S108 - of the page
            "/var/lib/observer/grafana": f"{folder}/grafana",
            "/etc/grafana/": f"{folder}/grafana-of-the-system/",
            "GRAFANA_TOKEN=glsa_...": f"GRAFANA_TOKEN={TOKEN}",
            "https://grafana.example": f"{grafana}/grafana",
        }
        yield Stage(folder, port, instead)


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


def run(line: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One command, and whether it does something and says so."""
    words = shlex.split(line, comments=True)
    if not words:
        return
    into = ""
    if "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        monkeypatch.setenv(name, value)
    if words[0] == "observer" and "|" not in words:
        end = words.index(">") if ">" in words else len(words)
        code, said = observer(words[1:end])
        if into := "".join(words[end + 1 :]):
            Path(into).write_text(said)
    else:
        done = subprocess.run(
            ["bash", "-euc", line], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        code, said = done.returncode, done.stdout + done.stderr
    assert code == 0, f"{place}: {line}\n{said}"
    assert said or into or words[0] == "cp", f"{place}: {line}: says nothing"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", [p for p in pages() if p not in ELSEWHERE and any(map(is_run, blocks(p)))])
def test_what_the_page_says_is_done(page: str, stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(stage.folder)
    for block in filter(is_run, blocks(page)):
        text = stage.here(block.text)
        if block.language == "sh":
            for line in text.replace("\\\n", " ").splitlines():
                run(line, block.place, monkeypatch)
            continue
        names = given.given(page, stage.folder)
        exec(compile(text, block.place, "exec"), names)  # noqa: S102 - our own pages
        given.check(page, names)
