"""Owns all probe sockets: starts each conversation, and ends it at its deadline at the latest.

Between the two, `serving` moves its bytes.

All sockets are in one epoll set of our own, whose descriptor asyncio watches. Each is registered once, edge-triggered.
So a probe needs no task, no timer and no re-registration, which is what an asyncio client spends most of its time on.
Deadlines are grouped into ticks (`deadlines`), and the scheduler calls `tick` when one is due.
"""

import asyncio
import random
import select
import socket
from collections import deque
from collections.abc import Callable
from typing import cast

from lvs_healthd.config.check_ways import PathWay
from lvs_healthd.probes.exchange import (
    Exchange,
    KeptExchange,
    Reconnect,
    Stale,
    Stays,
    Target,
    seconds_in_words,
)
from lvs_healthd.probes.outcome import Course, Outcome, OutcomeKind, Reason, down
from lvs_healthd.probing.deadlines import MOST_REPRIEVES, STALL_WATCH_S, TICK_S, Deadlines
from lvs_healthd.probing.descriptors import kept_within_limit
from lvs_healthd.probing.firewall import CAUSED_BY_ICMP
from lvs_healthd.probing.flight import Flight, Run
from lvs_healthd.probing.kept import Connection, Kept
from lvs_healthd.probing.look import GoBack, Look
from lvs_healthd.probing.partings import Partings
from lvs_healthd.probing.serving import Serving
from lvs_healthd.probing.sockets import Socket, Sockets
from lvs_healthd.probing.watches import Watches
from lvs_healthd.runtime.pace import LONG_SLICE_S, SLICE_S

_STREAM = socket.SOCK_STREAM

_BATCH = 16
"""How many sockets are served between two readings of the clock. Finishing a TLS handshake takes half a millisecond."""

_CROWDED = 512
"""With this many probes under way, `poll` takes longer slices. Otherwise answers could arrive faster than it reads."""


class Engine:
    """Runs probes on one event loop. Not thread-safe.

    clock: monotonic time, seconds.
    max_in_flight: the maximum number of sockets open at once. Further probes wait until a socket is free (`waiting`).
    most_kept: returns how many connections may be kept beside `max_in_flight` sockets.
    random: returns floats in [0, 1).
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        max_in_flight: int = 1000,
        most_kept: Callable[[int], int] = kept_within_limit,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.max_in_flight = max_in_flight
        self._clock = clock
        self._flights: dict[int, Flight] = {}
        self._waiting: deque[Run] = deque()
        self._again: deque[tuple[Run, Flight, Reconnect]] = deque()
        """Probes that go on over another connection: each with what it was, and how it goes on."""
        self._deadlines: Deadlines[Flight] = Deadlines()
        self._is_serving = False
        """Whether `poll` is at it, which starts what waits when it is done."""
        self._reads_left: int | None = None
        """How many more times `tick` reads before it ends the overdue probes; None while no probe is overdue."""
        self._fail: Callable[[Exception], None] | None = None
        self._epoll = select.epoll()
        self._sockets = Sockets(self._epoll)
        self._partings = Partings(self._sockets, clock, TICK_S)
        self._kept = Kept(clock, random, lambda: most_kept(self.max_in_flight), self._sockets.reset)
        self._watches = Watches(self._waiting.append, self._kept.drop, self._kept.forget)
        self._serving = Serving(
            self._sockets,
            clock,
            finish=self._finish,
            stay=self._stay,
            rest=self._rest_plainly,
            hear_idle=self._kept.heard,
            come_back=self._come_back,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self.wake: Callable[[], None] = lambda: None
        """Called when `next_tick` may have changed. An engine that is polled by hand needs nothing."""

    def open(self, loop: asyncio.AbstractEventLoop, fail: Callable[[Exception], None]) -> None:
        """Let `loop` watch the sockets. Before this, `poll` must be called by hand.

        fail: gets every exception that escapes a probe. It is a fault of this program and must end the daemon. By
            itself, the loop would only log the exception, and the probe would run into its timeout and count against a
            healthy server.
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
        """Drop every probe under way without an outcome, and close all descriptors."""
        if self._loop is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._loop = None
        self._waiting.clear()
        self._again.clear()
        self._kept.close()
        self._watches.close()
        for flight in self._flights.values():
            flight.run = None
            flight.socket.close()
        self._flights.clear()
        self._deadlines.clear()
        self._partings.close()
        self._sockets.close()
        self._epoll.close()

    @property
    def in_flight(self) -> int:
        """Probes under way, each with an open socket."""
        return len(self._flights)

    @property
    def waiting(self) -> int:
        """How many probes wait because `max_in_flight` sockets are open already."""
        return len(self._waiting)

    @property
    def parting(self) -> int:
        """Connections that are still ending, although their probes are over."""
        return len(self._partings)

    @property
    def kept(self) -> int:
        """Connections that stay open from one probe to the next."""
        return len(self._kept)

    @property
    def next_tick(self) -> float | None:
        """When `tick` must be called next, on the clock; None when nothing is in flight.

        This may be before the first deadline, because only a tick that comes late shows that this process has paused.
        """
        parting = self._partings.next_due
        due = self._deadlines.next_due
        if due is None:
            return parting
        if parting is not None and parting < due:
            due = parting
        return min(due, self._clock() + STALL_WATCH_S) if self._flights else due

    def start(self, run: Run) -> None:
        """Run one probe, now or as soon as fewer than `max_in_flight` sockets are open."""
        flights = self._flights
        if len(flights) >= self.max_in_flight:
            self._waiting.append(run)
            return
        now = self._clock()
        run.started(now)
        if run.target.keeping is None:
            self._launch(run, now)
        elif (kept := self._kept.plain(run, now)) is not None:
            # This is `_resume`, but for what is as it must be after an ordinary answer.
            flight = kept.flight
            flight.run, flight.started, flight.heard, flight.stalls_s = run, now, now, self._deadlines.stalls_s
            flights[flight.descriptor] = flight
            if not flight.is_timed or len(flights) == 1:
                self._watch_over(flight)
            step = kept.exchange.resumed()
            if isinstance(step, bytes):
                self._serving.send(flight, step)
            else:
                self._serving.obey(flight, step)
        else:
            self._launch_kept(run, now)

    def forget(self, run: Run) -> None:
        """End the connection that is kept for a run, because it will not be started again."""
        self._kept.forget(run)
        self._watches.forget(run)

    def tick(self, late_s: float) -> None:
        """End the overdue probes, or as many of them as fit into a slice.

        If any are left, `next_tick` is already in the past, so the caller calls `tick` again.

        late_s: how late this call is, seconds. More than a tick counts as a pause of this process, which extends the
            deadlines of the probes under way.
        """
        deadlines = self._deadlines
        deadlines.stalled(late_s)
        self._partings.tick()
        now = self._clock()
        if not deadlines.is_overdue(now):
            return
        # First read what arrived in time, however late we are and however much there is.
        if self._reads_left is None:
            self._reads_left = len(self._flights) // _BATCH + 1
        if self._reads_left:
            self._reads_left = self._reads_left - 1 if self.poll() else 0
        end = self._clock() + SLICE_S
        is_over = bool(self._reads_left)
        while not is_over and (flight := deadlines.pop(now)) is not None:
            flight.is_timed = False
            if flight.run is not None:
                self._expire(flight, flight.run.target)
                is_over = self._clock() >= end
        if not deadlines.is_overdue(now):
            self._reads_left = None
        self._start_waiting()

    def poll(self) -> bool:
        """Serve ready sockets for at most a slice. Return whether more may be ready; asyncio then calls it again."""
        flights, advance, read = self._flights, self._serving.advance, self._serving.read
        end = self._clock() + (SLICE_S if len(flights) < _CROWDED else LONG_SLICE_S)
        self._is_serving = True
        while events := self._epoll.poll(0, _BATCH):
            for descriptor, mask in events:
                flight = flights.get(descriptor)
                if flight is None:
                    if not self._kept.heard(descriptor) and self._partings.heard(descriptor):
                        self.wake()
                elif flight.connected and not flight.pending and flight.run is not None:
                    read(flight, flight.run.target, mask)
                else:
                    advance(flight, mask)
            if self._clock() >= end:
                break
        self._is_serving = False
        # Start waiting probes only now. Earlier, a new socket could get the descriptor of a socket that was closed
        # above, and then the events of that socket.
        self._start_waiting()
        return len(events) == _BATCH

    def _come_back(self, flight: Flight, mask: int) -> None:
        """Serve a socket again soon. epoll will not report it, although there is more to read."""
        if self._loop is not None:
            self._loop.call_soon(self._guarded, self._advance_again, flight, mask)

    def _advance_again(self, flight: Flight, mask: int) -> None:
        self._serving.advance(flight, mask)
        self._start_waiting()

    def _start_waiting(self) -> None:
        signs = self._kept.signs
        while signs:
            run, sign = signs.pop()
            run.signalled(sign)
        while self._again:
            self._go_on(*self._again.popleft())
        while self._waiting and len(self._flights) < self.max_in_flight:
            self.start(self._waiting.popleft())

    def _launch_kept(self, run: Run, now: float) -> None:
        """Run a probe over the connection that is kept, if there is one. If it is time, look first, or renew it."""
        renewable = self._kept.renewable(run, now)
        if renewable is not None and self._renew(run, renewable, now):
            return
        kept = self._kept.usable(run, now)
        if kept is None:
            self._launch(run, now)
        elif kept.look_at is None or now < kept.look_at:
            self._resume(run, kept, now, self._deadlines.stalls_s)
        else:
            self._launch(run, now, Look(kept.exchange))

    def _launch(self, run: Run, now: float, exchange: Exchange | None = None) -> None:
        """Run a probe over a new connection.

        exchange: its conversation, if it is another than the target's.
        """
        target = run.target
        # This is `_connection` and `_fly`, inlined to save three calls a probe.
        flights, deadlines = self._flights, self._deadlines
        if len(flights) + len(self._partings) >= self.max_in_flight:
            self._partings.cut_oldest()
        opened = self._sockets.connect(target)
        if isinstance(opened, Outcome):
            if target.keeping is not None:
                self._kept.failed(run)
            run.ended(opened, Course(self._clock() - now))
            return
        flight = Flight.of(run, now, deadlines.stalls_s, opened, exchange or target.begin())
        flights[flight.descriptor] = flight
        flight.is_timed = True
        if deadlines.add(flight) or len(flights) == 1:
            self.wake()
        if target.kind is not _STREAM:
            flight.connected = True
            self._serving.obey(flight, flight.exchange.connected())

    def _resume(self, run: Run, kept: Connection, started: float, stalls_s: float) -> None:
        """Run a probe over a connection that has been kept."""
        flight = kept.flight
        flight.resumes(run, started, stalls_s)
        self._watch_over(flight)
        self._serving.obey(flight, kept.exchange.resumed())

    def _renew(self, run: Run, kept: Connection, now: float) -> bool:
        """Run a probe over a new connection in the place of the one that is kept. Return False if none can begin."""
        flight, target = kept.flight, run.target
        if not self._sockets.connect_anew(flight.socket, target):
            return False
        flight.begins_anew(run, now, self._deadlines.stalls_s, self._kept.renewed(kept, now))
        self._watch_over(flight)
        return True

    def _go_on(self, run: Run, before: Flight, step: Reconnect) -> None:
        """Continue a probe over a new connection, or over the one that is kept, within the time that it has."""
        exchange, keeping = step.exchange, run.target.keeping
        if isinstance(step, GoBack) and keeping is not None:
            kept = self._kept.looked(run, keeping, self._clock())
            if kept is not None:
                self._resume(run, kept, before.started, before.stalls_s)
                return
            exchange = run.target.begin()
        opened = self._connection(run.target)
        if isinstance(opened, Outcome):
            if keeping is not None:
                self._kept.failed(run)
            failed = exchange.failed(opened)
            outcome = failed if isinstance(failed, Outcome) else opened
            run.ended(outcome, before.course(outcome, run.target, self._clock()))
        else:
            self._fly(before.renewed(run, opened, exchange), run.target)

    def _connection(self, target: Target) -> Socket | Outcome:
        if len(self._flights) + len(self._partings) >= self.max_in_flight:
            self._partings.cut_oldest()
        return self._sockets.connect(target)

    def _watch_over(self, flight: Flight) -> None:
        """Serve a probe from now on, and watch its deadline."""
        self._flights[flight.descriptor] = flight
        is_next = not flight.is_timed and self._deadlines.add(flight)
        flight.is_timed = True
        if is_next or len(self._flights) == 1:
            self.wake()

    def _fly(self, flight: Flight, target: Target) -> None:
        self._watch_over(flight)
        if target.kind is not _STREAM:
            # A datagram needs no connection, so it can go at once.
            flight.connected = True
            self._serving.obey(flight, flight.exchange.connected())

    def _stay(self, flight: Flight, step: Stays) -> None:
        """End a probe whose connection may stay open."""
        run = flight.run
        if run is None:
            return
        keeping, outcome = run.target.keeping, step.outcome
        if keeping is not None and flight.sends_all(step.data):
            limit_s = self._kept.keep(run, flight, cast("KeptExchange", flight.exchange), keeping)
            if limit_s is None:
                self._rest(flight, run, outcome)
                return
            outcome = self._kept.remarked(outcome, limit_s)
        self._finish(flight, outcome)

    def _rest(self, flight: Flight, run: Run, outcome: Outcome) -> None:
        """Report the outcome of a probe whose connection is kept."""
        flight.run = None
        del self._flights[flight.descriptor]
        course = flight.course(outcome, run.target, self._clock())
        flight.first = b""
        run.ended(outcome, course)

    def _rest_plainly(self, flight: Flight, outcome: Outcome) -> None:
        """Report the outcome of a probe that had an ordinary answer over a connection that is kept."""
        run = flight.run
        if run is None:
            return
        flight.run, flight.reprieves = None, MOST_REPRIEVES
        del self._flights[flight.descriptor]
        now = self._clock()
        took_s = now - flight.started
        course = Course(took_s, flight.connected_s, flight.secured_s, took_s)
        flight.connected_s = 0.0  # that of the next probe, on the same connection
        self._kept.rested(flight, now)
        run.ended(outcome, course)

    def _expire(self, flight: Flight, target: Target) -> None:
        """Judge a probe whose time is up, unless it has earned more."""
        if self._deadlines.put_off(flight, self._clock()):
            flight.is_timed = True
            return
        timeout = seconds_in_words(target.timeout_s)
        if self._deadlines.stalled_s(flight):
            timeout += " (extended, because this daemon stood still)"
        if flight.connected:
            self._finish(flight, flight.exchange.expired(timeout))
            return
        # The kernel keeps trying after some ICMP errors, and SO_ERROR has the last one.
        number = flight.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number in CAUSED_BY_ICMP:
            self._serving.lose(flight, number)
        else:
            self._finish(flight, flight.exchange.failed(down(Reason.TIMEOUT, f"no answer in {timeout}")))

    def _finish(
        self,
        flight: Flight,
        outcome: Outcome | Reconnect,
        *,
        in_good_order: bool = False,
        peer_may_close: bool = False,
        is_spent: bool = False,
    ) -> None:
        """End a probe, or the connection that it had so far (see `serving.Finish`)."""
        run, flight.run = flight.run, None
        if run is None:
            return
        del self._flights[flight.descriptor]
        keeping = run.target.keeping
        if keeping is not None and not isinstance(outcome, GoBack):
            if isinstance(outcome, Stale):
                self._kept.stale(run, flight)
            self._kept.gone(run, flight)
            if isinstance(outcome, Outcome) and outcome.kind is not OutcomeKind.UP:
                self._kept.failed(run)
        # After a reset, IPVS forgets a connection in 10 s, and after an end in good order in 120 s.
        in_good_order = in_good_order and not isinstance(run.target.way, PathWay)
        if is_spent:
            flight.socket.close()
        elif not in_good_order:
            self._sockets.reset(flight.socket, run.target)
        if isinstance(outcome, Reconnect):
            # Only after all events are served, because the new socket may get the descriptor of this one.
            self._again.append((run, flight, outcome))
            flight.securing = None
            del flight.exchange
            if self._loop is not None and not self._is_serving:
                self._loop.call_soon(self._guarded, self._start_waiting)
            return
        course = flight.course(outcome, run.target, self._clock())
        # `_deadlines` holds the flight until its tick comes. What the conversation gathered is freed now.
        flight.exchange.end()
        flight.securing = None
        del flight.exchange
        flight.pending = flight.first = b""
        run.ended(outcome, course)
        if keeping is not None and keeping.is_watch and outcome.kind is OutcomeKind.UP:
            self._watches.passed(run, self._clock())
        if in_good_order:
            self._partings.begin(flight.socket, run.target, peer_may_close=peer_may_close)
            self.wake()
