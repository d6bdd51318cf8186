"""Who may read, and the headers that every answer carries."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256

from starlette.requests import Request

COOKIE = "observer"
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
PAGE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
}


@dataclass(frozen=True, slots=True)
class Access:
    """Tokens; without `read` everybody may read, without `act` nobody may act."""

    read: str = ""
    act: str = ""

    def may_read(self, request: Request) -> bool:
        """Whether the request bears a token that reads, or the cookie that `cookie` gave."""
        if not self.read:
            return True
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.opens(given.strip()):
            return True
        return hmac.compare_digest(request.cookies.get(COOKIE, "").encode(), self.cookie().encode())

    def opens(self, token: str) -> bool:
        """Whether a token allows to read: that for reading, or that for acting."""
        given = token.encode()
        return any(one and hmac.compare_digest(given, one.encode()) for one in (self.read, self.act))

    def refusal(self, request: Request) -> str:
        """Why the request may not act; empty when it may."""
        if not self.act:
            return "switched off; set `http.token` in the configuration to allow it"
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self.act.encode()):
            return "a valid token is needed: Authorization: Bearer ..."
        return ""

    def cookie(self) -> str:
        """What a browser bears instead of the token, which it never keeps."""
        return hmac.new(self.read.encode(), b"observer page", sha256).hexdigest()
