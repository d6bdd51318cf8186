"""An HTTP endpoint for KServe's inference logger: models that know nothing of the client are logged."""

from __future__ import annotations

import base64
import json
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from observer.client.asgi import Receive, Scope, Send
from observer.client.logger import PredictionLogger
from observer.client.protocols import Reader
from observer.client.watch import Read, record

_REQUEST = "org.kubeflow.serving.inference.request"
_RESPONSE = "org.kubeflow.serving.inference.response"
_ARMS = {"default": "champion", "canary": "challenger"}
_MAX_MODELS = 100

Attributes = Mapping[str, str]
Key = tuple[str, str, str, str]


class PayloadEndpoint:
    """An ASGI application that takes CloudEvents of requests and responses, and logs them as predictions.

    A request and its response are joined by namespace, service and id, whichever comes first. Their rows
    are read as `PredictionMiddleware` reads them, V1 and V2. The id of a prediction is that of the event (of
    several rows `id-0`, `id-1` and so on), its time that of the request; the logger's endpoint `default` is
    the champion, `canary` the challenger.

    Parameters
    ----------
    make : callable
        Name of an InferenceService -> its logger; called once for each, for up to 100 services.
    read : callable or None
        (request, response), as JSON has them -> the arguments of `log`, once per prediction.
    pending_bytes : int
        Memory for halves that wait for the other; beyond it the oldest are dropped.
    timeout : float
        Seconds that a half waits. Requests that failed have no response.
    max_body : int
        Bytes of one event.
    """

    def __init__(
        self,
        make: Callable[[str], PredictionLogger],
        *,
        read: Read | None = None,
        pending_bytes: int = 64 << 20,
        timeout: float = 60.0,
        max_body: int = 4 << 20,
    ) -> None:
        self._make = make
        self._read = read
        self._limit = pending_bytes
        self._timeout = timeout
        self._max_body = max_body
        self._loggers: dict[str, PredictionLogger] = {}
        self._pending: OrderedDict[Key, tuple[float, Attributes, bytes]] = OrderedDict()
        self._bytes = 0
        self.counts: Counter[str] = Counter()
        """Events by outcome: `joined` (both halves), `waiting` at first, `expired`, `overflow`, `refused`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the application's life."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            status, said = await self._take(scope, receive)
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": said.encode()})

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                for logger in self._loggers.values():
                    await logger.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return
            await send({"type": "lifespan.startup.complete"})

    async def _take(self, scope: Scope, receive: Receive) -> tuple[int, str]:
        """Status and words of the answer."""
        if scope["method"] != "POST":
            return 405, "accepted: POST of a CloudEvent\n"
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return 400, ""
            body += message.get("body", b"")
            if len(body) > self._max_body:
                self.counts["refused"] += 1
                return 413, f"the event is larger than {self._max_body} bytes\n"
            if not message.get("more_body"):
                break
        try:
            attributes, payload = event_of(scope["headers"], bytes(body))
            self._join(attributes, payload)
        except (ValueError, TypeError, RecursionError) as error:  # of JSON that nobody should send, too
            self.counts["refused"] += 1
            return 400, f"{error}\n"
        return 202, ""

    def _join(self, attributes: Attributes, payload: bytes) -> None:
        now = monotonic()
        self._expire(now)
        here = attributes["type"]
        where = attributes.get("namespace", ""), attributes["inferenceservicename"], attributes["id"]
        other = self._pending.pop((*where, _RESPONSE if here == _REQUEST else _REQUEST), None)
        if other is None:
            previous = self._pending.pop((*where, here), None)  # sent twice
            self._bytes += len(payload) - (len(previous[2]) if previous else 0)
            self._pending[(*where, here)] = now, attributes, payload
            self.counts["waiting"] += previous is None
            while self._bytes > self._limit:
                self._bytes -= len(self._pending.popitem(last=False)[1][2])
                self.counts["overflow"] += 1
            return
        _, theirs, waited = other
        self._bytes -= len(waited)
        self.counts["joined"] += 2
        given, payloads = (attributes, (payload, waited)) if here == _REQUEST else (theirs, (waited, payload))
        self._log(given, *payloads)

    def _log(self, given: Attributes, request: bytes, response: bytes) -> None:
        logger = self._logger(given["inferenceservicename"])
        reader: Read = self._read or Reader(logger.feature_names, logger.classes)
        arm = _ARMS.get(given.get("endpoint", ""))

        def read(asked: Any, answered: Any) -> Any:
            for fields in reader(json.loads(asked), json.loads(answered)):
                # How long the model took is not known: the events' times are those of the logger.
                yield {"time": given.get("time"), "arm": arm, "latency_ms": None, **fields}

        record(logger, read, request, response, 0.0, given["id"])

    def _logger(self, model: str) -> PredictionLogger:
        if model not in self._loggers:
            if len(self._loggers) >= _MAX_MODELS:
                raise ValueError(f"more than {_MAX_MODELS} services")
            self._loggers[model] = self._make(model)
        return self._loggers[model]

    def _expire(self, now: float) -> None:
        while self._pending and next(iter(self._pending.values()))[0] < now - self._timeout:
            self._bytes -= len(self._pending.popitem(last=False)[1][2])
            self.counts["expired"] += 1


def event_of(headers: Any, body: bytes) -> tuple[Attributes, bytes]:
    """Attributes and data of a CloudEvent in HTTP's binary or structured mode.

    Raises
    ------
    ValueError
        It is no event of KServe's inference logger; the message says what is missing.
    """
    fields = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in headers}
    if fields.get("content-type", "").startswith("application/cloudevents+json"):
        event = json.loads(body)
        if not isinstance(event, dict):
            raise ValueError("not a CloudEvent: the body is no JSON object")
        encoded = event.get("data_base64")
        body = json.dumps(event.get("data")).encode() if encoded is None else base64.b64decode(encoded)
        attributes = {key: value for key, value in event.items() if isinstance(value, str)}
    else:
        attributes = {key[3:]: value for key, value in fields.items() if key.startswith("ce-")}
    for name in ("id", "type", "inferenceservicename"):
        if not isinstance(attributes.get(name), str) or not attributes[name]:
            raise ValueError(f"not an event of KServe's inference logger: attribute `{name}` is missing")
    if attributes["type"] not in {_REQUEST, _RESPONSE}:
        raise ValueError(f"type {attributes['type'][:100]!r}; accepted: {_REQUEST}, {_RESPONSE}")
    return attributes, body
