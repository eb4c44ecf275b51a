"""kill -9 at random moments while a server dies and returns and operators give orders: what each moment leaves behind.

A killed daemon must leave the kernel's table as one that was not killed would have it at that moment, and every order
that was acknowledged on disk. The next one must go on from there without a write that has no cause.
"""

import asyncio
import json
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.nginx import Nginx
from lab.topology import Topology
from lvs_healthd.state.file import read_state
from tests.daemon_process import Line, run_cli
from tests.kernel.main_job import FOREIGN, configuration, moment, on_director

STEADY, FLAPPING, ORDERED = "198.51.100.12:80", "198.51.100.11:80", "198.51.100.12:81"
"""A server that nobody disturbs, one that dies and returns, and one about which orders are given."""
SERVERS = ", ".join(f'{{ address = "{each}", weight = 3 }}' for each in (STEADY, FLAPPING, ORDERED))

LONGEST_LIFE_S = 6.0
"""How long a daemon lives at most. It needs one or two seconds of that to start."""
CAUSE_S = 8.0
"""How long ago the cause of a write may be: failures, and a start in between, on an emulated machine."""


@pytest.fixture(autouse=True)
def clean_table(nat: Topology) -> Iterator[None]:
    nat.ipvsadm.clear()
    nat.ipvsadm.restore(FOREIGN)
    yield
    nat.ipvsadm.clear()


@pytest.fixture
def servers(nat: Topology) -> Iterator[tuple[Nginx, Nginx]]:
    with Nginx.serving(nat.servers[0]) as flapping, Nginx.serving(nat.servers[1], ports=(80, 81)) as steady:
        yield flapping, steady


class Life:
    """When the flapping server was dead, on the monotonic clock."""

    def __init__(self, nginx: Nginx) -> None:
        self._nginx = nginx
        self._changes = [(time.monotonic(), True)]

    async def flap(self, dice: random.Random) -> None:
        """Kill the server and start it again, at random moments, until cancelled."""
        while True:
            await asyncio.sleep(dice.uniform(1.0, 6.0))
            if self._changes[-1][1]:
                self._nginx.kill()
            else:
                self._nginx.start()
            self._changes.append((time.monotonic(), not self._changes[-1][1]))

    def was(self, *, alive: bool, at: float) -> bool:
        """Return whether the server was alive, or dead, at any moment in the `CAUSE_S` before."""
        states = [(since, is_alive) for since, is_alive in self._changes if since <= at]
        recent = [is_alive for since, is_alive in states if since >= at - CAUSE_S]
        before = [is_alive for since, is_alive in states if since < at - CAUSE_S][-1:]
        return alive in (*before, *recent)


class Orders:
    """What operators have ordered about one server, as far as it was acknowledged."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._possible = {""}
        """The orders of which one is in force: "drain", "disable", or "" for none. More than one while it is not known
        whether the last was carried out."""
        self._is_asking = False

    async def give(self, dice: random.Random) -> None:
        """Give orders at random moments, until cancelled."""
        while True:
            await asyncio.sleep(dice.uniform(0.1, 1.5))
            verb = dice.choice(("drain", "disable", "enable"))
            order = "" if verb == "enable" else verb
            self._possible.add(order)
            self._is_asking = True
            code, _, _ = await run_cli(verb, "web", ORDERED, "--config", str(self._file))
            self._is_asking = False
            if code == 0:
                self._possible = {order}

    def assert_kept(self, file: Path) -> None:
        """Assert that the file has one of the orders that may be in force."""
        orders = json.loads(file.read_text())["overrides"] if file.exists() else []
        found = orders[0]["kind"] if orders else ""
        assert found in self._possible
        if not self._is_asking:
            self._possible = {found}


def weights(nat: Topology) -> dict[str, int]:
    """Return the weights of the service's servers in the kernel's table."""
    lines = (line.split() for line in nat.ipvsadm.saved().splitlines())
    return {words[4]: int(words[-1]) for words in lines if words[:3] == ["-a", "-t", "192.0.2.100:80"]}


def has_cause(line: Line, life: Life) -> bool:
    """Return whether a daemon that nobody kills might have made this write too."""
    if line["server"] == FLAPPING:
        return life.was(alive=line["operation"] != "delete_server", at=moment(line))
    # The order is the cause, or the end of one, after which the server's own verdict is.
    return bool(line["server"] == ORDERED)


async def killed(nat: Topology, servers: tuple[Nginx, Nginx], folder: Path, times: int, seed: int) -> None:
    """Kill the daemon so many times, and look at what each moment leaves behind."""
    dice = random.Random(seed)
    file = configuration(folder, servers=SERVERS)
    life, orders = Life(servers[0]), Orders(file)
    async with on_director(nat, file) as running:
        for server in (STEADY, FLAPPING, ORDERED):
            await running.until("table.changed", operation="add_server", server=server)
        await running.stop(signal.SIGTERM)
    async with asyncio.TaskGroup() as group:
        churn = [group.create_task(life.flap(random.Random(seed + 1))), group.create_task(orders.give(dice))]
        for number in range(times):
            async with on_director(nat, file) as running:
                await asyncio.sleep(dice.uniform(0.0, LONGEST_LIFE_S))
                await running.stop(signal.SIGKILL)
            told = f"seed {seed}, kill {number}: {nat.ipvsadm.saved()} {running.lines}"
            present = weights(nat)
            assert present[STEADY] == 3, told
            assert {*present} <= {STEADY, FLAPPING, ORDERED}, told
            assert FOREIGN in nat.ipvsadm.saved(), told
            orders.assert_kept(folder / "overrides.json")
            saved = read_state(folder / "state.json")
            assert [each.verdict for each in saved.verdicts if each.server == STEADY] == ["up"], told
            assert [line for line in running.of("table.changed") if not has_cause(line, life)] == [], told
            assert [line for line in running.lines if line["event"].endswith(".error")] == [], told
        for task in churn:
            task.cancel()
    async with on_director(nat, file) as running:
        await running.until("daemon.started")
        assert (await run_cli("enable", "web", ORDERED, "--config", str(file)))[0] == 0
        await asyncio.sleep(CAUSE_S)
        assert weights(nat)[ORDERED] == weights(nat)[STEADY] == 3
        await running.stop()


@pytest.mark.long
async def test_two_moments(nat: Topology, servers: tuple[Nginx, Nginx], tmp_path: Path) -> None:
    await killed(nat, servers, tmp_path, 2, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 42))
async def test_two_hundred_moments(nat: Topology, servers: tuple[Nginx, Nginx], tmp_path: Path, seed: int) -> None:
    """Each part has five of them, so that none exceeds the time limit of a test in an emulated guest."""
    await killed(nat, servers, tmp_path, 5, seed=seed)
