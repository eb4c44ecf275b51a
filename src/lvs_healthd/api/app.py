"""The API's endpoints as an aiohttp application. What they show and do is injected.

Nearly all endpoints are read-only. A request that changes something is a POST, and is accepted only over the control
socket.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Protocol

import msgspec
from aiohttp import web

from lvs_healthd.api import description
from lvs_healthd.api.answers import asking, is_control, json_answer, may_ask, may_not, refused
from lvs_healthd.api.holds import HoldRequests, add_holds
from lvs_healthd.api.http import LISTENING, Listening, add_headers, is_local_name
from lvs_healthd.api.ok import add_ok
from lvs_healthd.api.orders import OrderRequests, add_orders
from lvs_healthd.api.page import PATH, add_page, starting, wants_page
from lvs_healthd.api.peers import Peer
from lvs_healthd.api.rate import ReadingRate
from lvs_healthd.api.shared import SharedAnswer, in_turn
from lvs_healthd.api.why import add_why
from lvs_healthd.ipvs.interface import TableUnavailableError
from lvs_healthd.ipvs.records import Table
from lvs_healthd.ipvs.saved import saved
from lvs_healthd.runtime.garbage import give_back_free_memory
from lvs_healthd.runtime.pace import chunks, paced
from lvs_healthd.view.naming import UnknownNameError
from lvs_healthd.view.override_values import OverrideValues
from lvs_healthd.view.reload_values import ReloadOutcome, ReloadRequest
from lvs_healthd.view.serving import ServingAnswer
from lvs_healthd.view.status_values import Status, json_pieces
from lvs_healthd.view.why_values import Why

SCRAPE_FRESH_S = 1.0
"""Scrapes that begin within this time get the same metrics, seconds. Prometheus rarely scrapes more often than every
few seconds."""

_ALL = "all"
"""The word in a query that asks for the mark services of path probes too."""

_FORCE = "force=true"
"""The query of a reload that may take out any number of servers."""

PART_BYTES = 65536
"""How much of an answer one client gets in one turn of the event loop. To hand the kernel so much takes some 20 µs. So
with as many clients as there may be, a turn is a few milliseconds long."""

_TEXT_TYPE = "text/plain; charset=utf-8"
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_INDEX = """lvs-healthd

/page/          the same for browsers: every service and real server, bad ones first, kept true while it is open
/api/v1/openapi.json  this list for programs, with every field of every answer (OpenAPI)
/api/v1/status  every service and real server: verdict, reason, weights (JSON)
/api/v1/table   the kernel's IPVS table beside the wanted one, with its counters (JSON); ?service=NAME for one
/api/v1/director  how this director is configured and set, to compare it with another one (JSON)
/api/v1/connections  the kernel's connections, as in /proc/net/ip_vs_conn; on the control socket only
/api/v1/why     one server from its checks to the kernel, and its history (JSON): why/SERVICE/SERVER or
                ?service=SERVICE&server=SERVER; on the control socket only
/api/v1/ok      whether services may serve on this director (JSON); ?service=NAME for one
/api/v1/ipvsadm/wanted  the IPVS table we want, for ipvsadm -R
/api/v1/ipvsadm/actual  the kernel's whole table, as last read
/api/v1/overrides  what operators have ordered (JSON); POST: drain, disable, enable, weight; on the control socket only
/api/v1/reload  POST: read the configuration again, and answer with what changed; on the control socket only
/api/v1/reload/dry-run  POST: answer with what a reload would change, and change nothing; on the control socket only
/api/v1/hold    POST: write nothing to the table, or to ?service=NAME, until it is released; &reason=TEXT says why
/api/v1/release POST: write again; both on the control socket only
/metrics        for Prometheus
/healthz        200 "ok" while the daemon itself makes progress, else 503 and why
"""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class View(Protocol):
    """The source of what the endpoints show."""

    async def status(self) -> Status:
        """Return the daemon's whole status."""

    def health(self) -> str:
        """Return what is wrong with the daemon, or "" while it makes progress."""

    def wanted(self, *, whole: bool = False) -> Table:
        """Return the table that the daemon wants. The mark services of path probes are left out unless `whole`."""

    def actual(self, *, whole: bool = False) -> Table:
        """Return the kernel's table as last read or written. The same is left out unless `whole`."""

    def listing(self, which: str, *, whole: bool = False) -> AsyncGenerator[bytes, None]:
        """Yield a `Listing`, which shows the kernel's table beside the wanted one, as pieces of JSON.

        which: the service's name, address or firewall mark, or "" for all services.
                whole: whether "" also means the mark services of path probes.
        Raises `UnknownNameError`.
        """

    def overrides(self) -> tuple[OverrideValues, ...]:
        """Return what operators have ordered about servers."""

    def why(self, which: str, server: str) -> Why:
        """Say why real servers and fallback servers of a service are as they are.

        which: the service's name, address or firewall mark.
        server: the server's address, with or without its port.
        Raises `UnknownNameError`.
        """

    def ok(self, which: str) -> ServingAnswer:
        """Say whether services may serve on this director.

        which: the services' name, address or firewall mark, or "" for all services.
        Raises `UnknownNameError`.
        """

    def connections(self, which: str) -> AsyncGenerator[bytes, None]:
        """Yield the lines of the kernel's list of connections.

        which: the service's name, address or firewall mark, or "" for all services.
        Raises `UnknownNameError` and `TableUnavailableError`.
        """


class Requests(HoldRequests, OrderRequests, Protocol):
    """What operators may ask for."""

    async def reload(self, request: ReloadRequest, by: Peer) -> ReloadOutcome:
        """Reload the configuration, or say what that would change. Return the changes, or why it is rejected."""


def create_app(
    view: View,
    *,
    metrics: Callable[[], AsyncIterator[bytes]],
    director: Callable[[], AsyncIterator[bytes]],
    requests: Requests,
) -> web.Application:
    """Make the application that shows `view`.

    director: describes this director, a `DirectorValues` as JSON.
    requests: carries out what operators ask for.

    metrics: renders Prometheus's text format in chunks. Tens of thousands of servers make tens of megabytes, which are
    never in memory all at once. Tables come in chunks for the same reason.
    """
    tables = {"wanted": view.wanted, "actual": view.actual}

    async def status() -> AsyncIterator[bytes]:
        async for piece in paced(json_pieces(await view.status())):
            yield piece

    shared_metrics = SharedAnswer(metrics, fresh_s=SCRAPE_FRESH_S, freed=_give_back_memory)
    turn = asyncio.Lock()
    """Whoever makes a part of a table has it."""

    async def show_index(request: web.Request) -> web.Response:
        if wants_page(request):
            return web.Response(status=307, headers={"Location": PATH})
        return web.Response(text=_INDEX)

    async def show_description(_: web.Request) -> web.Response:
        return json_answer(await asyncio.to_thread(description.described))

    async def show_metrics(request: web.Request) -> web.StreamResponse:
        return await _stream(request, shared_metrics(), _METRICS_TYPE)

    async def show_health(_: web.Request) -> web.Response:
        trouble = view.health()
        return web.Response(text=f"{trouble or 'ok'}\n", status=503 if trouble else 200)

    async def show_table(request: web.Request) -> web.StreamResponse:
        listing = view.listing(request.query.get("service", ""), whole=_ALL in request.query)
        return await _stream(request, in_turn(listing, turn), "application/json")

    async def show_connections(request: web.Request) -> web.StreamResponse:
        if not is_control(request):
            # Somebody who may only read metrics must not learn which clients are connected to which servers.
            return refused(request, 403, "only on the control socket")
        return await _stream(request, view.connections(request.query.get("service", "")), _TEXT_TYPE)

    async def show_ipvsadm(request: web.Request) -> web.StreamResponse:
        table = tables.get(request.match_info["table"])
        if table is None:
            raise web.HTTPNotFound
        lines = (chunk.encode() async for chunk in chunks(saved(table(whole=_ALL in request.query))))
        return await _stream(request, in_turn(lines, turn), _TEXT_TYPE)

    async def do_reload(request: web.Request) -> web.StreamResponse:
        if not is_control(request):
            return refused(request, 403, "only on the control socket")
        if request.query_string not in ("", _FORCE):
            # A word that is not understood could be the one that was to prevent the change.
            return refused(request, 400, f'only "?{_FORCE}" is known')
        asked = ReloadRequest(dry_run=request.path.endswith("/dry-run"), force=request.query_string == _FORCE)
        peer = asking(request)
        if not may_ask(request, peer):
            requests.refused(str(asked), peer)
            return may_not(request, peer)
        outcome = await requests.reload(asked, peer)
        return json_answer(msgspec.json.encode(outcome), status=422 if outcome.errors else 200)

    # No endpoint takes a body. A client that sends one is refused, and the body is not read.
    app = web.Application(
        middlewares=[_noted, _errors_as_json, _only_local_names, _only_once_started], client_max_size=1024
    )
    app[LISTENING] = Listening()
    app.router.add_get("/", show_index)
    app.router.add_get(description.PATH, show_description)
    app.router.add_get("/metrics", show_metrics)
    app.router.add_get("/healthz", show_health)
    app.router.add_get("/api/v1/status", _shows(SharedAnswer(status, fresh_s=0.0, freed=_give_back_memory)))
    app.router.add_get("/api/v1/director", _shows(SharedAnswer(director, fresh_s=0.0)))
    app.router.add_get("/api/v1/table", show_table)
    app.router.add_get("/api/v1/connections", show_connections)
    add_why(app, view.why)
    add_page(app, view.status, view.why)
    add_ok(app, view.ok)
    app.router.add_get("/api/v1/ipvsadm/{table}", show_ipvsadm)
    add_orders(app, view.overrides, requests)
    app.router.add_post("/api/v1/reload", do_reload)
    # This has a path of its own, because a daemon that does not know it must not reload.
    app.router.add_post("/api/v1/reload/dry-run", do_reload)
    add_holds(app, requests)
    app.on_response_prepare.append(_add_headers)
    return app


def _shows(shared: SharedAnswer) -> _Handler:
    async def show(request: web.Request) -> web.StreamResponse:
        return await _stream(request, shared(), "application/json")

    return show


async def _stream(request: web.Request, body: AsyncGenerator[bytes, None], content_type: str) -> web.StreamResponse:
    async with contextlib.aclosing(body):
        # The first chunk is made before the headers are sent, so that a failure can still become an error status
        # instead of an answer that breaks off.
        try:
            first = await anext(body)
        except UnknownNameError as error:
            return refused(request, 404, str(error))
        except TableUnavailableError as error:
            return refused(request, 503, str(error))
        response = web.StreamResponse(headers={"Content-Type": content_type})
        rate = ReadingRate()
        try:
            await response.prepare(request)
            if request.method != "HEAD":
                await _write(response, first, rate)
                async for chunk in body:
                    await _write(response, chunk, rate)
            await response.write_eof()
        except ConnectionError:  # a client that has read enough
            pass
        except _TooSlowError:
            if request.transport is not None:
                request.transport.abort()
    return response


class _TooSlowError(Exception):
    """A client takes its answer too slowly."""


async def _write(response: web.StreamResponse, chunk: bytes, rate: ReadingRate) -> None:
    """Send a chunk in parts, so that little data waits in the send buffer of a slow client, and the loop runs between.

    A write that the kernel takes at once does not wait by itself, so forty clients would get all of it in one turn.
    Raises `_TooSlowError`.
    """
    view = memoryview(chunk)
    for start in range(0, len(chunk), PART_BYTES):
        part = view[start : start + PART_BYTES]
        try:
            async with rate.waiting():
                await response.write(part)
        except TimeoutError:
            raise _TooSlowError from None
        rate.taken(len(part))
        await asyncio.sleep(0)


@web.middleware
async def _errors_as_json(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        response = refused(request, error.status, error.reason)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response


@web.middleware
async def _only_local_names(request: web.Request, handler: _Handler) -> web.StreamResponse:
    host = request.headers.get("Host")
    if host is None or is_control(request) or not request.app[LISTENING].is_loopback or is_local_name(host):
        return await handler(request)
    return refused(request, 421, f'asked as "{host}"; a loopback address answers only to "localhost" and addresses')


@web.middleware
async def _only_once_started(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Refuse what needs a configuration in force: an empty status would be taken for a daemon without services."""
    path = request.path
    needs_start = path.startswith(description.AFTER_START) and not path.endswith((".css", ".js"))
    if not (needs_start and request.app[LISTENING].is_starting):
        return await handler(request)
    if path.startswith(PATH):
        return starting()
    return refused(request, 503, "the daemon is starting, and has not read the kernel's table yet; ask again")


@web.middleware
async def _noted(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Note that a request is being answered, so that its connection is not closed for a newer one."""
    answering, transport = request.app[LISTENING].answering, request.transport
    answering.add(transport)
    try:
        return await handler(request)
    finally:
        answering.discard(transport)


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    add_headers(response)


def _give_back_memory() -> None:
    """Give free memory back to the system, on a thread. Without a thread, it is kept for the next answer."""
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop().run_in_executor(None, give_back_free_memory)
