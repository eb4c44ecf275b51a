"""Connections that a worker keeps between probes."""

import asyncio
import contextlib

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import HttpCheck, Kept
from lvs_healthd.probes.outcome import OutcomeKind, Reason
from tests.probes.http_talk import answer
from tests.probes.peers import stream_server
from tests.probing.workers.bench import running


class _Server:
    """Answers every request, and keeps the connections."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(answer(b"ok"))


def http(port: int) -> HttpCheck:
    kept = Kept(reconnect=Seconds(60.0))
    return HttpCheck(name="", address="127.0.0.1", port=port, host="x", interval=Seconds(0.5), kept=kept)


async def test_worker_keeps_connections_and_its_early_warnings_are_counted() -> None:
    server = _Server()
    async with stream_server(server) as port:
        check = http(port)
        async with running([check]) as bench:
            outcomes = bench.sink(check).outcomes
            await bench.until(lambda: len(outcomes) >= 4)
            assert {each.kind for each in outcomes} == {OutcomeKind.UP}
            assert len(server.writers) == 1
            assert (bench.pool.kept, bench.warnings) == (1, 0)
            # The server is reloaded: one more probe, over a new connection.
            server.writers[0].close()
            await bench.until(lambda: len(server.writers) == 2 and bench.warnings == 1)
            assert {each.kind for each in outcomes} == {OutcomeKind.UP}
            # The check is dropped, and its connection with it.
            bench.update([], [check])
            async with asyncio.timeout(10.0):
                while not server.writers[1].transport.is_closing():
                    await asyncio.sleep(0.01)
            assert len(outcomes) < 20


async def test_death_is_found_by_a_worker_at_once() -> None:
    async with contextlib.AsyncExitStack() as living:
        port = await living.enter_async_context(stream_server(_Server()))
        check = http(port)
        async with running([check]) as bench:
            outcomes = bench.sink(check).outcomes
            await bench.until(lambda: len(outcomes) >= 2)
            assert {each.kind for each in outcomes} == {OutcomeKind.UP}
            before = len(outcomes)
            await living.aclose()
            await bench.until(lambda: len(outcomes) >= before + 3)
            # Three probes, and not one in each half second.
            assert {each.reason for each in outcomes[before:]} == {Reason.REFUSED}
            assert bench.warnings == 1
