"""JSON bodies of requests and responses -> tables of tensors: V1, V2, and V2's binary tensors.

A request of V1 is read as a tensor `instances`, a response as a tensor `predictions`; where their elements
are mappings, as a tensor for each key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from itertools import chain
from math import prod
from operator import attrgetter, methodcaller
from typing import Any

import msgspec
import numpy as np

from observer.codecs.inference.tensors import (
    Decoded,
    Table,
    Tensor,
    Unreadable,
    cells_of,
    from_bytes,
    from_lists,
    lengths,
)


class _Tensor(msgspec.Struct, gc=False):
    name: str
    shape: tuple[int, ...]
    datatype: str = ""
    data: Any = None
    parameters: dict[str, Any] | None = None


class _Request(msgspec.Struct, gc=False):
    tensors: list[_Tensor] | None = msgspec.field(name="inputs", default=None)
    plain: list[Any] | None = msgspec.field(name="instances", default=None)
    model_version: str | None = None


class _Response(msgspec.Struct, gc=False):
    tensors: list[_Tensor] | None = msgspec.field(name="outputs", default=None)
    plain: list[Any] | None = msgspec.field(name="predictions", default=None)
    model_version: str | None = None


_MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_raw_decode = json.JSONDecoder().raw_decode
_request = msgspec.json.Decoder(_Request).decode
_response = msgspec.json.Decoder(_Response).decode
_Body = _Request | _Response
Group = tuple[list[int], list[_Body]]
_MOST = 1 << 40
_told = attrgetter("name", "datatype", "shape")
_binary_sizes = re.compile(rb'"binary_data_size" *: *([0-9]{1,15})[ ,}]').findall


def tables(payloads: Sequence[bytes], *, response: bool) -> Decoded:
    """The tables of requests, or of responses."""
    decode = _response if response else _request
    plain = "predictions" if response else "instances"
    groups: dict[object, Group] = {}
    refused: dict[int, str] = {}
    known: dict[object, object] = {}
    for index, payload in enumerate(payloads):
        try:
            body, binary = _body(payload, decode)
            structure = _structure(body, plain, known, binary=binary)
        except _MALFORMED as error:
            refused[index] = f"no V1 or V2 body: {error}"[:300]
        except Unreadable as error:
            refused[index] = str(error)
        else:
            indexes, bodies = groups.setdefault(structure, ([], []))
            indexes.append(index)
            bodies.append(body)
    found: list[Table] = []
    for group in groups.values():
        found += _stacked(group, plain, refused)
    return found, refused


def _body(payload: bytes, decode: Callable[[bytes], _Body]) -> tuple[_Body, bool]:
    """A body, and whether tensors are behind its JSON: the binary tensor extension."""
    if not payload.endswith(b"}"):
        # How long the JSON is stands in a header of HTTP that the logger does not keep. What its tensors
        # take of the end tells, unless their bytes happen to look like JSON.
        end = len(payload) - sum(map(int, _binary_sizes(payload)))
        if 0 < end < len(payload) and payload[end - 1 : end] == b"}":
            try:
                return _with_tensors(decode(payload[:end]), payload, end), True
            except (*_MALFORMED, Unreadable):
                pass
    try:
        return decode(payload), False
    except msgspec.ValidationError:
        raise
    except _MALFORMED:
        if not payload.startswith(b"{"):
            raise
    try:
        _, end = _raw_decode(payload.decode("latin-1"))
    except ValueError as error:
        raise Unreadable(f"no JSON: {error}"[:200]) from error
    return _with_tensors(decode(payload[:end]), payload, end), True


def _with_tensors(body: _Body, payload: bytes, end: int) -> _Body:
    """The body, with the tensors that follow its JSON, which ends at `end`."""
    for tensor in body.tensors or ():
        size = (tensor.parameters or {}).get("binary_data_size")
        if size is not None:
            if type(size) is not int or size < 0:
                raise Unreadable(f"tensor `{tensor.name}`: `binary_data_size` is {size!r:.40}")
            tensor.data = payload[end : end + size]
            end += size
    if end != len(payload):
        raise Unreadable(f"{len(payload)} bytes; JSON and binary tensors make {end}")
    return body


def _structure(body: _Body, plain: str, known: dict[object, object], *, binary: bool) -> object:
    """What bodies must have in common to be stacked; `known` are those found before, by their tensors."""
    if body.tensors is not None:
        told: object = tuple(map(_told, body.tensors))
        if binary:
            told = told, tuple([type(one.data) for one in body.tensors])
        found = known.get(told)
        if found is None:
            for one in body.tensors:
                if any(size < 0 for size in one.shape) or prod(one.shape) > _MOST:
                    raise Unreadable(f"tensor `{one.name}` has shape {list(one.shape)!r:.80}")
            kinds = [type(one.data) if binary else list for one in body.tensors]
            found = tuple(
                (*_told(one)[:2], one.shape[1:], kind) for one, kind in zip(body.tensors, kinds, strict=True)
            )
            known[told] = found
        return found
    if body.plain is not None:
        first = body.plain[0] if body.plain else None
        return "objects" if isinstance(first, dict) else ("v1", *_inner(first))
    wanted = "`outputs` nor `predictions`" if plain == "predictions" else "`inputs` nor `instances`"
    raise Unreadable(f"neither {wanted} in it")


def _inner(value: Any) -> tuple[int, ...]:
    """The shape of one element of V1."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def _stacked(group: Group, plain: str, refused: dict[int, str]) -> list[Table]:
    """One table of the group; or, if some of its bodies are wrong, one of each that is not."""
    indexes, bodies = group
    try:
        tensors = _stack_v2(bodies) if bodies[0].tensors is not None else _stack_v1(bodies, plain)
    except Unreadable as error:
        if len(bodies) == 1:
            refused[indexes[0]] = str(error)
            return []
        alone = (([index], [body]) for index, body in zip(indexes, bodies, strict=True))
        return [table for one in alone for table in _stacked(one, plain, refused)]
    return [Table(np.array(indexes, np.int64), tensors, [body.model_version or "" for body in bodies])]


def _stack_v2(bodies: list[_Body]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for each in zip(*(body.tensors or () for body in bodies), strict=True):
        one = each[0]
        rows = np.array([tensor.shape[0] if tensor.shape else 1 for tensor in each], np.int64)
        read = from_bytes if type(one.data) is bytes else from_lists
        data = [tensor.data for tensor in each]
        found[one.name] = read(one.name, one.datatype, one.shape[1:], rows, data)
    return found


def _stack_v1(bodies: list[_Body], name: str) -> dict[str, Tensor]:
    each = [body.plain or [] for body in bodies]
    rows = lengths(each)
    elements = list(chain.from_iterable(each))
    first = next(iter(elements), None)
    if not isinstance(first, dict):
        return {name: from_lists(name, "", _inner(first), rows, each)}
    if set(map(type, elements)) != {dict}:
        raise Unreadable(f"`{name}` holds objects and other values")
    found = {}
    for key in dict.fromkeys(chain.from_iterable(elements)):
        cells = list(map(methodcaller("get", key), elements))
        inner = _inner(next((cell for cell in cells if cell is not None), None))
        if inner:
            one = from_lists(key, "", inner, np.array([len(cells)]), [cells])
            found[key] = Tensor(one.cells, rows, one.width)
        else:
            found[key] = Tensor(cells_of(key, "", cells), rows)
    return found
