from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from observer.cli import checks
from observer.errors import Permanent
from observer.model import Origin, Partition, Stream
from observer.sources.kafka import DeadLetterReport, KafkaSpec, TopicReport
from observer.stores.history.database import Database
from observer.stores.lmdb import LmdbState
from tests.unit.cli.conftest import Ran, events, labels, write

Observer = Callable[..., Ran]

FILES = """
predictions: {{type: files, path: 'in/p*.ndjson'}}
labels: {{type: files, path: 'in/l*.ndjson'}}
models: {{m: {{reference: m.reference}}}}
http: {{port: {port}}}
"""


@pytest.fixture
def port() -> int:
    """A port that is free for a moment."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.fixture
def prepared(observer: Observer, tmp_path: Path, port: int) -> Path:
    (tmp_path / "observer.yaml").write_text(FILES.format(port=port))
    write(tmp_path / "in/p.ndjson", events(2))
    write(tmp_path / "in/l.ndjson", labels(events(2)))
    assert observer("reference", "build", "in/p.ndjson", "--model", "m", "-o", "m.reference").code == 0
    return tmp_path


def check(observer: Observer, subject: str) -> tuple[int, list[str]]:
    """The exit code, and status and detail of the lines on a subject."""
    ran = observer("check", "-c", "observer.yaml", "--json")
    found = [line for line in ran.lines if line["subject"] == subject]
    return ran.code, [f"{line['status']}: {line['detail']}" for line in found]


def test_all_is_well(prepared: Path, observer: Observer, port: int) -> None:
    before = sorted(prepared.rglob("*"))
    ran = observer("check", "-c", "observer.yaml")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert all(line.startswith("ok       ") for line in lines)
    subjects = [line.split()[1] for line in lines]
    assert subjects[:3] == ["configuration:", "models.m.reference:", "defaults.reference:"]
    assert "500 rows, 2 features, task binary" in ran.out
    assert "predictions: 1 file, " in ran.out
    assert (
        "predictions events: 5 decoded of model m, the last of 2025-11-24T16:00:57Z: prediction " in ran.out
    )
    assert "2 of 2 features of its reference found" in ran.out
    assert "labels events: 5 decoded of model m" in ran.out
    assert f"http: 127.0.0.1:{port} is free" in ran.out
    assert sorted(prepared.rglob("*")) == before


def test_a_wrong_configuration_is_code_3_and_nothing_is_reached(prepared: Path, observer: Observer) -> None:
    (prepared / "observer.yaml").write_text("predictions: {type: files, path: 3}")
    ran = observer("check", "-c", "observer.yaml")
    assert (ran.code, ran.out) == (3, "")
    assert "predictions.path: 3 is not accepted" in ran.err


def test_a_reference_that_is_not_there(prepared: Path, observer: Observer) -> None:
    (prepared / "m.reference").unlink()
    code, [line] = check(observer, "models.m.reference")
    assert code == 1
    assert line.startswith("failed: reference m.reference: no such file; make one with")


NAMED = """
models:
  m:
    reference: m.reference
    features:
      x: {tier: ticket, minimum: {location: 0.05}}
      cty: {tier: info}
      city: {minimum: {location: 0.1}}
      "@label": {minimum: {error_rate: 0.02}}
      everywhere: {tier: ticket}
      secret: {privacy: "off"}
    judge:
      detectors: [ks, {type: river, columns: [z]}]
      online: [{type: adwin, columns: [x, cities]}, page_hinkley]
defaults: {features: {everywhere: {tier: ticket}}}
"""


def test_columns_that_the_reference_does_not_have(prepared: Path, observer: Observer) -> None:
    """An override of a feature whose name is misspelt would change nothing."""
    kept = [line for line in (prepared / "observer.yaml").read_text().splitlines() if "models:" not in line]
    (prepared / "observer.yaml").write_text("\n".join(kept) + NAMED)
    ran = observer("check", "-c", "observer.yaml", "--json")
    found = {one["subject"]: one["detail"] for one in ran.lines if one["status"] == "warning"}
    has = "@prediction, @score, @table, city, x"
    assert found == {
        "models.m.features.cty": f"no column 'cty' in the reference, did you mean 'city'? It has: {has}",
        "models.m.features.city.minimum": "no location is watched of it, only total_variation, missing,"
        " type_errors, unseen_categories",
        "models.m.judge.detectors": f"river.ADWIN: no column 'z' in the reference; it has: {has}",
        "models.m.judge.online": "adwin: no column 'cities' in the reference, did you mean 'city'?"
        f" It has: {has}",
    }


def test_features_that_differ_from_the_reference(prepared: Path, observer: Observer) -> None:
    rows = events(1)
    for row in rows:
        row["features"] = {"city": "a", "new": 1}
    write(prepared / "in/p.ndjson", rows)
    code, [line] = check(observer, "predictions events")
    assert code == 0
    assert line.startswith("warning: ")
    assert "1 of 2 features of its reference found; missing: x; not in it: new; build" in line


def test_no_feature_of_the_reference(prepared: Path, observer: Observer) -> None:
    write(prepared / "in/p.ndjson", [row | {"features": {}} for row in events(1)])
    code, [line] = check(observer, "predictions events")
    assert (code, line.split(":")[0]) == (1, "failed")


def test_events_that_cannot_be_used(prepared: Path, observer: Observer) -> None:
    write(prepared / "in/p.ndjson", ["{", *events(1)])
    code, lines = check(observer, "predictions events")
    assert code == 0
    assert lines[1].startswith("warning: 1 of a sample would be rejected; in/p.ndjson[0]@0: undecodable: ")
    write(prepared / "in/p.ndjson", ["{"])
    code, [line] = check(observer, "predictions events")
    assert code == 1
    assert line.startswith("failed: 1 of a sample would be rejected")


def test_events_of_other_models(prepared: Path, observer: Observer) -> None:
    write(prepared / "in/p.ndjson", events(1, model="other"))
    code, [line] = check(observer, "predictions events")
    assert code == 0
    assert line.endswith("the model is not configured, so the defaults hold")
    with (prepared / "observer.yaml").open("a") as file:
        file.write("learn_unknown: false")
    code, [line] = check(observer, "predictions events")
    assert code == 1
    assert line.endswith("the configuration does not name the model, only: m")


def test_no_events_and_no_files(prepared: Path, observer: Observer) -> None:
    write(prepared / "in/p.ndjson", [])
    (prepared / "in/l.ndjson").unlink()
    code, lines = check(observer, "predictions events")
    assert lines == ["warning: none there yet, so none could be decoded"]
    code, lines = check(observer, "labels")
    assert (code, lines) == (1, ["failed: no file matches in/l*.ndjson"])


def test_a_state_in_use(prepared: Path, observer: Observer) -> None:
    state = LmdbState(prepared / "observer-state")
    state.commit()
    code, [line] = check(observer, "state")
    assert code == 1
    assert "the state is in use by process" in line
    state.close()
    code, [line] = check(observer, "state")
    assert code == 0
    assert "nobody else uses it" in line


def test_a_state_that_is_no_folder(prepared: Path, observer: Observer) -> None:
    (prepared / "observer-state").write_text("")
    assert check(observer, "state") == (1, ["failed: observer-state is not a folder; give another path"])


def test_a_port_in_use(prepared: Path, observer: Observer, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        code, [line] = check(observer, "http")
    assert code == 1
    assert line.startswith(f"failed: 127.0.0.1:{port}: Address already in use; choose another")


def test_a_schema_file_that_is_not_there(prepared: Path, observer: Observer) -> None:
    text = (prepared / "observer.yaml").read_text()
    avro = "path: 'in/p*.ndjson', encoding: {type: avro, predictions_schema: no.avsc}"
    (prepared / "observer.yaml").write_text(text.replace("path: 'in/p*.ndjson'", avro))
    code, lines = check(observer, "predictions.encoding")
    assert (code, lines) == (1, ["failed: no.avsc: No such file or directory"])


# Kafka, as `describe` tells of it


def topic(samples: int, *, readable: bool = True, writable: bool | None = True) -> TopicReport:
    payloads = [json.dumps(event).encode() for event in events(1)[:samples]]
    return TopicReport(
        brokers="h:1",
        topic="p",
        offsets={Partition("predictions", "p", number): (0, 10 * number) for number in range(12)},
        readable=readable,
        samples=tuple((Origin("p", 0, at), payload) for at, payload in enumerate(payloads)),
        dead_letters=DeadLetterReport("p.dead", writable, "the broker said so"),
    )


@pytest.fixture
def kafka(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, port: int
) -> Callable[[TopicReport | Exception], None]:
    (prepared / "observer.yaml").write_text(
        "predictions: {type: kafka, brokers: 'h:1', topic: p}\nmodels: {m: {reference: m.reference}}\n"
        f"http: {{port: {port}}}"
    )

    def answers(answer: TopicReport | Exception) -> None:
        def describe(_spec: KafkaSpec, _stream: Stream, sample: int) -> TopicReport:
            assert sample > 0
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(checks, "describe", describe)

    return answers


def test_a_topic_in_reach(kafka: Callable[..., None], observer: Observer) -> None:
    kafka(topic(3))
    code, lines = check(observer, "predictions")
    assert code == 0
    assert lines[0].startswith("ok: Kafka topic p at h:1: 12 partitions, 660 messages (offsets 0: 0 to 0, ")
    assert lines[0].endswith(", 2 more)")
    assert lines[1] == "ok: messages can be read"
    assert check(observer, "predictions.dead_letters")[1] == ["ok: topic p.dead: the broker said so"]
    assert check(observer, "predictions events")[1][0].startswith("ok: 3 decoded of model m")


def test_a_topic_that_may_not_be_read(kafka: Callable[..., None], observer: Observer) -> None:
    kafka(topic(0, readable=False, writable=False))
    assert check(observer, "predictions")[1][1].startswith("failed: no message could be read")
    assert check(observer, "predictions.dead_letters")[1][0].startswith("failed: ")
    kafka(topic(0, writable=None))
    assert check(observer, "predictions.dead_letters")[1][0].startswith("warning: ")


def test_brokers_out_of_reach(kafka: Callable[..., None], observer: Observer) -> None:
    kafka(Permanent("Kafka topic p at h:1: no broker"))
    assert check(observer, "predictions") == (1, ["failed: Kafka topic p at h:1: no broker"])


def test_targets_alertmanagers_and_the_history(prepared: Path, observer: Observer, port: int) -> None:
    before = sorted(prepared.rglob("*"))
    with (prepared / "observer.yaml").open("a") as file:
        file.write(
            f"""
targets:
  program: {{type: command, arguments: ["true"], folder: runs/deep}}
  missing: {{type: command, arguments: [no-such-program], folder: runs}}
  dag: {{type: airflow, url: 'http://user:hidden@127.0.0.1:{port}', dag: retrain}}
alertmanager: {{urls: ['http://127.0.0.1:{port}']}}
"""
        )
    assert check(observer, "targets.program") == (1, ["ok: command: found nothing that would stop it"])
    assert check(observer, "targets.missing")[1] == ["failed: no-such-program: no such program"]
    ((dag,), (alertmanager,)) = (check(observer, subject)[1] for subject in ("targets.dag", "alertmanager"))
    assert dag.startswith("failed: ")
    assert "no connection" in dag
    assert "hidden" not in dag
    assert alertmanager.startswith(f"failed: GET http://127.0.0.1:{port}/api/v2/status: no connection")
    assert check(observer, "history")[1] == ["ok: sqlite:///observer-state/history.sqlite will be made"]
    assert sorted(prepared.rglob("*")) == before


def test_a_history_that_is_there_is_looked_at_and_left(prepared: Path, observer: Observer) -> None:
    file = prepared / "kept.sqlite"
    with (prepared / "observer.yaml").open("a") as more:
        more.write(f"history: {{url: 'sqlite:///{file}'}}\n")
    database = Database(f"sqlite:///{file}")
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    assert "its schema 0001 will be brought to" in check(observer, "history")[1][0]
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    (newer,) = check(observer, "history")[1]
    assert newer.startswith("failed: ")
    assert "written by a newer service" in newer
    file.write_bytes(b"not a database" * 100)
    assert check(observer, "history")[1][0].startswith("failed: ")


def test_an_adapter_whose_package_cannot_be_had(prepared: Path, observer: Observer) -> None:
    with (prepared / "observer.yaml").open("a") as config:
        config.write("defaults: {judge: {detectors: [ks, {type: river, python: peers/none/bin/python}]}}\n")
    code, [line] = check(observer, "models.m.judge.detectors")
    assert code == 1
    environment = prepared / "peers/none"
    told = "failed: river.ADWIN: there is no interpreter at peers/none/bin/python; make one: python3 -m venv"
    assert line == f"{told} {environment} && {environment}/bin/pip install 'river==0.26.1' pyarrow"
