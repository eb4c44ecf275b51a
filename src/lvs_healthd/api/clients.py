"""Limits how many connections clients may have at once, and how long they may leave an answer unread.

aiohttp closes a connection that has not sent a whole request within its keep-alive time, and it limits the size of
headers. But aiohttp does not limit the number of idle connections, each of which costs a descriptor that the probes
then lack. And it does not limit how long a client may leave an answer unread, which then stays in the daemon's memory
and may have megabytes.
"""

import asyncio
from collections.abc import Callable, Container

MAX_CONNECTIONS = 64
"""The maximum number of connections over TCP. A few Prometheus servers and people need ten; the other descriptors are
for probes."""

MAX_CONTROL_CONNECTIONS = 16
"""The maximum number of connections over the control socket. They are counted separately, so that an operator can
connect whatever happens on TCP."""

STALLED_WRITE_S = 15.0
"""How long a client may leave its answer unread, seconds."""


class Connections:
    """Makes the protocol for each new connection, and drops the longest idle connection when there are too many.

    Refusing the newest one instead would let idle connections lock everybody out. This way, a client that hoards
    connections loses its own first. A connection whose request is being answered is not idle. If no connection is idle,
    the newest one is refused.

    make_protocol: makes aiohttp's protocol for one connection.
    answering: the transports of the requests that are being answered.
    limit: how many connections may be open at once.
    """

    def __init__(
        self, make_protocol: Callable[[], asyncio.Protocol], *, answering: Container[object], limit: int
    ) -> None:
        self._make_protocol = make_protocol
        self._answering = answering
        self._limit = limit
        # A dict keeps its order: the longest idle connection comes first.
        self._open: dict[_Connection, None] = {}

    def __call__(self) -> asyncio.Protocol:
        """Make the protocol for one new connection."""
        return _Connection(self._make_protocol(), self)

    def __len__(self) -> int:
        """Count the open connections."""
        return len(self._open)

    def opened(self, connection: "_Connection") -> None:
        """Add a new connection. If that makes too many, drop the longest idle one, or the new one if none is idle."""
        if len(self._open) >= self._limit:
            quietest = next((each for each in self._open if each.transport not in self._answering), connection)
            self._open.pop(quietest, None)
            quietest.abort()
            if quietest is connection:
                return
        self._open[connection] = None

    def heard(self, connection: "_Connection") -> None:
        """Note that a connection has just sent something."""
        if self._open.pop(connection, self) is None:
            self._open[connection] = None

    def closed(self, connection: "_Connection") -> None:
        """Forget a connection."""
        self._open.pop(connection, None)


class _Connection(asyncio.Protocol):
    """Wraps aiohttp's protocol for one connection, and reports what happens on it."""

    def __init__(self, inner: asyncio.Protocol, connections: Connections) -> None:
        self._inner = inner
        self._connections = connections
        self.transport: asyncio.Transport | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # a stream server makes no other
        self.transport = transport
        # The next part of an answer is written once the kernel has all of the last one. With asyncio's own limit of
        # 64 KiB two parts may wait for each of the clients that scrape at once.
        transport.set_write_buffer_limits(high=0)
        self._inner.connection_made(transport)
        self._connections.opened(self)

    def data_received(self, data: bytes) -> None:
        self._connections.heard(self)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._stalled = asyncio.get_running_loop().call_later(STALLED_WRITE_S, self.abort)
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._stop_timer()
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._connections.closed(self)
        self._inner.connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
