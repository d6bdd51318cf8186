"""Asking other servers: what surely did not arrive, what may have, and what was refused."""

from __future__ import annotations

import json
import logging
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import httpx

from observer.errors import Permanent, Retryable, Unclear

for _name in ("httpx", "httpcore"):  # their lines hold whole addresses, and headers
    logging.getLogger(_name).setLevel(logging.WARNING)

TIMEOUT: Final = httpx.Timeout(15.0, connect=5.0)
LONGEST_ANSWER: Final = 30.0
"""Seconds that an answer may take from its first byte to its last."""
MOST_BYTES: Final = 4_000_000
"""Of an answer: no target has more to say."""


class Api:
    """A server that speaks JSON.

    Parameters
    ----------
    base : str
        Its address; paths are added to it.
    headers : callable
        Called for each request, so that a token which is renewed in its file is taken up.
    renew : callable
        Called when they were refused (401); the request is then made once more.
    hushed : bool
        Errors leave out what the server said: it may repeat a password that it was sent.
    """

    def __init__(
        self,
        base: str,
        headers: Callable[[], Mapping[str, str]] = dict,
        renew: Callable[[], None] | None = None,
        *,
        hushed: bool = False,
    ) -> None:
        url = httpx.URL(base)
        # A name and a password in the address go into a header, so that no line of a log shows them.
        given = b64encode(f"{url.username}:{url.password}".encode()).decode()
        self._own = {"Authorization": f"Basic {given}"} if url.userinfo else {}
        self._base = str(url.copy_with(userinfo=b"")).rstrip("/")
        self._headers = headers
        self._renew = renew
        self._hushed = hushed

    def get(self, path: str, **params: str) -> Any:
        """The JSON behind a path; None where there is nothing (404)."""
        return self._ask("GET", path, params=params, missing_is_none=True)

    def post(self, path: str, body: object) -> Any:
        """The answer to a JSON body; raises `Unclear` when nobody knows whether it arrived."""
        return self._ask("POST", path, content=json.dumps(body, allow_nan=False).encode())

    def patch(self, path: str, body: object) -> Any:
        """As `post`."""
        return self._ask("PATCH", path, content=json.dumps(body, allow_nan=False).encode())

    def send(self, path: str, content: bytes, headers: Mapping[str, str], *, only_200: bool = False) -> Any:
        """As `post`, with a body and headers of one's own; `only_200`: another 2xx is a refusal too."""
        return self._ask("POST", path, content=content, more=headers, only_200=only_200)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        params: Mapping[str, str] | None = None,
        more: Mapping[str, str] | None = None,
        missing_is_none: bool = False,
        only_200: bool = False,
        again: bool = True,
    ) -> Any:
        url = self._base + path
        headers = {"Content-Type": "application/json", **self._own, **self._headers(), **(more or {})}
        writes = method != "GET"
        where = f"{method} {httpx.URL(url).copy_with(query=None)}"
        try:
            with httpx.stream(
                method,
                url,
                content=content,
                params=params or None,
                headers=headers,
                timeout=TIMEOUT,
                verify=_trusted(),
            ) as answer:
                body, began = b"", time.monotonic()
                for chunk in answer.iter_bytes():
                    body += chunk
                    if len(body) > MOST_BYTES or time.monotonic() > began + LONGEST_ANSWER:
                        raise (Unclear if writes else Permanent)(f"{where}: it answers without end")
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Retryable(f"{where}: no connection: {error}") from error
        except httpx.HTTPError as error:
            lost = f"{where}: {type(error).__name__} while waiting for the answer"
            raise (Unclear if writes else Retryable)(lost) from error
        code = answer.status_code
        if code == 200 or (code < 300 and not only_200):
            return _json(body)
        said = "" if self._hushed else _redacted(body[:300].decode(errors="replace").strip(), answer.request)
        text = f"{where}: {code} {said}".rstrip()
        if code == 401 and self._renew is not None and again:
            self._renew()
            return self._ask(
                method,
                path,
                content=content,
                params=params,
                more=more,
                missing_is_none=missing_is_none,
                only_200=only_200,
                again=False,
            )
        if code == 404 and missing_is_none:
            return None
        if code == 409:
            raise AlreadyThere(text)
        if code in (408, 425, 429):
            raise Retryable(text)
        if code >= 500:
            # The server may have done it before it failed.
            raise (Unclear if writes else Retryable)(text)
        raise Permanent(text)


class AlreadyThere(Permanent):
    """409: there is one of this name."""


@cache
def _trusted() -> ssl.SSLContext:
    """The authorities that the machine trusts, read once: that takes longer than most requests."""
    return ssl.create_default_context()


def _json(body: bytes) -> Any:
    try:
        return json.loads(body) if body.strip() else {}
    except ValueError:
        return {}


def _redacted(text: str, request: httpx.Request) -> str:
    """Without the token, the name and password or the cookie that were sent: a server may repeat them."""
    cookies = [one.partition("=")[2].strip() for one in request.headers.get("Cookie", "").split(";")]
    token = request.headers.get("Authorization", "").partition(" ")[2].strip()
    for sent in (token, *(value for value in cookies if len(value) > 7)):  # `lang=en` is none
        text = text.replace(sent, "***") if sent else text
    return text


def bearer(token: Callable[[], str]) -> Callable[[], Mapping[str, str]]:
    """Headers with a token; none while it is empty."""

    def headers() -> Mapping[str, str]:
        value = token().strip()
        return {"Authorization": f"Bearer {value}"} if value else {}

    return headers
