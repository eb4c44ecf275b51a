"""The soak finds whatever the daemon or the table has wrong, and blames nobody for what has only just changed."""

from pathlib import Path

import msgspec

from bench.healthd import Load
from bench.soak import FLAPPING_GROUPS, GROUP, GROUPS, SERVERS, floors, servers_of
from bench.truth import Truth
from bench.vandal import FOREIGN
from lvs_healthd.ipvs.records import Table
from tests.ipvs.tables import copy, server

LOAD = Load("http", 200, 2.0, Path("unused"))
SERVERS_HERE = [f"127.1.0.{index}:{21000 + index // 25}" for index in range(200)]


class World:
    def __init__(self) -> None:
        self.now = 1000.0
        self.truth = Truth(LOAD, SERVERS_HERE, always={FOREIGN.service.key: FOREIGN}, clock=lambda: self.now)

    def table(self) -> Table:
        return copy({**self.truth.table(), FOREIGN.service.key: FOREIGN})

    def verdicts(self) -> dict[str, str]:
        return {each: "down" if self.truth.is_down(each) else "up" for each in self.truth.servers}


def test_what_is_right_is_not_blamed() -> None:
    world = World()
    world.truth.switched(21003, is_on=False)
    assert world.truth.wrong_lines(world.table()) == []
    assert world.truth.wrong_verdicts(world.verdicts()) == []
    assert sum(len(entry.destinations) for entry in world.truth.table().values()) == 175


def test_each_wrong_verdict_is_found_once_it_has_had_its_time() -> None:
    world = World()
    before = world.verdicts()
    world.truth.switched(21003, is_on=False)
    world.truth.move(199, "127.101.0.199:21007")
    world.now += 24
    assert world.truth.wrong_verdicts(before, unchanged_s=25) == []
    assert world.truth.settled(25) == 174
    world.now += 1
    found = world.truth.wrong_verdicts(before, unchanged_s=25)
    assert len(found) == 26
    assert found[0] == "127.1.0.75:21003 is down, the daemon says up"
    assert found[-1] == "127.101.0.199:21007 is up, the daemon says None"


def test_each_wrong_line_of_the_table_is_found() -> None:
    world = World()
    table = world.table()
    (first, second, _) = table
    lines = table[first].destinations
    keys = list(lines)
    del lines[keys[0]]
    lines[keys[1]] = msgspec.structs.replace(lines[keys[1]], weight=2)
    lines[keys[2]] = msgspec.structs.replace(lines[keys[2]], upper_threshold=5)
    extra = server("198.51.100.7", port=443)
    lines[extra.key] = extra
    table[second].service = msgspec.structs.replace(table[second].service, scheduler="wlc")
    table[FOREIGN.service.key].destinations.popitem()
    assert len(world.truth.wrong_lines(table)) == 6
    del table[second]
    assert len(world.truth.wrong_lines(table)) == 6 + 100


def test_every_flapping_group_has_servers_in_each_of_five_services() -> None:
    servers = servers_of(Load("http", SERVERS, 2.0, Path("unused")))
    flapping = servers[GROUP * GROUPS : GROUP * (GROUPS + FLAPPING_GROUPS)]
    assert len(flapping) == len(set(flapping)) == 500
    ports = {each.rpartition(":")[2] for each in flapping}
    assert len(ports) == FLAPPING_GROUPS
    for start in range(0, 500, 100):
        assert {each.rpartition(":")[2] for each in flapping[start : start + 100]} == ports


def test_descriptors_of_probes_that_hang_for_a_moment_are_no_leak_and_a_leak_is_one() -> None:
    busy = [(10.0 * number, 590 if number in (7, 8, 20) else 84) for number in range(24)]
    assert [value for _, value in floors(busy)] == [84] * 4
    leak = [(10.0 * number, 84 + number) for number in range(24)]
    assert floors(leak) == [(0.0, 84), (60.0, 90), (120.0, 96), (180.0, 102)]
