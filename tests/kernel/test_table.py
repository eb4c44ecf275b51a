"""`lvs-healthd table` on the kernel's table, compared with what ipvsadm prints for the same table."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lab.ipvsadm import Numbers, numbers
from lab.load import Load
from lab.nginx import Nginx
from lab.topology import Topology
from tests.daemon_process import DaemonProcess, daemon, run_cli
from tests.kernel.verbs import run_here

RESYNC_S = 1.0
DEADLINE_S = 60.0
FOREIGN = "-A -t 192.0.2.250:8080 -s sh\n-a -t 192.0.2.250:8080 -r 198.51.100.77:8080 -m -w 7\n"
RS1, RS2 = "198.51.100.11:80", "198.51.100.12:80"
WEB, STICKY, MARK = "192.0.2.100:80/tcp", "[2001:db8:1::100]:80/tcp", "fwmark 7"


def configuration(folder: Path, nat: Topology) -> Path:
    """Return a configuration with a service over IPv4, a persistent one over IPv6, and an unused firewall mark."""
    file = folder / "config.toml"
    sticky = ", ".join(f'"[{server.address6}]:80"' for server in nat.servers)
    file.write_text(f"""
[daemon]
listen = ""
control = "{folder}/control.sock"
state = "{folder}/state.json"
resync = "{RESYNC_S:g}s"

[defaults.check]
interval = "1s"

[[service]]
name = "web"
address = "192.0.2.100:80"
scheduler = "rr"
check = {{ type = "tcp" }}
real_server = ["{RS1}", "{RS2}"]

[[service]]
name = "sticky"
address = "[{nat.vip6}]:80"
scheduler = "rr"
persistence = "300s"
check = {{ type = "tcp" }}
real_server = [{sticky}]

[[service]]
name = "marked"
fwmark = 7
scheduler = "rr"
check = {{ type = "tcp", port = 80 }}
real_server = ["{nat.servers[0].address}"]
""")
    return file


def by_us(text: str) -> Numbers:
    """Read `lvs-healthd table --stats` or `--rate` in a pipe: columns are two blanks apart."""
    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]
    start = next(number for number, row in enumerate(rows) if row and row[0] == "SERVICE")
    return {(row[0], row[2]): tuple(row[3:]) for row in rows[start + 1 :]}


async def asked(file: Path, *words: str) -> str:
    code, out, err = await asyncio.to_thread(run_here, "table", "--config", str(file), *words)
    assert (code, err) == (0, "")
    return out


async def listing(file: Path) -> dict[str, Any]:
    """Return the services in the JSON answer by address, each with its servers by address."""
    services = json.loads(await asked(file, "--json"))["services"]
    return {
        service["address"]: {**service, "servers": {server["server"]: server for server in service["servers"]}}
        for service in services
    }


async def until_same(
    ours: Callable[[], Awaitable[Any]], theirs: Callable[[], Any], *, counted: Callable[[Any], bool] = lambda _: True
) -> Any:
    """Ask both programs until they say the same. Our reading may be one resync old, and connections expire meanwhile.

    The kernel adds up its counters every two seconds, so recent packets are missing in them.
    """
    deadline = time.monotonic() + DEADLINE_S
    while True:
        before, found, after = theirs(), await ours(), theirs()
        if found in (before, after) and counted(found):
            return found
        assert time.monotonic() < deadline, (found, after)
        await asyncio.sleep(RESYNC_S / 2)


async def all_in(running: DaemonProcess, nat: Topology) -> None:
    for server in (RS1, RS2, *(f"[{each.address6}]:80" for each in nat.servers)):
        await running.until("table.changed", operation="add_server", server=server)
    await running.until("table.changed", operation="add_server", service="marked")


@pytest.fixture(autouse=True)
def clean_table(nat: Topology) -> None:
    nat.ipvsadm.clear()
    nat.ipvsadm.restore(FOREIGN)


@pytest.mark.long
async def test_counters_and_connections_are_those_of_ipvsadm(
    nat: Topology, web: tuple[Nginx, ...], tmp_path: Path
) -> None:
    file = configuration(tmp_path, nat)
    async with daemon(file, namespace=nat.director) as running:
        await all_in(running, nat)
        # One worker for "sticky", because two first connections at the same moment may get a template each. This is
        # a race in the kernel.
        with (
            Load.running(nat.client, nat.vip, pause_s=0.1) as load,
            Load.running(nat.client, nat.vip6, workers=1, pause_s=0.1),
        ):
            while True:
                rates = by_us(await asked(file, "--rate"))
                if int(rates[WEB, RS1][0]) and int(rates[STICKY, "-"][1]):
                    break
                await asyncio.sleep(RESYNC_S / 4)
            requests = len(await asyncio.to_thread(load.wait_for, 50, since=0.0))

        async def stats() -> Numbers:
            return by_us(await asked(file, "--stats"))

        while True:  # the kernel adds up what its processors have counted every two seconds (ip_vs_est.c)
            found = await until_same(stats, lambda: numbers(nat.ipvsadm("-Ln", "--stats", "--exact")))
            connections, in_packets, out_packets, in_bytes, out_bytes = map(int, found[WEB, "-"])
            if connections >= requests:
                break
        assert in_packets > 3 * connections
        assert out_packets > 3 * connections
        assert in_bytes > 100 * connections
        assert out_bytes > 100 * connections
        assert int(found[WEB, RS1][0]) + int(found[WEB, RS2][0]) == connections
        assert found[MARK, "198.51.100.11:0"] == found["192.0.2.250:8080/tcp", "198.51.100.77:8080"] == ("0",) * 5

        async def lines(*words: str) -> set[tuple[str, ...]]:
            rows = [line.split() for line in (await asked(file, *words, "--connections")).splitlines()[1:]]
            return {(row[0], *row[2:]) for row in rows}

        def ipvsadm_lines() -> set[tuple[str, ...]]:
            rows = [line.split() for line in nat.ipvsadm("-Lnc").splitlines()[2:]]
            return {(row[0].lower(), *row[2:]) for row in rows}

        entries = await until_same(lines, ipvsadm_lines)
        templates = [entry for entry in entries if entry[2].endswith(":0")]
        assert [(entry[0], entry[3]) for entry in templates] == [("tcp", "[2001:db8:1::100]:80")]
        ours = await until_same(
            lambda: lines("sticky"), lambda: {each for each in ipvsadm_lines() if each[3] == templates[0][3]}
        )
        assert len(ours) > 1
        assert {entry[4] for entry in ours} == {templates[0][4]}
        # Connections of a mark are recognised only by their servers, and the mark's server also belongs to "web".
        marked = await until_same(
            lambda: lines("fwmark 7"), lambda: {each for each in ipvsadm_lines() if each[4] == RS1}
        )
        assert marked
        services = await listing(file)
        found_sticky = services[STICKY]["statistics"]
        assert found_sticky["persistent_connections"] == 1
        assert found_sticky["active_connections"] + found_sticky["inactive_connections"] > 0


@pytest.mark.long
async def test_table_in_shadow_mode_is_what_would_change(nat: Topology, web: tuple[Nginx, ...], tmp_path: Path) -> None:
    nat.ipvsadm.restore(f"-A -t 192.0.2.100:80 -s wlc\n-a -t 192.0.2.100:80 -r {RS1} -m -w 9\n")
    nat.ipvsadm.restore("-a -t 192.0.2.100:80 -r 198.51.100.66:80 -m -w 1\n")
    before = nat.ipvsadm.saved()
    file = configuration(tmp_path, nat)
    async with daemon(file, "--shadow", namespace=nat.director) as running:
        await running.until("table.changed", operation="add_server", server=RS2)
        services = await listing(file)
        while services[WEB]["servers"].get("198.51.100.66:80", {}).get("state") != "extra":
            await asyncio.sleep(0.2)
            services = await listing(file)
        assert services[WEB]["state"] == "differs"
        assert services[WEB]["differences"] == [{"field": "scheduler", "actual": "wlc", "wanted": "rr"}]
        servers = services[WEB]["servers"]
        assert servers[RS1]["state"] == "differs"
        assert servers[RS1]["differences"] == [{"field": "weight", "actual": "9", "wanted": "1"}]
        assert (servers[RS2]["state"], servers[RS2]["actual"], servers[RS2]["wanted"]["weight"]) == ("missing", None, 1)
        assert services[STICKY]["state"] == "missing"
        assert services["192.0.2.250:8080/tcp"]["state"] == "foreign"
        code, out, err = await run_cli("table", "--config", str(file))  # a process of its own, as for an operator
        assert (code, err) == (0, "")
        said, mark, _ = out.partition("SHADOW MODE: nothing is written to the kernel's table\n")[2].partition(
            "NOT AS WANTED: "
        )
        assert mark
        assert all(line.startswith("ADVICE: net.ipv4.") for line in said.splitlines()), said
    assert nat.ipvsadm.saved() == before


@pytest.mark.long
async def test_server_added_again_counts_on_while_connections_hold_it(
    nat: Topology, web: tuple[Nginx, ...], tmp_path: Path
) -> None:
    file = configuration(tmp_path, nat)
    async with daemon(file, namespace=nat.director) as running:
        await all_in(running, nat)
        with Load.running(nat.client, nat.vip) as load:
            requests = len(await asyncio.to_thread(load.wait_for, 20, since=0.0))

        async def stats() -> Numbers:
            return by_us(await asked(file, "--stats"))

        def witness() -> Numbers:
            return numbers(nat.ipvsadm("-Ln", "--stats", "--exact"))

        before = await until_same(stats, witness, counted=lambda numbers: int(numbers[WEB, "-"][0]) >= requests)
        position = len(running.lines)
        nat.ipvsadm("-d", "-t", "192.0.2.100:80", "-r", RS1)
        await running.until("table.changed", after=position, operation="add_server", server=RS1)
        after = await until_same(stats, witness)
        assert int(after[WEB, RS1][0]) >= int(before[WEB, RS1][0]) > 0
