"""Directors as they were seen when all was well. Tests change one thing of them."""

from typing import Any

import msgspec

from lvs_healthd.doctor.finding import Finding
from lvs_healthd.doctor.judging import judge
from lvs_healthd.doctor.observations import Counts, Echoes, Host, Link, Observations, Server, Service, Way

VIP, RS1, RS2 = "192.0.2.100", "198.51.100.11", "198.51.100.12"
SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.conf.servers.forwarding": "1",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv4.vs.conntrack": "0",
    "net.ipv4.vs.expire_nodest_conn": "1",
    "net.ipv4.vs.expire_quiescent_template": "0",
    "net.ipv4.vs.backup_only": "0",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.clients.rp_filter": "1",
    "net.ipv4.conf.servers.rp_filter": "1",
    "net.ipv4.conf.all.send_redirects": "1",
}
HOST = Host(
    sysctls=SYSCTLS,
    links=(
        Link(name="clients", addresses=("192.0.2.1/24", f"{VIP}/32", "2001:db8:1::100/128")),
        Link(name="servers", addresses=("198.51.100.1/24",)),
    ),
    modules=("ip_vs", "ip_vs_rr"),
    installed=("ip_vs", "ip_vs_rr", "ip_vs_wlc", "ip_vs_ftp"),
    rules=[],
)
LOCAL = Way(interface="lo", is_local=True)


def counts(into: int, out: int) -> Counts:
    return Counts(connections=max(1, into // 5), in_packets=into, out_packets=out)


def server(address: str = RS1, **fields: Any) -> Server:
    """Return a server by nat that has answered."""
    default: dict[str, Any] = {
        "port": 80,
        "forward": "nat",
        "weight": 1,
        "configured": 1,
        "before": counts(50, 30),
        "after": counts(55, 33),
        "established": 1,
        "way": Way(interface="servers", source="198.51.100.1"),
        "network": "198.51.100.0/24",
        "hardware": "02:00:00:00:00:11",
        "neighbour": "REACHABLE",
        "answers_arp": True,
        "echoes": Echoes(plain=True, through=True, source=VIP),
    }
    return Server(address=address, **{**default, **fields})


def service(*servers: Server, **fields: Any) -> Service:
    default: dict[str, Any] = {
        "name": "web",
        "address": VIP,
        "port": 80,
        "scheduler": "rr",
        "expects_answers": True,
        "way": LOCAL,
        "interface": "clients",
        "leaves": ("clients",),
        "was_asked": True,
    }
    return Service(servers=servers or (server(), server(RS2)), **{**default, **fields})


def director(*services: Service, host: Host = HOST, **fields: Any) -> Observations:
    return Observations(services=services or (service(),), host=host, **fields)


def host(**fields: Any) -> Host:
    return msgspec.structs.replace(HOST, **fields)


def sysctls(**changed: str) -> Host:
    """Return the host with other sysctls. Dots in names are written as two underscores."""
    return host(sysctls={**SYSCTLS, **{name.replace("__", "."): value for name, value in changed.items()}})


def only(seen: Observations) -> Finding:
    """Return the only finding."""
    found = judge(seen)
    assert len(found) == 1, [(each.name, each.seen) for each in found]
    return found[0]


def names(seen: Observations) -> list[str]:
    return [each.name for each in judge(seen)]


def silent(**fields: Any) -> Server:
    """Return a server whose answers do not come back: two packets in, none out, half open."""
    default = {"before": counts(2, 0), "after": counts(2, 0), "established": 0, "half_open": 1}
    return server(**{**default, **fields})
