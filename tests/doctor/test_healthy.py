"""The doctor says nothing of directors that are well, however odd their counters look."""

from typing import Any

import pytest

from lvs_healthd.doctor.judging import judge, notes
from lvs_healthd.doctor.observations import Answerer, Counts, Daemon, Echoes, Observations, Way
from tests.doctor.seen import LOCAL, RS2, VIP, counts, director, host, server, service, silent, sysctls

ONE_WAY: dict[str, Any] = {"before": counts(30, 0), "after": counts(34, 0), "established": 0, "echoes": Echoes()}
BYPASSED: dict[str, Any] = {"before": counts(50, 0), "after": counts(55, 0)}
DR: dict[str, Any] = {"forward": "dr", **BYPASSED}
TUN: dict[str, Any] = {"forward": "tun", "tunnel": "ipip", **BYPASSED}
NEVER_ASKED: dict[str, Any] = {"before": Counts(), "after": Counts(), "established": 0}
MARKS = {
    "rule": {
        "family": "ip",
        "table": "t",
        "chain": "c",
        "handle": 3,
        "expr": [{"mangle": {"key": {"meta": {"key": "mark"}}, "value": 7}}],
    }
}
OPAQUE = {
    "rule": {
        "family": "ip",
        "table": "t",
        "chain": "c",
        "handle": 3,
        "expr": [{"xt": {"type": "target", "name": "MARK"}}],
    }
}

HEALTHY = {
    "nat": director(),
    "nat that nobody has used yet": director(service(server(**NEVER_ASKED))),
    "nat whose servers answer no echo requests": director(
        service(server(**NEVER_ASKED, echoes=Echoes(plain=False, through=False, source=VIP)))
    ),
    "nat whose servers answered before, and no echo request": director(
        service(
            server(before=counts(50, 30), after=counts(50, 30), established=0, echoes=Echoes(plain=True, through=False))
        )
    ),
    "nat whose servers answer clients but no echo request": director(
        service(server(echoes=Echoes(plain=True, through=False, source=VIP)))
    ),
    "nat under a flood of SYNs": director(
        service(server(before=counts(5000, 4900), after=counts(9000, 8900), established=0, half_open=4000))
    ),
    "the first SYN on its way": director(service(silent(before=counts(0, 0), after=counts(1, 0)))),
    "dr without forwarding": director(
        service(server(**DR), server(RS2, **DR)), host=sysctls(net__ipv4__ip_forward="0")
    ),
    "dr whose servers answer clients but no echo request": director(
        service(server(**DR, echoes=Echoes(plain=True, through=False)))
    ),
    "dr, one packet": director(
        service(server(**{**DR, **ONE_WAY}, port=514), protocol="udp", port=514, is_one_packet=True)
    ),
    "tunnels": director(service(server(**TUN, network="", way=Way(interface="servers", next_hop="198.51.100.9")))),
    "fullnat": director(service(server(forward="fullnat", network="", way=Way(interface="servers", next_hop="a")))),
    "a firewall mark that packets have": director(service(address="", port=0, fwmark=7, way=None, interface="")),
    "a firewall mark that a rule sets": director(
        service(server(**NEVER_ASKED), address="", port=0, fwmark=7, way=None, interface=""), host=host(rules=[MARKS])
    ),
    "a firewall mark that iptables may set": director(
        service(server(**NEVER_ASKED), address="", port=0, fwmark=7, way=None, interface=""), host=host(rules=[OPAQUE])
    ),
    "traps": director(
        service(server(**ONE_WAY, port=162), protocol="udp", port=162, expects_answers=False),
    ),
    "traps, one packet, nat": director(
        service(server(**ONE_WAY), protocol="udp", port=162, expects_answers=False, is_one_packet=True)
    ),
    "IPv6": director(
        service(server("2001:db8:2::11", answers_arp=None, echoes=Echoes()), address="2001:db8:1::100", family="ipv6"),
        host=sysctls(net__ipv4__ip_forward="0"),
    ),
    "the director is its own server": director(
        service(server(way=LOCAL, answers_arp=None, echoes=Echoes(), before=counts(9, 0), after=counts(9, 0))),
        host=sysctls(net__ipv4__ip_forward="0"),
    ),
    "a network that could not be looked at": director(
        service(server(way=None, network="", neighbour="", **NEVER_ASKED), is_located=False, way=None),
        host=sysctls(net__ipv4__ip_forward="0"),
    ),
    "shadow": director(service(is_in_table=False), is_shadow=True),
    "one service in shadow": director(service(is_in_table=False, is_shadow=True), service()),
    "the backup of a pair": director(
        service(way=Way(interface="clients"), answerers=(Answerer(hardware="02:00:00:00:00:99"),))
    ),
    "the backup of a pair under keepalived": director(
        service(way=Way(interface="clients")), host=host(writers=("keepalived",))
    ),
    "an address that is withdrawn": director(
        service(way=Way(interface="clients")), daemon=Daemon(version="1", mode="enforce", not_announced=(VIP,))
    ),
    "an address that policy routing takes": director(service(way=Way(interface="clients"), local_elsewhere=True)),
    "a drained server that is off": director(
        service(server(), server(RS2, weight=None, state="drained", verdict="down", answers_arp=False))
    ),
    "a server whose link-layer address is written down": director(
        service(server(neighbour="PERMANENT", answers_arp=False))
    ),
    "a fallback that is not used": director(
        service(server(), server(RS2, weight=None, is_fallback=True, answers_arp=False))
    ),
    "strict reverse paths and drops long ago": director(
        host=host(counters_before={"TcpExt.IPReversePathFilter": 9}, counters_after={"TcpExt.IPReversePathFilter": 9})
    ),
    "one-armed nat that sends no redirects": director(service(interface="servers")),
    "somebody else's table": director(
        service(server(configured=None), is_configured=False), daemon=Daemon(version="1", mode="enforce")
    ),
}


@pytest.mark.parametrize("seen", HEALTHY.values(), ids=HEALTHY)
def test_a_healthy_director_has_no_findings(seen: Observations) -> None:
    assert [(each.name, each.seen) for each in judge(seen)] == []


def test_what_looks_odd_and_is_well_is_noted() -> None:
    said = [each.text for each in notes(HEALTHY["traps"])]
    assert said == ["34 packets in and none out: as it should be if nobody answers, as with traps and logs"]
    assert "by dr, answers do not pass the director" in notes(HEALTHY["dr without forwarding"])[0].text
    assert "waits for it" in notes(HEALTHY["the backup of a pair"])[0].text
    assert "is not here: it is not announced" in notes(HEALTHY["an address that is withdrawn"])[0].text
    assert notes(HEALTHY["nat"]) == []


def test_connections_that_the_kernel_will_forget_are_noted_and_are_no_trouble() -> None:
    seen = director(service(server(quiet=2), server(RS2, quiet=1)), host=host(timeouts=(900, 120, 300)))
    assert judge(seen) == []
    (note,) = notes(seen)
    assert note.text.startswith(
        "3 open connections have been silent for more than 450s; the kernel forgets them after 900s"
    )


def test_few_senders_of_traps_are_noted() -> None:
    few = Counts(connections=2, in_packets=34)
    both = server(before=few, after=few), server(RS2, before=Counts(), after=Counts())
    seen = director(service(*both, protocol="udp", port=162, expects_answers=False))
    assert any("34 packets came from 2 ports of clients" in each.text for each in notes(seen))


def test_what_could_not_be_looked_at_is_noted() -> None:
    assert "not looked at: rules: no nft" in [each.text for each in notes(director(unseen=("rules: no nft",)))]
