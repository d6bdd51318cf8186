"""JSON, one event a message: by structs made for each model, and one by one where those refuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from observer.codecs import events
from observer.codecs.base import Codec, Context, Limits, Poll, within
from observer.codecs.rows import Rows, grouped
from observer.model import Schema, Stream

CHUNK = 500
"""Messages decoded before their columns are made: more objects alive at once cost more than they save."""

_MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class JsonCodec(Codec):
    """Decodes JSON events.

    Parameters
    ----------
    schemas : mapping
        Model name -> schema; a schema without features means that they are being learnt.
    limits : Limits
        What a message and a model may cost.
    learn_unknown : bool
        Whether events of models not in `schemas` are used.
    """

    def __init__(
        self, schemas: Mapping[str, Schema], limits: Limits | None = None, *, learn_unknown: bool = False
    ) -> None:
        self._context = Context(schemas, limits or Limits(), learn_unknown=learn_unknown)
        self._event = msgspec.json.Decoder(events.Event)
        self._label = msgspec.json.Decoder(events.LabelEvent)
        self._build()

    def read(self, poll: Poll, stream: Stream, indexes: Sequence[int]) -> None:
        """Add the messages at `indexes` to the poll."""
        indexes = within(poll, indexes, self._context.limits.max_message_bytes)
        rows = Rows(self._context, poll, stream)
        read = self._read_predictions if stream == "predictions" else self._read_labels
        for start in range(0, len(indexes), CHUNK):
            read(poll, rows, indexes[start : start + CHUNK])
        rows.finish()

    def _build(self) -> None:
        """Make the structs of the models known by now, and the one decoder that picks among them."""
        structs = {model: events.fast_event(model, schema) for model, schema in self._context.schemas.items()}
        self._models = {struct: model for model, struct in structs.items()}
        union: Any = None
        for struct in structs.values():
            union = struct if union is None else union | struct
        self._fast = None if union is None else msgspec.json.Decoder(union)

    def _read_predictions(self, poll: Poll, rows: Rows, indexes: Sequence[int]) -> None:
        if len(self._models) < len(self._context.schemas):  # one has been met that is to be learnt
            self._build()
        if self._fast is None:
            self._read_each(poll, rows, self._event, indexes)
            return
        decoded = _decode(self._fast.decode, poll.payloads(indexes))
        for struct, some, messages in grouped(decoded, type, indexes):
            model = self._models.get(struct)
            if model is None:
                self._read_each(poll, rows, self._event, messages.tolist())
            else:
                structs = events.has_struct(self._context.schemas[model])
                rows.extend_model(model, some, messages, structs=structs)

    def _read_labels(self, poll: Poll, rows: Rows, indexes: Sequence[int]) -> None:
        decoded = _decode(self._label.decode, poll.payloads(indexes))
        if None in decoded:
            self._read_each(poll, rows, self._label, indexes)
        else:
            rows.extend(decoded, indexes)

    def _read_each(
        self, poll: Poll, rows: Rows, decoder: msgspec.json.Decoder[Any], indexes: Sequence[int]
    ) -> None:
        """Read messages of which some are refused: a cell, the model, or the whole event is wrong."""
        decoded, good = [], []
        for index in indexes:
            try:
                decoded.append(decoder.decode(poll.messages.values[index]))
                good.append(index)
            except _MALFORMED as error:
                self._refuse(poll, index, error)
        rows.extend(decoded, good)

    def _refuse(self, poll: Poll, index: int, error: Exception) -> None:
        """Reject a message as invalid, or, if it is no JSON to its end, as undecodable."""
        event = None
        try:
            event = msgspec.json.decode(poll.messages.values[index])
        except msgspec.ValidationError:  # a number out of range
            pass
        except _MALFORMED as malformed:
            poll.reject(index, "undecodable", f"not JSON: {malformed}"[:200])
            return
        poll.reject(index, "invalid", events.explain(error), model=self._context.model_of(event))


def _decode(decode: Callable[[bytes], Any], payloads: list[bytes]) -> list[Any]:
    """Decode the payloads, each on its own; None where one is refused."""
    decoded: list[Any] = []
    rest = iter(payloads)
    while True:
        try:
            # A refusal leaves `decoded` with what came before it, and `rest` after the message refused.
            decoded.extend(map(decode, rest))
        except _MALFORMED:
            decoded.append(None)
        else:
            return decoded
