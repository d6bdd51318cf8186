"""Requests and responses of the V2 protocol as servers and Kafka sinks write them."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from observer.codecs.inference.halves import Side
from observer.codecs.inference.protobuf import FIELD
from observer.codecs.inference.tensors import NUMBERS

Message = tuple[bytes, list[tuple[str, bytes]]]
"""A Kafka message: its value and its headers."""


def v2_json(
    tensors: Mapping[str, tuple[str, Any]], *, response: bool = False, binary: bool = False, **fields: Any
) -> bytes:
    """A V2 body: name -> datatype and array; `binary` puts the tensors' bytes after the JSON."""
    told, tail = [], b""
    for name, (datatype, values) in tensors.items():
        array = np.asarray(values)
        one: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": datatype}
        if binary:
            data = raw(datatype, array)
            one["parameters"] = {"binary_data_size": len(data)}
            tail += data
        else:
            one["data"] = array.ravel().tolist()
        told.append(one)
    return json.dumps({**fields, "outputs" if response else "inputs": told}).encode() + tail


def raw(datatype: str, array: NDArray[Any]) -> bytes:
    """Raw contents of a tensor."""
    if datatype == "BYTES":
        texts = [str(one).encode() for one in array.ravel().tolist()]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return array.astype("?" if datatype == "BOOL" else NUMBERS[datatype]).tobytes()


def v2_protobuf(
    tensors: Mapping[str, tuple[str, Any]],
    *,
    response: bool = False,
    as_raw: bool = False,
    model_name: str = "",
    model_version: str = "",
    id: str = "",  # noqa: A002 - the field's name
) -> bytes:
    """A `ModelInferRequest`, or a `ModelInferResponse`; contents typed, or raw."""
    out = [
        _field(number, text.encode())
        for number, text in ((1, model_name), (2, model_version), (3, id))
        if text
    ]
    tail = []
    for name, (datatype, values) in tensors.items():
        array = np.asarray(values)
        shape = b"".join(map(_varint, array.shape))
        one = _field(1, name.encode()) + _field(2, datatype.encode()) + (_field(3, shape) if shape else b"")
        if as_raw:
            tail.append(_field(6 if response else 7, raw(datatype, array)))
        elif array.size:
            one += _field(5, _contents(datatype, array))
        out.append(_field(5, one))
    return b"".join([*out, *tail])


def _contents(datatype: str, array: NDArray[Any]) -> bytes:
    number = FIELD[datatype]
    if datatype == "BYTES":
        return b"".join(_field(number, str(one).encode()) for one in array.ravel().tolist())
    if datatype in ("FP32", "FP64"):
        return _field(number, array.astype(NUMBERS[datatype]).tobytes())
    return _field(number, b"".join(_varint(int(one) & 0xFFFFFFFFFFFFFFFF) for one in array.ravel().tolist()))


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def cloud_event(
    side: Side,
    id: str,  # noqa: A002 - the attribute's name
    service: str,
    body: bytes,
    *,
    time: str,
    mode: Literal["binary", "structured"] = "binary",
    **attributes: str,
) -> Message:
    """An event of KServe's inference logger as Knative's KafkaSink writes it."""
    given = {
        "specversion": "1.0", "id": id, "source": "http://localhost:9081/", "time": time,
        "type": f"org.kubeflow.serving.inference.{side}", "inferenceservicename": service,
        "namespace": "default", "component": "predictor", "endpoint": "default", **attributes,
    }  # fmt: skip
    if mode == "binary":
        headers = [(f"ce_{name}", value.encode()) for name, value in given.items()]
        return body, [*headers, ("content-type", b"application/json")]
    event: dict[str, Any] = {**given, "datacontenttype": "application/json"}
    try:
        event["data"] = json.loads(body)
    except ValueError:
        event["data_base64"] = base64.b64encode(body).decode()
    return json.dumps(event).encode(), [("content-type", b"application/cloudevents+json; charset=UTF-8")]


def seldon_headers(pipeline: str, request: str) -> list[tuple[str, bytes]]:
    """Headers of a message of a pipeline's topics."""
    return [("x-request-id", request.encode()), ("pipeline", pipeline.encode())]
