"""Each cause is found by what was seen, with the command that mends it and how sure that is."""

from typing import Any

import pytest

from lvs_healthd.director.advice import Advice
from lvs_healthd.doctor.finding import Sureness
from lvs_healthd.doctor.judging import MOST_OF_A_KIND, judge
from lvs_healthd.doctor.observations import (
    Answerer,
    Counts,
    Daemon,
    Difference,
    Echoes,
    Link,
    Observations,
    Server,
    Way,
)
from tests.doctor.seen import (
    LOCAL,
    RS1,
    RS2,
    VIP,
    counts,
    director,
    host,
    names,
    only,
    server,
    service,
    silent,
    sysctls,
)

DR: dict[str, Any] = {"forward": "dr", "before": counts(50, 0), "after": counts(55, 0), "established": 0}
ASKED = Echoes(plain=True, through=False)
ROUTED = Way(interface="servers", next_hop="198.51.100.9", source="198.51.100.1")
LINK = Link(name="servers", trouble="has no carrier")


def test_no_module() -> None:
    finding = only(Observations(table_error='this kernel has no IPVS loaded: run "modprobe ip_vs" as root'))
    assert (finding.name, finding.sureness, finding.command) == (
        "table-unreadable",
        Sureness.CERTAIN,
        "modprobe ip_vs",
    )


def test_broken_configuration() -> None:
    finding = only(Observations(config_errors=("c.toml:3: wrong", "c.toml:9: wrong")))
    assert finding.name == "config-broken"
    assert "2 errors: c.toml:3: wrong" in finding.seen


def test_scheduler_that_this_kernel_lacks() -> None:
    finding = only(director(service(is_in_table=False, scheduler="mh")))
    assert (finding.name, finding.sureness) == ("scheduler-missing", Sureness.CERTAIN)
    assert "ip_vs_mh" in finding.seen


@pytest.mark.parametrize(
    ("daemon", "command"),
    [(None, "systemctl start lvs-healthd"), (Daemon(version="1", mode="enforce"), "lvs-healthd table 'web'")],
)
def test_service_that_is_not_in_the_table(daemon: Daemon | None, command: str) -> None:
    finding = only(director(service(is_in_table=False, scheduler="wlc"), daemon=daemon))
    assert (finding.name, finding.command) == ("service-missing", command)


def test_unknown_modules_accuse_no_scheduler() -> None:
    assert names(director(service(is_in_table=False, scheduler="mh"), host=host(installed=None))) == ["service-missing"]


@pytest.mark.parametrize("weight", [0, None])
def test_service_in_which_nobody_serves(weight: int | None) -> None:
    finding = only(director(service(server(weight=weight))))
    assert finding.name == "nobody-serves"
    assert ("1 server, all of weight 0" if weight == 0 else "no server") in finding.seen


def test_address_that_is_not_here() -> None:
    finding = only(director(service(server(after=counts(50, 30)), way=Way(interface="clients"))))
    assert (finding.name, finding.command) == ("address-not-here", f"ip address add {VIP}/32 dev clients")


@pytest.mark.parametrize(("vendor", "sureness"), [("Amazon EC2", Sureness.CERTAIN), ("", Sureness.LIKELY)])
def test_public_address_that_the_cloud_translates(vendor: str, sureness: Sureness) -> None:
    seen = director(
        service(server(after=counts(50, 30)), address="52.1.2.3", way=Way(interface="eth0"), interface=""),
        host=host(vendor=vendor, links=(Link(name="eth0", addresses=("172.31.12.46/20",)),)),
    )
    finding = only(seen)
    assert (finding.name, finding.sureness) == ("public-address", sureness)
    assert 'address = "172.31.12.46:80"' in finding.command


def test_server_that_answers_arp_for_the_service() -> None:
    thief = Answerer(hardware="02:00:00:00:00:12", server=RS2)
    finding = only(director(service(server(**DR), answerers=(thief,))))
    assert (finding.name, finding.on, finding.sureness) == ("server-answers-arp", RS2, Sureness.CERTAIN)
    assert "arp_ignore=1" in finding.command


def test_two_directors_that_have_the_address() -> None:
    finding = only(director(service(answerers=(Answerer(hardware="02:00:00:00:00:99"),))))
    assert finding.name == "address-twice"
    assert "02:00:00:00:00:99" in finding.seen


def test_mark_that_no_rule_sets() -> None:
    marked = service(
        server(before=Counts(), after=Counts(), established=0), address="", port=0, fwmark=7, way=None, interface=""
    )
    finding = only(director(marked))
    assert (finding.name, finding.sureness) == ("mark-unset", Sureness.LIKELY)
    assert names(director(marked, host=host(has_legacy_rules=True))) == []
    assert names(director(marked, host=host(rules=None))) == []


def test_ftp_by_nat_without_its_helper() -> None:
    assert only(director(service(server(port=21), port=21))).command == "modprobe ip_vs_ftp"


def test_forwarding_off_explains_silent_servers() -> None:
    finding = only(director(service(silent()), host=sysctls(net__ipv4__ip_forward="0")))
    assert finding.name == "forwarding-off"
    assert "2 packets to 198.51.100.11:80, 0 back, 1 connection half open" in finding.seen
    assert finding.command.startswith("sysctl -w net.ipv4.ip_forward=1")


def test_forwarding_off_on_one_interface() -> None:
    finding = only(director(service(server()), host=sysctls(net__ipv4__conf__servers__forwarding="0")))
    assert finding.command.startswith("sysctl -w net.ipv4.conf.servers.forwarding=1")


def test_forwarding_off_for_ipv6() -> None:
    six = service(server("2001:db8:2::11"), address="2001:db8:1::100", family="ipv6")
    finding = only(director(six, host=sysctls(net__ipv6__conf__all__forwarding="0")))
    assert finding.command.startswith("sysctl -w net.ipv6.conf.all.forwarding=1")


UNASKED = server(before=Counts(), after=Counts(), established=0, echoes=Echoes(plain=True, through=False, source=VIP))
LATELY = server(before=counts(500, 300), after=counts(503, 300), established=0, half_open=3, echoes=Echoes())


@pytest.mark.parametrize(
    ("lost", "sureness"),
    [
        (silent(echoes=Echoes()), Sureness.LIKELY),
        (silent(echoes=ASKED), Sureness.LIKELY),
        (UNASKED, Sureness.POSSIBLE),
        (LATELY, Sureness.LIKELY),
    ],
    ids=["counters", "both", "echo", "since a moment ago"],
)
def test_server_whose_answers_take_another_way(lost: Server, sureness: Sureness) -> None:
    finding = only(director(service(lost)))
    assert (finding.name, finding.sureness, finding.on) == ("answers-elsewhere", sureness, RS1)
    assert finding.command == "ip route replace default via 198.51.100.1"


def test_echo_that_comes_back_makes_it_less_sure() -> None:
    finding = only(director(service(silent(echoes=Echoes(plain=True, through=True)))))
    assert finding.sureness is Sureness.POSSIBLE


def test_silent_server_behind_a_router_needs_fullnat() -> None:
    finding = only(director(service(silent(way=ROUTED, network="", echoes=Echoes()))))
    assert (finding.on, finding.command.partition("   #")[0]) == ("", 'forward = "fullnat"')


def test_udp_whose_checks_expect_answers_is_silent() -> None:
    dns: dict[str, Any] = {
        "before": counts(30, 0),
        "after": counts(34, 0),
        "established": 0,
        "echoes": Echoes(),
        "port": 53,
    }
    assert names(director(service(server(**dns), protocol="udp", port=53))) == ["answers-elsewhere"]


def test_client_beside_the_servers() -> None:
    finding = only(director(service(silent(half_open_clients=("192.0.2.9", "198.51.100.77")))))
    assert (finding.name, finding.sureness) == ("client-beside-servers", Sureness.CERTAIN)
    assert "198.51.100.77" in finding.seen


def test_client_beside_the_servers_while_others_are_answered() -> None:
    finding = only(director(service(server(half_open=1, half_open_clients=("198.51.100.77",)))))
    assert (finding.name, finding.sureness) == ("client-beside-servers", Sureness.LIKELY)
    assert names(director(service(server(half_open=1, half_open_clients=("192.0.2.9",))))) == []


def test_one_packet_by_nat_with_answers() -> None:
    dns: dict[str, Any] = {"before": counts(30, 0), "after": counts(34, 0), "established": 0, "port": 53}
    finding = only(director(service(server(**dns), protocol="udp", port=53, is_one_packet=True)))
    assert (finding.name, finding.sureness) == ("one-packet-answers", Sureness.LIKELY)


def test_redirects_of_a_one_armed_nat() -> None:
    sent = host(counters_before={"Icmp.OutRedirects": 1}, counters_after={"Icmp.OutRedirects": 5})
    finding = only(director(service(server(), interface="servers"), host=sent))
    assert finding.name == "redirects-sent"
    assert "sent 4 ICMP redirects" in finding.seen


def test_reverse_path_check_that_drops_answers() -> None:
    dropping = host(counters_before={}, counters_after={"TcpExt.IPReversePathFilter": 6})
    finding = only(director(service(silent(echoes=Echoes())), host=dropping))
    assert (finding.name, finding.sureness) == ("reverse-path", Sureness.LIKELY)
    assert "6 packets were dropped" in finding.seen
    idle = server(before=Counts(), after=Counts(), established=0)
    assert names(director(service(server(), idle), host=dropping)) == []  # strangers' packets, as on any host


def test_no_route() -> None:
    assert names(director(service(server(way=None, network="")))) == ["no-route"]


def test_link_down_explains_the_rest() -> None:
    seen = director(service(silent(answers_arp=False)), host=host(links=(LINK,)))
    finding = only(seen)
    assert (finding.name, finding.command) == ("link-down", "ethtool servers")


@pytest.mark.parametrize(
    ("fields", "sureness"),
    [
        ({"answers_arp": False, "neighbour": "FAILED"}, Sureness.CERTAIN),
        ({"answers_arp": None, "neighbour": "FAILED"}, Sureness.LIKELY),
        ({"answers_arp": None, "neighbour": "INCOMPLETE", "way": ROUTED}, Sureness.LIKELY),
    ],
    ids=["asked", "not asked", "router"],
)
def test_server_that_is_not_there(fields: dict[str, Any], sureness: Sureness) -> None:
    finding = only(director(service(silent(echoes=Echoes(), **fields))))
    assert (finding.name, finding.sureness) == ("server-absent", sureness)
    assert ("198.51.100.9" if "way" in fields else RS1) in finding.command


@pytest.mark.parametrize("shown", [{"echoes": Echoes(plain=True, through=True)}, {"verdict": "up"}])
def test_lost_arp_question_alone_accuses_nobody(shown: dict[str, Any]) -> None:
    assert names(director(service(server(before=counts(55, 33), answers_arp=False, **shown)))) == []


def test_cloud_whose_network_answers_for_everybody_is_no_second_director() -> None:
    seen = director(service(answerers=(Answerer(hardware="12:34:56:78:9a:bc"),)), host=host(vendor="Amazon EC2"))
    assert names(seen) == []


def test_neighbour_that_failed_before_but_answers_now_is_there() -> None:
    assert names(director(service(server(neighbour="FAILED", answers_arp=True)))) == []


def test_dr_server_behind_a_router() -> None:
    finding = only(director(service(server(**DR, way=ROUTED, network="", echoes=Echoes()))))
    assert (finding.name, finding.sureness) == ("dr-behind-router", Sureness.CERTAIN)


def test_dr_server_on_another_port() -> None:
    assert names(director(service(server(**DR, port=8080)))) == ["port-kept"]


@pytest.mark.parametrize(
    ("forward", "tunnel", "half_open", "sureness"),
    [("dr", "", 0, Sureness.LIKELY), ("tun", "ipip", 0, Sureness.POSSIBLE), ("tun", "ipip", 1, Sureness.LIKELY)],
)
def test_server_without_the_address(forward: str, tunnel: str, half_open: int, sureness: Sureness) -> None:
    fields = {**DR, "forward": forward, "tunnel": tunnel, "half_open": half_open, "echoes": ASKED}
    finding = only(director(service(server(**fields))))
    assert (finding.name, finding.sureness, finding.on) == ("address-missing", sureness, RS1)
    assert f"ip address add {VIP}/32 dev lo" in finding.command
    assert ("tunl0.rp_filter=0" in finding.command) is bool(tunnel)


def test_daemon_whose_probes_through_the_service_fail_names_the_cause() -> None:
    told = "answers on its own address, not by dr: 192.0.2.100 missing on the server"
    found = judge(director(service(server(**DR, reason=told, verdict="down"))))
    assert [each.name for each in found] == ["address-missing", "server-down"] or [each.name for each in found] == [
        "server-down",
        "address-missing",
    ]


def test_tunnel_that_the_server_refuses() -> None:
    refused = Echoes(plain=True, through=False, refused=True)
    finding = only(director(service(server(**{**DR, "forward": "tun"}, tunnel="gre", echoes=refused))))
    assert (finding.name, finding.sureness) == ("tunnel-refused", Sureness.CERTAIN)
    assert "ip link set gre0 up" in finding.command


def test_tunnel_too_small_for_ipv6() -> None:
    narrow = host(links=(Link(name="servers", mtu=1300), Link(name="clients")))
    six = service(server(**{**DR, "forward": "tun"}, tunnel="ipip"), address="2001:db8:1::100", family="ipv6")
    assert names(director(six, host=narrow)) == []
    tight = host(links=(Link(name="servers", mtu=1290), Link(name="clients")))
    finding = only(director(six, host=tight))
    assert (finding.name, finding.command) == ("tunnel-too-small", "ip link set servers mtu 1300")
    assert "1270 of them" in finding.seen


def test_backup_director_that_is_a_server_itself() -> None:
    here = server(**DR, way=LOCAL, answers_arp=None, echoes=Echoes())
    finding = only(director(service(here), host=host(sync_roles=("backup",))))
    assert finding.name == "backup-loops"


def test_advice_of_the_daemon_becomes_a_finding_with_figures() -> None:
    advice = Advice("net.ipv4.vs.expire_nodest_conn", "0", "web", "packets are dropped silently")
    finding = only(director(advice=(advice,), lost_connections={"web": 12}))
    assert (finding.name, finding.command) == ("sysctl", "sysctl -w net.ipv4.vs.expire_nodest_conn=1")
    assert "12 connections go to servers that are not in the table" in finding.seen
    forwarding = Advice("net.ipv4.ip_forward", "0", "web", "x")
    assert names(director(advice=(forwarding,))) == []  # judged with what was seen of the servers


def test_advice_that_only_the_daemon_has() -> None:
    told = "net.ipv4.conf.eth0.accept_local is 0: drops answers: sysctl -w net.ipv4.conf.eth0.accept_local=1"
    finding = only(director(daemon=Daemon(version="1", mode="enforce", advice=(told,))))
    assert finding.why == "drops answers: sysctl -w net.ipv4.conf.eth0.accept_local=1"


def test_persistent_clients_of_a_quiesced_server() -> None:
    bound = Counts(in_packets=9, out_packets=9, persistent=4)
    down = server(RS2, weight=0, verdict="down", before=bound, after=bound)
    found = judge(director(service(server(), down, persistence_s=300)))
    assert [each.name for each in found] == ["sticky-clients", "server-down"]
    assert found[0].sureness is Sureness.CERTAIN
    drained = server(RS2, weight=0, state="drained", before=bound, after=bound)
    assert names(director(service(server(), drained, persistence_s=300))) == []


def test_setting_that_is_not_as_configured() -> None:
    finding = only(director(settings=(Difference(name="net.ipv4.vs.conntrack", found="0", wanted="1"),)))
    assert finding.command == "sysctl -w net.ipv4.vs.conntrack=1"


def test_table_of_tracked_connections_that_is_nearly_full() -> None:
    assert only(director(host=host(tracked=950, tracked_most=1000))).name == "conntrack-full"
    assert names(director(host=host(tracked=899, tracked_most=1000))) == []


def test_table_that_overflowed_meanwhile() -> None:
    finding = only(director(host=host(overflows=("the ARP table is full: raise gc_thresh3",))))
    assert (finding.name, finding.command) == ("table-overflow", "raise gc_thresh3")


def test_sync_daemon_on_a_dead_interface() -> None:
    seen = director(
        service(interface=""), host=host(sync_interfaces=("sync0",), links=(Link(name="sync0", trouble="is down"),))
    )
    assert "ip link set sync0 up" in [each.command for each in judge(seen)]


def test_what_the_daemon_says_of_itself() -> None:
    finding = only(director(daemon=Daemon(version="1", mode="enforce", troubles=("the table: not permitted",))))
    assert (finding.name, finding.seen) == ("daemon", "the table: not permitted")
    assert only(director(daemon_error="the daemon is stuck")).seen == "the daemon is stuck"


def test_two_writers_of_one_table() -> None:
    seen = director(daemon=Daemon(version="1", mode="enforce", fights=3), host=host(writers=("ldirectord",)))
    assert "3 lines of the table again and again: ldirectord runs here" in only(seen).seen


def test_server_that_is_down_or_whose_certificate_ends() -> None:
    down = server(RS2, verdict="down", reason="http: status 500", remarks=("its certificate ends in 3 days",))
    assert names(director(service(server(), down))) == ["server-down", "check-remark"]


def test_many_findings_of_one_kind_are_counted() -> None:
    gone = [server(f"198.51.100.{number}", way=None, network="") for number in range(1, 40)]
    found = judge(director(service(*gone)))
    assert len(found) <= MOST_OF_A_KIND
    assert sum(1 + each.others for each in found) == len(gone)
