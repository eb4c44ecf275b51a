"""The endpoints of the status page: the overview, one real server, and the stream that keeps open pages true."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Generator

from aiohttp import web

from lvs_healthd.api.answers import refused
from lvs_healthd.page import document
from lvs_healthd.page.feed import Told
from lvs_healthd.page.rows import Asked, Shown, making
from lvs_healthd.runtime.pace import Pace, chunks
from lvs_healthd.view.naming import UnknownNameError
from lvs_healthd.view.status_values import Status
from lvs_healthd.view.why_values import Why

PATH = "/page/"

MOST_PAGES = 8
"""How many pages may be open and live at the same time. The daemon must have time for its probes."""

EVERY_S = 1.0
"""How often an open page is told what has changed, seconds."""

SHARE = 10
"""Pages cost about one part in so many of one processor: the longer one takes to make, the more rarely it is made."""

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


class _Maker:
    """Makes what pages show, once for all that ask for the same at about the same time.

    It does so on the event loop, in small steps. On a thread, each system call of the loop would have to wait for the
    interpreter's lock until the thread is through.
    """

    def __init__(self, status: Callable[[], Awaitable[Status]]) -> None:
        self._status = status
        self._turn = asyncio.Lock()
        self._latest: Status | None = None
        self._made: dict[Asked, Shown] = {}
        self._stale_at = 0.0
        self._end: asyncio.TimerHandle | None = None

    async def shown(self, asked: Asked) -> Shown:
        """Return a page as new as `EVERY_S` and `SHARE` allow. Until it is older, it is the same object."""
        async with self._turn:
            return await self._fresh(asked)

    async def news(self, told: Told, asked: Asked) -> bytes:
        """Return what to tell an open page, which is one of many: one of them in each turn of the event loop."""
        async with self._turn:
            message = told.news(await self._fresh(asked))
            await asyncio.sleep(0)
        return message

    async def _fresh(self, asked: Asked) -> Shown:
        began, began_s = time.monotonic(), time.thread_time()
        status = self._latest
        if status is None:
            self._stale_at = began + EVERY_S
            status = self._latest = await self._status()
        made = self._made
        page = made.get(asked)
        if page is None:
            page = made[asked] = await _in_steps(making(status, asked, time.time()))
            # Probes that ran meanwhile count too, but not other programs, however busy the machine is.
            self._stale_at = max(self._stale_at, began + SHARE * (time.thread_time() - began_s))
            if self._end is not None:
                self._end.cancel()
            self._end = asyncio.get_running_loop().call_later(self._stale_at - time.monotonic(), self._forget)
        return page

    def _forget(self) -> None:
        # Not kept for the next visitor, who may come in a week.
        self._latest = self._end = None
        self._made = {}


async def _in_steps(steps: Generator[None, None, Shown]) -> Shown:
    """Run a generator to its end, and let the event loop run every few milliseconds. Return its result."""
    pace = Pace()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            made: Shown = end.value
            return made
        if pace.is_over():
            await pace.rest()


class _Page:
    """Answers for the page."""

    def __init__(self, status: Callable[[], Awaitable[Status]], why: Callable[[str, str], Why]) -> None:
        self._maker = _Maker(status)
        self._why = why
        self._open = 0

    async def overview(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = _asked(request)
        except ValueError as error:
            return refused(request, 400, str(error))
        page = await self._maker.shown(asked)
        return _html("".join([part async for part in chunks(document.overview(page))]))

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
                message = await self._maker.news(told, asked)
                async with asyncio.timeout(_SLOW_S):
                    # A comment, when there is nothing new, finds out whether anybody still listens.
                    await response.write(b"data: " + message + b"\n\n" if message else b":\n\n")
                await asyncio.sleep(EVERY_S)
        return response


def _asked(request: web.Request) -> Asked:
    """Return what the query asks for. Raises `ValueError`."""
    first = request.query.get("from", "0")
    if not (first.isascii() and first.isdigit() and len(first) <= 9):
        raise ValueError(f'from="{first}" is not the number of a real server')
    return Asked(request.query.get("q", "").strip(), request.query.get("bad") == "1", int(first))


def _html(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/html", headers=_RULES)
