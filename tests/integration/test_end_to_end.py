"""Events in a real Kafka, `observer run`, a real Prometheus: what a user sees."""

from __future__ import annotations

import io
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import fastavro
import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from scipy import stats
from sklearn import metrics as oracle

from observer.codecs.arrow.encode import encode_labels, encode_predictions
from observer.codecs.schema import avro_schema
from tests.services.kafka import KafkaBroker
from tests.services.observer import Observer
from tests.services.process import free_port
from tests.services.prometheus import Prometheus
from tests.unit.pipeline.service import reference

MINUTE = 60_000
WINDOW = 10 * MINUTE
WINDOWS, PER_WINDOW = 6, 400
DRIFT_FROM = 3
GARBAGE = b"\xff\xff\xff garbage"
ENCODINGS = ("json", "arrow", "avro")


@dataclass
class Stream:
    """What was produced for one model."""

    predictions: list[dict]
    labels: list[dict]

    def ks(self, number: int, reference: Sequence[float]) -> float:
        """The two-sample statistic of a window's amounts."""
        chosen = self.predictions[number * PER_WINDOW : (number + 1) * PER_WINDOW]
        return float(stats.ks_2samp(reference, [one["features"]["amount"] for one in chosen]).statistic)

    def of_window(self, number: int) -> tuple[list[int], list[int], list[float]]:
        """Labels, predictions and scores of a window's cohort."""
        chosen = slice(number * PER_WINDOW, (number + 1) * PER_WINDOW)
        predictions = self.predictions[chosen]
        return (
            [int(one["label"]) for one in self.labels[chosen]],
            [int(one["prediction"]) for one in predictions],
            [one["scores"] for one in predictions],
        )


def amounts(r: random.Random) -> dict:
    return {"amount": r.gauss(100, 20), "age": r.randrange(18, 90), "country": r.choice(["DE", "FR", "IT"])}


def stream(model: str, start: int) -> Stream:
    """Six windows; from the fourth on `amount` is shifted by one standard deviation."""
    r = random.Random(model)
    predictions, labels = [], []
    for i in range(WINDOWS * PER_WINDOW):
        at = start + i * WINDOW // PER_WINDOW
        score = r.randrange(1, 1024) / 1024
        features = amounts(r)
        features["amount"] += 20 * (i >= DRIFT_FROM * PER_WINDOW)
        one = {"id": f"{model}-{i}", "model": model, "version": "7", "time": at, "features": features}
        one |= {"prediction": str(int(score > 0.5)), "scores": score, "tags": {"channel": "web"}}
        predictions.append(one)
        actual = str(int(r.random() < score))
        labels.append({"id": one["id"], "model": model, "time": at + r.randrange(30_000), "label": actual})
    return Stream(predictions, labels)


def as_json(events: Sequence[dict]) -> list[bytes]:
    return [json.dumps(one).encode() for one in events]


def as_arrow(events: Sequence[dict]) -> list[bytes]:
    encode = encode_labels if "label" in events[0] else encode_predictions
    messages = []
    for at in range(0, len(events), 100):
        part = events[at : at + 100]
        columns: dict = {name: [one[name] for one in part] for name in part[0]}
        for nested in {"features", "tags"} & set(columns):
            columns[nested] = {name: [cell[name] for cell in columns[nested]] for name in columns[nested][0]}
        messages.append(encode(columns))
    return messages


def as_avro(events: Sequence[dict]) -> list[bytes]:
    kind = "labels" if "label" in events[0] else "predictions"
    schema = fastavro.parse_schema(json.loads(avro_schema(kind)))
    messages = []
    for one in events:
        sink = io.BytesIO()
        fastavro.schemaless_writer(
            sink, schema, {**one, "time": datetime.fromtimestamp(one["time"] / 1000, UTC)}
        )
        messages.append(sink.getvalue())
    return messages


ENCODE: Mapping[str, Callable[[Sequence[dict]], list[bytes]]] = {
    "json": as_json,
    "arrow": as_arrow,
    "avro": as_avro,
}


def produce(broker: KafkaBroker, topic: str, values: Sequence[bytes], partitions: int = 1) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 2, "linger.ms": 20})
    for i, value in enumerate(values):
        producer.produce(topic, value, partition=i % partitions)
        if i % 1000 == 999:
            producer.poll(0)
    assert producer.flush(60) == 0


def only(prometheus: Prometheus, query: str, predicate=lambda _: True, timeout: float = 30) -> float:
    """The value of the one series that the query gives, once it satisfies the predicate."""
    (sample,) = prometheus.wait_for(
        query, lambda samples: len(samples) == 1 and predicate(samples[0].value), timeout
    )
    return sample.value


def last_window() -> int:
    """Start of the window in which the last events fall: an hour ago, so nothing is in the future."""
    return (int(time.time() * 1000) - 60 * MINUTE) // WINDOW * WINDOW


@dataclass
class Running:
    """Three services, one an encoding, and the Prometheus that scrapes them."""

    kafka: KafkaBroker
    prometheus: Prometheus
    observers: dict[str, Observer]
    streams: dict[str, Stream]
    topics: dict[str, tuple[str, str]]
    reference: list[float]
    """Amounts of the reference."""


@pytest.fixture(scope="module")
def running(kafka, prometheus_factory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("end-to-end")
    r = random.Random(0)
    rows = [amounts(r) for _ in range(3000)]
    scores = [r.randrange(1, 1024) / 1024 for _ in rows]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    decisions = [str(int(score > 0.5)) for score in scores]
    reference({**columns, "@score": scores, "@prediction": decisions}).save(folder / "reference")
    for kind in ("predictions", "labels"):
        (folder / f"{kind}.avsc").write_text(avro_schema(kind))
    schemas = {f"{kind}_schema": str(folder / f"{kind}.avsc") for kind in ("predictions", "labels")}
    encodings = {"json": "json", "arrow": "auto", "avro": {"type": "avro", **schemas}}
    start = last_window() - (WINDOWS - 1) * WINDOW
    observers, streams, topics, targets = {}, {}, {}, []
    for name in ENCODINGS:
        unique = f"{name}-{folder.name}-{time.time_ns()}"
        topics[name] = (f"predictions-{unique}", f"labels-{unique}")
        for topic in topics[name]:
            kafka.create_topic(topic, 2)
            kafka.create_topic(f"{topic}.dead", 1)
        streams[name] = stream(name, start)
        produce(kafka, topics[name][0], [*ENCODE[name](streams[name].predictions), GARBAGE])
        produce(kafka, topics[name][1], ENCODE[name](streams[name].labels))
        port = free_port()
        targets.append(f"127.0.0.1:{port}")
        source = {"type": "kafka", "brokers": kafka.bootstrap, "group": name, "encoding": encodings[name]}
        own = folder / name
        own.mkdir()
        observers[name] = Observer(
            own,
            {
                "predictions": {**source, "topic": topics[name][0]},
                "labels": {**source, "topic": topics[name][1], "horizon": "1h"},
                "models": {
                    name: {
                        "reference": str(folder / "reference"),
                        "window": {"size": "10m", "lateness": "0s"},
                        "segments": [{"tag": "channel", "values": ["web"]}],
                    }
                },
                "checkpoint_every": "500ms",
                "idle_after": "1s",
                "http": {"port": port},
            },
        )
        observers[name].start()
    prometheus = prometheus_factory(*targets)
    for one in observers.values():
        one.wait_ready()
    yield Running(kafka, prometheus, observers, streams, topics, columns["amount"])
    for one in observers.values():
        one.kill()


@pytest.mark.parametrize("name", ENCODINGS)
def test_drift_is_seen_in_prometheus(running, name):
    prometheus, where = running.prometheus, f'model="{name}",version="7",segment="",detector="ks"'
    end = (last_window_end(running.streams[name]) - WINDOW) / 1000
    only(
        prometheus, f'observer_window_end_timestamp_seconds{{model="{name}",segment=""}}', lambda v: v >= end
    )
    at = f'{where},column="amount"'
    assert only(prometheus, f"observer_drift_status{{{at}}}") == 1
    assert only(prometheus, f"observer_drift_p_value{{{at}}}") < 1e-6
    # The last window closes too, once its partitions are idle: either may be the latest.
    statistic = only(prometheus, f"observer_drift_statistic{{{at}}}")
    expected = [running.streams[name].ks(number, running.reference) for number in (WINDOWS - 2, WINDOWS - 1)]
    assert min(abs(statistic - one) for one in expected) < 0.01
    assert only(prometheus, f"observer_drift_effect{{{at}}}") > 0.2
    assert only(prometheus, f"observer_drift_window_rows{{{at}}}") == PER_WINDOW
    assert only(prometheus, f"observer_drift_reference_rows{{{at}}}") == 3000
    assert only(prometheus, f'observer_drift_status{{{where},column="age"}}') == 0
    assert only(prometheus, f'max(observer_drift_status{{model="{name}",column="country"}})') == 0
    assert only(prometheus, f'observer_window_status{{model="{name}",segment="channel=web"}}') == 1
    mean = only(prometheus, f'observer_column_mean{{model="{name}",segment="",column="amount"}}')
    assert mean == pytest.approx(120, abs=5)


def last_window_end(one: Stream) -> int:
    return one.predictions[-1]["time"] // WINDOW * WINDOW + WINDOW


@pytest.mark.parametrize("name", ENCODINGS)
def test_quality_is_seen_in_prometheus(running, name):
    prometheus = running.prometheus
    where = f'model="{name}",version="7",segment="",arm="",maturity="provisional"'
    rows = only(
        prometheus,
        f"observer_quality_labelled_rows{{{where}}}",
        lambda value: value == PER_WINDOW,
        timeout=60,
    )
    actual, predicted, score = running.streams[name].of_window(WINDOWS - 1)
    assert rows == len(actual)
    assert only(prometheus, f"observer_label_coverage_ratio{{{where}}}") == 1
    quality = {
        sample.labels["metric"]: sample.value
        for sample in prometheus.query(f"observer_quality_value{{{where}}}")
    }
    bounds = {
        sample.labels["metric"]: sample.value
        for sample in prometheus.query(f"observer_quality_error_bound{{{where}}}")
    }
    assert quality["accuracy"] == pytest.approx(oracle.accuracy_score(actual, predicted))
    assert quality["f1"] == pytest.approx(oracle.f1_score(actual, predicted))
    assert quality["brier"] == pytest.approx(oracle.brier_score_loss(actual, score))
    assert quality["log_loss"] == pytest.approx(oracle.log_loss(actual, score))
    assert abs(quality["roc_auc"] - oracle.roc_auc_score(actual, score)) <= bounds["roc_auc"] + 1e-9
    assert bounds["accuracy"] == 0
    matured = f'model="{name}",segment="",maturity="matured",metric="accuracy"'
    assert 0 < only(prometheus, f"observer_quality_value{{{matured}}}") < 1


@pytest.mark.parametrize("name", ENCODINGS)
def test_the_service_tells_how_it_is(running, name):
    prometheus, observer = running.prometheus, running.observers[name]
    job = f'instance="{observer.address}"'
    events = WINDOWS * PER_WINDOW
    for kind in ("predictions", "labels"):
        accepted = f'observer_events_total{{{job},stream="{kind}",model="{name}",outcome="accepted"}}'
        only(prometheus, accepted, lambda value: value == events)
    assert only(prometheus, f'observer_events_total{{{job},outcome="rejected"}}') == 1
    assert only(prometheus, f'observer_events_rejected_total{{{job},stream="predictions"}}') == 1
    only(prometheus, f"sum(observer_source_lag_messages{{{job}}})", lambda value: value == 0)
    assert only(prometheus, f"observer_checkpoint_age_seconds{{{job}}}") < 20
    assert only(prometheus, f"observer_checkpoint_number{{{job}}}", lambda value: value > 1) > 1
    assert only(prometheus, f'observer_labels_total{{{job},outcome="matched"}}') == events
    assert only(prometheus, f'observer_joins_pending{{{job},state="prediction"}}') == 0
    assert only(prometheus, f'observer_watermark_delay_seconds{{{job},stream="predictions"}}') > 0
    assert only(prometheus, f"observer_window_export_delay_seconds_count{{{job}}}") > 0


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_bad_event_lands_among_the_dead_letters(running, name):
    topic = running.topics[name][0]
    consumer = Consumer({"bootstrap.servers": running.kafka.bootstrap, "group.id": "reader", "log_level": 0})
    consumer.assign([TopicPartition(f"{topic}.dead", 0, 0)])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None
    assert message.value() == GARBAGE
    headers = dict(message.headers())
    assert headers["observer-reason"] in (b"undecodable", b"invalid")
    assert headers["observer-origin"].startswith(f"{topic}[".encode())


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_stop_leaves_everything_saved_and_told_to_the_group(running, name):
    """Last of all: it ends the service."""
    assert running.observers[name].end() == 0
    admin = AdminClient({"bootstrap.servers": running.kafka.bootstrap, "log_level": 0})
    for topic in running.topics[name]:
        places = [TopicPartition(topic, number) for number in range(2)]
        asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name, places)])
        found = {one.partition: one.offset for one in asked[name].result(timeout=10).topic_partitions}
        consumer = Consumer({"bootstrap.servers": running.kafka.bootstrap, "group.id": "reader"})
        ends = {p.partition: consumer.get_watermark_offsets(p, timeout=10)[1] for p in places}
        consumer.close()
        assert found == ends
    said = running.observers[name].log.read_text()
    assert "stopped at checkpoint" in said
    assert "Traceback" not in said


NAMES = 10_000


def test_ten_thousand_names_exhaust_nothing(kafka, prometheus_factory, topic_name, tmp_path: Path):
    """As many features, tag values and versions; each cap bites, and says so."""
    topic = kafka.create_topic(topic_name("names"), 1)
    start = last_window() - 5 * WINDOW
    events = []
    for i in range(NAMES):
        features = {f"f{(20 * i + j) % NAMES}": float(i % 97) for j in range(20)}
        events.append(
            {
                "id": str(i), "model": f"m{i}" if i % 100 == 0 else "m", "version": f"v{i}",
                "time": start + i * 5 * WINDOW // NAMES, "prediction": "1", "features": features,
                "tags": {"customer": f"c{i}", f"tag{i}": "x"},
            }
        )  # fmt: skip
    produce(kafka, topic, as_json(events))
    port = free_port()
    observer = Observer(
        tmp_path,
        {
            "predictions": {"type": "kafka", "brokers": kafka.bootstrap, "topic": topic, "group": "names"},
            "defaults": {
                "reference": {"windows": 1, "rows": 100},
                "window": {"size": "10m", "lateness": "0s", "min_events": 20},
                "segments": [{"tag": "customer"}],
            },
            "series": {"total": 2000, "per_metric": 500, "per_model": 1500},
            "checkpoint_every": "1s",
            "idle_after": "1s",
            "http": {"port": port},
        },
    )
    observer.start()
    observer.wait_ready()
    prometheus = prometheus_factory(f"127.0.0.1:{port}")
    try:
        only(prometheus, 'sum(observer_events_total{stream="predictions"})', lambda v: v == NAMES, timeout=90)
        only(prometheus, "sum(observer_source_lag_messages)", lambda v: v == 0)
        prometheus.wait_for("observer_drift_status", lambda samples: len(samples) > 0, 60)
        memory = only(prometheus, "process_resident_memory_bytes")
        series = only(prometheus, 'count({__name__=~"observer_.*"})')
        print(f"\nresident {memory / 2**20:.0f} MiB, {series:.0f} series")
        assert memory < 1.5 * 2**30
        # The caps, and the service's own series: versions and counters of at most 100 unknown models.
        assert series < 2000 + 3000
        assert only(prometheus, "observer_values_dropped_total") > 0
        assert only(prometheus, 'sum(observer_names_dropped_total{kind="version"})') > 0
        assert only(prometheus, "sum(observer_series_capped)") > 0
        assert prometheus.query('observer_window_rows{model="m",version="other"}')
        assert observer.end() == 0
    finally:
        observer.kill()
    assert "Traceback" not in observer.log.read_text()
