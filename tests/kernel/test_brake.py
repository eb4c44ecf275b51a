"""The brake on the real kernel: ten servers fall silent through the director's fault, through their own, or not all.

What `decide.blame` recognises in a single probe makes its outcome unsure, and then nobody goes down at all. The brake's
own part is the rest: here servers do go down, and stay in the table all the same.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from lab.nginx import Nginx
from lab.topology import Topology
from tests.daemon_process import DaemonProcess, Line, run_cli
from tests.kernel.main_job import (
    FALL,
    INTERVAL_S,
    SLACK_S,
    TIMEOUT_S,
    configuration,
    on_director,
    ports_towards_servers,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

ON_FIRST = tuple(f"198.51.100.{number}" for number in (11, 21, 22, 23, 24))
ON_SECOND = tuple(f"198.51.100.{number}" for number in (12, 31, 32, 33, 34))
TEN = (*ON_FIRST, *ON_SECOND)
FALLBACK = "198.51.100.11:8080"
VIP = "192.0.2.100"
LONG_ENOUGH_S = (FALL + 2) * INTERVAL_S
"""How long a fault lasts that must not remove anybody, seconds: longer than `FALL` failures take."""
USUAL_S = FALL * TIMEOUT_S + (FALL - 1) * INTERVAL_S + SLACK_S
"""How long it takes at most to take out a server that has fallen silent, seconds."""


@pytest.fixture(scope="module")
def servers(nat: Topology) -> Iterator[tuple[Nginx, Nginx]]:
    """Two machines with five addresses each, so that there are ten real servers, and the fallback on the first."""
    for machine, addresses in zip(nat.servers, (ON_FIRST, ON_SECOND), strict=True):
        for address in addresses[1:]:
            machine.run(["ip", "address", "add", f"{address}/24", "dev", "eth0"])
    with (
        Nginx.serving(nat.servers[0]) as first,
        Nginx.serving(nat.servers[1]) as second,
        Nginx.serving(nat.servers[0], ports=(8080,)),
    ):
        yield first, second


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the configuration of the daemon: ten servers, and the fallback."""
    file = configuration(tmp_path_factory.mktemp("brake"), servers=", ".join(f'"{each}:80"' for each in TEN))
    http = 'check = { type = "http", path = "/healthz", body = "ok" }'
    file.write_text(file.read_text().replace(http, f'check = {{ type = "tcp" }}\nfallback = ["{FALLBACK}"]'))
    return file


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(nat: Topology, servers: tuple[Nginx, Nginx], file: Path) -> AsyncIterator[DaemonProcess]:
    del servers
    nat.ipvsadm.clear()
    async with on_director(nat, file) as running:
        yield running
    nat.ipvsadm.clear()


def present(nat: Topology) -> set[str]:
    """Return the addresses of the servers that are in the kernel's table with a weight."""
    lines = nat.ipvsadm.saved().splitlines()
    return {words[4] for line in lines if (words := line.split())[0] == "-a" and words[-1] != "0"}


class Faults:
    """The daemon, and the place in its log where the current fault began."""

    def __init__(self, nat: Topology, running: DaemonProcess) -> None:
        self.nat = nat
        self.running = running
        self.began = len(running.lines)

    async def on_director(self, *commands: str) -> None:
        for command in commands:
            await asyncio.to_thread(self.nat.director.run, command.split())

    async def until(self, event: str, **fields: object) -> Line:
        return await self.running.until(event, after=self.began, **fields)

    def of(self, event: str, **fields: object) -> list[Line]:
        known = self.running.of(event, **fields)
        return [line for line in self.running.lines[self.began :] if line in known]

    def nothing_was_removed(self) -> None:
        assert self.of("table.changed") == []
        assert present(self.nat) == {f"{each}:80" for each in TEN}

    async def all_serve(self) -> None:
        """Wait until all ten are up and in the table. The next fault begins here."""
        async with asyncio.timeout(90.0):
            while present(self.nat) != {f"{each}:80" for each in TEN}:
                await asyncio.sleep(0.5)
            for each in TEN:
                while not self._is_up(f"{each}:80"):
                    await asyncio.sleep(0.5)
        await asyncio.sleep(1.5)  # for what the log still has to say of it
        self.began = len(self.running.lines)

    def _is_up(self, server: str) -> bool:
        verdicts = [line["event"] for line in self.running.lines if line.get("server") == server]
        known = [each for each in verdicts if each in ("real_server.up", "real_server.down")]
        return bool(known and known[-1] == "real_server.up")


@pytest_asyncio.fixture(loop_scope="module")
async def faults(nat: Topology, running: DaemonProcess) -> Faults:
    faults = Faults(nat, running)
    await faults.all_serve()
    return faults


@pytest.mark.long
async def test_own_rule_that_drops_brakes_and_is_named_and_the_servers_stay(faults: Faults, file: Path) -> None:
    await faults.on_director(
        "nft add table inet own",
        "nft add chain inet own output { type filter hook output priority 0 ; }",
        "nft add rule inet own output oifname servers tcp dport 80 counter drop",
    )
    on = await faults.until("brake.on", way="servers")
    assert on["silent"] >= 0.8 * on["targets"]
    named = await faults.running.until_line(
        lambda line: line["event"] == "brake.on" and "our own firewall drops packets" in line["cause"],
        "a brake.on that names the rule",
        after=faults.began,
    )
    assert "nft -a list chain inet own output" in named["cause"]
    for each in TEN:
        await faults.until("real_server.down", server=f"{each}:80")
    await asyncio.sleep(LONG_ENOUGH_S)
    faults.nothing_was_removed()
    assert faults.of("brake.off") == []
    code, line, _ = await run_cli("status", "--check", "--config", str(file), namespace=faults.nat.director)
    assert (code, "brake: 10 of 10 targets behind servers fell silent together" in line) == (2, True)
    await faults.on_director("nft delete table inet own")
    off = await faults.until("brake.off", way="servers")
    assert off["reason"] == "a target answers"
    for each in TEN:
        await faults.until("real_server.up", server=f"{each}:80")
    faults.nothing_was_removed()


@pytest.mark.long
async def test_uplink_without_carrier_brakes_and_is_named(faults: Faults) -> None:
    """Here `decide.blame` already calls the outcomes unsure, so nobody goes down; the brake tells of it."""
    await faults.on_director(*ports_towards_servers(faults.nat, "down"))
    on = await faults.running.until_line(
        lambda line: line["event"] == "brake.on" and "servers has no carrier" in line["cause"],
        "a brake.on that names the interface",
        after=faults.began,
    )
    assert on["way"] == "servers"
    await asyncio.sleep(LONG_ENOUGH_S)
    assert faults.of("real_server.down") == []
    faults.nothing_was_removed()
    await faults.on_director(*ports_towards_servers(faults.nat, "up"))
    await faults.until("brake.off", way="servers")
    faults.nothing_was_removed()


SEVERED = (
    "add table netdev severed; "
    "add chain netdev severed ingress { type filter hook ingress device servers priority 0 ; policy drop ; }"
)


@pytest.mark.long
async def test_network_that_is_cut_behind_the_director_keeps_the_servers(faults: Faults) -> None:
    """No sign of it is where the director looks: the interface has a carrier, and no table is full.

    The cut is where frames come in, and not on the servers, so that it is mended for all of them at once.
    """
    await asyncio.to_thread(faults.nat.director.run, ["nft", SEVERED])
    await faults.until("brake.on", way="servers")
    for each in TEN:
        await faults.until("real_server.down", server=f"{each}:80")
    await asyncio.sleep(LONG_ENOUGH_S)
    faults.nothing_was_removed()
    await faults.on_director("nft delete table netdev severed")
    await faults.until("brake.off", way="servers")
    for each in TEN:
        await faults.until("real_server.up", server=f"{each}:80")
    faults.nothing_was_removed()


@pytest.mark.long
async def test_half_of_ten_powered_off_are_out_in_the_usual_time_and_nothing_brakes(faults: Faults) -> None:
    machine = faults.nat.servers[1]
    machine.run(["ip", "link", "set", "eth0", "down"])
    for each in ON_SECOND:
        gone = await faults.until("table.changed", operation="delete_server", server=f"{each}:80")
        assert gone["detection_s"] < USUAL_S
    assert present(faults.nat) == {f"{each}:80" for each in ON_FIRST}
    assert faults.of("brake.on") == []
    machine.run(["ip", "link", "set", "eth0", "up"])
    machine.run(["ip", "route", "replace", "default", "via", "198.51.100.1"])


@pytest.mark.long
async def test_servers_that_drop_everything_but_arp_go_out_because_their_neighbours_answer(faults: Faults) -> None:
    rule = "add rule inet filter input tcp dport 80 drop"
    chain = "add chain inet filter input { type filter hook input priority 0 ; }"
    for machine in faults.nat.servers:
        machine.run(["nft", f"add table inet filter; {chain}; {rule}"])
    for each in TEN:
        await faults.until("table.changed", operation="delete_server", server=f"{each}:80")
    await faults.until("table.changed", operation="add_server", server=FALLBACK)
    for off in faults.of("brake.off"):
        assert off["reason"].startswith("neighbour ")
    for machine in faults.nat.servers:
        machine.run(["nft", "delete table inet filter"])


@pytest.mark.long
async def test_killed_processes_are_out_in_the_usual_time_and_the_fallback_serves(
    faults: Faults, servers: tuple[Nginx, Nginx]
) -> None:
    for each in servers:
        each.kill()
    for address in TEN:
        gone = await faults.until("table.changed", operation="delete_server", server=f"{address}:80")
        assert gone["reason"] == "connection refused"
        assert gone["detection_s"] < USUAL_S
    assert present(faults.nat) == {FALLBACK}
    assert faults.nat.client.run(["curl", "-s", f"http://{VIP}/"]).stdout == "rs1\n"
    assert faults.of("brake.on") == []
    for each in servers:
        each.start()
