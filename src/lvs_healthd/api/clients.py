"""Bounds what clients can hold: connections at once, and time to take an answer.

aiohttp closes a connection that has not sent a whole request within its keep-alive time, and caps header sizes. Two
things it leaves open: any number of idle connections, each a descriptor the probes then lack; and a client that never
reads its answer, whose megabytes stay in our memory.
"""

import asyncio
from collections.abc import Callable

MAX_CONNECTIONS = 64
"""Over all listeners. Some Prometheus servers and people need ten; the rest of the descriptors belongs to probes."""

STALLED_WRITE_S = 15.0
"""How long a client may leave its answer untouched."""


class Connections:
    """Makes protocols for a listener; when there are too many, the one that was quiet longest goes.

    Dropping the quietest instead of refusing the newest keeps the door open: whoever hoards idle connections loses his
    own first.
    """

    def __init__(self, make_protocol: Callable[[], asyncio.Protocol], *, limit: int = MAX_CONNECTIONS) -> None:
        self._make_protocol = make_protocol
        self._limit = limit
        # A dict keeps order: the quietest first.
        self._open: dict[_Connection, None] = {}

    def __call__(self) -> asyncio.Protocol:
        """Make the protocol for one new connection."""
        return _Connection(self._make_protocol(), self)

    def __len__(self) -> int:
        """Count the open connections."""
        return len(self._open)

    def opened(self, connection: "_Connection") -> None:
        """Take a new connection in, and drop the quietest one if it is one too many."""
        if len(self._open) >= self._limit:
            quietest = next(iter(self._open))
            del self._open[quietest]
            quietest.abort()
        self._open[connection] = None

    def heard(self, connection: "_Connection") -> None:
        """Note that a connection is in use."""
        if self._open.pop(connection, self) is None:
            self._open[connection] = None

    def closed(self, connection: "_Connection") -> None:
        """Forget a connection."""
        self._open.pop(connection, None)


class _Connection(asyncio.Protocol):
    """Stands before aiohttp's protocol and watches."""

    def __init__(self, inner: asyncio.Protocol, connections: Connections) -> None:
        self._inner = inner
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # a stream server makes no other
        self._transport = transport
        self._connections.opened(self)
        self._inner.connection_made(transport)

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
