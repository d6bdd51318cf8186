import base64
import io
import json
import struct
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer.codecs import AvroSpec, Limits, RegistrySpec, codec
from observer.codecs.avro import AvroCodec, SchemaRegistry
from observer.codecs.schema import avro_schema
from observer.errors import Permanent, Retryable

from .helpers import NOW, SCHEMAS, accounted, all_rows, event, label, messages

TIME = 1_790_000_000_000
PREDICTIONS = fastavro.parse_schema(json.loads(avro_schema("predictions")))
LABELS = fastavro.parse_schema(json.loads(avro_schema("labels")))


def encoded(record, schema=None, schema_id=None):
    sink = io.BytesIO()
    if schema_id is not None:
        sink.write(struct.pack(">bI", 0, schema_id))
    fastavro.schemaless_writer(sink, schema or (LABELS if "label" in record else PREDICTIONS), record)
    return sink.getvalue()


def prediction(**fields):
    return event(time=datetime.fromtimestamp(TIME / 1000, UTC), features={}) | fields


@pytest.fixture
def registry():
    """A registry on a real socket: `answers` maps id -> (status, body); `asked` lists what came."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append((self.path, self.headers.get("Authorization")))
            status, body = server.answers.get(self.path, (404, {"error_code": 40403}))
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.asked = []
    server.answers = {
        "/schemas/ids/7": (200, {"schema": avro_schema("predictions")}),
        "/schemas/ids/8": (200, {"schema": avro_schema("labels"), "schemaType": "AVRO"}),
        "/schemas/ids/9": (503, {}),
        "/schemas/ids/10": (200, {"schema": "{}", "schemaType": "JSON"}),
        "/schemas/ids/11": (200, b"<html>"),
        "/schemas/ids/12": (200, {"schema": '{"type": "nonsense"}'}),
    }
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(registry):
    found = SchemaRegistry(registry.url + "/", ("me", "secret"))
    yield found
    found.close()


def test_events_by_the_registry(registry, client):
    made = AvroCodec(SCHEMAS, fetch=client)
    whole = prediction(
        version="v1", features={"amount": 2.5, "country": "DE", "returning": True, "age": "old"},
        prediction=1, scores={"a": 0.5}, arm="champion", arm_probability=0.5, tags={"region": "eu"},
        latency_ms=3.0, error=True,
    )  # fmt: skip
    poll = messages([encoded(whole, schema_id=7), encoded(prediction(scores=0.25), schema_id=7)])
    decoded = made.predictions(poll, NOW)
    first, second = all_rows(decoded)
    assert {name: first[name] for name in first if name != "key"} == {
        "model": "fraud", "time": TIME, "row": 0, "message": 0, "partition": 0, "version": "v1",
        "features.amount": 2.5, "features.country": "DE", "features.returning": "true",
        "features.age": ..., "prediction": "1", "scores.a": 0.5, "arm": "champion",
        "arm_probability": 0.5, "tags.region": "eu", "latency_ms": 3.0, "error": True,
    }  # fmt: skip
    assert (second["prediction"], second["scores."]) == ("yes", 0.25)
    assert decoded.spoiled_cells == 1
    late = encoded(label(time=datetime.fromtimestamp(5, UTC), weight=2.0), schema_id=8)
    assert all_rows(made.labels(messages([late]), NOW))[0]["weight"] == 2.0
    made.predictions(poll, NOW)
    credentials = "Basic " + base64.b64encode(b"me:secret").decode()
    assert registry.asked == [("/schemas/ids/7", credentials), ("/schemas/ids/8", credentials)]


@pytest.mark.parametrize(
    ("schema_id", "detail"),
    [(10, "accepted: AVRO"), (11, "no schema"), (12, "not an Avro"), (13, "404")],
)
def test_an_unusable_schema_rejects_its_messages(registry, client, schema_id, detail):
    values = [encoded(prediction(), schema_id=schema_id)] * 3 + [encoded(prediction(), schema_id=7)]
    decoded = AvroCodec(SCHEMAS, fetch=client).predictions(messages(values), NOW)
    assert len(all_rows(decoded)) == 1
    assert [rejected.reason for rejected in decoded.rejected] == ["undecodable"] * 3
    assert detail in decoded.rejected[0].detail
    assert len(registry.asked) == 2


def test_a_registry_out_of_order_is_retryable(registry, client):
    poll = messages([encoded(prediction(), schema_id=9)])
    made = AvroCodec(SCHEMAS, fetch=client)
    with pytest.raises(Retryable, match="503"):
        made.predictions(poll, NOW)
    registry.answers["/schemas/ids/9"] = registry.answers["/schemas/ids/7"]
    assert len(all_rows(made.predictions(poll, NOW))) == 1


def test_a_registry_out_of_reach_is_retryable():
    client = SchemaRegistry("http://127.0.0.1:1", timeout=1)
    with pytest.raises(Retryable, match=r"127\.0\.0\.1:1"):
        client(7)
    client.close()


def test_schema_files(tmp_path):
    files = {"predictions_schema": tmp_path / "p.avsc", "labels_schema": tmp_path / "l.avsc"}
    for name, path in files.items():
        path.write_text(avro_schema(name.removesuffix("_schema")))
    made = codec(AvroSpec(**files), SCHEMAS)
    assert len(all_rows(made.predictions(messages([encoded(prediction())]), NOW))) == 1
    assert (
        len(all_rows(made.labels(messages([encoded(label(time=datetime.fromtimestamp(5, UTC)))]), NOW))) == 1
    )
    (tmp_path / "p.avsc").write_text("{}")
    with pytest.raises(Permanent, match="not an Avro schema"):
        codec(AvroSpec(**files), SCHEMAS)


def test_a_spec_names_one_way(tmp_path):
    with pytest.raises(ValueError, match="either `registry`"):
        AvroSpec()
    with pytest.raises(ValueError, match="either `registry`"):
        AvroSpec(registry=RegistrySpec(url="http://x"), labels_schema=tmp_path)
    with pytest.raises(ValueError, match="url"):
        RegistrySpec(url="ftp://x")


def test_logical_types_and_refusals():
    schema = fastavro.parse_schema(
        {"type": "record", "name": "P", "fields": [
            {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
            {"name": "model", "type": "string"},
            {"name": "time", "type": {"type": "long", "logicalType": "local-timestamp-millis"}},
            {"name": "prediction", "type": ["null", "double"]}]}
    )  # fmt: skip
    record = {"id": "8f14e45f-ceea-467f-9575-6b2b2b2b2b2b", "model": "fraud",
              "time": datetime.fromtimestamp(TIME / 1000, UTC).replace(tzinfo=None)}  # fmt: skip
    values = [encoded(record | {"prediction": value}, schema) for value in (1.5, None)]
    made = AvroCodec(SCHEMAS, texts={"predictions": json.dumps(schema)})
    decoded = made.predictions(messages([*values, values[0] + b"x", values[0][:-1], b""]), NOW)
    (row,) = all_rows(decoded)
    assert (row["time"], row["prediction"]) == (TIME, 1.5)
    assert [rejected.reason for rejected in decoded.rejected] == ["invalid", *["undecodable"] * 3]
    assert (decoded.rejected[0].model, "`prediction`" in decoded.rejected[0].detail) == ("fraud", True)


def test_records_of_another_shape_are_invalid():
    made = AvroCodec(SCHEMAS, texts={"predictions": '"string"'})
    decoded = made.predictions(messages([encoded("x", "string")]), NOW)
    assert [rejected.reason for rejected in decoded.rejected] == ["invalid"]


GOOD = [
    encoded(prediction(features={"amount": 1.0}), schema_id=7),
    encoded(prediction(tags={"a": "b"}), schema_id=7),
]


@given(
    st.lists(
        st.binary(max_size=40)
        | st.binary(max_size=60).map(lambda raw: b"\0\0\0\0\7" + raw)
        | st.tuples(st.sampled_from(GOOD), st.integers(5, 30), st.binary(min_size=1, max_size=6)).map(
            lambda case: case[0][: case[1]] + case[2] + case[0][case[1] + len(case[2]) :]
        ),
        max_size=5,
    )
)
@settings(deadline=None, max_examples=150)
def test_mangled_bytes_never_raise_and_are_accounted_for(values):
    made = AvroCodec(SCHEMAS, Limits(), fetch={7: avro_schema("predictions")}.get)
    decoded = made.predictions(messages(values), NOW)
    assert accounted(decoded) == list(range(len(values)))
