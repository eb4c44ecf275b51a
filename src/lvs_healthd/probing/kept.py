"""Holds the connections that stay open between the probes of a target, and reads what their end tells.

A kept connection speaks by itself: the kernel of a server whose process dies ends it at once. But healthy servers end
idle connections too. So an end is only a reason to probe (`Sign`), and one that comes at a usual age is not even that
(`habits`).
"""

import socket
from collections.abc import Callable
from typing import cast

import msgspec

from lvs_healthd.probes.exchange import Keeping, KeptExchange, Sign, Target, seconds_in_words
from lvs_healthd.probes.outcome import Outcome
from lvs_healthd.probing.flight import Flight, Run
from lvs_healthd.probing.habits import Habit, is_about, is_short
from lvs_healthd.probing.sockets import Socket, Sockets

_SPREAD = 0.5
"""The first connections of targets that begin together are used for between this share of `reconnect_s` and all of it,
so that they do not all end together."""

_MOST_REMARKED = 1024
"""How many outcomes with a remark are remembered. All are forgotten when there are more."""

_RECV_SIZE = 65536
_READS = 4
"""How many times one idle connection is read at a time. What sends more than that is not idle."""


class Connection:
    """One connection that stays open."""

    __slots__ = (
        *("exchange", "flight", "fresh_until", "habit", "is_new", "is_plain", "look_at", "renew_at", "run"),
        "since",
    )

    def __init__(self, run: Run, flight: Flight, exchange: KeptExchange, habit: Habit | None) -> None:
        self.run = run
        self.flight = flight
        self.exchange = exchange
        """The conversation on it."""
        self.habit = habit
        """What is known of its target; None as long as no connection to it has ended."""
        self.since = 0.0
        """Since when it is idle, or was before the probe that is under way on it. All times are on the clock."""
        self.renew_at = 0.0
        """From when on a probe has a new connection instead."""
        self.look_at: float | None = None
        """From when on a probe first looks whether the target still listens; None for never."""
        self.fresh_until = 0.0
        """Until when none of these two is due."""
        self.is_plain = False
        """Whether the last probe had an ordinary answer, after which the next may begin without a look at the rest."""
        self.is_new = False
        """Whether it has come in the place of another, and its first probe is under way."""

    def lasts(self, renew_at: float, look_at: float | None) -> None:
        """Set `renew_at` and `look_at`."""
        self.renew_at, self.look_at = renew_at, look_at
        self.fresh_until = renew_at if look_at is None or renew_at < look_at else look_at

    def begins(self, keeping: Keeping, now: float, share: float = 1.0) -> None:
        """Note that the connection is new.

        share: for what share of the usual time it is used.
        """
        look_at = None if keeping.look_s is None else now + keeping.look_s * share
        self.lasts(now + keeping.reconnect_s * share, look_at)

    @property
    def is_idle(self) -> bool:
        """Whether no probe is under way on it."""
        return self.flight.run is None


class Kept:
    """The connections that stay open.

    clock: monotonic time, seconds.
    random: returns floats in [0, 1).
    most: returns how many there may be.
    free: ends a connection to a target at once.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        random: Callable[[], float],
        most: Callable[[], int],
        free: Callable[[Socket, Target], None],
    ) -> None:
        self.signs: list[tuple[Run, Sign]] = []
        """What the ends of connections tell, until somebody takes it."""
        self._clock = clock
        self._random = random
        self._most = most
        self._free_socket = free
        self._by_run: dict[Run, Connection] = {}
        self._by_descriptor: dict[int, Connection] = {}
        self._renewing: set[Run] = set()
        """The targets whose connection has been used for `reconnect_s`, until they have a new one."""
        self._habits: dict[Run, Habit] = {}
        """How targets end idle connections, as far as any have ended."""
        self._remarked: dict[tuple[Outcome, float], Outcome] = {}

    def __len__(self) -> int:
        """Return how many there are, those on which a probe is under way too."""
        return len(self._by_run)

    def usable(self, run: Run, now: float) -> Connection | None:
        """Return the connection that the next probe of a target may use; None if it needs a new one."""
        connection = self._by_run.get(run)
        if connection is None:
            return None
        exchange = connection.exchange
        is_usable = now < connection.renew_at and exchange.is_ready
        if is_usable and not (exchange.reads_first and self._read(connection) is not None):
            return connection
        if now >= connection.renew_at:
            self._renewing.add(run)
        self.drop(run)
        return None

    def looked(self, run: Run, keeping: Keeping, now: float) -> Connection | None:
        """Note that a target listens. Return the connection to use; None if it has ended meanwhile."""
        connection = self.usable(run, now)
        if connection is None or self._read(connection) is not None:
            self.drop(run)
            return None
        connection.lasts(connection.renew_at, None if keeping.look_s is None else now + keeping.look_s)
        return connection

    def keep(self, run: Run, flight: Flight, exchange: KeptExchange, keeping: Keeping) -> float | None:
        """Keep the connection of a probe that is over, or go on keeping it.

        exchange: the conversation on it.

        Return None if it is kept. If not, return how long the target keeps idle connections, which is too short for the
        next probe, or 0.0 if there are too many connections.
        """
        connection = self._by_run.get(run)
        now = self._clock()
        if connection is None or connection.flight is not flight:
            refused = self._refusal(run, exchange, keeping, now)
            if refused is not None:
                return refused
            connection = self._begin(Connection(run, flight, exchange, self._habits.get(run)), keeping, now)
        else:
            self._served(connection)
        connection.since, connection.is_plain = now, False
        return None

    def rested(self, flight: Flight, now: float) -> None:
        """Go on keeping the connection of a probe that had an ordinary answer."""
        connection = self._by_descriptor[flight.descriptor]
        if connection.habit is not None or connection.is_new:
            self._served(connection)
        connection.since, connection.is_plain = now, True

    def _served(self, connection: Connection) -> None:
        """Note that a probe has ended on a connection, which stays open."""
        flight = connection.flight
        if connection.is_new:
            connection.is_new = False
            _bound(flight)
        elif connection.habit is not None:
            connection.habit.outlived(flight.started - connection.since)

    def plain(self, run: Run, now: float) -> Connection | None:
        """Return the connection that the next probe of a target may use without a further look, as nearly always."""
        connection = self._by_run.get(run)
        if connection is None or not connection.is_plain or now >= connection.fresh_until:
            return None
        # With TLS, it may be time to verify the certificate again.
        return connection if connection.flight.securing is None or connection.exchange.is_ready else None

    def renewable(self, run: Run, now: float) -> Connection | None:
        """Return the connection that ends now and in whose place the next probe may have another, as most may.

        None if the next probe needs another kind of beginning, or if the next connection may not be one to keep.
        """
        connection = self._by_run.get(run)
        if connection is None or not connection.is_plain or now < connection.renew_at:
            return None
        keeping, limit_s = run.target.keeping, connection.exchange.limit_s
        if keeping is None or not run.repeats or connection.habit is not None or connection.flight.securing is not None:
            return None
        return connection if limit_s is None or not is_short(limit_s, keeping.interval_s) else None

    def renewed(self, connection: Connection, now: float) -> KeptExchange:
        """Note that a connection has ended and that another has begun in its place. Return the conversation on it."""
        connection.exchange.end()
        target = connection.run.target
        connection.exchange = exchange = cast("KeptExchange", target.begin())
        connection.is_plain, connection.is_new = False, True
        if target.keeping is not None:
            connection.begins(target.keeping, now)
        return exchange

    def remarked(self, outcome: Outcome, limit_s: float) -> Outcome:
        """Return the outcome of a probe whose connection could not be kept, with a remark that says why.

        limit_s: what `keep` has returned.

        The same two always give the same object, because a repeated outcome costs nothing further on.
        """
        if not limit_s:
            return outcome
        known = self._remarked.get((outcome, limit_s))
        if known is None:
            detail = (
                f"{outcome.detail}, over a new connection each time: the server ends idle ones after "
                f"{seconds_in_words(limit_s)}"
            )
            if len(self._remarked) >= _MOST_REMARKED:
                self._remarked.clear()
            known = self._remarked[outcome, limit_s] = msgspec.structs.replace(outcome, detail=detail)
        return known

    def heard(self, descriptor: int) -> bool:
        """Serve a socket that epoll reported, if it is one of these and idle. Return whether it is one of these."""
        connection = self._by_descriptor.get(descriptor)
        if connection is None:
            return False
        if connection.is_idle:
            sign = self._read(connection)
            if sign is not None:
                self._ended(connection, sign)
        return True

    def drop(self, run: Run) -> None:
        """End the connection of a target, if there is one."""
        connection = self._by_run.get(run)
        if connection is not None:
            self._remove(connection)
            if connection.is_idle:
                self._free(connection)

    def gone(self, run: Run, flight: Flight) -> None:
        """Note that a probe ends the connection that it used, which may be one of these."""
        connection = self._by_run.get(run)
        if connection is not None and connection.flight is flight:
            self._remove(connection)

    def failed(self, run: Run) -> None:
        """Note that a probe of a target has failed, so that its connection is used no more."""
        self.drop(run)
        habit = self._habits.get(run)
        if habit is not None:
            habit.failed()

    def stale(self, run: Run, flight: Flight) -> None:
        """Note that a probe has met the end of the connection that it used. It goes on over a new one."""
        connection = self._by_run.get(run)
        if connection is None or connection.flight is not flight:
            return
        self._remove(connection)
        self._habit_of(run).ended(flight.started - connection.since)
        self.signs.append((run, Sign.URGENT))

    def forget(self, run: Run) -> None:
        """Forget a target."""
        self.drop(run)
        self._renewing.discard(run)
        self._habits.pop(run, None)

    def close(self) -> None:
        """End all connections."""
        for connection in self._by_run.values():
            connection.flight.socket.close()
        self._by_run.clear()
        self._by_descriptor.clear()
        self._habits.clear()
        self.signs.clear()

    def _refusal(self, run: Run, exchange: KeptExchange, keeping: Keeping, now: float) -> float | None:
        """Return why no connection to a target is kept, as `keep` does; None if one may be."""
        if run in self._by_run or len(self._by_run) >= self._most() or not run.repeats:
            return 0.0
        habit, limit_s = self._habits.get(run), exchange.limit_s
        if habit is not None:
            learnt_s = habit.limit_s(now)
            limit_s = learnt_s if limit_s is None else limit_s
        if limit_s is None or not is_short(limit_s, keeping.interval_s):
            return None
        if habit is not None:
            habit.found_short(now)
        return limit_s

    def _habit_of(self, run: Run) -> Habit:
        habit = self._habits.get(run)
        if habit is None:
            habit = self._habits[run] = Habit()
        return habit

    def _begin(self, connection: Connection, keeping: Keeping, now: float) -> Connection:
        flight = connection.flight
        _bound(flight)
        if not flight.received:
            # Nobody speaks, so nothing else would send the handshake's last packet soon (see `Sockets.connect`).
            Sockets.speak_last(flight.socket)
        share = 1.0 if connection.run in self._renewing else 1.0 - _SPREAD * self._random()
        self._renewing.discard(connection.run)
        connection.begins(keeping, now, share)
        flight.kept = connection.exchange
        self._by_run[connection.run] = self._by_descriptor[flight.descriptor] = connection
        return connection

    def _read(self, connection: Connection) -> Sign | None:
        """Read what has come over an idle connection. Return what its end tells, or None if it stays open."""
        opened, exchange = connection.flight.socket, connection.exchange
        for _ in range(_READS):
            try:
                data = opened.recv(_RECV_SIZE)
                said = exchange.idle(data) if data else exchange.idle_closed()
                if isinstance(said, Sign):
                    return said
                if said and opened.send(said) < len(said):
                    return Sign.SPENT
            except (BlockingIOError, InterruptedError):
                return None
            except OSError:
                return Sign.URGENT
        return Sign.SPENT

    def _ended(self, connection: Connection, sign: Sign) -> None:
        run, age_s = connection.run, self._clock() - connection.since
        told_s, habit = connection.exchange.limit_s, self._habit_of(run)
        if is_about(age_s, told_s) if told_s is not None else habit.is_usual(age_s):
            sign = Sign.SPENT
        elif sign is not Sign.SPENT:
            habit.ended(age_s)
        self.signs.append((run, sign))
        self._remove(connection)
        self._free(connection)

    def _remove(self, connection: Connection) -> None:
        del self._by_run[connection.run]
        del self._by_descriptor[connection.flight.descriptor]
        connection.flight.kept = None

    def _free(self, connection: Connection) -> None:
        self._free_socket(connection.flight.socket, connection.run.target)
        connection.exchange.end()


def _bound(flight: Flight) -> None:
    """Let the kernel give up a connection on which nothing is acknowledged for as long as a probe may take."""
    flight.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, int(flight.timeout_s * 1000)))
