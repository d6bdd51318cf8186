"""The pages that people see: rendered on the server, and brought up to date by a small script."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from observer.errors import Absent, Retryable
from observer.ports import Clock, History
from observer.web import action_views, charts, fleet, story, words
from observer.web.access import COOKIE, PAGE_HEADERS, Access
from observer.web.action_views import ActionViews
from observer.web.actions import ControlPlane
from observer.web.reading import AskedError, understand
from observer.web.views import PARAMETERS, Views

_HERE = Path(__file__).parent
_LONGEST = 4_000
_DRAWN = 16
"""Pages kept as they were drawn last."""
_HTML = {"Content-Type": "text/html; charset=utf-8"}

Problems = Callable[[], Iterable[str]]


def pages(
    history: History,
    access: Access,
    problems: Problems,
    clock: Clock,
    version: str,
    control: ControlPlane | None = None,
) -> list[Route | Mount]:
    """The routes of the page, and of what it is made of."""
    site = _Site(history, access, problems, clock, version, control)
    routes: list[Route | Mount] = [
        Route(path, site.page(name), methods=["GET"]) for path, name in PATHS.items()
    ]
    static = StaticFiles(directory=_HERE / "static")
    return [*routes, Route("/login", site.login, methods=["GET", "POST"]), Mount("/static", static)]


PATHS = {
    "/": "fleet",
    "/model": "model",
    "/findings": "findings",
    "/finding": "finding",
    "/slo": "slo",
    "/references": "references",
    "/actions": "actions",
    "/action": "action",
    "/rollouts": "rollouts",
    "/rollout": "rollout",
}


class _Site:
    """Templates over the history."""

    def __init__(
        self,
        history: History,
        access: Access,
        problems: Problems,
        clock: Clock,
        version: str,
        control: ControlPlane | None,
    ) -> None:
        self._history = history
        self._access = access
        self._problems = problems
        self._clock = clock
        self._acts = ActionViews(history, control)
        self._views = Views(history, clock, self._acts)
        self._drawn: dict[str, bytes] = {}
        self._environment = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(
            charts=charts,
            words=words,
            stories=story,
            states=fleet.WORDS,
            action_looks=action_views.LOOKS,
            guards=action_views.GUARDS,
            may_act=bool(access.act),
            link=link,
            build=_build(),
            service=version,
        )

    def page(self, name: str) -> Callable[[Request], Any]:
        """The endpoint of one page."""

        async def endpoint(request: Request) -> Response:
            if self._access.reading(request) is not None:
                target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                return RedirectResponse(link("/login", next=target), 303, PAGE_HEADERS)
            return await run_in_threadpool(self._answer, name, request)

        return endpoint

    def _answer(self, name: str, request: Request) -> Response:
        try:
            mark = self._mark(name, request)
            if request.headers.get("if-none-match") == mark:
                return Response(status_code=304, headers={**PAGE_HEADERS, "ETag": mark})
            if mark in self._drawn:  # for somebody else who looks at it too
                return Response(self._drawn[mark], headers={**PAGE_HEADERS, **_HTML, "ETag": mark})
            of_actions = name in action_views.PARAMETERS
            parameters = (action_views.PARAMETERS if of_actions else PARAMETERS)[name]
            asked = understand(request.query_params.multi_items(), parameters)
            shown = getattr(self._acts if of_actions else self._views, name)(**asked)
            answer = self._render(f"{name}.html", 200, {**shown, "here": request.url.path}, {"ETag": mark})
            self._keep(mark, bytes(answer.body))
        except AskedError as error:
            return self._error(400, "That cannot be understood", str(error))
        except Absent as error:
            return self._error(404, "There is no such thing", str(error))
        except Retryable as error:
            return self._error(503, "This cannot be read now", str(error))
        return answer

    def _keep(self, mark: str, body: bytes) -> None:
        drawn = {**self._drawn, mark: body}
        for old in list(drawn)[:-_DRAWN]:
            del drawn[old]
        self._drawn = drawn  # in one step: requests are answered by several threads

    def _mark(self, name: str, request: Request) -> str:
        """Changes when the page may look different: with the history, what is done, and every minute."""
        acts = self._acts.revision() if name == "model" or name in action_views.PARAMETERS else ""
        minute = int(self._clock.now() // 60)
        state = (self._history.revision(), minute, acts, *self._problems(), str(request.url))
        return f'"{blake2b(repr(state).encode("utf-8", "replace"), digest_size=10).hexdigest()}"'

    def _error(self, status: int, title: str, text: str) -> Response:
        return self._render("error.html", status, {"title": title, "text": text, "here": ""})

    def _render(
        self, template: str, status: int, values: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Response:
        text = self._environment.get_template(template).render(
            problems=list(self._problems()), locked=bool(self._access.read), **values
        )
        return Response(text.encode("utf-8", "replace"), status, {**PAGE_HEADERS, **_HTML, **(headers or {})})

    async def login(self, request: Request) -> Response:
        """Take a token and give a cookie for it."""
        target = request.query_params.get("next", "/")
        if not target.startswith("/") or target.startswith(("//", "/\\")):
            target = "/"
        refusal = None
        if request.method == "POST":
            body = b""
            async for chunk in request.stream():
                body += chunk
                if len(body) > _LONGEST:
                    break
            given = parse_qs(body[:_LONGEST].decode("utf-8", "replace")).get("token", [""])[0]
            refusal = self._access.signing_in(request, given)
            if refusal is None:
                answer = RedirectResponse(target, 303, PAGE_HEADERS)
                answer.set_cookie(COOKIE, self._access.cookie(), httponly=True, samesite="strict")
                return answer
        status = refusal.status if refusal else 200
        wrong = "" if status == 200 else "This token does not open the page."
        if refusal and status == 429:
            wrong = f"{refusal.text[:1].upper()}{refusal.text[1:]}."
        values = {"here": "", "wrong": wrong, "action": link("/login", next=target)}
        waits = {"Retry-After": refusal.headers["Retry-After"]} if refusal and status == 429 else {}
        return self._render("login.html", status, values, waits)


def link(path: str, **parameters: object) -> str:
    """A path with its query."""
    given = {name: value for name, value in parameters.items() if value not in (None, "")}
    query = urlencode({name: str(value).encode("utf-8", "replace") for name, value in given.items()})
    return f"{path}?{query}" if query else path


def _build() -> str:
    """Changes with the static files, so that browsers take the new ones."""
    files = sorted(path for path in (_HERE / "static").rglob("*") if path.is_file())
    return blake2b(b"".join(path.read_bytes() for path in files), digest_size=4).hexdigest()
