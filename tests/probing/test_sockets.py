"""A socket serves one probe after another, and no probe is affected by the one before it."""

import asyncio
import contextlib
import gc
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import AnyCheck, HttpCheck, TcpCheck, UdpCheck
from lvs_healthd.probes.exchange import Sign, Target
from lvs_healthd.probes.outcome import Course, Outcome, OutcomeKind, Reason
from lvs_healthd.probes.targets import probe_key, target
from lvs_healthd.probing import sockets as sockets_module
from lvs_healthd.probing.deadlines import TICK_S
from lvs_healthd.probing.engine import Engine
from lvs_healthd.probing.once import run_once
from tests.probes.peers import (
    answering,
    datagram_server,
    dripping,
    flooding,
    free_port,
    resetting,
    silent,
    stream_server,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
SOON = Seconds(0.3)


def sockets() -> set[str]:
    """Return the sockets of this process, each by its inode."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(str(entry.readlink()))
    return {name for name in found if name.startswith("socket:")}


@pytest.fixture(autouse=True)
def _no_socket_left() -> Iterator[None]:
    gc.collect()
    before = sockets()
    yield
    gc.collect()
    assert sockets() <= before


class Running:
    """An engine on the test's loop."""

    def __init__(self) -> None:
        self.engine = Engine(clock=time.monotonic)
        self._outcomes: list[Outcome] = []
        self._failures: list[Exception] = []

    async def outcomes(self, *checks: AnyCheck) -> list[Outcome]:
        """Run these checks at once, and return the outcomes in the order they ended."""
        self._outcomes.clear()
        for check in checks:
            self.engine.start(_Run(target(check), self._outcomes))
        async with asyncio.timeout(20):
            while len(self._outcomes) < len(checks):
                await asyncio.sleep(TICK_S / 5)
                self.engine.tick(0.0)
                assert not self._failures
        return list(self._outcomes)

    async def outcome(self, check: AnyCheck) -> Outcome:
        """Run one check, and return its outcome."""
        return (await self.outcomes(check))[0]

    def fail(self, error: Exception) -> None:
        self._failures.append(error)


class _Run:
    repeats = False

    def __init__(self, aim: Target, outcomes: list[Outcome]) -> None:
        self.target = aim
        self._outcomes = outcomes

    def started(self, now: float) -> None:
        """Ignore the start."""

    def ended(self, outcome: Outcome, course: Course) -> None:
        self._outcomes.append(outcome)

    def signalled(self, sign: Sign) -> None:
        """Ignore it: nothing is kept."""


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Running]:
    made = Running()
    made.engine.open(asyncio.get_running_loop(), made.fail)
    try:
        yield made
    finally:
        made.engine.close()


def http(port: int, address: str = "127.0.0.1") -> HttpCheck:
    return HttpCheck(name="http", address=address, port=port, host="test", timeout=SOON)


def tcp(port: int, **keys: object) -> TcpCheck:
    return TcpCheck(name="tcp", address="127.0.0.1", port=port, timeout=SOON, **keys)  # type: ignore[arg-type]


@contextlib.contextmanager
def unanswering() -> Iterator[int]:
    """Listen with a full queue, so that the kernel ignores further connections. Yield the port."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def test_one_socket_serves_probe_after_probe() -> None:
    async with stream_server(answering(OK)) as port, running() as engine:
        # The server's own sockets come and go. The one that stays is ours.
        await engine.outcome(http(port))
        spare = {f"socket:[{os.fstat(each.fileno()).st_ino}]" for each in spares(engine)}
        assert len(spare) == 1
        for _ in range(20):
            assert (await engine.outcome(http(port))).kind is OutcomeKind.UP
            assert {f"socket:[{os.fstat(each.fileno()).st_ino}]" for each in spares(engine)} == spare


def spares(engine: Running) -> list[sockets_module.Socket]:
    made = engine.engine._sockets
    return [each for kept in (*made._streams, *made._datagrams) for each in kept]


async def test_no_probe_is_affected_by_the_one_before_it() -> None:
    """End connections in every way and in random order. A reused socket must give the same outcomes as a new one."""
    async with contextlib.AsyncExitStack() as stack:
        serve = stack.enter_async_context
        nobody = free_port()
        checks: list[AnyCheck] = [
            http(await serve(stream_server(answering(OK)))),
            http(await serve(stream_server(answering(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")))),
            http(await serve(stream_server(resetting))),
            http(await serve(stream_server(silent))),
            http(await serve(stream_server(dripping(OK, every_s=0.05)))),
            http(await serve(stream_server(flooding(b"HTTP/1.1 200 OK\r\nX: ", 2**22)))),
            http(await serve(stream_server(answering(OK, until=b""), host="::1")), "::1"),
            tcp(nobody),
            tcp(stack.enter_context(unanswering())),
            tcp(await serve(stream_server(silent))),
            tcp(await serve(stream_server(silent)), send=b"bye"),
            tcp(await serve(stream_server(answering(b"+PONG\r\n", until=b"\n"))), send=b"PING\n", expect=b"+PONG"),
        ]
        alone = {check: (await run_once([check]))[probe_key(check)].outcome for check in checks}
        reasons = {outcome.reason for outcome in alone.values()}
        assert reasons >= {Reason.PASSED, Reason.BAD_STATUS, Reason.RESET, Reason.TIMEOUT, Reason.REFUSED}
        order = random.Random(7).sample(checks * 3, len(checks) * 3)
        engine = await serve(running())
        for check in order:
            found = await engine.outcome(check)
            assert (found.kind, found.reason) == (alone[check].kind, alone[check].reason), check
        # One of each family, and perhaps as many more as connections were ending at the same time.
        assert 1 <= len(spares(engine)) <= 4


async def test_no_more_sockets_are_kept_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets_module, "MOST_SPARE", 4)
    async with stream_server(silent) as port, running() as engine:
        found = await engine.outcomes(*[tcp(port)] * 40)
        assert {outcome.kind for outcome in found} == {OutcomeKind.UP}
        assert len(spares(engine)) == 4


async def test_second_answer_is_not_the_next_servers() -> None:
    question = {"name": "udp", "address": "127.0.0.1", "timeout": SOON, "send": b"?", "expect": b"!"}
    async with datagram_server(b"!", b"!") as twice, datagram_server(b"no") as wrongly, running() as engine:
        for _ in range(5):
            assert (await engine.outcome(UdpCheck(port=twice, **question))).kind is OutcomeKind.UP  # type: ignore[arg-type]
            assert (await engine.outcome(UdpCheck(port=wrongly, **question))).reason is Reason.BAD_ANSWER  # type: ignore[arg-type]


async def test_datagram_socket_serves_again_after_each_kind_of_end() -> None:
    question = {"name": "udp", "address": "127.0.0.1", "timeout": SOON, "send": b"?"}
    nobody = free_port(socket.SOCK_DGRAM)
    async with datagram_server(b"!") as answers, datagram_server() as swallows, running() as engine:
        for _ in range(4):
            good = await engine.outcome(UdpCheck(port=answers, expect=b"!", **question))  # type: ignore[arg-type]
            bad = await engine.outcome(UdpCheck(port=answers, expect=b"?", **question))  # type: ignore[arg-type]
            silence = await engine.outcome(UdpCheck(port=swallows, **question))  # type: ignore[arg-type]
            refused = await engine.outcome(UdpCheck(port=nobody, **question))  # type: ignore[arg-type]
            assert [found.reason for found in (good, bad, silence, refused)] == [
                Reason.PASSED,
                Reason.BAD_ANSWER,
                Reason.PASSED,
                Reason.REFUSED,
            ]
            assert len(spares(engine)) == 0  # a socket that met an error may hold more errors
    assert len(spares(engine)) == 0


async def test_datagram_sockets_hear_of_every_error() -> None:
    async with datagram_server(b"!") as port, running() as engine:
        await engine.outcome(UdpCheck(name="udp", address="127.0.0.1", port=port, send=b"?", timeout=SOON))
        (four,) = spares(engine)
        assert four.getsockopt(socket.IPPROTO_IP, 11) == 1


async def test_server_that_speaks_first_is_not_kept_waiting_for_our_last_packet() -> None:
    async def greeting(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        await writer.drain()

    latencies: list[float] = []
    async with stream_server(greeting) as port:
        check = TcpCheck(name="smtp", address="127.0.0.1", port=port, expect=b"220", timeout=Seconds(10.0))
        for _ in range(5):
            (found,) = (await run_once([check])).values()
            assert found.outcome.kind is OutcomeKind.UP
            latencies.append(found.latency_s)
    assert min(latencies) < 0.1  # the kernel would send it after 0.2 s by itself


async def test_nothing_is_left_in_time_wait() -> None:
    def waiting(port: int) -> int:
        lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
        return sum(fields[2].endswith(f":{port:04X}") and fields[3] == "06" for fields in map(str.split, lines))

    async with stream_server(silent) as port, running() as engine:
        found = [outcome for _ in range(10) for outcome in await engine.outcomes(*[tcp(port)] * 10)]
        # On a busy machine some may run out of their 300 ms.
        assert waiting(port) <= sum(outcome.kind is not OutcomeKind.UP for outcome in found) < 50


async def test_server_sees_the_connection_end_at_once() -> None:
    """A socket that waits for its next probe must not hold a connection open: real servers have limits too."""
    ended = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read()
        ended.set()

    async with stream_server(listen) as port, running() as engine:
        await engine.outcome(tcp(port, send=b"PING\n", expect=b"never"))
        async with asyncio.timeout(2):
            await ended.wait()
