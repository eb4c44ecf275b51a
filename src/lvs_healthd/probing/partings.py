"""Ends connections in good order after an expected answer. The probe is over by then, and nobody waits for this.

A reset would be cheaper, but many servers log a reset as an error of the client. If the check has sent something that
may make the server close, the server gets time to close first, so that no TIME_WAIT stays here. Otherwise we close, and
wait until the server closes too. The connection is reset only if the server does not close in time.
"""

import socket
from collections import deque
from collections.abc import Callable

from lvs_healthd.probes.exchange import Target
from lvs_healthd.probing.sockets import Socket, Sockets

HOPE_S = 0.05
"""How long the server may take to close first, seconds. After QUIT, a server closes with its answer or soon after."""

PATIENCE_S = 0.2
"""How long the server may take to close after us, seconds."""

_RECV_SIZE = 65536
_READS = 4
"""How many times one socket is read at a time. If the server still sends more than that, the connection is reset."""


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
    tick_s: the length of the ticks into which closing and resetting are grouped, seconds.
    """

    def __init__(self, sockets: Sockets, clock: Callable[[], float], tick_s: float) -> None:
        self._sockets = sockets
        self._clock = clock
        self._tick_s = tick_s
        self._open: dict[int, _Parting] = {}
        # In the order in which they are due. A parting that is over stays here until its time.
        self._hoping: deque[_Parting] = deque()
        self._closing: deque[_Parting] = deque()

    def __len__(self) -> int:
        """Return how many connections have not ended yet."""
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
        # epoll may have reported already that the server has closed, and does not report that again.
        self._read(parting)
        if parting.is_over:
            return
        if peer_may_close:
            self._wait(parting, self._hoping, HOPE_S)
        else:
            self._close_our_side(parting)

    def heard(self, descriptor: int) -> bool:
        """Serve a socket that epoll reported, if its connection is ending here. Return whether it has ended now."""
        parting = self._open.get(descriptor)
        if parting is None:
            return False
        self._read(parting)
        return parting.is_over

    def tick(self) -> None:
        """Close connections that the server has not closed in time. Reset those that it has not closed after us."""
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
        """Throw away what the server still sends, until it closes."""
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
        """Reset the connection and free the socket. If both sides have closed already, the server does not notice."""
        if not parting.is_over:
            parting.is_over = True
            del self._open[parting.socket.fileno()]
            self._sockets.reset(parting.socket, parting.target)
