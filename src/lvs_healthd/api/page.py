"""The endpoints of the status page: the overview, one real server, and the stream that keeps open pages true."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from lvs_healthd.api.answers import refused
from lvs_healthd.page import document
from lvs_healthd.page.feed import Told
from lvs_healthd.page.rows import Asked, Shown, shown
from lvs_healthd.view.naming import UnknownNameError
from lvs_healthd.view.status_values import Status
from lvs_healthd.view.why_values import Why

PATH = "/page/"

MOST_PAGES = 8
"""How many pages may be open and live at the same time. The daemon must have time for its probes."""

EVERY_S = 1.0
"""How often an open page is told what has changed, seconds."""

SHARE = 10
"""All open pages together cost about one part in so many of one processor: the more there is to tell, and to how many,
the more rarely."""

_SLOW_S = 10.0
"""How long a browser may take to receive a message before it loses its place, seconds."""

_RULES = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
}


def add_page(app: web.Application, status: Callable[[], Awaitable[Status]], why: Callable[[str, str], Why]) -> None:
    """Add the endpoints to an application.

    why: takes the names of a service and a server. Raises `UnknownNameError`.
    """
    page = _Page(status, why)
    app.router.add_get(PATH, page.overview)
    app.router.add_get(PATH + "server", page.server)
    app.router.add_get(PATH + "events", page.events)
    for name, kind in (("style.css", "text/css"), ("script.js", "text/javascript")):
        app.router.add_get(PATH + name, _asset(name, kind))
    app.router.add_get(PATH.rstrip("/"), _to_page)


def wants_page(request: web.Request) -> bool:
    """Whether a browser asks, which shows HTML."""
    return "text/html" in request.headers.get("Accept", "")


def starting() -> web.Response:
    """Return what a browser is shown before there is anything to show."""
    response = _html(document.starting())
    response.set_status(503)
    return response


def _asset(name: str, kind: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def show(_: web.Request) -> web.Response:
        return web.Response(body=document.asset(name), content_type=kind, charset="utf-8", headers=_RULES)

    return show


async def _to_page(_: web.Request) -> web.Response:
    return web.Response(status=307, headers={"Location": PATH})


class _Page:
    """Answers for the page. The HTML is made on a thread, by one at a time."""

    def __init__(self, status: Callable[[], Awaitable[Status]], why: Callable[[str, str], Why]) -> None:
        self._status = status
        self._why = why
        self._turn = asyncio.Lock()
        self._open = 0

    async def overview(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = _asked(request)
        except ValueError as error:
            return refused(request, 400, str(error))
        async with self._turn:
            status = await self._status()
            html = await asyncio.to_thread(lambda: "".join(document.overview(shown(status, asked, time.time()))))
        return _html(html)

    async def server(self, request: web.Request) -> web.StreamResponse:
        service, server = (request.query.get(word, "") for word in ("service", "server"))
        try:
            answer = self._why(service, server)
        except UnknownNameError as error:
            return refused(request, 404, str(error))
        return _html("".join(document.server_page(answer, service, server)))

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Stream what changes, as server-sent events, until the browser leaves."""
        try:
            asked = _asked(request)
        except ValueError as error:
            return refused(request, 400, str(error))
        if self._open >= MOST_PAGES:
            return refused(request, 503, f"{MOST_PAGES} pages are open; this one is not kept true")
        self._open += 1
        try:
            return await self._stream(request, asked)
        finally:
            self._open -= 1

    async def _stream(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **_RULES})
        with contextlib.suppress(ConnectionError, TimeoutError):  # the browser has left, or does not listen
            await response.prepare(request)
            # The page was made a moment ago, perhaps by a state that is no longer true: it is told everything once.
            told = Told(Shown.nothing(asked))
            while True:
                began = time.monotonic()
                async with self._turn:
                    status = await self._status()
                    message = await asyncio.to_thread(lambda: told.news(shown(status, asked, time.time())))  # noqa: B023
                cost_s = time.monotonic() - began
                async with asyncio.timeout(_SLOW_S):
                    # A comment, when there is nothing new, finds out whether anybody still listens.
                    await response.write(b"data: " + message + b"\n\n" if message else b":\n\n")
                await asyncio.sleep(max(EVERY_S, SHARE * cost_s * self._open))
        return response


def _asked(request: web.Request) -> Asked:
    """Return what the query asks for. Raises `ValueError`."""
    first = request.query.get("from", "0")
    if not (first.isascii() and first.isdigit() and len(first) <= 9):
        raise ValueError(f'from="{first}" is not the number of a real server')
    return Asked(request.query.get("q", "").strip(), request.query.get("bad") == "1", int(first))


def _html(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/html", headers=_RULES)
