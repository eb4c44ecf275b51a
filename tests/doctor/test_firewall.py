"""Rules of nftables are followed as the kernel follows them; what is not understood never counts as a drop."""

from typing import Any

import pytest

from lvs_healthd.doctor.finding import Sureness
from lvs_healthd.doctor.firewall import Drop, Packet, Ruleset
from lvs_healthd.doctor.observations import Service
from tests.doctor.seen import RS1, VIP, director, host, names, only, server, service, silent

ANSWER = Packet("ipv4", "tcp", RS1, "", 80, 0, "servers", "clients", "invalid")


def chain(name: str = "c", **base: Any) -> dict[str, Any]:
    return {"chain": {"family": "inet", "table": "f", "name": name, "handle": 1, **base}}


def base(policy: str = "accept", hook: str = "forward", prio: int = 0, name: str = "c") -> dict[str, Any]:
    return chain(name, type="filter", hook=hook, prio=prio, policy=policy)


def rule(*statements: dict[str, Any], at: str = "c", handle: int = 7) -> dict[str, Any]:
    return {"rule": {"family": "inet", "table": "f", "chain": at, "handle": handle, "expr": list(statements)}}


def match(left: Any, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def payload(protocol: str, field: str) -> dict[str, Any]:
    return {"payload": {"protocol": protocol, "field": field}}


def meta(key: str) -> dict[str, Any]:
    return {"meta": {"key": key}}


ACCEPT: dict[str, Any] = {"accept": None}
DROP: dict[str, Any] = {"drop": None}
REJECT: dict[str, Any] = {"reject": {"type": "icmp", "expr": "admin-prohibited"}}
STATE: dict[str, Any] = {"ct": {"key": "state"}}
UNKNOWN: dict[str, Any] = {"xt": {"type": "match", "name": "recent"}}
POLICY = Drop("inet", "f", "c", 0)
RULE = Drop("inet", "f", "c", 7)


@pytest.mark.parametrize(
    ("listing", "drop"),
    [
        ([base()], None),
        ([base("drop")], POLICY),
        ([base("drop", hook="output")], None),
        ([base(), rule(DROP)], RULE),
        ([base(), rule({"counter": {"packets": 0, "bytes": 0}}, REJECT)], RULE),
        ([base("drop"), rule(ACCEPT)], None),
        ([base("drop"), rule(match(meta("iifname"), "servers"), match(meta("oifname"), "clients"), ACCEPT)], None),
        ([base("drop"), rule(match(meta("iifname"), "clients"), ACCEPT)], POLICY),
        ([base("drop"), rule(match(meta("iifname"), "serv*"), ACCEPT)], None),
        (
            [
                base("drop"),
                rule(match(payload("ip", "saddr"), {"prefix": {"addr": "198.51.100.0", "len": 24}}), ACCEPT),
            ],
            None,
        ),
        (
            [base("drop"), rule(match(payload("ip", "saddr"), {"prefix": {"addr": "10.0.0.0", "len": 8}}), ACCEPT)],
            POLICY,
        ),
        ([base("drop"), rule(match(payload("ip", "saddr"), {"set": ["10.0.0.1", RS1]}), ACCEPT)], None),
        ([base("drop"), rule(match(payload("ip", "saddr"), "10.0.0.1", "!="), ACCEPT)], None),
        ([base("drop"), rule(match(payload("ip6", "saddr"), "::1"), ACCEPT)], POLICY),
        ([base("drop"), rule(match(payload("ip", "saddr"), "@good"), ACCEPT)], None),
        ([base("drop"), rule(match(payload("tcp", "sport"), 80), ACCEPT)], None),
        ([base("drop"), rule(match(payload("tcp", "sport"), {"range": [1, 79]}), ACCEPT)], POLICY),
        ([base("drop"), rule(match(payload("udp", "sport"), 80), ACCEPT)], POLICY),
        ([base("drop"), rule(match(payload("ip", "daddr"), "192.0.2.2"), ACCEPT)], None),
        ([base("drop"), rule(match(meta("l4proto"), "tcp"), ACCEPT)], None),
        ([base("drop"), rule(match(meta("l4proto"), 17), ACCEPT)], POLICY),
        ([base("drop"), rule(match(STATE, ["established", "related"], "in"), ACCEPT)], POLICY),
        ([base("drop"), rule(UNKNOWN, ACCEPT)], None),
        ([base(), rule(UNKNOWN, DROP)], None),
        ([base(), rule({"limit": {"rate": 5}}, DROP)], None),
        ([base("drop"), rule({"xt": {"type": "target", "name": "LOG"}})], POLICY),
        ([base("drop"), rule({"xt": {"type": "target", "name": "SOMETHING"}})], None),
        ([base("drop"), rule({"vmap": {}})], None),
        ([base("drop"), rule({"xt": None})], None),
        ([base("drop"), chain("j"), rule({"jump": {"target": "j"}}), rule(ACCEPT, at="j")], None),
        ([base("drop"), chain("j"), rule({"jump": {"target": "j"}}), rule({"return": None}, at="j")], POLICY),
        (
            [base(), chain("j"), rule({"jump": {"target": "j"}}), rule(DROP, at="j", handle=9)],
            Drop("inet", "f", "j", 9),
        ),
        ([base("drop"), chain("j"), rule({"goto": {"target": "j"}}), rule(ACCEPT)], POLICY),
        ([base(prio=0), base("drop", prio=10, name="later"), rule(ACCEPT)], Drop("inet", "f", "later", 0)),
    ],
)
def test_fate_of_an_answer(listing: list[dict[str, Any]], drop: Drop | None) -> None:
    assert Ruleset(listing).drop("forward", ANSWER) == drop


def test_rules_for_invalid_packets_are_recognised() -> None:
    listing = [base(), rule(match(STATE, ["established"], "in"), ACCEPT), rule(match(STATE, "invalid"), DROP)]
    found = Ruleset(listing).drop("forward", ANSWER)
    assert found is not None
    assert found.is_for_invalid
    assert Ruleset(listing).drop("forward", ANSWER._replace(state="established")) is None


def test_chains_that_jump_in_circles_end() -> None:
    listing = [base("drop"), chain("j"), rule({"jump": {"target": "j"}}), rule({"jump": {"target": "j"}}, at="j")]
    assert Ruleset(listing).drop("forward", ANSWER) is None


def test_own_table_and_other_families_are_left_out() -> None:
    six = {"chain": {**base("drop")["chain"], "family": "ip6"}}
    own = {"chain": {**base("drop")["chain"], "table": "lvs_healthd"}}
    assert Ruleset([six, own]).drop("forward", ANSWER) is None


def test_rules_of_docker_let_published_answers_through_only_for_its_bridge() -> None:
    """The rules that Docker writes: policy drop, jumps, and accepts for its own bridge."""
    listing = [
        base("drop"),
        chain("DOCKER-USER"),
        chain("DOCKER"),
        rule({"jump": {"target": "DOCKER-USER"}}),
        rule({"return": None}, at="DOCKER-USER"),
        rule(match(meta("oifname"), "docker0"), {"xt": {"type": "match", "name": "conntrack"}}, ACCEPT),
        rule(match(meta("oifname"), "docker0"), {"jump": {"target": "DOCKER"}}),
        rule(match(meta("iifname"), "docker0"), ACCEPT),
    ]
    assert Ruleset(listing).drop("forward", ANSWER) == POLICY


def test_answers_that_the_policy_drops() -> None:
    finding = only(director(service(silent()), host=host(rules=[base("drop")])))
    assert (finding.name, finding.sureness) == ("answers-dropped", Sureness.CERTAIN)
    assert finding.command == f"nft insert rule inet f c ip saddr {RS1} tcp sport 80 accept"


def test_answers_that_may_leave_by_another_interface_are_not_called_dropped() -> None:
    rules = [base("drop"), rule(match(meta("oifname"), "uplink"), ACCEPT)]
    assert names(director(service(leaves=("clients",)), host=host(rules=rules))) == ["answers-dropped"] * 2
    assert names(director(service(leaves=("clients", "uplink")), host=host(rules=rules))) == []


def test_invalid_answers_are_mended_by_tracking() -> None:
    rules = [base(), rule(match(STATE, "invalid"), DROP)]
    finding = only(director(service(silent()), host=host(rules=rules)))
    assert finding.command.startswith("sysctl -w net.ipv4.vs.conntrack=1")
    udp = service(server(), protocol="udp", expects_answers=True)
    assert names(director(udp, host=host(rules=rules))) == []


def test_dr_is_not_concerned_by_the_forward_hook() -> None:
    by_dr = server(forward="dr")
    assert names(director(service(by_dr), host=host(rules=[base("drop")]))) == []


def test_clients_that_the_input_hook_drops() -> None:
    ssh = rule(match(payload("tcp", "dport"), 22), ACCEPT)
    finding = only(director(host=host(rules=[base("drop", hook="input"), ssh])))
    assert (finding.name, finding.service) == ("input-dropped", "web")
    assert finding.command == f"nft insert rule inet f c ip daddr {VIP} tcp dport 80 accept"


def by_tunnel(kind: str, port: int = 0) -> Service:
    return service(server(forward="tun", tunnel=kind, tunnel_port=port))


@pytest.mark.parametrize(
    ("allowed", "tunnel", "found"),
    [
        (match(payload("udp", "dport"), 6080), by_tunnel("gue", 6080), []),
        (match(payload("udp", "dport"), 6080), by_tunnel("gue", 6081), ["output-dropped"]),
        (match(meta("l4proto"), "ipencap"), by_tunnel("ipip"), []),
    ],
)
def test_wrapped_packets_pass_the_output_hook_with_their_outer_header(
    allowed: dict[str, Any], tunnel: Service, found: list[str]
) -> None:
    rules = [base("drop", hook="output"), rule(allowed, ACCEPT), rule(match(meta("l4proto"), "icmp"), ACCEPT)]
    assert names(director(tunnel, host=host(rules=rules))) == found


def test_clients_that_are_not_told_to_send_smaller_packets() -> None:
    rules = [base(hook="output"), rule(match(meta("l4proto"), "icmp"), DROP)]
    finding = only(director(by_tunnel("ipip"), host=host(rules=rules)))
    assert (finding.name, finding.sureness) == ("tunnel-too-small", Sureness.CERTAIN)
    assert "1480 of them into ipip" in finding.seen
    assert finding.command == "nft insert rule inet f c meta l4proto icmp accept"


def test_packets_to_servers_that_the_output_hook_drops() -> None:
    drops = rule(match(payload("ip", "daddr"), RS1), DROP)
    finding = only(director(service(silent()), host=host(rules=[base(hook="output"), drops])))
    assert (finding.name, finding.server) == ("output-dropped", f"{RS1}:80")
