"""After an expected answer the server sees the connection end, and is not reset; nothing waits for that."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import TcpCheck
from lvs_healthd.probes.exchange import Sign, Target
from lvs_healthd.probes.outcome import Course, Outcome, OutcomeKind
from lvs_healthd.probes.targets import target
from lvs_healthd.probing.deadlines import TICK_S
from lvs_healthd.probing.engine import Engine
from lvs_healthd.probing.once import run_once
from lvs_healthd.probing.partings import HOPE_S, PATIENCE_S
from tests.probes.peers import answering, stream_server


class Server:
    """Answers, then notes how the connection ends."""

    def __init__(self, *, closes: bool = True) -> None:
        self._closes = closes
        self.endings: list[str] = []
        self.has_answered = asyncio.Event()
        self.port = 0

    async def behave(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+PONG\r\n")
        self.has_answered.set()
        await self._note_end(reader)
        if not self._closes:
            reader._eof = False  # type: ignore[attr-defined]  # read on, for the reset
            await self._note_end(reader)

    async def _note_end(self, reader: asyncio.StreamReader) -> None:
        try:
            await reader.read()
            self.endings.append("end")
        except ConnectionResetError:
            self.endings.append("reset")
            raise

    async def ended(self, count: int) -> list[str]:
        async with asyncio.timeout(10):
            while len(self.endings) < count:
                await asyncio.sleep(0.01)
        return self.endings


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    async with stream_server(made.behave) as made.port:
        yield made


def tcp(port: int, **keys: bytes) -> TcpCheck:
    return TcpCheck(name="tcp", address="127.0.0.1", port=port, timeout=Seconds(60.0), **keys)  # type: ignore[arg-type]


async def outcome_of(check: TcpCheck) -> Outcome:
    (found,) = (await run_once([check])).values()
    return found.outcome


class Hand:
    """An engine moved by hand, with a clock of its own."""

    def __init__(self, max_in_flight: int = 1000) -> None:
        self.now = 1000.0
        self.engine = Engine(clock=lambda: self.now, max_in_flight=max_in_flight)
        self.outcomes: list[Outcome] = []
        self.latencies: list[float] = []

    def start(self, check: TcpCheck) -> None:
        self.engine.start(Noting(target(check), self))

    async def until(self, *, outcomes: int) -> None:
        async with asyncio.timeout(10):
            while len(self.outcomes) < outcomes:
                await asyncio.sleep(0.01)
                self.engine.poll()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.engine.tick(0.0)


class Noting:
    repeats = False

    def __init__(self, aim: Target, hand: Hand) -> None:
        self.target = aim
        self._hand = hand

    def started(self, now: float) -> None:
        pass

    def ended(self, outcome: Outcome, course: Course) -> None:
        self._hand.outcomes.append(outcome)
        self._hand.latencies.append(course.total_s)

    def signalled(self, sign: Sign) -> None:
        """Ignore it: nothing is kept."""


@pytest.mark.parametrize("keys", [{}, {"send": b"PING\r\n"}], ids=["greeting", "question"])
async def test_server_that_answered_as_expected_is_not_reset(server: Server, keys: dict[str, bytes]) -> None:
    for _ in range(3):
        assert (await outcome_of(tcp(server.port, expect=b"+PONG", **keys))).kind is OutcomeKind.UP
    assert await server.ended(3) == ["end"] * 3


async def test_server_whose_greeting_nobody_reads_is_not_reset(server: Server) -> None:
    """The check only sends. Closing a socket that still holds the greeting would reset the connection."""
    hand = Hand()
    hand.start(tcp(server.port, send=b"QUIT\r\n"))
    async with asyncio.timeout(10):
        await server.has_answered.wait()
    await hand.until(outcomes=1)
    hand.pass_time(HOPE_S + 2 * TICK_S)
    assert await server.ended(1) == ["end"]
    hand.engine.close()


async def test_server_without_the_expected_answer_is_reset(server: Server) -> None:
    check = TcpCheck(name="", address="127.0.0.1", port=server.port, timeout=Seconds(0.1), expect=b"never")
    assert (await outcome_of(check)).kind is OutcomeKind.DOWN
    assert await server.ended(1) == ["reset"]


def in_time_wait(port: int) -> int:
    """Count our ends of connections to a port that are in TIME_WAIT."""
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return sum(fields[2].endswith(f":{port:04X}") and fields[3] == "06" for fields in map(str.split, lines))


async def test_server_that_closes_first_leaves_no_time_wait_here() -> None:
    async with stream_server(answering(b"+PONG\r\n+OK\r\n", until=b"QUIT\r\n")) as port:
        for _ in range(10):
            assert (await outcome_of(tcp(port, send=b"PING\r\nQUIT\r\n", expect=b"+PONG"))).kind is OutcomeKind.UP
        assert in_time_wait(port) == 0


async def test_server_that_closes_a_moment_later_leaves_no_time_wait_here() -> None:
    may_close = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"QUIT\r\n")
        writer.write(b"+PONG\r\n+OK\r\n")
        await may_close.wait()

    async with stream_server(answer) as port:
        hand = Hand()
        hand.start(tcp(port, send=b"PING\r\nQUIT\r\n", expect=b"+PONG"))
        await hand.until(outcomes=1)
        may_close.set()
        async with asyncio.timeout(10):
            while hand.engine.parting:
                await asyncio.sleep(0.01)
                hand.engine.poll()
        assert in_time_wait(port) == 0
        hand.engine.close()


async def test_outcome_is_told_before_the_connection_ends(server: Server) -> None:
    hand = Hand()
    hand.start(tcp(server.port, send=b"PING\r\n", expect=b"+PONG"))
    await hand.until(outcomes=1)
    assert (hand.engine.in_flight, hand.engine.parting, hand.latencies) == (0, 1, [0.0])
    assert server.endings == []
    due = hand.engine.next_tick
    assert due is not None
    assert hand.now + HOPE_S < due <= hand.now + HOPE_S + TICK_S
    hand.pass_time(due - hand.now)
    assert await server.ended(1) == ["end"]
    async with asyncio.timeout(10):
        while hand.engine.parting:
            await asyncio.sleep(0.01)
            hand.engine.poll()
    hand.engine.close()


async def test_server_that_does_not_close_is_reset_after_a_while() -> None:
    made = Server(closes=False)
    async with stream_server(made.behave) as port:
        hand = Hand()
        hand.start(tcp(port, expect=b"+PONG"))
        await hand.until(outcomes=1)
        assert await made.ended(1) == ["end"]
        hand.engine.poll()
        assert hand.engine.parting == 1
        hand.pass_time(PATIENCE_S + 2 * TICK_S)
        assert hand.engine.parting == 0
        assert in_time_wait(port) == 0
        hand.engine.close()


async def test_server_that_goes_on_talking_is_reset() -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"+PONG\r\n" * 10_000)
            await writer.drain()

    async with stream_server(talk) as port:
        hand = Hand()
        hand.start(tcp(port, send=b"PING\r\n", expect=b"+PONG"))
        await hand.until(outcomes=1)
        async with asyncio.timeout(10):
            while hand.engine.parting:
                await asyncio.sleep(0.01)
                hand.engine.poll()
        hand.engine.close()


async def test_probe_that_needs_the_place_gets_it(server: Server) -> None:
    hand = Hand(max_in_flight=1)
    check = tcp(server.port, expect=b"+PONG")
    hand.start(check)
    await hand.until(outcomes=1)
    assert hand.engine.parting == 1
    hand.start(check)
    assert (hand.engine.in_flight, hand.engine.waiting, hand.engine.parting) == (1, 0, 0)
    await hand.until(outcomes=2)
    hand.engine.close()


async def test_connections_that_are_ending_when_the_engine_closes_are_not_reset(server: Server) -> None:
    hand = Hand()
    hand.start(tcp(server.port, send=b"PING\r\n", expect=b"+PONG"))
    await hand.until(outcomes=1)
    hand.engine.close()
    assert await server.ended(1) == ["end"]
