"""Situations in which keepalived leaves the table wrong, usually for ever. Each was reproduced with version 2.2.7."""

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lab.nginx import Nginx
from lab.topology import Topology
from tests.daemon_process import DaemonProcess, daemon

RS1, RS2 = "198.51.100.11:80", "198.51.100.12:80"
NETWORK = "198.18.0.0/15"
"""For benchmarks (RFC 2544): every address of it is the first real server's."""


@pytest.fixture(autouse=True)
def clean_table(nat: Topology) -> Iterator[None]:
    nat.ipvsadm.clear()
    yield
    nat.ipvsadm.clear()


def configuration(folder: Path, service: str, *, resync: str = "1h", interval: str = "1s") -> Path:
    """Return a configuration with a resync that never comes, so that no resync can repair the table."""
    file = folder / "config.toml"
    file.write_text(f"""
[daemon]
listen = ""
control = "{folder}/control.sock"
state = "{folder}/state.json"
resync = "{resync}"

[defaults.check]
interval = "{interval}"
rise = 1
fall = 2

[[service]]
name = "web"
{service}
""")
    return file


WEB = f"""address = "192.0.2.100:80"
scheduler = "rr"
check = "tcp"
real_server = [{{ address = "{RS1}", weight = 3 }}, {{ address = "{RS2}", weight = 3 }}]
"""


@asynccontextmanager
async def running(nat: Topology, file: Path) -> AsyncIterator[DaemonProcess]:
    async with daemon(file, namespace=nat.director) as process:
        yield process


async def until_saved(nat: Topology, *lines: str) -> str:
    """Wait until the kernel's table has these lines, and return the whole table."""
    deadline = time.monotonic() + 60
    while not all(line in (saved := nat.ipvsadm.saved()) for line in lines):
        assert time.monotonic() < deadline, saved
        await asyncio.sleep(0.2)
    return saved


@pytest.mark.long
async def test_server_that_recovers_while_the_checker_is_dead_gets_its_weight_back(
    nat: Topology, web: tuple[Nginx, ...], tmp_path: Path
) -> None:
    file = configuration(tmp_path, WEB + 'on_failure = "quiesce"\n')
    async with running(nat, file) as first:
        await until_saved(nat, f"-r {RS1} -m -w 3", f"-r {RS2} -m -w 3")
        web[0].kill()
        try:
            await until_saved(nat, f"-r {RS1} -m -w 0")
            await first.stop(signal.SIGKILL)
        finally:
            web[0].start()
    async with running(nat, file):
        await until_saved(nat, f"-r {RS1} -m -w 3", f"-r {RS2} -m -w 3")


@pytest.mark.long
async def test_reloads_mend_the_table_refuse_nonsense_and_apply_everything(
    nat: Topology, web: tuple[Nginx, ...], tmp_path: Path
) -> None:
    """All of this is tested with one start, because a start takes half a minute on an emulated machine."""
    # Servers without a port, which keepalived checks at port 0.
    file = configuration(tmp_path, WEB.replace(RS1, RS1[:-3]).replace(RS2, RS2[:-3]) + "upper_threshold = 100\n")
    async with running(nat, file) as process:
        whole = await until_saved(nat, f"-r {RS1} -m -w 3", f"-r {RS2} -m -w 3")

        # Wiped by hand, then reloaded: keepalived's table stays empty.
        nat.ipvsadm.clear()
        process.process.send_signal(signal.SIGHUP)
        await until_saved(nat, *whole.splitlines())
        assert (await process.until("table.drift"))["found"] == "missing"

        # A typing error in one server, then reloaded: keepalived removes that server.
        right = file.read_text()
        position = len(process.lines)
        file.write_text(right.replace(RS2[:-3], "198.51.100.1x"))
        process.process.send_signal(signal.SIGHUP)
        (error,) = (await process.until("config.rejected", after=position))["errors"]
        assert error.startswith(f'{file}:18: service "web": real_server[1].address: expected an address and port')
        # The checks continue. A removal of the other server would have come before this one.
        web[0].kill()
        try:
            await process.until("table.changed", after=position, operation="delete_server", server=RS1)
        finally:
            web[0].start()
        await process.until("table.changed", after=position, operation="add_server", server=RS1)
        assert process.of("table.changed", operation="delete_server", server=RS2) == []
        assert sorted(nat.ipvsadm.saved()) == sorted(whole)

        # Other thresholds, then reloaded: keepalived does not apply them.
        file.write_text(right.replace("upper_threshold = 100", "upper_threshold = 60\nlower_threshold = 50"))
        process.process.send_signal(signal.SIGHUP)
        for server in (RS1, RS2):
            changed = await process.until("table.changed", operation="set_server", server=server)
            assert changed["fields"] == "upper threshold 100 -> 60, lower threshold 0 -> 50"
        listed = nat.ipvsadm("-Ln", "--thresholds").splitlines()
        assert sorted(line.split() for line in listed if "->" in line)[:2] == [
            ["->", RS1, "60", "50", "0", "0"],
            ["->", RS2, "60", "50", "0", "0"],
        ]


SERVERS = 1000
"""With so many, correcting the table takes several slices of work."""


def leftover() -> tuple[str, str]:
    """Return a table as it should be, and the table that a checker left because it was killed during its work."""
    service = "-A -t 192.0.2.100:80 -s rr\n"
    addresses = [f"198.18.{number // 250}.{number % 250 + 1}" for number in range(SERVERS)]
    whole = [f"-a -t 192.0.2.100:80 -r {address}:80 -m -w 3\n" for address in addresses]
    torn = [
        line.replace("-w 3", "-w 1") if number % 5 == 1 else line
        for number, line in enumerate(whole)
        if number % 5 != 0
    ]
    strangers = [f"-a -t 192.0.2.100:80 -r 198.19.255.{number}:80 -m -w 3\n" for number in range(1, 50)]
    return service + "".join(whole), service.replace("rr", "wlc") + "".join(torn + strangers)


@pytest.mark.long
async def test_leftover_of_a_torn_table_is_corrected_and_a_stop_tears_nothing(
    nat: Topology, web: tuple[Nginx, ...], tmp_path: Path
) -> None:
    whole, torn = leftover()
    _every_address(nat, "add")
    try:
        nat.ipvsadm.restore(torn)
        service = f"""address = "192.0.2.100:80"
scheduler = "rr"
check = "tcp"
real_server = [{", ".join(f'{{ address = "198.18.{block}.1-250", weight = 3 }}' for block in range(SERVERS // 250))}]
"""
        async with running(nat, configuration(tmp_path, service, interval="20s")) as process:
            deadline = time.monotonic() + 80
            while sorted(nat.ipvsadm.saved().splitlines()) != sorted(whole.splitlines()):
                assert time.monotonic() < deadline, process.lines[-5:]
                await asyncio.sleep(1)
            assert process.of("table.error") == []
            assert await process.stop() == 0
        assert sorted(nat.ipvsadm.saved().splitlines()) == sorted(whole.splitlines())
    finally:
        _every_address(nat, "delete")


def _every_address(nat: Topology, verb: str) -> None:
    """Make the first real server answer on all addresses of a network, and route them on the director; or undo both."""
    first = nat.servers[0]
    gateway = f"{NETWORK} via {first.address}"
    for name, route in ((first.name, f"local {NETWORK} dev lo"), (nat.director.name, gateway)):
        subprocess.run(["ip", "-n", name, "route", verb, *route.split()], check=True)
