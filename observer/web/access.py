"""Who may read and act, and the headers that every answer carries."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from observer.web.attempts import Attempts

COOKIE = "observer"
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
PAGE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
}


_NEEDED = "a valid token is needed: Authorization: Bearer ..."


class Refusal(NamedTuple):
    """Why a request is not followed, as an answer over HTTP."""

    status: int
    text: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Access:
    """Tokens; without `read` everybody may read, without `act` nobody may act.

    A peer that is wrong too often waits, and is then told neither yes nor no: not even a right token is
    looked at meanwhile.
    """

    attempts: Attempts
    read: str = ""
    act: str = ""

    def reading(self, request: Request) -> Refusal | None:
        """Why the request may not read; it may with either token, or with the cookie that `cookie` gives."""
        if not self.read or hmac.compare_digest(
            request.cookies.get(COOKIE, "").encode(), self.cookie().encode()
        ):
            return None
        return self._held_against(request, _bearer(request), self.read, self.act)

    def acting(self, request: Request) -> Refusal | None:
        """Why the request may not act."""
        if not self.act:
            text = "switched off; set `http.token` in the configuration to allow it"
            return Refusal(403, text, HEADERS)
        return self._held_against(request, _bearer(request), self.act)

    def signed(self, request: Request, given: str, expected: str) -> Refusal | None:
        """Why a signature does not stand for a token; where none is expected none ever does."""
        return self._held_against(request, given, expected)

    def signing_in(self, request: Request, token: str) -> Refusal | None:
        """Why a token that was typed in does not open the page."""
        return self._held_against(request, token, self.read, self.act)

    def _held_against(self, request: Request, given: str, *tokens: str) -> Refusal | None:
        host = request.client.host if request.client else ""
        wait = self.attempts.wait(host)
        if wait and given:
            text = f"too many wrong tokens from this address; try again in {wait} s"
            return Refusal(429, text, {**HEADERS, "Retry-After": str(wait)})
        if any(one and hmac.compare_digest(given.encode(), one.encode()) for one in tokens):
            return None
        if given:
            self.attempts.wrong(host)
        return Refusal(401, _NEEDED, {**HEADERS, "WWW-Authenticate": "Bearer"})

    def cookie(self) -> str:
        """What a browser bears instead of the token, which it never keeps."""
        return hmac.new(self.read.encode(), b"observer page", sha256).hexdigest()


def refused(refusal: Refusal) -> Response:
    """The refusal as JSON."""
    return JSONResponse({"error": refusal.text}, refusal.status, headers=refusal.headers)


def _bearer(request: Request) -> str:
    """The token of a request; empty without one."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""
