"""`lvs-healthd doctor --peer URL` asks real daemons, and says what differs between fleet."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lvs_healthd.cli import doctor as verb
from tests.cli.running import Ran, Run
from tests.daemon_process import TIMEOUT_S, DaemonProcess, daemon, run_cli
from tests.doctor.seen import director
from tests.probes.peers import free_port

SERVICE = """
[[service]]
name = "web"
address = "127.0.0.100:{port}"
scheduler = "{scheduler}"
check = {{ type = "tcp", interval = "200ms", timeout = "100ms" }}
real_server = {servers}
"""


class Fleet:
    """Directors with their tables in memory, and a listener that is up as a server."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.urls: dict[str, str] = {}
        self.running: dict[str, DaemonProcess] = {}

    def config(self, name: str, scheduler: str, servers: list[str]) -> Path:
        own = self.folder / name
        own.mkdir()
        self.urls[name] = f"127.0.0.1:{free_port()}"
        file = own / "config.toml"
        service = SERVICE.format(port=self.port, scheduler=scheduler, servers=json.dumps(servers))
        file.write_text(f"""
[daemon]
listen = "{self.urls[name]}"
control = "{own}/control.sock"
state = "{own}/state.json"
{service}""")
        return file

    @contextlib.asynccontextmanager
    async def director(
        self, name: str, scheduler: str = "rr", servers: tuple[str, ...] = ("127.0.0.2",)
    ) -> AsyncIterator[None]:
        async with daemon(self.config(name, scheduler, [*servers]), "--table", "memory") as started:
            self.running[name] = started
            await started.until("real_server.up", server=f"127.0.0.2:{self.port}")
            yield

    async def order(self, name: str, *words: str) -> None:
        await run_cli(*words, "--control", str(self.folder / name / "control.sock"))


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with socket.create_server(("127.0.0.2", 0), backlog=128) as listener:
        yield Fleet(tmp_path, listener.getsockname()[1])


class Doctor:
    """Runs the verb on the first director. What it sees of the machine itself is well."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._run = Run("doctor", monkeypatch, capsys)
        monkeypatch.setattr(verb, "observe", lambda *_: director())

    async def __call__(self, fleet: Fleet, *peers: str) -> Ran:
        words = [word for each in peers for word in ("--peer", fleet.urls.get(each, each))]
        own = fleet.folder / "lvs1"
        files = ("--config", str(own / "config.toml"), "--control", str(own / "control.sock"))
        async with asyncio.timeout(TIMEOUT_S):
            return await asyncio.to_thread(self._run, *words, *files, "--json")


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    return Doctor(monkeypatch, capsys)


async def test_three_directors_that_are_alike_and_one_that_is_not(fleet: Fleet, doctor: Doctor) -> None:
    async with fleet.director("lvs1"), fleet.director("lvs2"):
        ran = await doctor(fleet, "lvs2")
        assert (ran.code, json.loads(ran.out)["findings"], ran.err) == (0, [], "")

        async with fleet.director("lvs3", scheduler="wrr", servers=("127.0.0.2", "127.0.0.3")):
            ran = await doctor(fleet, "lvs2", "lvs3")
            found = {each["name"]: each["seen"] for each in json.loads(ran.out)["findings"]}
            assert ran.code == 3
            other = fleet.urls["lvs3"]
            assert found == {
                "peer-settings": f"scheduler is rr here and wrr on {other}",
                "peer-servers": f"only on {other}: 127.0.0.3:{fleet.port}",
            }


async def test_what_is_drained_by_hand_on_one_director_is_named_and_no_trouble(fleet: Fleet, doctor: Doctor) -> None:
    async with fleet.director("lvs1"), fleet.director("lvs2"):
        await fleet.order("lvs2", "drain", "web", f"127.0.0.2:{fleet.port}", "--force", "--reason", "a new disk")
        ran = await doctor(fleet, "lvs2")
        answer = json.loads(ran.out)
        assert (ran.code, answer["findings"]) == (0, [])
        assert any(
            "on 127.0.0.1 only: drained" in each["text"] and "a new disk" in each["text"] for each in answer["notes"]
        )


async def test_itself_and_one_that_is_gone(fleet: Fleet, doctor: Doctor) -> None:
    async with fleet.director("lvs1"):
        gone = f"127.0.0.1:{free_port()}"
        ran = await doctor(fleet, "lvs1", gone)
        answer = json.loads(ran.out)
        assert ran.code == 3
        assert [each["seen"] for each in answer["findings"]] == [f"http://{gone}: Connection refused"]
        assert any("is this director itself" in each["text"] for each in answer["notes"])


async def test_something_else_that_answers_there(fleet: Fleet, doctor: Doctor) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")
        writer.close()

    async with fleet.director("lvs1"), await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        host, port = other.sockets[0].getsockname()
        ran = await doctor(fleet, f"{host}:{port}")
        assert "something answers, but not lvs-healthd" in json.loads(ran.out)["findings"][0]["seen"]


async def test_without_a_daemon_here_nobody_is_asked(tmp_path: Path, doctor: Doctor) -> None:
    file = tmp_path / "lvs1" / "config.toml"
    file.parent.mkdir()
    file.write_text(f'[daemon]\nlisten = ""\ncontrol = "{tmp_path}/none.sock"\n')
    ran = await asyncio.to_thread(doctor._run, "--config", str(file), "--peer", "127.0.0.1:1")
    assert ran.code == 0
    assert "other directors are not asked: no daemon runs here to compare them with" in ran.err


async def test_a_word_that_is_no_director_is_wrong_usage(tmp_path: Path, doctor: Doctor) -> None:
    ran = await asyncio.to_thread(doctor._run, "--peer", "ftp://lvs2")
    assert ran.code == 2
    assert "expected a host, host:9880, http://host:9880" in ran.err
