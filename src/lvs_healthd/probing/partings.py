"""Ends connections in good order after an expected answer. The probe is over by then, and nobody waits for this.

A reset would be cheaper, but many servers log one as an error of the client. So the server gets time to close first, if
it may: then no TIME_WAIT stays here. Otherwise we close, and wait for the server to do the same. Only a server that
does not is reset.
"""

import socket
from collections import deque
from collections.abc import Callable

from lvs_healthd.probes.exchange import Target
from lvs_healthd.probing.sockets import Socket, Sockets

HOPE_S = 0.05
"""How long the server may take to close first. One that was told QUIT does so with its answer, or a moment later."""

PATIENCE_S = 0.2
"""How long the server may take to close after us."""

_RECV_SIZE = 65536
_READS = 4
"""Reads from one socket at a time. A server that still sends more than that is reset."""


class _Parting:
    """One connection that is ending."""

    __slots__ = ("due", "has_closed", "is_over", "socket", "target")

    def __init__(self, ending: Socket, target: Target) -> None:
        self.socket = ending
        self.target = target
        self.due = 0.0
        self.has_closed = False
        """Whether we have closed our side."""
        self.is_over = False


class Partings:
    """The connections that are ending.

    sockets: takes each socket back afterwards.
    clock: monotonic time, seconds.
    tick_s: the next steps are grouped into ticks of so many seconds.
    """

    def __init__(self, sockets: Sockets, clock: Callable[[], float], tick_s: float) -> None:
        self._sockets = sockets
        self._clock = clock
        self._tick_s = tick_s
        self._open: dict[int, _Parting] = {}
        # In the order they are due. Those that are over stay until then.
        self._hoping: deque[_Parting] = deque()
        self._closing: deque[_Parting] = deque()

    def __len__(self) -> int:
        """How many sockets are not free yet."""
        return len(self._open)

    @property
    def next_due(self) -> float | None:
        """When `tick` must be called next, on the clock; None when nothing is ending."""
        if not self._open:
            return None
        return min(waiting[0].due for waiting in (self._hoping, self._closing) if waiting)

    def begin(self, ending: Socket, target: Target, *, peer_may_close: bool) -> None:
        """End a connection.

        peer_may_close: whether what was sent may make the server close first.
        """
        parting = _Parting(ending, target)
        self._open[ending.fileno()] = parting
        # epoll does not report again what it has reported already, perhaps the server's end.
        self._read(parting)
        if parting.is_over:
            return
        if peer_may_close:
            self._wait(parting, self._hoping, HOPE_S)
        else:
            self._close_our_side(parting)

    def heard(self, descriptor: int) -> bool:
        """Serve a socket that epoll reported, if it is one of these. Return whether that freed it."""
        parting = self._open.get(descriptor)
        if parting is None:
            return False
        self._read(parting)
        return parting.is_over

    def tick(self) -> None:
        """Close those that the server has not closed, and reset those that it did not close after us."""
        now = self._clock()
        while self._hoping and self._hoping[0].due <= now:
            parting = self._hoping.popleft()
            if not parting.is_over:
                self._close_our_side(parting)
        while self._closing and self._closing[0].due <= now:
            self._reset(self._closing.popleft())

    def cut_oldest(self) -> None:
        """Free a socket at once, for a probe that needs its place."""
        for waiting in (self._closing, self._hoping):
            while waiting:
                parting = waiting.popleft()
                if not parting.is_over:
                    self._reset(parting)
                    return

    def close(self) -> None:
        """Leave the rest to the kernel, and free all sockets."""
        for parting in self._open.values():
            parting.is_over = True
            self._sockets.finish(parting.socket)
        self._open.clear()
        self._hoping.clear()
        self._closing.clear()

    def _wait(self, parting: _Parting, waiting: deque[_Parting], seconds: float) -> None:
        parting.due = (int((self._clock() + seconds) / self._tick_s) + 1) * self._tick_s
        waiting.append(parting)

    def _read(self, parting: _Parting) -> None:
        """Throw away what the server still sends, up to its end."""
        try:
            for _ in range(_READS):
                if not parting.socket.recv(_RECV_SIZE):
                    if not parting.has_closed:
                        parting.socket.shutdown(socket.SHUT_WR)
                    break
        except BlockingIOError:
            return
        except OSError:
            pass  # the server has reset the connection
        self._reset(parting)

    def _close_our_side(self, parting: _Parting) -> None:
        parting.has_closed = True
        try:
            parting.socket.shutdown(socket.SHUT_WR)
        except OSError:  # the server has reset the connection
            self._reset(parting)
        else:
            self._wait(parting, self._closing, PATIENCE_S)

    def _reset(self, parting: _Parting) -> None:
        """Free the socket. The server notices nothing of it if both sides are closed."""
        if not parting.is_over:
            parting.is_over = True
            del self._open[parting.socket.fileno()]
            self._sockets.reset(parting.socket, parting.target)
