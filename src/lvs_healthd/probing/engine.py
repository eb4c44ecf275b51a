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
from collections import deque
from collections.abc import Callable
from typing import Protocol

from lvs_healthd.probes.exchange import Step, Target, seconds_in_words
from lvs_healthd.probes.outcome import Outcome, Reason, down, unsure
from lvs_healthd.probing.errnos import at_connect, from_network
from lvs_healthd.probing.sockets import Socket, Sockets
from lvs_healthd.runtime.pace import LONG_SLICE_S, SLICE_S

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

_BATCH = 16
"""Sockets served between two looks at the clock. The end of a TLS handshake takes half a millisecond."""

_CROWDED = 512
"""With so many probes under way slices are longer: their answers may come faster than they are read."""

_FAILED = select.EPOLLERR | select.EPOLLHUP
_READABLE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_ENDING = select.EPOLLRDHUP | select.EPOLLHUP


class Run(Protocol):
    """Who wants a probe: what to run, and whom to tell."""

    target: Target

    def started(self, now: float) -> None:
        """Take note that the probe's turn has come, on the engine's clock."""

    def ended(self, outcome: Outcome, latency_s: float) -> None:
        """Take the outcome, and the time from the first packet to it; called exactly once, perhaps within `start`."""


class _Flight:
    """One probe under way."""

    __slots__ = ("connected", "descriptor", "exchange", "pending", "received", "run", "socket", "stalls_s", "started")

    def __init__(self, run: Run, started: float, stalls_s: float, opened: Socket) -> None:
        self.run: Run | None = run
        """None once it has ended."""
        self.started = started
        self.stalls_s = stalls_s
        """The engine's pauses so far, when this probe began."""
        self.exchange = run.target.begin()
        self.socket = opened
        self.descriptor = opened.fileno()
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
        self._waiting: deque[Run] = deque()
        self._deadlines: dict[int, list[_Flight]] = {}
        self._deadline_ticks: list[int] = []
        self._reads_left: int | None = None
        """While something is overdue: how often to read before ending it. None: nothing is."""
        self._stalls_s = 0.0
        """All our pauses together, seconds."""
        self._fail: Callable[[Exception], None] | None = None
        self._epoll = select.epoll()
        self._sockets = Sockets(self._epoll)
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
            flight.run = None
            flight.socket.close()
        self._flights.clear()
        self._deadlines.clear()
        self._deadline_ticks.clear()
        self._sockets.close()
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

    def start(self, run: Run) -> None:
        """Run one probe, now or when one of `max_in_flight` places is free."""
        if len(self._flights) >= self.max_in_flight:
            self._waiting.append(run)
        else:
            self._launch(run)

    def tick(self, late_s: float) -> None:
        """End what is overdue, or some of it: then `next_tick` has passed already, and the caller calls again.

        `late_s` is how late this call itself is, seconds: pauses of ours excuse the servers.
        """
        if late_s > TICK_S:
            self._stalls_s += late_s
        now = self._clock()
        if not self._is_overdue(now):
            return
        # What has arrived in time must be read first, however late we are and however much it is.
        if self._reads_left is None:
            self._reads_left = len(self._flights) // _BATCH + 1
        if self._reads_left:
            self._reads_left = self._reads_left - 1 if self.poll() else 0
        end = self._clock() + SLICE_S
        is_over = bool(self._reads_left)
        while not is_over and self._is_overdue(now):
            flights = self._deadlines[self._deadline_ticks[0]]
            while flights and not is_over:
                flight = flights.pop()
                if flight.run is not None:
                    self._expire(flight, flight.run.target)
                    is_over = self._clock() >= end
            if not flights:
                del self._deadlines[heapq.heappop(self._deadline_ticks)]
        if not self._is_overdue(now):
            self._reads_left = None
        self._start_waiting()

    def _is_overdue(self, now: float) -> bool:
        return bool(self._deadline_ticks) and self._deadline_ticks[0] * TICK_S <= now

    def poll(self) -> bool:
        """Serve sockets that are ready, up to a bound, and say whether there may be more; asyncio calls again then."""
        flights = self._flights
        end = self._clock() + (SLICE_S if len(flights) < _CROWDED else LONG_SLICE_S)
        is_more = True
        while is_more:
            events = self._epoll.poll(0, _BATCH)
            for descriptor, mask in events:
                flight = flights.get(descriptor)
                if flight is not None:
                    self._advance(flight, mask)
            is_more = len(events) == _BATCH
            if self._clock() >= end:
                break
        # Only now: a new socket may get the number of one closed above, whose events are still in the list.
        self._start_waiting()
        return is_more

    def _start_waiting(self) -> None:
        while self._waiting and len(self._flights) < self.max_in_flight:
            self._launch(self._waiting.popleft())

    def _launch(self, run: Run) -> None:
        now = self._clock()
        run.started(now)
        target = run.target
        opened = self._sockets.connect(target)
        if isinstance(opened, Outcome):
            run.ended(opened, self._clock() - now)
            return
        flight = _Flight(run, now, self._stalls_s, opened)
        self._flights[flight.descriptor] = flight
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
            flight.connected = True
            self._obey(flight, flight.exchange.connected())

    def _advance(self, flight: _Flight, mask: int) -> None:
        """Go on with a socket that epoll reported."""
        if flight.run is None:
            return
        if not flight.connected:
            if mask & _FAILED:
                number = flight.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if number:
                    self._finish(flight, _outcome_of(flight.run.target, number))
                    return
            if not mask & select.EPOLLOUT:
                return
            flight.connected = True
            step = flight.exchange.connected()
            if step is None:
                self._sockets.speak_last(flight.socket)
            elif self._obey(flight, step):
                return
        elif flight.pending and mask & select.EPOLLOUT and self._send(flight, flight.pending):
            return
        if mask & _READABLE:
            self._read(flight, flight.run.target, mask)

    def _read(self, flight: _Flight, target: Target, mask: int) -> None:
        is_stream = target.kind is socket.SOCK_STREAM
        for _ in range(_READS_PER_TURN):
            try:
                data = flight.socket.recv(_RECV_SIZE)
            except BlockingIOError:
                return
            except OSError as error:
                # What else is in the queue of a datagram socket's errors would be taken for the next probe's.
                self._finish(flight, _outcome_of(target, error.errno or errno.EINVAL), is_spent=not is_stream)
                return
            if is_stream and not data:
                self._finish(flight, flight.exchange.closed())
                return
            if self._obey(flight, flight.exchange.received(data)):
                return
            flight.received += len(data)
            if flight.received > MAX_RECEIVED:
                self._finish(flight, down(Reason.TOO_LARGE, f"more than {MAX_RECEIVED} bytes, and no end"))
                return
            # A short read has emptied a stream, and epoll will report what comes later; but an end that is already
            # reported is not reported again.
            if is_stream and len(data) < _RECV_SIZE and not mask & _ENDING:
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
        if isinstance(step, bytes):
            return self._send(flight, flight.pending + step)
        # A farewell. What does not fit into the socket's buffer at once is lost; last words are short.
        if not self._send(flight, step.data):
            self._finish(flight, step.outcome, in_good_order=True)
        return True

    def _send(self, flight: _Flight, data: bytes) -> bool:
        """Send now what fits and keep the rest for the next EPOLLOUT; True when an error ended the probe."""
        try:
            sent = flight.socket.send(data)
        except OSError as error:
            number = error.errno or errno.EINVAL
            if flight.run is not None and flight.run.target.kind is socket.SOCK_DGRAM:
                # It cannot go later: what finds our own buffer full is lost.
                outcome = at_connect(errno.ENOBUFS if number == errno.EAGAIN else number)
                self._finish(flight, outcome, is_spent=True)
                return True
            if number != errno.EAGAIN:
                self._finish(flight, from_network(number))
                return True
            sent = 0
        flight.pending = data[sent:]
        return False

    def _expire(self, flight: _Flight, target: Target) -> None:
        stalled_s = self._stalls_s - flight.stalls_s
        if stalled_s > STALL_SHARE * target.timeout_s:
            self._finish(
                flight, unsure(Reason.STALLED, f"this daemon stood still for {stalled_s:.2f}s and could not judge")
            )
            return
        timeout = seconds_in_words(target.timeout_s)
        if flight.connected:
            self._finish(flight, flight.exchange.expired(timeout))
        else:
            self._finish(flight, down(Reason.TIMEOUT, f"no answer in {timeout}"))

    def _finish(
        self, flight: _Flight, outcome: Outcome, *, in_good_order: bool = False, is_spent: bool = False
    ) -> None:
        run, flight.run = flight.run, None
        if run is None:
            return
        del self._flights[flight.descriptor]
        if in_good_order:
            self._sockets.finish(flight.socket)
        elif is_spent:
            flight.socket.close()
        else:
            self._sockets.reset(flight.socket, run.target)
        # The deadline's tick still holds the flight: what the conversation gathered must not wait for it.
        flight.exchange.end()
        del flight.exchange
        flight.pending = b""
        run.ended(outcome, self._clock() - flight.started)


def _nobody() -> None:
    """Listen to `wake` for an engine that is polled by hand."""


def _outcome_of(target: Target, number: int) -> Outcome:
    return from_network(number, datagram=target.kind is socket.SOCK_DGRAM)
