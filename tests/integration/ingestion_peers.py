"""Runs in an environment of a vendor's packages, without the service: encodes cases, reads what we encoded.

`python ingestion_peers.py LIBRARY` takes JSON from standard input and writes JSON to standard output;
`tests/integration/test_ingestion_peers.py` compares. One library a process: their protobufs share names.
"""

# ruff: noqa: PLC0415, ARG002 - one library a process, and all have the same methods

from __future__ import annotations

import json
import sys
from base64 import b64decode, b64encode

import numpy as np

KINDS = {
    "FP16": np.float16, "FP32": np.float32, "FP64": np.float64, "BOOL": np.bool_,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
}  # fmt: skip


def array(one: dict) -> np.ndarray:
    if one["datatype"] == "BYTES":
        return np.array([text.encode() for text in one["data"]], np.object_).reshape(one["shape"])
    return np.array(one["data"], KINDS[one["datatype"]]).reshape(one["shape"])


def listed(values) -> list:
    cells = np.asarray(values).ravel().tolist()
    return [cell.decode() if isinstance(cell, bytes) else cell for cell in cells]


def in_protobuf(one: dict) -> list:
    return [text.encode() for text in one["data"]] if one["datatype"] == "BYTES" else one["data"]


def json_end(payload: bytes) -> int:
    return json.JSONDecoder().raw_decode(payload.decode("latin-1"))[1]


class Triton:
    """tritonclient: bodies of its HTTP client, messages of its gRPC client."""

    def encode(self, case: dict) -> dict[str, bytes]:
        from tritonclient import grpc, http
        from tritonclient.grpc._utils import _get_inference_request

        made = {}
        for binary in (True, False):
            inputs = []
            for name, one in case.items():
                given = http.InferInput(name, one["shape"], one["datatype"])
                if not binary and one["datatype"] == "FP16":
                    return made
                given.set_data_from_numpy(array(one), binary_data=binary)
                inputs.append(given)
            body, _ = http.InferenceServerClient.generate_request_body(inputs, request_id="r")
            made["binary request" if binary else "json request"] = bytes(body)
            if binary:
                sent = []
                for name, one in case.items():
                    given = grpc.InferInput(name, one["shape"], one["datatype"])
                    given.set_data_from_numpy(array(one))
                    sent.append(given)
                request = _get_inference_request("m", sent, "", "r", None, 0, False, False, 0, None, None)
                made["raw request"] = request.SerializeToString()
        return made

    def read(self, form: str, payload: bytes, names: list[str]) -> dict[str, list] | None:
        from tritonclient import grpc, http
        from tritonclient.grpc import service_pb2

        if form in {"json response", "binary response"}:
            end = json_end(payload)
            result = http.InferenceServerClient.parse_response_body(
                payload, header_length=None if end == len(payload) else end
            )
        elif form == "raw response":  # its client takes no others
            result = grpc.InferResult(service_pb2.ModelInferResponse.FromString(payload))
        else:
            return None
        return {name: listed(result.as_numpy(name)) for name in names}


class Mlserver:
    """mlserver, which serves Seldon's models: its types, and its protobufs both ways."""

    def encode(self, case: dict) -> dict[str, bytes]:
        from mlserver.grpc.converters import ModelInferRequestConverter, ModelInferResponseConverter
        from mlserver.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput

        if any(one["datatype"] == "FP16" for one in case.values()):
            return {}

        def types(case: dict) -> tuple:
            outputs = [ResponseOutput(name=name, **one) for name, one in case.items()]
            inputs = [RequestInput(name=name, **one) for name, one in case.items()]
            return (
                InferenceRequest(id="r", inputs=inputs),
                InferenceResponse(id="r", model_name="m", model_version="3", outputs=outputs),
            )

        asked, told = types(case)
        made = {
            "json request": asked.model_dump_json().encode(),
            "json response": told.model_dump_json().encode(),
        }
        asked, told = types({name: {**one, "data": in_protobuf(one)} for name, one in case.items()})
        for raw in (False, True):
            form = "raw" if raw else "protobuf"
            request = ModelInferRequestConverter.from_types(asked, "m", "3", use_raw=raw)
            made[f"{form} request"] = request.SerializeToString()
            made[f"{form} response"] = ModelInferResponseConverter.from_types(
                told, use_raw=raw
            ).SerializeToString()
        return made

    def read(self, form: str, payload: bytes, names: list[str]) -> dict[str, list] | None:
        from mlserver.grpc import dataplane_pb2
        from mlserver.grpc.converters import ModelInferRequestConverter, ModelInferResponseConverter
        from mlserver.types import InferenceRequest, InferenceResponse

        if form.startswith("binary"):
            return None
        if form == "json request":
            tensors = InferenceRequest.model_validate_json(payload).inputs
        elif form == "json response":
            tensors = InferenceResponse.model_validate_json(payload).outputs
        elif form.endswith("request"):
            message = dataplane_pb2.ModelInferRequest.FromString(payload)
            tensors = ModelInferRequestConverter.to_types(message).inputs
        else:
            message = dataplane_pb2.ModelInferResponse.FromString(payload)
            tensors = ModelInferResponseConverter.to_types(message).outputs
        return {one.name: listed(np.array(list(one.data), object)) for one in tensors}


class Kserve:
    """kserve: its model server's requests and responses, over REST and gRPC."""

    def encode(self, case: dict) -> dict[str, bytes]:
        from kserve import InferInput, InferOutput, InferRequest, InferResponse

        made = {}
        for binary in (True, False):
            if not binary and any(one["datatype"] == "FP16" for one in case.values()):
                continue
            for side, kind in (("request", InferInput), ("response", InferOutput)):
                tensors = []
                for name, one in case.items():
                    tensors.append(kind(name, one["shape"], one["datatype"]))
                    tensors[-1].set_data_from_numpy(array(one), binary_data=binary)
                if side == "request":
                    whole = InferRequest("m", tensors, request_id="r")
                else:
                    whole = InferResponse("r", "m", tensors, model_version="3", use_binary_outputs=binary)
                body, length = whole.to_rest()
                made[f"{'binary' if binary else 'json'} {side}"] = (
                    bytes(body) if length is not None else json.dumps(body).encode()
                )
                made[f"{'raw' if binary else 'protobuf'} {side}"] = whole.to_grpc().SerializeToString()
        return made

    def read(self, form: str, payload: bytes, names: list[str]) -> dict[str, list] | None:
        from kserve import InferRequest, InferResponse
        from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

        if form in {"json request", "binary request"}:
            tensors = InferRequest.from_bytes(payload, json_end(payload), "m").inputs
        elif form in {"json response", "binary response"}:
            tensors = InferResponse.from_bytes(payload, json_end(payload)).outputs
        elif form.endswith("request"):
            tensors = InferRequest.from_grpc(pb.ModelInferRequest.FromString(payload)).inputs
        else:
            tensors = InferResponse.from_grpc(pb.ModelInferResponse.FromString(payload)).outputs
        return {one.name: listed(one.as_numpy()) for one in tensors}


LIBRARIES = {"triton": Triton, "mlserver": Mlserver, "kserve": Kserve}


def cloud_events(given: dict) -> dict:
    """The events of `given`, in both modes as Kafka messages; and what is read of ours."""
    from datetime import datetime

    from cloudevents.core.bindings import kafka
    from cloudevents.core.v1.event import CloudEvent

    theirs = []
    for one in given["events"]:
        attributes = {**one["attributes"], "time": datetime.fromisoformat(one["attributes"]["time"])}
        data = json.loads(one["data"]) if one["mode"] == "structured" else one["data"].encode()
        write = kafka.to_structured_event if one["mode"] == "structured" else kafka.to_binary_event
        message = write(CloudEvent(attributes, data))
        headers = [[name, b64encode(value).decode()] for name, value in message.headers.items()]
        theirs.append([b64encode(message.value).decode(), headers])
    read = []
    for value, headers in given["ours"]:
        message = kafka.KafkaMessage({name: b64decode(one) for name, one in headers}, None, b64decode(value))
        event = kafka.from_kafka_event(message)
        data = event.get_data()
        attributes = {name: str(one) for name, one in event.get_attributes().items()}
        read.append([attributes, data.decode() if isinstance(data, bytes) else data])
    return {"theirs": theirs, "read": read}


def main(library: str) -> None:
    given = json.load(sys.stdin)
    if library == "cloudevents":
        print(json.dumps(cloud_events(given)))
        return
    peer = LIBRARIES[library]()
    theirs, read = {}, {}
    for name, case in given["cases"].items():
        for form, payload in peer.encode(case).items():
            theirs[f"{name}|{form}"] = b64encode(payload).decode()
    for key, payload in given["ours"].items():
        name, form = key.split("|")
        found = peer.read(form, b64decode(payload), list(given["cases"][name]))
        if found is not None:
            read[key] = found
    print(json.dumps({"theirs": theirs, "read": read}))


if __name__ == "__main__":
    main(sys.argv[1])
