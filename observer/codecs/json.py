"""JSON, one event a message: by structs made for each model, and one by one where those refuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from observer.codecs import events
from observer.codecs.base import Codec, Context, Limits, Poll, within
from observer.codecs.events import grouped
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
        self._named = msgspec.json.Decoder(events.Named)
        self._build()

    def read(self, poll: Poll, stream: Stream, indexes: Sequence[int]) -> None:
        """Add the messages at `indexes` to the poll."""
        indexes = within(poll, indexes, self._context.limits.max_message_bytes)
        read = self._read_predictions if stream == "predictions" else self._read_labels
        for start in range(0, len(indexes), CHUNK):
            read(poll, indexes[start : start + CHUNK])

    def _build(self) -> None:
        """Make the structs of the models known by now, and the one decoder that picks among them."""
        schemas = self._context.schemas
        structs = {model: events.fast_event(model, schema) for model, schema in schemas.items()}
        self._models = {struct: model for model, struct in structs.items()}
        self._features = {
            model: events.struct_features(schema) for model, schema in schemas.items() if schema.features
        }
        union: Any = None
        for struct in structs.values():
            union = struct if union is None else union | struct
        self._fast = None if union is None else msgspec.json.Decoder(union)

    def _read_predictions(self, poll: Poll, indexes: Sequence[int]) -> None:
        if len(self._models) < len(self._context.schemas):  # one has been met that is to be learnt
            self._build()
        if self._fast is None:
            self._read_each(poll, "predictions", indexes)
            return
        decoded = _decode(self._fast.decode, poll, indexes)
        refused: list[int] = []
        for struct, some, where in grouped(decoded, list(map(type, decoded)), indexes):
            if struct is type(None):
                refused = where.tolist()
                continue
            model = self._models[struct]
            features = self._features.get(model) or events.mapping_features(self._context, model, poll)
            poll.add(events.predictions(self._context, poll, model, some, where, features))
        if refused:
            self._read_each(poll, "predictions", refused)

    def _read_labels(self, poll: Poll, indexes: Sequence[int]) -> None:
        decoded = _decode(self._label.decode, poll, indexes)
        if None in decoded:
            self._read_each(poll, "labels", indexes)
        else:
            events.add(self._context, poll, "labels", decoded, indexes)

    def _read_each(self, poll: Poll, stream: Stream, indexes: Sequence[int]) -> None:
        """Read messages of which some are refused: a cell, the model, or the whole event is wrong."""
        decode = self._event.decode if stream == "predictions" else self._label.decode
        decoded, good = [], []
        for index in indexes:
            payload = poll.messages.values[index]
            try:
                decoded.append(decode(payload))
                good.append(index)
            except msgspec.ValidationError as error:
                poll.reject(index, "invalid", events.explain(error), model=self._model_of(payload))
            except _MALFORMED as error:
                poll.reject(index, "undecodable", f"not JSON: {error}"[:200])
        events.add(self._context, poll, stream, decoded, good)

    def _model_of(self, payload: bytes) -> str:
        """The known model that an invalid event names, or nothing."""
        try:
            model = self._named.decode(payload).model
        except _MALFORMED:
            return ""
        return model if isinstance(model, str) and model in self._context.schemas else ""


def _decode(decode: Callable[[bytes], Any], poll: Poll, indexes: Sequence[int]) -> list[Any]:
    """Decode the messages at `indexes`, each on its own; None where one is refused."""
    decoded: list[Any] = []
    rest = map(poll.messages.values.__getitem__, indexes)
    while True:
        try:
            # A refusal leaves `decoded` with what came before it, and `rest` after the message refused.
            decoded.extend(map(decode, rest))
        except _MALFORMED:
            decoded.append(None)
        else:
            return decoded
