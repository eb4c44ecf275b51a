"""The only owner of probe sockets: starts conversations, moves their bytes, ends each one at its deadline.

All sockets sit in one epoll set of our own whose descriptor asyncio watches, each registered once and edge-triggered:
no task, no timer and no re-registration per probe, which is where an asyncio client spends most of its time. Deadlines
are kept in ticks; the scheduler calls `tick` when one is due.
"""

import asyncio
import errno
import heapq
import select
import socket
import struct
from collections import deque
from collections.abc import Callable

from lvs_healthd.probes.errors import at_connect, from_network
from lvs_healthd.probes.exchange import Exchange, Farewell, Step, Target, seconds_in_words
from lvs_healthd.probes.outcome import Outcome, Reason, down, unsure

TICK_S = 0.05
"""Granularity of starts and deadlines: probes start in groups, so that one wake-up serves many."""

STALL_WATCH_S = 0.1
"""How often a tick comes at least while probes are under way; a pause shorter than this goes unnoticed."""

STALL_SHARE = 0.25
"""A pause of ours longer than this share of a probe's timeout makes a timeout our fault as likely as the server's."""

MAX_RECEIVED = 32 * 1024 * 1024
"""Bytes taken from one peer in one probe, TLS and all; above every limit that a check can set for itself."""

_RECV_SIZE = 65536
_READS_PER_TURN = 16
"""Reads from one socket before the others get their turn: 1 MiB."""

_EVENTS_PER_TURN = 256
"""Sockets served before asyncio gets its turn: about 10 ms of work."""

# Closing with a reset leaves no TIME_WAIT on the director, which would run out of local ports at a few hundred
# probes a second to one address (HAProxy's checks do the same).
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_FIN_ON_CLOSE = struct.pack("ii", 0, 0)

_EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_FAILED = select.EPOLLERR | select.EPOLLHUP
_READABLE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_ENDING = select.EPOLLRDHUP | select.EPOLLHUP

Done = Callable[[Outcome], None]


class _Flight:
    """One probe under way."""

    __slots__ = ("connected", "done", "exchange", "pending", "received", "socket", "stalls_s", "started", "target")

    def __init__(self, target: Target, done: Done, started: float, stalls_s: float) -> None:
        self.target = target
        self.done: Done | None = done
        self.started = started
        self.stalls_s = stalls_s
        """The engine's pauses so far, when this probe began."""
        self.exchange: Exchange | None = target.begin()
        self.socket: socket.socket | None = None
        self.connected = False
        self.pending = b""
        self.received = 0


class Engine:
    """Runs probes. Not thread-safe; lives on one event loop.

    `max_in_flight` bounds the sockets open at once; a probe above it waits its turn (`waiting`).
    """

    def __init__(self, *, clock: Callable[[], float], max_in_flight: int = 1000) -> None:
        self.max_in_flight = max_in_flight
        self._clock = clock
        self._flights: dict[int, _Flight] = {}
        self._waiting: deque[tuple[Target, Done, Callable[[float], None] | None]] = deque()
        self._deadlines: dict[int, list[_Flight]] = {}
        self._deadline_ticks: list[int] = []
        self._stalls_s = 0.0
        """All our pauses together, seconds."""
        self._fail: Callable[[Exception], None] | None = None
        self._epoll = select.epoll()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.wake: Callable[[], None] = _nobody
        """Called when `next_tick` may have become earlier than it was."""

    def open(self, loop: asyncio.AbstractEventLoop, fail: Callable[[Exception], None]) -> None:
        """Let `loop` watch the sockets. Before this, `poll` must be called by hand.

        An exception that escapes a probe is a fault of this program: it goes to `fail`, which must end the daemon. The
        loop would only log it, and the probe would run into its timeout and count against a healthy server.
        """
        self._loop = loop
        self._fail = fail
        loop.add_reader(self._epoll.fileno(), self._guarded, self.poll)

    def _guarded(self, work: Callable[..., object], *arguments: object) -> None:
        try:
            work(*arguments)
        except Exception as error:
            if self._fail is None:
                raise
            self._fail(error)

    def close(self) -> None:
        """Drop every probe under way without an outcome and give back all descriptors."""
        if self._loop is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._loop = None
        self._waiting.clear()
        for flight in self._flights.values():
            opened, flight.socket, flight.done = flight.socket, None, None
            if opened is not None:
                opened.close()
        self._flights.clear()
        self._deadlines.clear()
        self._deadline_ticks.clear()
        self._epoll.close()

    @property
    def in_flight(self) -> int:
        """Probes with an open socket."""
        return len(self._flights)

    @property
    def waiting(self) -> int:
        """Probes that wait for one of `max_in_flight` places."""
        return len(self._waiting)

    @property
    def next_tick(self) -> float | None:
        """When `tick` must be called next, on the clock; None when nothing is in flight.

        Sooner than the first deadline, because a pause of ours shows only in a tick that comes late.
        """
        if not self._deadline_ticks:
            return None
        if not self._flights:
            return self._deadline_ticks[0] * TICK_S
        return min(self._deadline_ticks[0] * TICK_S, self._clock() + STALL_WATCH_S)

    def start(self, target: Target, done: Done, started: Callable[[float], None] | None = None) -> None:
        """Run one probe and call `done` with its outcome exactly once, perhaps before this returns.

        `started`, if given, is called with the clock's time when the probe's turn comes.
        """
        if len(self._flights) >= self.max_in_flight:
            self._waiting.append((target, done, started))
            return
        self._launch(target, done, started)

    def tick(self, late_s: float) -> None:
        """End what is overdue. `late_s` is how late this call itself is, seconds: pauses of ours excuse the servers."""
        if late_s > TICK_S:
            self._stalls_s += late_s
        now = self._clock()
        if not self._deadline_ticks or self._deadline_ticks[0] * TICK_S > now:
            return
        # What has arrived in time must be read first, however late we are and however much it is.
        for _ in range(len(self._flights) // _EVENTS_PER_TURN + 1):
            if self.poll() < _EVENTS_PER_TURN:
                break
        while self._deadline_ticks and self._deadline_ticks[0] * TICK_S <= now:
            due = heapq.heappop(self._deadline_ticks)
            for flight in self._deadlines.pop(due):
                if flight.done is not None:
                    self._expire(flight)
        self._start_waiting()

    def poll(self) -> int:
        """Serve the sockets that are ready, up to a bound, and return how many; asyncio calls again while more are."""
        flights = self._flights
        events = self._epoll.poll(0, _EVENTS_PER_TURN)
        for descriptor, mask in events:
            flight = flights.get(descriptor)
            if flight is not None:
                self._advance(flight, mask)
        # Only now: a new socket may get the number of one closed above, whose events are still in the list.
        self._start_waiting()
        return len(events)

    def _start_waiting(self) -> None:
        while self._waiting and len(self._flights) < self.max_in_flight:
            self._launch(*self._waiting.popleft())

    def _launch(self, target: Target, done: Done, started: Callable[[float], None] | None) -> None:
        now = self._clock()
        if started is not None:
            started(now)
        flight = _Flight(target, done, now, self._stalls_s)
        flight.socket, number = _connect(target)
        opened = flight.socket
        if opened is None or number not in (0, errno.EINPROGRESS):
            self._finish(flight, at_connect(number))
            return
        descriptor = opened.fileno()
        try:
            self._epoll.register(descriptor, _EDGES)
        except OSError as error:  # ENOSPC: fs.epoll.max_user_watches; ENOMEM
            self._finish(flight, unsure(Reason.LOCAL_LIMIT, f"no place in epoll: {error.strerror}"))
            return
        self._flights[descriptor] = flight
        # The tick at or after the deadline: a probe may run up to one tick long, never short.
        due = int((now + target.timeout_s) / TICK_S) + 1
        bucket = self._deadlines.get(due)
        if bucket is None:
            self._deadlines[due] = [flight]
            heapq.heappush(self._deadline_ticks, due)
            if len(self._flights) == 1 or self._deadline_ticks[0] == due:
                self.wake()
        else:
            bucket.append(flight)
        if target.kind is socket.SOCK_DGRAM:
            # Nothing to wait for: a datagram can go at once.
            self._advance(flight, select.EPOLLOUT)

    def _advance(self, flight: _Flight, mask: int) -> None:
        """Go on with a socket that epoll reported."""
        opened, exchange = flight.socket, flight.exchange
        if opened is None or exchange is None:
            return
        if not flight.connected:
            if mask & _FAILED:
                number = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if number:
                    self._finish(flight, self._judge(flight, number))
                    return
            if not mask & select.EPOLLOUT:
                return
            flight.connected = True
            if self._obey(flight, exchange.connected()):
                return
        elif mask & select.EPOLLOUT and flight.pending and self._send(flight, flight.pending):
            return
        if mask & _READABLE:
            self._read(flight, mask)

    def _read(self, flight: _Flight, mask: int) -> None:
        opened, exchange = flight.socket, flight.exchange
        if opened is None or exchange is None:
            return
        stream = flight.target.kind is socket.SOCK_STREAM
        for _ in range(_READS_PER_TURN):
            try:
                data = opened.recv(_RECV_SIZE)
            except BlockingIOError:
                return
            except OSError as error:
                self._finish(flight, self._judge(flight, error.errno or errno.EINVAL))
                return
            if stream and not data:
                self._finish(flight, exchange.closed())
                return
            flight.received += len(data)
            if self._obey(flight, exchange.received(data)):
                return
            if flight.received > MAX_RECEIVED:
                self._finish(flight, down(Reason.TOO_LARGE, f"more than {MAX_RECEIVED} bytes, and no end"))
                return
            # A short read has emptied a stream, and epoll will report what comes later; but an end that is already
            # reported is not reported again.
            if stream and len(data) < _RECV_SIZE and not mask & _ENDING:
                return
        # More is there, and the edge is spent: come back after the others had their turn.
        if self._loop is not None:
            self._loop.call_soon(self._guarded, self._advance, flight, mask | select.EPOLLIN)

    def _obey(self, flight: _Flight, step: Step) -> bool:
        """Do what the conversation asks for; True when that ended it."""
        if step is None:
            return False
        if isinstance(step, Outcome):
            self._finish(flight, step)
            return True
        if isinstance(step, Farewell):
            # What does not fit into the socket's buffer at once is lost; last words are short.
            if not self._send(flight, step.data) and flight.socket is not None:
                flight.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _FIN_ON_CLOSE)
                self._finish(flight, step.outcome)
            return True
        return self._send(flight, flight.pending + step)

    def _send(self, flight: _Flight, data: bytes) -> bool:
        """Send now what fits and keep the rest for the next EPOLLOUT; True when an error ended the probe."""
        if flight.socket is None:
            return True
        try:
            sent = flight.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            number = error.errno or errno.EINVAL
            self._finish(
                flight, at_connect(number) if flight.target.kind is socket.SOCK_DGRAM else from_network(number)
            )
            return True
        flight.pending = data[sent:]
        return False

    def _expire(self, flight: _Flight) -> None:
        stalled_s = self._stalls_s - flight.stalls_s
        if stalled_s > STALL_SHARE * flight.target.timeout_s:
            self._finish(
                flight, unsure(Reason.STALLED, f"this daemon stood still for {stalled_s:.2f}s and could not judge")
            )
            return
        timeout = seconds_in_words(flight.target.timeout_s)
        if flight.connected and flight.exchange is not None:
            self._finish(flight, flight.exchange.expired(timeout))
        else:
            self._finish(flight, down(Reason.TIMEOUT, f"no answer in {timeout}"))

    @staticmethod
    def _judge(flight: _Flight, number: int) -> Outcome:
        return from_network(number, datagram=flight.target.kind is socket.SOCK_DGRAM)

    def _finish(self, flight: _Flight, outcome: Outcome) -> None:
        done, flight.done = flight.done, None
        opened, flight.socket = flight.socket, None
        # The deadline's tick still holds the flight: what the conversation gathered must not wait for it.
        flight.exchange, flight.pending = None, b""
        if opened is not None:
            self._flights.pop(opened.fileno(), None)
            opened.close()
        if done is not None:
            latency_s = self._clock() - flight.started
            done(Outcome(outcome.status, outcome.reason, outcome.detail, latency_s))


def _nobody() -> None:
    """Listen to `wake` for an engine that is polled by hand."""


def _connect(target: Target) -> tuple[socket.socket | None, int]:
    """Begin to connect; return the socket, if one could be had, and the errno of the attempt."""
    opened: socket.socket | None = None
    try:
        opened = socket.socket(target.family, target.kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        if target.kind is socket.SOCK_STREAM:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        return opened, opened.connect_ex(target.address)
    except OSError as error:
        return opened, error.errno or errno.EINVAL
