"""Serves one application on a TCP address and on the control socket, and moves it to new ones on a reload."""

import asyncio
import ipaddress
import logging
import socket
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from lvs_healthd.api import sockets
from lvs_healthd.api.clients import MAX_CONNECTIONS, MAX_CONTROL_CONNECTIONS, Connections
from lvs_healthd.api.http import LISTENING, HttpProtocol
from lvs_healthd.api.listening import ApiError
from lvs_healthd.config.basics import Endpoint

KEEPALIVE_S = 75.0
"""How long a connection may stay open without a whole request, seconds. It is longer than Prometheus's default scrape
interval of one minute, so that Prometheus can use its connection again."""

_MAX_LINE_BYTES = 2048
_MAX_HEADER_BYTES = 8190
_LINGER_S = 0.5
"""How long an unwanted request body is read and thrown away, so that the client sees the answer instead of a reset."""

_SHUTDOWN_S = 0.5
"""How long a stop waits for unfinished answers. The daemon has two seconds for the whole stop."""


def _is_ours(record: logging.LogRecord) -> bool:
    """Return whether a log message of the HTTP library is about a fault of the daemon, and not of a client.

    A client's malformed HTTP is not worth a log line.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


class ApiServer:
    """Serves one application on a TCP address and on a Unix socket.

    In the methods, `listen` is the TCP address ("127.0.0.1:9880"), and `control` is the path of the Unix socket. Each
    may be "", which means not to listen there.
    """

    def __init__(self, app: web.Application) -> None:
        logging.getLogger("aiohttp.server").addFilter(_is_ours)
        self._http: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": KEEPALIVE_S,
            "lingering_time": _LINGER_S,
            "max_line_size": _MAX_LINE_BYTES,
            "max_field_size": _MAX_HEADER_BYTES,
        }
        self._runner = web.AppRunner(app, shutdown_timeout=_SHUTDOWN_S)
        self._listening = app[LISTENING]
        answering = self._listening.answering
        self.tcp_clients = Connections(self._make_protocol, answering=answering, limit=MAX_CONNECTIONS)
        self.control_clients = Connections(self._make_protocol, answering=answering, limit=MAX_CONTROL_CONNECTIONS)
        self._tcp: _Listener | None = None
        self._unix: _Listener | None = None

    @property
    def address(self) -> Endpoint | None:
        """The TCP address at present; None without one. If port 0 was configured, it has the port the kernel chose."""
        return None if self._tcp is None else Endpoint(*self._tcp.socket.getsockname()[:2])

    async def start(self, listen: str, control: str, *, is_starting: bool = False) -> None:
        """Open both sockets. Raises `ApiError` if one cannot be opened; then neither stays open.

        is_starting: whether questions are refused until `begin`, because there is nothing to answer with yet.
        """
        self._listening.is_starting = is_starting
        await self._runner.setup()
        try:
            await self._move_control(control)
            await self._move_listen(listen)
        except ApiError:
            await self.stop()
            raise

    def begin(self) -> None:
        """Answer from now on."""
        self._listening.is_starting = False

    async def stop(self) -> None:
        """Close everything. Unfinished answers get a moment to complete."""
        for listener in (self._tcp, self._unix):
            if listener is not None:
                listener.close()
        self._tcp = self._unix = None
        await self._runner.cleanup()

    async def rebind(self, listen: str, control: str) -> None:
        """Move to other addresses. A new socket is opened before the old one is closed, and open connections stay.

        Raises `ApiError` if a socket cannot be opened; then everything is as before.
        """
        before = self._unix.name if self._unix is not None else ""
        await self._move_control(control)
        try:
            await self._move_listen(listen)
        except ApiError:
            await self._move_control(before)
            raise

    async def renew_control(self) -> bool:
        """Make the control socket again if its file is gone, or if another file took its place.

        Without this, a clean-up of /run with too broad a pattern would leave a running daemon that nobody can reach.
        Returns whether the socket was made again. Raises `ApiError` when the socket cannot be made.
        """
        old = self._unix
        if old is None or old.is_there():
            return False
        self._unix = await self._serve(old.name, sockets.open_control(old.name))
        old.close()
        return True

    async def _move_listen(self, listen: str) -> None:
        old = self._tcp
        if old is not None and old.name == listen:
            return
        new = await self._new_listener(listen, old) if listen else None
        if old is not None:
            old.close()
        self._tcp = new

    async def _new_listener(self, listen: str, old: "_Listener | None") -> "_Listener":
        try:
            return await self._serve(listen, sockets.open_listen(listen))
        except ApiError:
            if old is None or not _same_port(old.name, listen):
                raise
        # When the address changes from 127.0.0.1:9880 to 0.0.0.0:9880, for example, the old socket itself is in the
        # way. It is closed first, and opened again if the new one cannot be opened.
        old.close()
        self._tcp = None
        try:
            return await self._serve(listen, sockets.open_listen(listen))
        except ApiError:
            self._tcp = await self._serve(old.name, sockets.open_listen(old.name))
            raise

    async def _move_control(self, control: str) -> None:
        old = self._unix
        if old is not None and old.name == control:
            return
        new = await self._serve(control, sockets.open_control(control)) if control else None
        if old is not None:
            old.close()
        self._unix = new

    def _make_protocol(self) -> asyncio.Protocol:
        server = self._runner.server
        assert server is not None  # noqa: S101  # start() has set the runner up
        return HttpProtocol(server, loop=asyncio.get_running_loop(), **self._http)

    async def _serve(self, name: str, opened: socket.socket) -> "_Listener":
        loop = asyncio.get_running_loop()
        if opened.family == socket.AF_UNIX:
            identity = sockets.file_identity(name)
            server = await loop.create_unix_server(self.control_clients, sock=opened)
            return _Listener(name, opened, server, identity)
        self._listening.is_loopback = ipaddress.ip_address(sockets.parse_listen(name).address).is_loopback
        return _Listener(name, opened, await loop.create_server(self.tcp_clients, sock=opened), None)


class _Listener:
    """One listening socket. Closing it keeps its connections, and removes a control socket's file."""

    def __init__(
        self, name: str, opened: socket.socket, server: asyncio.Server, identity: tuple[int, int] | None
    ) -> None:
        self.name = name
        self.socket = opened
        self._server = server
        self._identity = identity

    def is_there(self) -> bool:
        """Return whether clients still reach this socket by its name."""
        if self._identity is None:
            return True
        try:
            return sockets.file_identity(self.name) == self._identity
        except OSError:
            return False

    def close(self) -> None:
        if self._identity is not None:
            sockets.remove_control(self.name, self._identity)
        self._server.close()


def _same_port(old: str, new: str) -> bool:
    return sockets.parse_listen(old).port == sockets.parse_listen(new).port
