"""Targets that are told and cannot be asked: a Knative broker, a webhook.

Each gets the order with one and the same id however often it is sent, so that a receiver which keeps ids
does it once; a webhook's body is signed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any, Final

from observer.actions.base import Order, Progress, canonical
from observer.errors import Permanent, Retryable, Unclear
from observer.http import Api
from observer.plain import timestamp

TYPE: Final = "io.ml-observer.action"


def payload(order: Order) -> dict[str, Any]:
    """What a receiver is told."""
    return {
        "id": order.id,
        "model": order.model,
        "action": order.kind,
        "parameters": dict(order.parameters),
        "why": dict(order.why),
    }


class _Told:
    """Taken is done: what comes of it is told by an event of the receiver's, or not at all."""

    can_be_asked = False

    def find(self, order: Order) -> str | None:
        """It cannot be asked."""
        raise Permanent(f"order {order.id}: the target cannot be asked")

    def progress(self, order: Order, reference: str) -> Progress:
        """Taken."""
        del order
        return Progress("succeeded", f"taken: {reference}")

    def stop(self, order: Order, reference: str) -> None:
        """It cannot."""
        del reference
        raise Permanent(f"order {order.id}: the receiver cannot be told to stop")


class KnativeBroker(_Told):
    """A CloudEvent, in binary mode, to a broker's ingress.

    Parameters
    ----------
    api : Api
        The ingress.
    path : str
        `/{namespace}/{broker}`.
    source : str
        The event's source: who speaks.
    """

    deduplicates = True

    def __init__(self, api: Api, path: str, source: str) -> None:
        self._api, self._path, self._source = api, path, source

    def send(self, order: Order) -> str:
        """Produce the event; its id is the order's."""
        headers = {
            "ce-specversion": "1.0",
            "ce-id": order.id,
            "ce-type": f"{TYPE}.{order.kind}",
            "ce-source": self._source,
            "ce-subject": "".join(c for c in order.model if c.isascii() and c.isprintable()),
            "ce-time": timestamp(1000 * order.created, "milliseconds"),
            "Content-Type": "application/json",
        }
        self._api.send(self._path, canonical(payload(order)).encode(), headers)
        return f"event {order.id}"

    def check(self) -> list[str]:
        """A broker answers a GET with 405: it is there, and nothing was produced."""
        try:
            found = self._api.get(self._path)
        except Permanent as error:
            return [] if ": 405" in str(error) else [str(error)]
        except (Retryable, Unclear) as error:
            return [str(error)]
        return [] if found is not None else [f"{self._path}: the ingress knows no such broker"]


class Webhook(_Told):
    """A POST of JSON, signed: `X-Observer-Signature: sha256=` HMAC of the body.

    Parameters
    ----------
    deduplicates : bool
        Whether the receiver does an order once however often it comes (by `Idempotency-Key`).
    """

    def __init__(self, api: Api, path: str, secret: Callable[[], str], *, deduplicates: bool) -> None:
        self._api, self._path, self._secret = api, path, secret
        self.deduplicates = deduplicates

    def send(self, order: Order) -> str:
        """Post it."""
        body = canonical(payload(order)).encode()
        headers = {"Idempotency-Key": order.id}
        secret = self._secret()
        if secret:
            headers["X-Observer-Signature"] = "sha256=" + sign(body, secret)
        self._api.send(self._path, body, headers)
        return f"posted {order.id}"

    def check(self) -> list[str]:
        """Nothing can be asked of it that would not act."""
        return []


def sign(body: bytes, secret: str) -> str:
    """HMAC-SHA256 of a body, hexadecimal."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
