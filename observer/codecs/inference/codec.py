"""Pairs of requests and responses -> batches, by a mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from detectors.base import Ints
from observer.codecs.arrow.rows import Rows
from observer.codecs.base import ROW_BITS, Codec, Context, Limits, Poll
from observer.codecs.inference import bodies, protobuf
from observer.codecs.inference.apply import Tensors, columns, ids
from observer.codecs.inference.collector import uncollected
from observer.codecs.inference.mapping import Mappings, ModelMapping
from observer.codecs.inference.pairs import Pair, Paired
from observer.codecs.inference.tensors import Table, Unreadable
from observer.model import Schema, Stream


class InferenceCodec(Codec):
    """Decodes pairs of the V1 and V2 inference protocols, as JSON or protobuf.

    Pairs of one model and structure become the columns of one record batch, which is then read as an Arrow
    message is.

    Parameters
    ----------
    schemas, limits, learn_unknown
        As for `JsonCodec`.
    mappings : mapping
        By model; pairs of other models are rejected.
    """

    def __init__(
        self,
        schemas: Mapping[str, Schema],
        mappings: Mappings,
        limits: Limits | None = None,
        *,
        learn_unknown: bool = False,
    ) -> None:
        self._context = Context(schemas, limits or Limits(), learn_unknown=learn_unknown)
        self._mappings = mappings

    @uncollected()
    def read(self, poll: Poll, stream: Stream, indexes: Sequence[int]) -> None:
        """Add the pairs at `indexes` to the poll."""
        if not isinstance(poll.messages, Paired) or stream != "predictions":
            raise TypeError("pairs are read from the predictions, once they are paired")
        reading = _Reading(self._context, poll, poll.messages.pairs)
        mapped = []
        for index in indexes:
            model = reading.pairs[index].model
            if model in self._mappings:
                mapped.append(index)
            else:
                known = ", ".join(sorted(self._mappings)[:20])
                told = f"the mapping has no model {model[:200]!r}, only: {known}"
                reading.refuse(index, "unknown_model", f"{told}; `observer map infer` proposes one")
        if mapped:
            reading.read(np.array(mapped, np.int64), self._mappings)


def tables(payloads: Sequence[bytes], *, response: bool) -> tuple[list[Table], dict[int, str]]:
    """Tables of requests or responses, of JSON and of protobuf; the messages are indexes into `payloads`."""
    found: list[Table] = []
    refused: dict[int, str] = {}
    is_json = list(map(_is_json, payloads))
    for read, wanted in ((bodies.tables, True), (protobuf.tables, False)):
        chosen = [index for index, one in enumerate(is_json) if one is wanted]
        if not chosen:
            continue
        some, wrong = read([payloads[index] for index in chosen], response=response)
        order = np.array(chosen, np.int64)
        found += [Table(order[table.messages], table.tensors, table.versions) for table in some]
        refused |= {chosen[index]: why for index, why in wrong.items()}
    return found, refused


def _is_json(payload: bytes) -> bool:
    """Whether it is JSON: an object, perhaps indented.

    Protobuf's first field begins with a line feed; the byte after it, its length, may be any.
    """
    if payload[:1] == b"{":
        return True
    rest = payload[:100].lstrip() if payload[:1] in (b" ", b"\t", b"\r", b"\n") else b""
    return rest[:1] == b"{" and rest[1:].lstrip()[:1] in (b'"', b"}", b"")


class _Reading:
    """The pairs of one poll on their way to batches."""

    def __init__(self, context: Context, poll: Poll, pairs: Sequence[Pair]) -> None:
        self._context = context
        self._poll = poll
        self.pairs = pairs

    def refuse(self, index: int, reason: str, detail: str) -> None:
        """Reject a whole pair."""
        pair = self.pairs[index]
        self._poll.reject(index, reason, detail, model=pair.model, payload=pair.letter())

    def read(self, indexes: Ints, mappings: Mappings) -> None:
        """Read the pairs at `indexes`, those of one model and structure together."""
        pairs = [self.pairs[index] for index in indexes.tolist()]
        requests, wrong = tables([pair.request for pair in pairs], response=False)
        responses, wrong_too = tables([pair.response for pair in pairs], response=True)
        for at, why in sorted((wrong_too | wrong).items()):
            self.refuse(int(indexes[at]), "invalid", f"{'request' if at in wrong else 'response'}: {why}")
        names = {name: code for code, name in enumerate(dict.fromkeys(pair.model for pair in pairs))}
        models = np.fromiter((names[pair.model] for pair in pairs), np.int64, len(pairs))
        asked, asked_at = _places(requests, len(pairs))
        answered, answered_at = _places(responses, len(pairs))
        good = np.flatnonzero((asked >= 0) & (answered >= 0))
        kinds, which = np.unique(
            np.stack([models, asked, answered], axis=1)[good], axis=0, return_inverse=True
        )
        which = which.reshape(-1)
        told = list(names)
        for number, (model, one, other) in enumerate(kinds.tolist()):
            here = good[which == number]
            inputs = {name: t.take(asked_at[here]) for name, t in requests[one].tensors.items()}
            outputs = {name: t.take(answered_at[here]) for name, t in responses[other].tensors.items()}
            versions = [responses[other].versions[at] for at in answered_at[here].tolist()]
            self._add(told[model], mappings[told[model]], indexes[here], inputs, outputs, versions)

    def _add(
        self,
        model: str,
        mapping: ModelMapping,
        indexes: Ints,
        inputs: Tensors,
        outputs: Tensors,
        versions: list[str],
    ) -> None:
        try:
            arrays, rows = columns(mapping, inputs, outputs)
        except Unreadable as error:
            if len(indexes) == 1 or "different numbers of rows" not in str(error):
                for index in indexes.tolist():
                    self.refuse(index, "invalid", str(error))
                return
            for at in range(len(indexes)):  # some of them agree
                alone = np.array([at])
                mine = {name: tensor.take(alone) for name, tensor in inputs.items()}
                theirs = {name: tensor.take(alone) for name, tensor in outputs.items()}
                self._add(model, mapping, indexes[alone], mine, theirs, [versions[at]])
            return
        n = int(rows.sum())
        if n * len(arrays) > self._context.limits.max_batch_bytes:
            for index in indexes.tolist():
                self.refuse(index, "too_large", f"{n} rows of {len(arrays)} columns in one poll")
            return
        if not n:
            return
        pairs = [self.pairs[index] for index in indexes.tolist()]
        owner = np.repeat(np.arange(len(indexes)), rows)
        arrays["time"] = pa.array(np.array([pair.time for pair in pairs], np.int64)[owner])
        if "id" not in arrays:
            arrays["id"] = ids([pair.id for pair in pairs], rows)
        if "version" not in arrays:
            constant = mapping.constant_version
            arrays["version"] = _coded([constant or version for version in versions], owner)
        arrays["arm"] = _coded([pair.arm for pair in pairs], owner)
        try:
            batch = pa.record_batch(list(arrays.values()), names=list(arrays))
            message = indexes[owner]
            starts = np.cumsum(rows) - rows
            row = (message << ROW_BITS) + np.arange(n) - starts[owner]
            trial = Poll(self._poll.messages, self._poll.now)
            Rows(self._context, trial, batch, message, row, model).add("predictions")
        except (pa.ArrowException, ValueError, TypeError) as error:
            for index in indexes.tolist():
                self.refuse(index, "invalid", f"unusable tensors: {error}"[:300])
            return
        self._poll.absorb(trial)


def _places(found: Sequence[Table], n: int) -> tuple[Ints, Ints]:
    """The table of each message, -1 for none, and its place there."""
    table, place = np.full(n, -1), np.zeros(n, np.int64)
    for number, one in enumerate(found):
        table[one.messages] = number
        place[one.messages] = np.arange(len(one.messages))
    return table, place


def _coded(texts: list[str], owner: NDArray[np.int64]) -> pa.Array:
    """Texts of messages as a column of rows; empty ones are null."""
    codes: dict[str, int] = {}
    each = [codes.setdefault(text, len(codes)) for text in texts]
    names = pa.array([name or None for name in codes], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(np.array(each, np.int32)[owner]), names)
