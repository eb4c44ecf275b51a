"""An address that BIRD announces from a dummy while the daemon has it there, on the real kernel, with clients."""

import contextlib
import sys
import time
from collections.abc import Iterator

import pytest

from lab.daemon import moment
from lab.nginx import Nginx
from lab.topology import Topology
from lab.wait import wait_until
from tests.bird import Bird
from tests.kernel.on_examples import EXAMPLES, Director

IN_TIME_S = 120.0
"""How long a route may take to come or go, seconds: `announce_after`, and some more on an emulated machine."""


class Site:
    def __init__(self, topology: Topology, director: Director, webs: list[Nginx]) -> None:
        self.topology, self.director, self.webs = topology, director, webs

    @property
    def route(self) -> str:
        """The client's route to the address alone; "" without one. The client is the router."""
        return self.topology.client.run(["ip", "route", "show", f"{self.topology.vip}/32"]).stdout

    def ask(self) -> str:
        """Return who answers a client; "" if nobody does."""
        command = ["curl", "-s", "--max-time", "5", f"http://{self.topology.vip}/"]
        return self.topology.client.run(command, check=False).stdout.strip()

    def until(self, event: str, after: int) -> None:
        """Wait until the daemon tells this, and the router has done it. Print how long that took."""
        line = self.director.daemon.wait_for(event, after=after, timeout_s=IN_TIME_S, vip=self.topology.vip)
        is_there = event == "announce.on"
        wait_until(
            lambda: bool(self.route) is is_there, timeout_s=IN_TIME_S, what=lambda: f"route after {event}: {self.route}"
        )
        took_s = time.monotonic() - moment(line) + float(line["took_s"])
        sys.stdout.write(f"{event}: seen on the router {1000 * took_s:.0f} ms after the decision at the latest\n")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A director whose address is on a dummy alone, and a client that is its router. Both have the examples' BIRD."""
    tmp_path = tmp_path_factory.mktemp("site")
    with contextlib.ExitStack() as stack:
        topology = stack.enter_context(Topology.nat(servers=2))
        for words in (
            f"address delete {topology.vip}/32 dev clients",
            f"address delete {topology.vip6}/128 dev clients",
            "link add lvs0 type dummy",
            "link set lvs0 up",
        ):
            topology.director.run(["ip", *words.split()])
        for machine, name in ((topology.director, "anycast-bird.conf"), (topology.client, "anycast-router-bird.conf")):
            bird = Bird(machine, tmp_path / name, (EXAMPLES / name).read_text())
            stack.callback(bird.stop)
            bird.start()
        webs = [stack.enter_context(Nginx.serving(each, ports=(80, 443))) for each in topology.servers]
        director = Director(topology, tmp_path)
        stack.callback(director.daemon.kill)
        made = Site(topology, director, webs)
        assert made.route == ""
        director.use("anycast.toml")
        made.until("announce.on", 0)
        yield made


@pytest.mark.long
def test_clients_reach_the_director_by_the_route_while_its_servers_serve(site: Site) -> None:
    assert "via 192.0.2.1 " in site.route
    assert site.ask() in {web.server.name for web in site.webs}
    # One server less moves no route.
    site.webs[0].kill()
    site.director.until(f"-r {site.webs[0].server.address}:80", absent=True)
    assert site.ask() == site.webs[1].server.name
    after = len(site.director.daemon.lines())
    site.webs[1].kill()
    site.until("announce.off", after)
    assert site.ask() == ""
    after = len(site.director.daemon.lines())
    for web in site.webs:
        web.start()
    site.until("announce.on", after)
    assert site.ask() in {web.server.name for web in site.webs}


@pytest.mark.long
def test_doctor_has_nothing_against_an_address_on_a_dummy(site: Site) -> None:
    assert site.director.found() == set()
