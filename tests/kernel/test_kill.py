"""`kill -9` of the daemon at 200 moments at which it writes, or is about to: the table is never wrong.

A round kills two daemons: the first soon after its start, with something to mend in the table, and the second soon
after servers have failed and recovered, or after a reload. Both leave what nobody had a reason to change, and the start
between them makes the whole table right.
"""

import itertools
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from bench.netlink import Conversation, kernel_socket
from bench.switchable import SwitchableServers
from bench.truth import table_of
from lab.topology import Topology
from lvs_healthd.importers.ipvsadm import table_of as parsed
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, ServiceKey, Table
from lvs_healthd.ipvs.saved import saved
from lvs_healthd.ipvs.words import AF_INET, IPPROTO_TCP
from lvs_healthd.state.file import read_state
from tests.daemon_process import TIMEOUT_S
from tests.ipvs.tables import copy, entry, server, service
from tests.kernel.forked import Forked, forking
from tests.kernel.main_job import FOREIGN

KILLS, KILLS_PER_TEST = 200, 20
SOON_S = 1.5
"""Half of the kills come within this time after the start or the change, seconds. In an emulated guest a start reads
the table after a quarter of it, and a server that has failed is down after two thirds."""
AMID_S = 0.3
"""The other half come within this time after the first write. The verdicts of servers that have changed at the same
moment come within half a second of each other, so some are still to be written."""
SEEN_S = 4.0
"""After this time, seconds, there is nothing to write."""

VIP = "192.0.2.100"
PORTS = range(8001, 8007)
QUIESCING = ServiceKey(AF_INET, IPPROTO_TCP, VIP, 82)
SERVICES = (ServiceKey(AF_INET, IPPROTO_TCP, VIP, 80), ServiceKey(AF_INET, IPPROTO_TCP, VIP, 81), QUIESCING)
WEIGHTS = (3, 5)
FILES = {"config.toml", "control.sock", "control.sock.lock", "log", "state.json", ".state.json.lock", ".state.json.new"}


class World:
    """Servers that come and go, the configuration, and what the table may look like."""

    def __init__(
        self,
        nat: Topology,
        folder: Path,
        switches: list[SwitchableServers],
        kernel: socket.socket,
        source: random.Random,
    ) -> None:
        self.file = folder / "config.toml"
        self.state = folder / "state.json"
        self.weights = [WEIGHTS[0]]
        """The weight of every server, as configured first, ..., last."""
        self.source = source
        self._nat = nat
        self._places: dict[DestinationKey, tuple[SwitchableServers, int]] = {}
        self.off: set[DestinationKey] = set()
        for (one, switch), port in itertools.product(zip(nat.servers, switches, strict=True), PORTS):
            self._places[DestinationKey(AF_INET, one.address, port)] = (switch, port)
            with one.entered():
                switch.on(port)
        self.kernel = Conversation(kernel)
        self.kernel.open()
        self.configure()

    def configure(self, weight: int = WEIGHTS[0]) -> None:
        self.weights.append(weight)
        members = ", ".join(f'{{ address = "{key}", weight = {weight} }}' for key in self._places)
        head = f"""
[daemon]
listen = ""
control = "{self.file.parent}/control.sock"
state = "{self.state}"
resync = "2s"

[defaults.check]
interval = "500ms"
timeout = "500ms"
rise = 2
fall = 2
"""
        services = [
            f'[[service]]\nname = "s{key.port}"\naddress = "{VIP}:{key.port}"\nscheduler = "wrr"\n'
            'check = { type = "tcp" }\n'
            f'on_failure = "{"quiesce" if key == QUIESCING else "remove"}"\nreal_server = [{members}]\n'
            for key in SERVICES
        ]
        self.file.write_text("\n".join([head, *services]))

    def toggle(self) -> None:
        """Let some servers fail and others recover. Three at least go on serving all the time."""
        steady = self.source.sample(sorted(self._places), 3)
        for key in self.source.sample(sorted(self._places), 6):
            if key in self.off or key not in steady:
                self._switch(key)

    def _switch(self, key: DestinationKey) -> None:
        switch, port = self._places[key]
        if key in self.off:
            one = next(each for each in self._nat.servers if each.address == key.address)
            with one.entered():
                switch.on(port)
        else:
            switch.off(port)
        self.off ^= {key}

    def table(self) -> Table:
        """Read the kernel's table."""
        return table_of(self.kernel)

    def wanted(self) -> Table:
        """Return our part of the table once every verdict is reached."""
        return {
            key: entry(
                service(key),
                *(
                    self._record(one, 0 if one in self.off else self.weights[-1])
                    for one in self._places
                    if one not in self.off or key == QUIESCING
                ),
            )
            for key in SERVICES
        }

    def faults(self, before: Table, after: Table, serving: set[DestinationKey]) -> list[str]:
        """Say what is wrong in the table after a kill.

        before: the table before anything that the daemon has seen.
        serving: the servers that have answered all the time since.
        """
        found = [f"{key} is gone" for key in before if key not in after]
        found += [f"{key} is not configured" for key in after if key not in SERVICES and key not in before]
        found += [f"{key} was changed" for key in before if key not in SERVICES and after.get(key) != before[key]]
        for key in SERVICES:
            if key not in after:
                continue
            earlier = before[key].destinations if key in before else {}
            if after[key].service not in (service(key), before[key].service if key in before else None):
                found.append(f"{key}: {after[key].service}")
            for one, record in after[key].destinations.items():
                right = [self._record(one, weight) for weight in self._right(key, one, earlier)]
                if record != earlier.get(one) and record not in right:
                    found.append(f"{key}: {record}, was {earlier.get(one)}, right is {right}")
            for one, record in earlier.items():
                now = after[key].destinations.get(one)
                if one in serving and record.weight and (now is None or not now.weight):
                    found.append(f"{key}: {one} serves, and has become {now}")
        return found

    def _right(self, key: ServiceKey, one: DestinationKey, earlier: Mapping[DestinationKey, object]) -> list[int]:
        """Return the weights that a write may have given to a server."""
        if one not in self._places:
            return []
        # Weight 0: a failed server that quiesces, or one that is not proven yet.
        zero = [0] if key == QUIESCING and (one in self.off or one not in earlier) else []
        return zero if one in self.off and one not in earlier else [*zero, *self.weights[-2:]]

    def _record(self, one: DestinationKey, weight: int) -> DestinationRecord:
        return server(one.address, weight, port=one.port)

    def serving(self) -> set[DestinationKey]:
        """Return the servers that answer."""
        return set(self._places) - self.off


@pytest.fixture
def world(nat: Topology, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    nat.ipvsadm.clear()
    nat.ipvsadm.restore(FOREIGN)
    with nat.director.entered():
        kernel = kernel_socket()
    with kernel, SwitchableServers.running() as first, SwitchableServers.running() as second:
        yield World(nat, tmp_path, [first, second], kernel, random.Random(request.node.name))
    nat.ipvsadm.clear()


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, KILLS, KILLS_PER_TEST))
def test_killed_at_any_moment_the_daemon_leaves_nothing_wrong_and_the_next_one_makes_all_right(
    nat: Topology, world: World, tmp_path: Path, first: int
) -> None:
    amid_writes = 0
    with forking(nat.director, tmp_path) as daemon:
        for kill in range(first, first + KILLS_PER_TEST, 2):
            between = _mischief(world, nat)
            amid_writes += _killed(world, daemon, lambda: daemon.start(world.file), f"{kill}: {between}")

            daemon.start(world.file)
            _settle(world, daemon)
            loud = [line for line in daemon.lines() if line["level"] == "error"]
            assert loud == [], kill

            change = world.source.choice([world.toggle, world.toggle, lambda: _reload(world, daemon)])
            amid_writes += _killed(world, daemon, change, f"{kill + 1}: {change}")
        daemon.start(world.file)
        _settle(world, daemon)
        assert {file.name for file in tmp_path.iterdir()} <= FILES
    # What we have read with our own decoder all the time, ipvsadm says too.
    assert parsed(nat.ipvsadm.saved().splitlines(), "ipvsadm") == world.table()
    assert amid_writes, "no kill came while there was something left to write"


def _mischief(world: World, nat: Topology) -> str:
    """Make work for the next start, while no daemon runs."""
    kind = world.source.choice(["nothing", "servers", "servers", "weights", "wiped", "edited"])
    if kind == "servers":
        world.toggle()
    elif kind == "weights":
        world.configure(world.source.choice(WEIGHTS))
    elif kind == "wiped":
        nat.ipvsadm.clear()
        nat.ipvsadm.restore(FOREIGN)
    elif kind == "edited":
        table = {key: each for key, each in copy(world.table()).items() if key in SERVICES}
        for key in world.source.sample(sorted(table), len(table) // 2):
            table[key].service = service(key, "rr")
            for one in world.source.sample(sorted(table[key].destinations), len(table[key].destinations) // 2):
                table[key].destinations[one] = server(one.address, 9, port=one.port)
        nat.ipvsadm.clear()
        nat.ipvsadm.restore(FOREIGN + "".join(saved(table)))
    return kind


def _killed(world: World, daemon: Forked, act: Callable[[], None], what: str) -> bool:
    """Act, kill the daemon at a random moment soon after, and judge the table. Return whether writes were left."""
    before, serving = world.table(), world.serving()
    act()
    begun = daemon.writes()
    serving &= world.serving()
    if world.source.random() < 1 / 2:
        deadline = time.monotonic() + SEEN_S
        while daemon.writes() == begun and time.monotonic() < deadline:
            time.sleep(0.005)
        delay_s = world.source.uniform(0, AMID_S)
    else:
        delay_s = world.source.uniform(0, SOON_S)
    time.sleep(delay_s)
    daemon.kill()
    after = world.table()
    assert world.faults(before, after, serving) == [], (what, delay_s, daemon.log.read_text())
    if world.state.exists():
        read_state(world.state, put_aside=False)
    ours = {key: each for key, each in after.items() if key in SERVICES}
    return after != before and ours != world.wanted()


def _reload(world: World, daemon: Forked) -> None:
    world.configure(world.source.choice(WEIGHTS))
    os.kill(daemon.pid, signal.SIGHUP)


def _settle(world: World, daemon: Forked) -> None:
    """Wait until the daemon is ready and the table is as it should be in every line."""
    wanted = {**world.wanted(), **parsed(FOREIGN.splitlines(), "foreign")}
    deadline = time.monotonic() + TIMEOUT_S
    while (found := world.table()) != wanted or not daemon.has_started():
        assert not daemon.has_ended(), daemon.log.read_text()
        assert time.monotonic() < deadline, (found, wanted, daemon.log.read_text())
        time.sleep(0.1)
