"""A scheduler and its engine on a clock that tests move, and servers of the same thread on real sockets of loopback."""

import contextlib
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec
import trustme

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import AnyCheck, HttpCheck, HttpsCheck, Kept, TcpCheck, Tls
from lvs_healthd.probes.outcome import Course, Outcome, OutcomeKind
from lvs_healthd.probes.targets import target
from lvs_healthd.probing.deadlines import TICK_S
from lvs_healthd.probing.engine import Engine
from lvs_healthd.probing.probe import Probe
from lvs_healthd.probing.scheduler import Scheduler
from tests.probes.http_talk import answer
from tests.probes.tls_peer import Server as TlsServer
from tests.probes.tls_peer import tls_context

OK = answer(b"ok")
KEPT = Kept()
_RESET = struct.pack("ii", 1, 0)
_QUIET_ROUNDS = 3
_ROUND_S = 0.0003
"""How long to wait for what the kernel has put off, in real seconds."""
_PATIENCE_S = 0.02
"""How long to wait for a server that may not answer, in real seconds."""


_HANDSHAKE = b"\x16"


class _Client:
    """A connection, in the server's eyes."""

    def __init__(self, accepted: socket.socket, now: float, tls: TlsServer | None) -> None:
        accepted.setblocking(False)
        # Otherwise bytes wait until the director's kernel acknowledges those before, which it puts off in real time.
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = accepted
        self.tls = tls
        self.asked = b""
        self.since = now
        self.requests = 0

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.socket.send(data if self.tls is None else self.tls.says(data))

    def recv(self) -> bytes | None:
        """Return what has come, which may be nothing but a part of a handshake; None if nothing has, b"" at the end."""
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        if self.tls is not None and data:
            before = len(self.tls.asked)
            said = self.tls.heard(data)
            if said:
                self.socket.send(said)
            return self.tls.asked[before:] or _HANDSHAKE
        return data


class Server:
    """An HTTP server that keeps its connections.

    says: returns the answer to each request; None for no answer.
    """

    def __init__(self, world: "World", says: Callable[[], bytes | None] = lambda: OK, *, secured: bool = False) -> None:
        self._world = world
        self.says = says
        self.clients: list[_Client] = []
        self.accepted: list[float] = []
        """When each connection came."""
        self.requests: list[float] = []
        """When each request came."""
        self.idle_s = float("inf")
        """How long it keeps an idle connection, seconds."""
        self.secured = secured
        self.is_hung = False
        self.listener: socket.socket | None = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.listener.setblocking(False)
        self.port: int = self.listener.getsockname()[1]
        world.servers.append(self)

    def listen(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=100)
        self.listener.setblocking(False)

    def stop_listening(self) -> None:
        if self.listener is not None:
            self.listener.close()
            self.listener = None

    def end_all(self, *, reset: bool = False) -> None:
        """End all connections, as the kernel does for a process that ends."""
        for client in self.clients:
            if reset:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            client.socket.close()
        self.clients.clear()

    def die(self, *, reset: bool = False) -> None:
        self.stop_listening()
        self.end_all(reset=reset)

    @property
    def next_end(self) -> float:
        """When it ends an idle connection."""
        return min((client.since + self.idle_s for client in self.clients), default=float("inf"))

    def serve(self) -> bool:
        """Do what there is to do. Return whether there was anything."""
        if self.is_hung:
            return False
        is_busy = False
        while self.listener is not None:
            try:
                accepted, _ = self.listener.accept()
            except BlockingIOError:
                break
            tls = TlsServer(self._world.context) if self.secured else None
            self.clients.append(_Client(accepted, self._world.now, tls))
            self.accepted.append(self._world.now)
            is_busy = True
        for client in list(self.clients):
            is_busy |= self._serve(client)
        return is_busy

    def _serve(self, client: _Client) -> bool:
        data = client.recv()
        if data is None:
            if self._world.now < client.since + self.idle_s:
                return False
            data = b""
        if not data:
            self.clients.remove(client)
            client.socket.close()
            return True
        if data != _HANDSHAKE:
            client.asked += data
        while b"\r\n\r\n" in client.asked:
            client.asked = client.asked.partition(b"\r\n\r\n")[2]
            client.since = self._world.now
            client.requests += 1
            self.requests.append(self._world.now)
            said = self.says()
            if said is not None:
                client.send(said)
        return True


class Found(NamedTuple):
    """What a probe found, and when."""

    at: float
    outcome: Outcome
    course: Course

    @property
    def is_up(self) -> bool:
        return self.outcome.kind is OutcomeKind.UP


class _Sink:
    def __init__(self, world: "World") -> None:
        self._world = world
        self.found: list[Found] = []

    def outcome(self, outcome: Outcome, course: Course) -> None:
        self.found.append(Found(self._world.now, outcome, course))


class World:
    """Everything that a test moves.

    seed: of the jitter and the spread.
    """

    def __init__(self, *, seed: int = 1, most_kept: int = 1000) -> None:
        self.now = 5000.0
        self.servers: list[Server] = []
        self.context = tls_context(trustme.CA())
        self.warnings = 0
        draw = random.Random(seed).random
        self.engine = Engine(clock=lambda: self.now, most_kept=lambda _: most_kept, random=draw)
        self.scheduler: Scheduler[str] = Scheduler(self.engine, clock=lambda: self.now, random=draw, observer=self)
        self.sinks: dict[str, _Sink] = {}

    # What a scheduler tells

    def lag(self, seconds: float) -> None: ...
    def loop_lag(self, seconds: float) -> None: ...
    def skipped(self) -> None: ...

    def warned(self) -> None:
        self.warnings += 1

    # What a test does

    def close(self) -> None:
        self.scheduler.close()
        for server in self.servers:
            server.die()

    def probe(self, *checks: AnyCheck, drop: tuple[str, ...] = ()) -> list[list[Found]]:
        """Begin to probe, and return the lists that what is found is added to."""
        probes = []
        for check in checks:
            key = self._key(check)
            sink = self.sinks[key] = _Sink(self)
            probes.append(Probe(key, target(check), check.interval, sink))
        self.scheduler.update(probes, drop)
        return [self.sinks[probe.key].found for probe in probes]

    def drop(self, *checks: AnyCheck) -> None:
        self.scheduler.update((), [self._key(check) for check in checks])

    def _key(self, check: AnyCheck) -> str:
        """Return a key that is the same in each run, so that the probes have the same places in their interval."""
        return f"{check.name} {[server.port for server in self.servers].index(check.port)}"

    def settle(self) -> None:
        """Let engine and servers do everything that is to do now."""
        rounds, end = 0, time.monotonic() + _PATIENCE_S
        while rounds < _QUIET_ROUNDS or (self.engine.in_flight and time.monotonic() < end):
            is_busy = sum(server.serve() for server in self.servers) > 0
            self.engine.poll()
            rounds = 0 if is_busy else rounds + 1
            if rounds:
                time.sleep(_ROUND_S)
            end = time.monotonic() + _PATIENCE_S if is_busy else end

    def until_turn(self, check: AnyCheck) -> None:
        """Let time pass until just before the next regular turn of a check."""
        self.run(self.scheduler._jobs[self._key(check)].due - self.now - TICK_S)

    def turn(self, check: AnyCheck) -> None:
        """Start the next regular probe of a check, without looking at anything else before."""
        due = self.scheduler._jobs[self._key(check)].due
        while self.now < due:
            self.now = max(self.now, self.scheduler.next_wake)
            self.scheduler.tick()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while True:
            self.settle()
            due = min(self.scheduler.next_wake, *(server.next_end for server in self.servers))
            if due > end:
                break
            self.now = max(self.now, due)
            if self.scheduler.next_wake <= self.now:
                self.scheduler.tick()
        self.now = end


@contextlib.contextmanager
def world(**keys: int) -> Iterator[World]:
    made = World(**keys)
    try:
        yield made
    finally:
        made.close()


def http(server: Server, *, kept: Kept | None = KEPT, interval: float = 2.0, **keys: object) -> HttpCheck:
    fields = {"name": "http", "address": "127.0.0.1", "port": server.port, "host": "x", "interval": Seconds(interval)}
    return HttpCheck(**(fields | {"kept": kept} | keys))  # type: ignore[arg-type]


def https(server: Server, *, kept: Kept | None = KEPT, interval: float = 2.0, **keys: object) -> HttpsCheck:
    assert server.secured
    plain = msgspec.structs.asdict(http(server, kept=kept, interval=interval, **keys))
    return HttpsCheck(**(plain | {"tls": Tls(verify=False), "name": "https"}))


def tcp(server: Server, *, kept: Kept | None = KEPT, interval: float = 2.0, **keys: object) -> TcpCheck:
    fields = {"name": "tcp", "address": "127.0.0.1", "port": server.port, "interval": Seconds(interval), "kept": kept}
    return TcpCheck(**(fields | keys))  # type: ignore[arg-type]
