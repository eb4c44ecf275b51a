"""The probes that the engine runs, each with its connection."""

import socket
from collections.abc import Callable
from typing import Protocol

import msgspec

from lvs_healthd.probes.exchange import Exchange, KeptExchange, MaySecure, Sign, Step, Target, quote
from lvs_healthd.probes.outcome import HEARD_BYTES, Course, Outcome, OutcomeKind
from lvs_healthd.probing.deadlines import MOST_REPRIEVES
from lvs_healthd.probing.sockets import Socket

MAX_RECEIVED = 32 * 1024 * 1024
"""The maximum number of bytes received in one probe, including TLS. It is above every limit that a check can set."""


class Run(Protocol):
    """One probe to run, and the receiver of its outcome."""

    target: Target

    @property
    def repeats(self) -> bool:
        """Whether it will be started again, so that a connection is worth keeping for it."""

    def started(self, now: float) -> None:
        """Note that the probe starts at `now`, seconds on the engine's clock."""

    def ended(self, outcome: Outcome, course: Course) -> None:
        """Take the outcome, and how the probe went. Called once, perhaps before `start` returns.

        The connection may take longer to end.
        """

    def signalled(self, sign: Sign) -> None:
        """Take what the end of the target's idle connection tells, which was kept for the next probe."""


class Flight(msgspec.Struct, eq=False, gc=False):
    """One probe under way on one connection, or a connection that is kept between two probes.

    Thousands begin every second, and a record of this kind takes a third of the time that a class in Python takes.
    """

    run: Run | None
    """Receives the outcome; None once the probe has ended or goes on over a new connection."""
    exchange: Exchange
    securing: MaySecure | None
    """The conversation if its bytes may be encrypted; otherwise None."""
    socket: Socket
    descriptor: int
    started: float
    """When the probe began. All times are seconds on the engine's clock, and those that end in `_s` are seconds since
    then."""
    heard: float
    """When the target was last heard; `started` before the first time."""
    timeout_s: float
    stalls_s: float
    reprieves: int = MOST_REPRIEVES
    """These three are for `Deadlines`."""
    connected: bool = False
    connected_s: float | None = None
    secured_s: float | None = None
    answered_s: float | None = None
    """These three are for the probe's `Course`."""
    pending: bytes = b""
    """What is left to send."""
    received: int = 0
    """How many bytes have come in this probe."""
    first: bytes = b""
    """What has come first on this connection, at least `HEARD_BYTES` if so many have."""
    is_timed: bool = False
    """Whether its deadline is watched. That may still be the one of the connection's last probe, which is put off when
    it comes."""
    kept: KeptExchange | None = None
    """The conversation if its connection is kept; otherwise None."""

    @classmethod
    def of(cls, run: Run, started: float, stalls_s: float, opened: Socket, exchange: Exchange) -> "Flight":
        """Begin a probe on a new connection.

        run: receives the outcome.
        stalls_s: the value of `Deadlines.stalls_s`.
        """
        securing = exchange if isinstance(exchange, MaySecure) else None
        timeout_s = run.target.timeout_s
        return cls(run, exchange, securing, opened, opened.fileno(), started, started, timeout_s, stalls_s)

    def renewed(self, run: Run, opened: Socket, exchange: Exchange) -> "Flight":
        """Return the same probe on a new connection. Its time and its limits go on.

        run: receives the outcome.
        """
        flight = Flight.of(run, self.started, self.stalls_s, opened, exchange)
        flight.heard, flight.reprieves, flight.received = self.heard, self.reprieves, self.received
        flight.connected_s, flight.secured_s, flight.answered_s = self.connected_s, self.secured_s, self.answered_s
        return flight

    def resumes(self, run: Run, started: float, stalls_s: float) -> None:
        """Begin another probe on this connection, whose last one is over.

        run: receives the outcome.
        """
        self.run = run
        self.started = self.heard = started
        self.stalls_s = stalls_s
        self.reprieves = MOST_REPRIEVES
        self.connected_s = 0.0
        securing = self.securing
        self.secured_s = None if securing is None or securing.decrypted() is None else 0.0
        self.answered_s = None
        self.received = 0

    def begins_anew(self, run: Run, started: float, stalls_s: float, exchange: KeptExchange) -> None:
        """Begin another probe on a new connection of the same socket.

        run: receives the outcome.
        exchange: the conversation on it, which is about a connection in clear.
        """
        self.run = run
        self.exchange = self.kept = exchange
        self.started = self.heard = started
        self.timeout_s = run.target.timeout_s
        self.stalls_s = stalls_s
        self.reprieves = MOST_REPRIEVES
        self.connected = False
        self.connected_s = self.secured_s = self.answered_s = None
        self.pending = self.first = b""
        self.received = 0

    def connects(self, now: float) -> None:
        """Note that the target has accepted the connection."""
        self.connected = True
        self.heard = now
        if self.connected_s is None:
            self.connected_s = now - self.started

    def sends_all(self, data: bytes) -> bool:
        """Send the last bytes of a probe, if any. Return whether all have been taken, and those before them."""
        data = self.pending + data
        if not data:
            return True
        try:
            return self.socket.send(data) == len(data)
        except OSError:
            return False
        finally:
            self.pending = b""

    def hears(self, data: bytes, clock: Callable[[], float]) -> Step:
        """Pass data that has come to the conversation, and note when TLS has begun. Return the conversation's step.

        clock: monotonic time, seconds. It is asked again after the conversation's work, which may be a handshake.
        """
        self.heard = now = clock()
        if self.answered_s is None:
            self.answered_s = now - self.started
        if not self.first:
            self.first = data
        elif len(self.first) < HEARD_BYTES:
            self.first += data[:HEARD_BYTES]
        self.received += len(data)
        step = self.exchange.received(data)
        securing = self.securing
        if securing is not None and self.secured_s is None and securing.decrypted() is not None:
            self.secured_s = clock() - self.started
        return step

    def course(self, outcome: Outcome, target: Target, now: float) -> Course:
        """Return how the probe went. What the process that runs programs says is of no use to an operator."""
        if target.family is socket.AF_UNIX:
            return Course(now - self.started)
        heard = ""
        if outcome.kind is not OutcomeKind.UP:
            decrypted = None if self.securing is None else self.securing.decrypted()
            first = self.first if decrypted is None else decrypted
            heard = quote(first, HEARD_BYTES, hidden=target.hidden()) if first else ""
        return Course(now - self.started, self.connected_s, self.secured_s, self.answered_s, heard)
