"""docs/migrate.md, "Taking over, step by step": the daemon takes the table over from a running program, and back again.

Clients send requests without a pause. None is lost, and the daemon writes nothing, because the table is as it wants it.
"""

import asyncio
import contextlib
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from signal import Signals
from typing import Protocol

import pytest

from lab import nft
from lab.ipvsadm import numbers
from lab.load import Load, by_server
from lab.nginx import Nginx
from lab.topology import Topology
from lab.wait import wait_until
from tests.daemon_process import DaemonProcess, daemon
from tests.kernel.old_programs import Ldirectord, Mon, OldKeepalived
from tests.kernel.verbs import run_here

RS1, RS2 = "198.51.100.11:80", "198.51.100.12:80"
TABLE = f"""-A -t 192.0.2.100:80 -s rr
-a -t 192.0.2.100:80 -r {RS1} -m -w 1
-a -t 192.0.2.100:80 -r {RS2} -m -w 1
"""

REQUESTS = 20
"""How many requests are waited for after each step."""
PAUSE_S, REQUEST_TIMEOUT_S = 0.05, 5.0
"""The pause leaves an emulated machine the time to check and to write."""
DEADLINE_S = 90.0
POLL_S = 0.5
"""Each look at the table starts ipvsadm."""


class Program(Protocol):
    """A program that keeps the table, as its own configuration file says."""

    @property
    def words(self) -> Sequence[str]:
        """The arguments of `lvs-healthd import` for its file."""

    def start(self) -> None:
        """Start it, as it is started at first."""

    def leave(self) -> None:
        """End it in the way that leaves its table, and return when it has ended."""

    def start_again(self) -> None:
        """Start it again, as the way back says."""

    def output(self) -> str:
        """Return what it has written so far."""

    def kill(self) -> None:
        """End it at once if it runs."""


@pytest.fixture(scope="module", autouse=True)
def probes_counted(nat: Topology) -> None:
    """Count the connections that the director itself opens to each server."""
    probe = f"ip saddr != {nat.client_address} tcp dport 80 tcp flags & (syn | ack) == syn"
    for server in nat.servers:
        nft.count(server, {"probes": probe})


@pytest.fixture(autouse=True)
def clean_table(nat: Topology) -> Iterator[None]:
    nat.ipvsadm.clear()
    yield
    nat.ipvsadm.clear()


@pytest.mark.long
async def test_keepalived(nat: Topology, web: tuple[Nginx, ...], tmp_path: Path) -> None:
    program = OldKeepalived(nat.director, tmp_path)
    with ended(program):
        await taken_over_and_back(program, nat, web, tmp_path)
        # It was started again with the option that makes every stop leave the table.
        program.end()
        assert nat.ipvsadm.saved() == TABLE


@pytest.mark.long
async def test_ldirectord(nat: Topology, web: tuple[Nginx, ...], tmp_path: Path) -> None:
    program = Ldirectord(nat.director, tmp_path)
    with ended(program):
        await taken_over_and_back(program, nat, web, tmp_path)


@pytest.mark.long
async def test_mon_with_the_alert_of_the_article(nat: Topology, web: tuple[Nginx, ...], tmp_path: Path) -> None:
    # mon does not make the table. The article does that with ipvsadm.
    nat.ipvsadm.restore(TABLE)
    saved = tmp_path / "table"
    saved.write_text(nat.ipvsadm.saved(), encoding="ascii")
    program = Mon(nat.director, tmp_path, saved)
    with ended(program):
        await taken_over_and_back(program, nat, web, tmp_path)
    # mon runs the script at each failed check, so it may be told twice.
    told = re.findall(r"Real Server (\S+) is (\w+)", program.told())
    assert set(told) == {("198.51.100.11", "DOWN"), ("198.51.100.11", "UP")}


@pytest.mark.long
@pytest.mark.parametrize(
    ("program_of", "number"),
    [
        pytest.param(OldKeepalived, Signals.SIGTERM, id="keepalived"),
        pytest.param(OldKeepalived, Signals.SIGKILL, id="keepalived's parent killed"),
        pytest.param(Ldirectord, Signals.SIGTERM, id="ldirectord"),
    ],
)
async def test_another_end_empties_the_table(
    program_of: type[OldKeepalived] | type[Ldirectord],
    number: Signals,
    nat: Topology,
    web: tuple[Nginx, ...],
    tmp_path: Path,
) -> None:
    program = program_of(nat.director, tmp_path)
    with ended(program):
        await until_saved(nat, TABLE)
        program.end(number)
        await until_saved(nat, "")


@contextlib.contextmanager
def ended(program: Program) -> Iterator[None]:
    """Start a program, and end it at the end of the block."""
    program.start()
    try:
        yield
    finally:
        program.kill()


async def taken_over_and_back(program: Program, nat: Topology, web: tuple[Nginx, ...], folder: Path) -> None:
    """Take the steps of docs/migrate.md, there and back."""
    await until_probed(nat, program)
    await until_saved(nat, TABLE)
    with Load.running(nat.client, nat.vip, workers=1, pause_s=PAUSE_S, timeout_s=REQUEST_TIMEOUT_S) as load:
        there = Window(load, nat)
        file = imported(program, folder)
        async with daemon(file, "--shadow", namespace=nat.director) as shadow:
            await until_as_wanted(file, "shadow")
            program.leave()
            await there.requests()
            assert nat.ipvsadm.saved() == TABLE
            assert await shadow.stop() == 0
            assert writes(shadow) == []
        async with daemon(file, namespace=nat.director) as ours:
            await until_as_wanted(file, "enforce")
            await there.requests()
            there.end()
            assert writes(ours) == []
            await takes_out_and_back(nat, web[0])

            back = Window(load, nat)
            await back.requests()
            assert await ours.stop() == 0
            assert writes(ours) == [("delete_server", RS1), ("add_server", RS1)]
        assert nat.ipvsadm.saved() == TABLE
        program.start_again()
        await until_probed(nat, program)
        await back.requests()
        back.end()
        await takes_out_and_back(nat, web[0])


def imported(program: Program, folder: Path) -> Path:
    """Import the program's very file, and add only where the daemon has its own files."""
    code, text, told = run_here("import", *program.words, "--lossy")
    sys.stdout.write(told)
    assert code == 0
    assert "[daemon]" not in text
    file = folder / "config.toml"
    head = f'[daemon]\nlisten = ""\ncontrol = "{folder}/control.sock"\nstate = "{folder}/state.json"\nresync = "2s"\n'
    file.write_text(head + text, encoding="ascii")
    assert run_here("validate", "--config", str(file))[0] == 0
    return file


def writes(running: DaemonProcess) -> list[tuple[str, str]]:
    """Return what the daemon has written, or would have written in shadow mode: operations and real servers."""
    return [(line["operation"], line["server"]) for line in running.of("table.changed")]


class Window:
    """The requests from now until `end`, of which none may be lost."""

    def __init__(self, load: Load, nat: Topology) -> None:
        self._load = load
        self._nat = nat
        self._begun = time.monotonic()
        self._before = self._counters()

    async def requests(self) -> None:
        """Wait for some more requests."""
        await asyncio.to_thread(self._load.wait_for, REQUESTS, since=time.monotonic(), timeout_s=DEADLINE_S)

    def end(self) -> None:
        """Assert that no request was lost, that both servers answered, and that the kernel's counters went on."""
        ended = time.monotonic()
        after = self._counters()
        requests = [request for request in self._load.started_since(self._begun) if request.ended <= ended]
        lost = [request for request in requests if not request.ok]
        sys.stdout.write(f"{ended - self._begun:.0f} s: {by_server(requests)}, lost {len(lost)}\n")
        assert lost == []
        assert by_server(requests).keys() == {"rs1", "rs2"}
        assert after.keys() == self._before.keys()
        for entry, before in self._before.items():
            assert all(new > old for new, old in zip(after[entry], before, strict=True)), (entry, before, after)

    def _counters(self) -> dict[tuple[str, str], list[int]]:
        listing = self._nat.ipvsadm("-Ln", "--stats", "--exact")
        return {entry: list(map(int, columns)) for entry, columns in numbers(listing).items()}


async def until_as_wanted(file: Path, mode: str) -> None:
    """Wait until all servers have passed a check of the daemon, and `lvs-healthd table` shows nothing to change."""

    def found() -> str:
        code, listing, _ = run_here("table", "--config", str(file))
        return listing if code == 0 else ""

    def as_wanted() -> bool:
        listing = found()
        rows = [line.split("  ") for line in listing.splitlines() if RS1 in line or RS2 in line]
        return f"mode {mode}" in listing and len(rows) == 2 and all("status 200" in row[-1] for row in rows)

    await asyncio.to_thread(wait_until, as_wanted, timeout_s=DEADLINE_S, what=found, poll_s=POLL_S)
    assert "\nas wanted" in found(), found()


async def until_probed(nat: Topology, program: Program) -> None:
    """Wait until the director has probed each server twice from now on, which the program does."""
    before = [nft.counted(server)["probes"] for server in nat.servers]

    def probed() -> bool:
        return all(nft.counted(server)["probes"] >= old + 2 for server, old in zip(nat.servers, before, strict=True))

    await asyncio.to_thread(wait_until, probed, timeout_s=DEADLINE_S, what=program.output, poll_s=POLL_S)


async def takes_out_and_back(nat: Topology, first: Nginx) -> None:
    """Prove that somebody keeps the table: the first server fails and returns."""
    assert nat.ipvsadm.saved() == TABLE
    first.kill()
    await until_saved(nat, "".join(line for line in TABLE.splitlines(keepends=True) if RS1 not in line))
    first.start()
    await until_saved(nat, TABLE)


async def until_saved(nat: Topology, wanted: str) -> None:
    def saved() -> bool:
        return nat.ipvsadm.saved() == wanted

    await asyncio.to_thread(wait_until, saved, timeout_s=DEADLINE_S, what=nat.ipvsadm.saved, poll_s=POLL_S)
