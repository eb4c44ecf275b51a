"""Draining real servers on the real kernel, with real connections: none is cut off, new ones go elsewhere."""

import asyncio
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lab.nginx import Nginx
from lab.topology import Topology
from tests.daemon_process import run_cli
from tests.kernel.main_job import FOREIGN, RS1, RS2, both_in, configuration, on_director

CONNECTIONS = 50
ANSWER_S = 20.0
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that resets the connection at once, so that the kernel forgets it after ten seconds."""


@pytest.fixture(autouse=True)
def clean_table(nat: Topology) -> Iterator[None]:
    nat.ipvsadm.clear()
    nat.ipvsadm.restore(FOREIGN)
    yield
    assert FOREIGN in nat.ipvsadm.saved()
    nat.ipvsadm.clear()


class Connection:
    """A client's connection to the virtual service, which it keeps."""

    def __init__(self, nat: Topology, port: int = 80) -> None:
        with nat.client.entered():
            self._socket = socket.create_connection((nat.vip, port), timeout=ANSWER_S)

    def ask(self) -> str:
        """Send a request and return the name of the server that answers."""
        self._socket.sendall(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        answer = b""
        while not answer.endswith(b"\n") or b"\r\n\r\n" not in answer:
            data = self._socket.recv(4096)
            assert data, "the connection was cut off"
            answer += data
        return answer.rpartition(b"\r\n\r\n")[2].decode().strip()

    def reset(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._socket.close()


def names(connections: Sequence[Connection]) -> list[str]:
    return [each.ask() for each in connections]


def opened(nat: Topology, count: int, port: int = 80) -> list[Connection]:
    return [Connection(nat, port) for _ in range(count)]


async def until(nat: Topology, *, gone: str) -> None:
    """Wait until a server is not in the table any more."""
    deadline = time.monotonic() + 60
    while f"-r {gone} " in nat.ipvsadm.saved():
        assert time.monotonic() < deadline, nat.ipvsadm.saved()
        await asyncio.sleep(0.2)


async def order(verb: str, *words: str, file: Path) -> tuple[int, str]:
    code, out, err = await run_cli(verb, *words, "--config", str(file))
    return code, out + err


@pytest.mark.long
async def test_fifty_connections_live_on_new_ones_go_elsewhere_and_the_server_leaves_when_they_are_gone(
    nat: Topology, web: tuple[Nginx, ...], tmp_path: Path
) -> None:
    file = configuration(tmp_path)
    async with on_director(nat, file) as running:
        await both_in(running)
        kept = opened(nat, CONNECTIONS)
        before = names(kept)
        drained = Counter(before).most_common()[-1][0]
        server = RS1 if drained == web[0].server.name else RS2
        assert (await order("drain", "web", server, "--reason", "kernel update", file=file))[0] == 0
        await running.until("table.changed", operation="set_server", server=server)
        new = opened(nat, 10)
        assert drained not in names(new)
        await asyncio.sleep(5)  # two resyncs: it has connections, so it stays
        assert f"-r {server} -m -w 0" in nat.ipvsadm.saved()
        assert names(kept) == before
        for connection, name in zip(kept, before, strict=True):
            if name == drained:
                connection.reset()
        line = await running.until("real_server.drained", server=server)
        assert line["reason"] == "no connections left"
        await until(nat, gone=server)
        rest = [connection for connection, name in zip(kept, before, strict=True) if name != drained]
        assert set(names(rest)) == set(before) - {drained}
        assert (await order("enable", "web", server, file=file))[0] == 0
        await running.until("table.changed", operation="add_server", server=server, after=len(running.lines) - 5)
        last = opened(nat, 4)
        assert drained in names(last)
        for connection in (*rest, *new, *last):
            connection.reset()
        await running.stop()


@pytest.mark.long
async def test_deadline_removes_a_server_whose_connections_do_not_end(
    nat: Topology, web: tuple[Nginx, ...], tmp_path: Path
) -> None:
    file = configuration(tmp_path)
    async with on_director(nat, file) as running:
        await both_in(running)
        kept = opened(nat, 6)
        before = names(kept)
        waited = await order("drain", "web", RS1, "--deadline", "8s", "--wait", file=file)
        assert waited[0] == 0, waited[1]
        assert "connections left" in waited[1]
        (line,) = running.of("real_server.drained")
        # The kernel also counts connections that have ended a moment ago, as those of an earlier test.
        counted = int(line["reason"].removeprefix("deadline passed: ").removesuffix(" connections are cut off"))
        assert counted >= before.count(web[0].server.name) == 3
        await until(nat, gone=RS1)
        others = [connection for connection, name in zip(kept, before, strict=True) if name != web[0].server.name]
        assert set(names(others)) == {web[1].server.name}
        for connection in kept:
            connection.reset()
        await running.stop()


@pytest.mark.long
async def test_orders_are_kept_over_a_crash_and_everywhere_means_all_services(
    nat: Topology, web: tuple[Nginx, ...], tmp_path: Path
) -> None:
    machine = RS1.partition(":")[0]
    file = configuration(tmp_path)
    more = "".join(
        f'\n[[service]]\nname = "more{port}"\naddress = "192.0.2.100:{port}"\nscheduler = "rr"\n'
        'check = { type = "tcp", port = 80 }\n'
        f'real_server = ["{machine}:80", "{RS2}"]\n'
        for port in (8001, 8002)
    )
    file.write_text(file.read_text() + more)
    async with on_director(nat, file) as running:
        await both_in(running)
        for port in (8001, 8002):
            await running.until("table.changed", operation="add_server", service=f"more{port}", server=f"{machine}:80")
        code, told = await order("disable", "--everywhere", machine, "--reason", "reboot", file=file)
        assert (code, told.count("disabled")) == (0, 3)
        await until(nat, gone=f"{machine}:80")
        await running.process.wait() if running.process.returncode is not None else running.process.kill()
    saved = nat.ipvsadm.saved()
    async with on_director(nat, file) as again:
        await again.until("daemon.started")
        await asyncio.sleep(4)
        assert nat.ipvsadm.saved() == saved
        assert again.of("table.changed") == []
        await order("enable", "--everywhere", machine, file=file)
        for service in ("web", "more8001", "more8002"):
            await again.until("table.changed", operation="add_server", service=service, server=f"{machine}:80")
        await again.stop()
