"""Real clients of every kind of service, by every way of forwarding, while a real server fails and returns.

When a failed real server has been removed from a service in the kernel's table, no request to that service fails any
more. Packets always take the configured way, and no other.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.load import Load, Request, by_server
from lab.netns import Namespace
from lab.topology import Topology
from tests.daemon_process import daemon
from tests.kernel.traffic import (
    DR,
    FULLNAT,
    GRE,
    GUE,
    IPIP,
    NAT,
    Kind,
    Machine,
    Service,
    changed,
    configuration,
    mark_all,
    services,
    watch,
    ways,
)

BEFORE, AFTER = 10, 20
"""How many requests to each target are waited for while nothing is wrong, and after each change."""

PAUSE_S, TIMEOUT_S = 0.1, 3.0
"""The pause leaves an emulated machine the time to check and to write."""


@dataclass(frozen=True, slots=True)
class Story:
    """When each step happened (`time.monotonic()`). The kernel's table has its own time for each service."""

    requests: list[Request]
    killed: float
    out: dict[str, float]
    started: float
    back: dict[str, float]


@pytest.mark.parametrize(
    ("build", "kinds"),
    [
        pytest.param(Topology.nat, [NAT], id="nat"),
        pytest.param(Topology.dr, [DR], id="dr", marks=pytest.mark.long),
        pytest.param(Topology.tun, [IPIP, GUE, GRE], id="tun", marks=pytest.mark.long),
        # The real servers of fullnat have no route through the director.
        pytest.param(Topology.tun, [FULLNAT], id="fullnat", marks=pytest.mark.long),
    ],
)
@pytest.mark.long
async def test_no_request_fails_once_the_failed_server_is_out_nor_when_it_returns(
    build: Callable[[], AbstractContextManager[Topology]], kinds: list[Kind], tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        topology = stack.enter_context(build())
        those = [service for number, kind in enumerate(kinds) for service in services(topology, kind, number)]
        async with daemon(configuration(tmp_path, those), namespace=topology.director) as running:
            # The daemon starts meanwhile, which takes longest.
            first = await asyncio.to_thread(prepared, topology, stack)
            await running.until("daemon.started")
            story = await asyncio.to_thread(play, topology, those, first)
            assert await running.stop() == 0
        failed = {line["server"] for line in running.of("real_server.down")}
        assert failed != set()
        assert all(server.startswith(tuple(service.servers[0] for service in those)) for server in failed), failed
        for service in those:
            judge(service, story)
        assert [request for request in story.requests if not request.ok] != [], "the failure was not felt"
        for server in topology.servers:
            taken = ways(server)
            assert taken.keys() == frozenset().union(*(kind.ways for kind in kinds))
            assert min(taken.values()) > AFTER
            for kind in kinds:
                if kind is FULLNAT:  # its ways are counted for one service of each family only
                    continue
                assert sum(taken[way] for way in kind.ways) >= least_packets(story, those, kind, server)
        # With fullnat, replies go to the director's own address.
        replies = {"replies4", "replies6"} if kinds == [NAT] else set()
        assert ways(topology.director).keys() == replies


def prepared(topology: Topology, stack: contextlib.ExitStack) -> Machine:
    """Start the servers' programs and the packet counters, and return the first server."""
    mark_all(topology)
    watch(topology)
    vips = () if topology.router == topology.director else (topology.vip, topology.vip6)
    first, *_ = [stack.enter_context(Machine.serving(server, vips)) for server in topology.servers]
    return first


def play(topology: Topology, those: list[Service], first: Machine) -> Story:
    """Kill the first server while clients send requests to all services, and start it again after enough requests."""
    for server in range(len(topology.servers)):
        changed(topology, those, server, present=True)
    targets = [target for service in those for target in service.targets]
    with Load.on(topology.client, targets, pause_s=PAUSE_S, timeout_s=TIMEOUT_S) as load:
        begun = dict.fromkeys((service.name for service in those), time.monotonic())
        wait_for_all(load, those, BEFORE, begun)
        killed = time.monotonic()
        first.kill()
        out = changed(topology, those, 0, present=False)
        wait_for_all(load, those, AFTER, out)
        started = time.monotonic()
        first.start()
        back = changed(topology, those, 0, present=True)
        wait_for_all(load, those, AFTER, back)
        return Story(load.stop(), killed, out, started, back)


def least_packets(story: Story, those: list[Service], kind: Kind, server: Namespace) -> int:
    """Return how many packets from clients are necessary at least for the requests that a server has answered."""
    # One datagram. With TCP: SYN, ACK, the request and FIN, and perhaps one or two more ACKs.
    targets = [target for service in those if service.kind == kind for target in service.targets]
    each = {target.name: 4 if target.kind == "http" else 1 for target in targets}
    return sum(each.get(request.target, 0) for request in story.requests if request.server == server.name)


def wait_for_all(load: Load, those: list[Service], count: int, since: dict[str, float]) -> None:
    for service in those:
        for target in service.targets:
            load.wait_for(count, since=since[service.name], target=target.name, timeout_s=60)


def judge(service: Service, story: Story) -> None:
    """Assert what is promised for a service."""
    out, back = story.out[service.name], story.back[service.name]
    names = {target.name for target in service.targets}
    requests = [request for request in story.requests if request.target in names]
    before = [request for request in requests if request.ended < story.killed]
    until_out = [request for request in requests if story.killed <= request.started < out]
    since_out = [request for request in requests if request.started >= out]
    while_out = [request for request in since_out if request.started < story.started]
    since_back = [request for request in requests if request.started >= back]
    told = {"before": before, "until out": until_out, "while out": while_out, "since back": since_back}
    counts = ", ".join(f"{when} {by_server(which)}" for when, which in told.items())
    lost = [request for request in until_out if not request.ok]
    sys.stdout.write(f"{service.name}: {counts}; lost {len(lost)} in {out - story.killed:.1f} s\n")
    assert [request for request in (*before, *since_out) if not request.ok] == [], service.name
    # Both targets of a mark together, because one server may get all requests to 80, and the other those to 443.
    assert by_server(before).keys() == {"rs1", "rs2"}, service.name
    assert by_server(while_out).keys() == {"rs2"}, service.name
    assert by_server(since_back).keys() == {"rs1", "rs2"}, service.name
    for name in names:
        assert len([request for request in while_out if request.target == name]) >= AFTER, name
        assert len([request for request in since_back if request.target == name]) >= AFTER, name
