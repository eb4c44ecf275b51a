"""Every configuration in examples/ does what it says, on the real kernel and with real servers."""

import contextlib
import shutil
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import trustme

from lab import nft
from lab.load import Load, Target, by_server
from lab.nginx import Nginx
from lab.topology import Topology
from lab.wait import wait_until
from tests.kernel.balancers import Balancer, HAProxy, NginxProxy, Pound
from tests.kernel.example_clients import (
    CONTENT,
    CREATED,
    GET,
    NOT_FOUND,
    PUT,
    TRAP,
    WebSocket,
    coap,
    desktop,
    get,
    over_tcp,
    over_udp,
    server_name,
)
from tests.kernel.example_servers import snmptrapd, web, websockets
from tests.kernel.on_examples import EXAMPLES, Director, running_on
from tests.ready_made.servers import Server, search_path
from tests.ready_made.test_large import xrdp
from tests.ready_made.test_names import nsd

CLIENTS, MORE, STILL_MORE = [tuple(f"192.0.2.{tens}{last}" for last in range(1, 5)) for tens in (1, 2, 3)]
"""The client's further addresses. With persistence, each of them is a client of its own."""
CONNECTIONS = "ip saddr 192.0.2.0/24 tcp dport 80 tcp flags & (syn | ack) == syn"
"""Packets that begin a client's connection to port 80. Probes come from another network."""
RS1, RS2 = "198.51.100.11", "198.51.100.12"
ADVISED = ["sysctl", "-qw", "net.ipv4.vs.expire_nodest_conn=1"]
"""What the daemon advises on every director, and the doctor therefore finds on one that lacks it."""
TOGETHER = ("coap.toml", "snmp-traps.toml", "websocket.toml", "other-ports.toml", "https.toml")
"""Examples with services on different ports, which the director therefore serves at the same time."""


@pytest.fixture(scope="module")
def network() -> Iterator[Topology]:
    """A director with two real servers, and two applications that are behind the L7 balancers."""
    with Topology.nat(servers=4) as topology:
        for address in (*CLIENTS, *MORE, *STILL_MORE):
            topology.client.run(["ip", "address", "add", f"{address}/24", "dev", "eth0"])
        for machine in topology.servers[:2]:
            nft.count(machine, {"connections": CONNECTIONS})
        topology.director.run(ADVISED)
        yield topology


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture(scope="module")
def director(network: Topology, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Director]:
    folder = tmp_path_factory.mktemp("director")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    director = Director(network, folder, {"SSL_CERT_FILE": str(folder / "ca.pem")})
    yield director
    director.daemon.kill()


# ---- names -----------------------------------------------------------------------------------------------------------

ZONE = "@ 60 IN SOA ns root 1 3600 600 86400 60\n@ 60 IN NS ns\n@ 60 IN A {address}\nns 60 IN A 192.0.2.53\n"


@pytest.fixture
def names(network: Topology, tmp_path: Path) -> Iterator[list[Server]]:
    """A name server on each real server. Each says its own address, so that it is known who has answered."""
    with contextlib.ExitStack() as stack:
        found = []
        for machine in network.servers[:2]:
            folder = tmp_path / machine.name
            folder.mkdir()
            command = nsd(53, folder, ZONE.format(address=machine.address), address=machine.address)
            found.append(stack.enter_context(running_on(machine, command, folder)))
        yield found


@pytest.mark.long
def test_dns_cluster_spreads_queries_over_udp_and_tcp_and_a_dead_server_leaves_both(
    director: Director, network: Topology, names: list[Server]
) -> None:
    director.use("dns.toml")
    director.ready("dns.toml")
    assert {over_udp(network) for _ in range(6)} == {over_tcp(network) for _ in range(6)} == {RS1, RS2}
    assert director.topology.ipvsadm("-L", "--timeout").endswith(" 10\n")
    faithful = 5353
    first = over_udp(network, faithful)
    assert [over_udp(network, faithful) for _ in range(4)] == [first] * 4
    names[[RS1, RS2].index(first)].kill()
    for letter in "ut":
        director.until(f"-a -{letter} {network.vip}:53 -r {first}:53", absent=True)
    other = RS2 if first == RS1 else RS1
    assert over_udp(network, faithful) == over_tcp(network) == other


@pytest.mark.long
def test_doctor_finds_nothing_wrong_with_a_dns_cluster(
    director: Director, network: Topology, names: list[Server]
) -> None:
    director.use("dns.toml")
    director.ready("dns.toml")
    assert {over_udp(network), over_tcp(network)} <= {RS1, RS2}
    assert director.found() == set()


# ---- remote desktops -------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_remote_desktop_is_found_again(director: Director, network: Topology, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        for machine in network.servers[:2]:
            folder = tmp_path / machine.name
            folder.mkdir()
            stack.enter_context(running_on(machine, xrdp(3389, folder, address=machine.address), folder))
        director.use("rdp.toml")
        director.ready("rdp.toml")
        met = [{desktop(director, client) for _ in range(3)} for client in CLIENTS]
        assert director.found() == set()
    assert [len(each) for each in met] == [1] * len(CLIENTS)
    assert set().union(*met) == {f"{RS1}:3389", f"{RS2}:3389"}


# ---- L7 behind L4 ----------------------------------------------------------------------------------------------------

REQUESTS = 20
"""How many requests are waited for after each change."""


@pytest.mark.parametrize(
    ("kind", "clients"),
    [
        pytest.param(HAProxy, CLIENTS, id="haproxy", marks=pytest.mark.long),
        pytest.param(NginxProxy, MORE, id="nginx", marks=pytest.mark.long),
        pytest.param(Pound, STILL_MORE, id="pound", marks=pytest.mark.long),
    ],
)
@pytest.mark.long
def test_no_request_is_lost_while_an_l7_balancer_drains_itself_or_is_drained(
    kind: type[Balancer], clients: Sequence[str], director: Director, network: Topology
) -> None:
    if kind is Pound and not shutil.which("pound", path=search_path()):
        pytest.skip("Debian has Pound from release 13 on")
    with contextlib.ExitStack() as stack:
        for machine in network.servers[2:]:
            stack.enter_context(Nginx.serving(machine))
        first, second = [stack.enter_context(kind.serving(machine)) for machine in network.servers[:2]]
        director.use(kind.example)
        director.ready(kind.example)
        targets = [Target(client, "http", network.vip, 80, 0, client) for client in clients]
        before = taken(network)
        load = stack.enter_context(Load.on(network.client, targets, pause_s=0.2, timeout_s=10.0))
        wait_until(
            lambda: all(now > then for now, then in zip(taken(network), before, strict=True)),
            timeout_s=30,
            what="clients at both balancers",
        )

        # By the word of its agent.
        first.say("drain")
        director.until(f"-r {RS1}:80 -m -w 0")
        only_the_other(network, load, drained=0)
        if kind is HAProxy:  # a session that began with the other HAProxy finds its application
            assert [get(network, 80, client=client, cookie="APP=app2")[-4:] for client in clients] == ["rs4\n"] * 4
        first.say("up")
        director.until(f"-r {RS1}:80 -m -w 100")

        # By its status page; and then it ends and comes back.
        second.leave(leaves=True)
        director.until(f"-r {RS2}:80 -m -w 0")
        only_the_other(network, load, drained=1)
        second.end()
        second.start()
        director.until(f"-r {RS2}:80 -m -w 100")

        # By an operator of the director.
        director.order("drain", "www", RS1, "--reason", "kernel update")
        director.until(f"-r {RS1}:80 -m -w 0")
        only_the_other(network, load, drained=0)
        director.order("enable", "www", RS1)
        director.until(f"-r {RS1}:80 -m -w 100")

        assert director.found() == set()
        requests = load.stop()
        assert [request for request in requests if not request.ok] == []
        assert len(requests) > 4 * REQUESTS
        assert by_server(requests).keys() == {"rs3", "rs4"}


def taken(network: Topology) -> list[int]:
    """Return how many connections of clients each balancer has got so far."""
    return [nft.counted(machine)["connections"] for machine in network.servers[:2]]


def only_the_other(network: Topology, load: Load, *, drained: int) -> None:
    """Assert that from now on clients are served, and not by the balancer with this number, counted from 0."""
    before, now = taken(network), time.monotonic()
    wait_until(
        lambda: len([request for request in load.requests() if request.started >= now]) >= REQUESTS,
        timeout_s=60,
        what=f"{REQUESTS} requests",
    )
    after = taken(network)
    assert after[drained] == before[drained]
    assert after[1 - drained] >= before[1 - drained] + REQUESTS


# ---- services on different ports -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the servers of `together` have their folders, such as rs1/trapd."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="module")
def together(network: Topology, director: Director, authority: trustme.CA, folders: Path) -> Iterator[Director]:
    """The servers of `TOGETHER`, and the director with these examples. Each test waits for its own to be ready.

    Tests whose servers have the same ports come before, because these servers run to the end of the file.
    """
    with contextlib.ExitStack() as stack:
        for number, machine in enumerate(network.servers[:2]):
            own = folders / machine.name
            for name in ("coap", "trapd", "mosquitto", "https"):
                (own / name).mkdir(parents=True)
            commands: dict[str, Sequence[str | Path]] = {
                "coap": ["coap-server-notls", "-A", machine.address, "-d", "10"],
                "trapd": snmptrapd(own / "trapd", machine),
                "mosquitto": websockets(own / "mosquitto"),
                "https": web(own / "https", machine, authority, days=7 if number else 90),
            }
            for name, command in commands.items():
                stack.enter_context(running_on(machine, command, own / name))
            stack.enter_context(Nginx.serving(machine, ports=(8080, 9090)[number : number + 1]))
        network.director.run(["nft", "-f", str(EXAMPLES / "https.nft")])
        director.use(*TOGETHER)
        yield director


@pytest.mark.long
def test_other_ports_are_reached_by_one(together: Director, network: Topology) -> None:
    together.ready("other-ports.toml")
    assert {get(network, 8000).rpartition("\n\n")[2] for _ in range(4)} == {"rs1\n", "rs2\n"}


@pytest.mark.long
def test_coap_client_finds_on_any_port_what_it_has_stored(together: Director, network: Topology) -> None:
    together.ready("coap.toml")
    stored = coap(network.client, network.vip, PUT, 1, b"\xff21.5")
    assert stored == CREATED
    assert [coap(network.client, network.vip, GET, number) for number in range(2, 10)] == [CONTENT] * 8
    # The servers share nothing, so without persistence every other answer would be another one.
    own = {coap(network.client, server.address, GET, 10) for server in network.servers[:2]}
    assert own == {CONTENT, NOT_FOUND}


COLD_START = "3.6.1.6.3.1.1.5.1"


@pytest.mark.long
def test_traps_from_one_port_reach_both_servers(together: Director, network: Topology, folders: Path) -> None:
    together.ready("snmp-traps.toml")
    with network.client.entered():
        agent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with agent:
        agent.connect((network.vip, 162))
        for _ in range(20):
            agent.send(TRAP)
    logs = [folders / machine.name / "trapd" / "output" for machine in network.servers[:2]]

    def received() -> list[int]:
        return [log.read_text().count(COLD_START) for log in logs]

    wait_until(lambda: sum(received()) >= 20, timeout_s=30, what=lambda: f"20 traps: {received()}")
    assert received() == [10, 10]


@pytest.mark.long
def test_websockets_live_on_while_their_server_is_drained_and_may_be_quiet_for_long(
    together: Director, network: Topology, director: Director
) -> None:
    together.ready("websocket.toml")
    with contextlib.ExitStack() as stack:

        def opened(count: int) -> list[WebSocket]:
            return [stack.enter_context(contextlib.closing(WebSocket(network))) for _ in range(count)]

        kept = opened(4)
        servers = director.connections()
        assert {servers[each.port][0] for each in kept} == {f"{RS1}:9001", f"{RS2}:9001"}
        assert {servers[each.port][1] for each in kept} <= {119, 120}  # minutes
        director.order("drain", "websocket", RS1, "--reason", "maintenance")
        director.until(f"-r {RS1}:9001 -m -w 0")
        new = opened(4)
        servers = director.connections()
        assert {servers[each.port][0] for each in new} == {f"{RS2}:9001"}
        assert all(each.ping() for each in (*kept, *new))
    director.order("enable", "websocket", RS1)


@pytest.mark.long
def test_client_has_one_server_for_http_and_https_by_a_mark_and_is_told_when_a_certificate_ends(
    together: Director, network: Topology, director: Director, authority: trustme.CA
) -> None:
    together.ready("https.toml")
    assert one_server_for_both(network, authority) == {"rs1", "rs2"}
    endings = director.daemon.select("certificate.ending", service="www")
    assert {line["server"].partition(":")[0] for line in endings} == {RS2}


@pytest.mark.long
def test_doctor_finds_only_the_certificate_that_ends(together: Director) -> None:
    """Of services by nat, with persistence, one-packet scheduling, a mark, other ports, over udp and tcp."""
    for name in TOGETHER:
        together.ready(name)
    assert together.found() == {"check-remark"}


@pytest.mark.long
def test_client_has_one_server_for_http_and_https_by_port_0(
    together: Director, network: Topology, director: Director, authority: trustme.CA
) -> None:
    director.use("https-all-ports.toml")
    director.ready("https-all-ports.toml")
    assert one_server_for_both(network, authority) == {"rs1", "rs2"}
    assert director.found() == {"check-remark"}


def one_server_for_both(network: Topology, authority: trustme.CA) -> set[str]:
    """Ask from several clients on ports 80 and 443 in turn. Return which servers were met."""
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    met = set()
    for client in CLIENTS:
        (name,) = {
            server_name(get(network, port, client=client, tls=trusting if port == 443 else None))
            for port in (80, 443, 443, 80)
        }
        met.add(name)
    return met


# ---- other networks --------------------------------------------------------------------------------------------------

PUBLIC, PRIVATE = "192.0.2.200", "198.51.100.2"
PROVIDER = f"""
table ip provider {{
    chain public {{ type nat hook prerouting priority dstnat; ip daddr {PUBLIC} dnat to {PRIVATE}; }}
    chain checked {{ type filter hook prerouting priority raw; iifname "directors" ip saddr != {PRIVATE} drop; }}
}}
"""
"""What a cloud does on its router: it translates the public address, and drops what is not from the director's own."""


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Director]:
    """A director whose servers are in another network, behind a router."""
    with contextlib.ExitStack() as stack:
        topology = stack.enter_context(Topology.tun(servers=2))
        for machine in topology.servers:
            stack.enter_context(Nginx.serving(machine))
        topology.director.run(ADVISED)
        director = Director(topology, tmp_path_factory.mktemp("far"))
        stack.callback(director.daemon.kill)
        yield director


@pytest.mark.long
def test_servers_in_another_network_are_reached_by_tunnel_and_by_fullnat(far: Director) -> None:
    far.use("other-network.toml")
    far.ready("other-network.toml")
    vip = far.topology.vip
    assert_served(far, Target("tunnel", "http", vip, 80), Target("fullnat", "http", vip, 8080))
    assert far.found() == set()


@pytest.mark.long
def test_director_behind_1_to_1_nat_is_reached_at_its_public_address(far: Director) -> None:
    far.use("one-to-one-nat.toml")
    far.ready("one-to-one-nat.toml")
    far.topology.router.run(["ip", "address", "add", f"{PUBLIC}/32", "dev", "clients"])
    far.topology.router.run(["nft", "--file", "-"], stdin=PROVIDER)
    try:
        assert_served(far, Target("public", "http", PUBLIC, 80))
        assert far.found() == set()
    finally:
        far.topology.router.run(["nft", "delete", "table", "ip", "provider"])


def assert_served(director: Director, *targets: Target) -> None:
    """Assert that clients of all targets are served by both servers, and no request fails."""
    with Load.on(director.topology.client, targets, pause_s=0.1, timeout_s=10.0) as load:
        for target in targets:
            load.wait_for(REQUESTS, since=0, target=target.name)
        requests = load.stop()
    assert [request for request in requests if not request.ok] == []
    servers = {machine.name for machine in director.topology.servers}
    for target in targets:
        assert by_server([each for each in requests if each.target == target.name]).keys() == servers
