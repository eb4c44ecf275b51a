"""What a service does with too few servers, on the real kernel: its fallback and tiers, failing open, slow starts."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.nginx import Nginx
from lab.topology import Topology
from tests.kernel.main_job import FOREIGN, RS1, RS2, both_in, configuration, on_director, wait_for_table
from tests.kernel.test_drain import opened

DEAD, SPARE = "198.51.100.11:8081", "198.51.100.12:8082"
"""Fallback servers: nothing listens at the first."""

FALLBACK = f"""
min_up = 2
fallback = [
  {{ address = "{DEAD}", check = {{ type = "tcp" }} }},
  {{ address = "{SPARE}", tier = 2, check = {{ type = "http", path = "/healthz" }} }},
]
"""
SERVICE = "-A -t 192.0.2.100:80 -s rr\n"


@pytest.fixture(autouse=True)
def clean_table(nat: Topology) -> Iterator[None]:
    nat.ipvsadm.clear()
    nat.ipvsadm.restore(FOREIGN)
    yield
    assert FOREIGN in nat.ipvsadm.saved()
    nat.ipvsadm.clear()


@pytest.fixture
def spare(nat: Topology) -> Iterator[Nginx]:
    with Nginx.serving(nat.servers[1], ports=(8082,)) as nginx:
        yield nginx


def table(*servers: str) -> str:
    return FOREIGN + SERVICE + "".join(f"-a -t 192.0.2.100:80 -r {server}\n" for server in servers)


@pytest.mark.long
async def test_fallback_that_is_up_serves_and_the_server_that_is_left_keeps_its_connections(
    nat: Topology, web: tuple[Nginx, ...], spare: Nginx, tmp_path: Path
) -> None:
    async with on_director(nat, configuration(tmp_path, service=FALLBACK)) as running:
        await both_in(running)
        await running.until("fallback.down", server=DEAD)
        await running.until("fallback.up", server=SPARE)
        wait_for_table(nat, table(f"{RS1} -m -w 3", f"{RS2} -m -w 3"))
        connections = opened(nat, 4)
        kept = [each for each in connections if each.ask() == web[1].server.name]
        assert kept
        began = len(running.lines)
        web[0].kill()
        await running.until("service.below", able=1, min_up=2, action="fallback", after=began)
        await running.until("table.changed", operation="set_server", server=RS2, after=began)
        wait_for_table(nat, table(f"{SPARE} -m -w 1", f"{RS2} -m -w 0"))
        after = [line for line in running.lines[began:] if line["event"] == "table.changed"]
        writes = [(line["operation"], line["server"]) for line in after]
        assert writes.index(("add_server", SPARE)) < writes.index(("set_server", RS2))
        assert [each.ask() for each in kept] == [web[1].server.name] * len(kept)
        new = opened(nat, 3)
        assert {each.ask() for each in new} == {spare.server.name}
        web[0].start()
        await running.until("service.enough", able=2, after=began)
        wait_for_table(nat, table(f"{RS1} -m -w 3", f"{RS2} -m -w 3"))
        assert [each.ask() for each in kept] == [web[1].server.name] * len(kept)
        for connection in (*connections, *new):
            connection.reset()
        await running.stop()


@pytest.mark.long
async def test_service_that_fails_open_keeps_a_server_that_fails_its_check(
    nat: Topology, web: tuple[Nginx, ...], tmp_path: Path
) -> None:
    file = configuration(tmp_path, service='min_up = 2\nbelow = "fail_open"')
    async with on_director(nat, file) as running:
        await both_in(running)
        wait_for_table(nat, table(f"{RS1} -m -w 3", f"{RS2} -m -w 3"))
        web[0].kill()
        await running.until("service.below", action="fail_open")
        assert running.of("real_server.down", server=RS1)
        wait_for_table(nat, table(f"{RS1} -m -w 3", f"{RS2} -m -w 3"))
        assert not [line for line in running.of("table.changed") if line["operation"] == "delete_server"]
        web[0].start()
        await running.until("service.enough")
        await running.stop()


@pytest.mark.long
async def test_server_that_comes_back_gets_its_weight_little_by_little(
    nat: Topology, web: tuple[Nginx, ...], tmp_path: Path
) -> None:
    servers = f'{{ address = "{RS1}", weight = 100 }}, {{ address = "{RS2}", weight = 100 }}'
    file = configuration(tmp_path, servers=servers, service='slow_start = "10s"')
    file.write_text(file.read_text().replace('"rr"', '"wrr"'))
    async with on_director(nat, file) as running:
        await both_in(running)
        web[0].kill()
        await running.until("table.changed", operation="delete_server", server=RS1)
        position = len(running.lines)
        web[0].start()
        await running.until("table.changed", operation="add_server", server=RS1, after=position)
        await running.until_line(
            lambda line: line["event"] == "table.changed" and line["fields"].endswith(" -> 100"),
            "the whole weight",
            after=position,
        )
        steps = [line["fields"] for line in running.of("table.changed", server=RS1)][3:]
        weights = [5, *(int(step.rpartition(" -> ")[2]) for step in steps)]
        assert steps == [f"weight {before} -> {after}" for before, after in itertools.pairwise(weights)]
        assert weights == sorted(weights)
        assert {weight % 5 for weight in weights} == {0}
        assert len(steps) > 10  # a director that is busy may leave out a step
        assert f"-r {RS1} -m -w 100" in nat.ipvsadm.saved()
        await running.stop()
