"""The rules as values. tests/kernel/test_director.py shows that nft accepts them and lists them as equal."""

from typing import Any

import pytest

from lvs_healthd.director.ruleset import describe, normal, ruleset, transaction
from tests.config.reading import read, service

CHECK = '{ type = "tcp", port = 80 }'


def rules(text: str) -> list[dict[str, Any]]:
    return [each["rule"] for each in ruleset(read(text).services) if "rule" in each]


def right(rule: dict[str, Any]) -> list[Any]:
    """Return the values that a rule's matches compare with, and the name of its final statement."""
    return [one["match"]["right"] if "match" in one else next(iter(one)) for one in rule["expr"]]


def test_services_without_need_have_no_rules_and_no_table() -> None:
    assert ruleset(read(service()).services) == []
    assert list(transaction([])["nftables"][-1]) == ["delete"]


def test_fullnat_of_a_service_names_its_own_servers_only() -> None:
    servers = '["198.51.100.12:8080", "198.51.100.11:8080", { address = "198.51.100.13", forward = "nat" }]'
    (rule,) = rules(service('forward = "fullnat"', servers=servers))
    pairs = {"set": [{"concat": ["198.51.100.11", 8080]}, {"concat": ["198.51.100.12", 8080]}]}
    assert right(rule) == ["192.0.2.100", "tcp", 80, pairs, "masquerade"]
    assert (rule["chain"], rule["comment"]) == ("postrouting", "web")


def test_fullnat_of_a_fallback_alone() -> None:
    (rule,) = rules(service('fallback = [{ address = "198.51.100.99", forward = "fullnat" }]'))
    assert right(rule)[3] == {"set": [{"concat": ["198.51.100.99", 80]}]}


def test_fullnat_of_marks_and_of_all_ports() -> None:
    (rule,) = rules(service('fwmark = 7\nforward = "fullnat"', check=CHECK))
    assert right(rule) == [7, "198.51.100.11", "masquerade"]
    text = 'address = "[2001:db8::1]:0"\npersistence = "5m"\nforward = "fullnat"'
    (rule,) = rules(service(text, servers='["[2001:db8::11]", "[2001:db8::10]"]', check=CHECK))
    assert right(rule) == ["2001:db8::1", "tcp", {"set": ["2001:db8::10", "2001:db8::11"]}, "masquerade"]


def test_synproxy_of_all_services_is_one_set_for_each_family() -> None:
    second = '[[service]]\nname = "b"\naddress = "192.0.2.100:81"\nsynproxy = true\ncheck = "tcp"\n'
    text = service("synproxy = true") + second + 'real_server = ["198.51.100.1"]'
    found = rules(text)
    assert [rule["chain"] for rule in found] == ["prerouting", "input", "input"]
    both = {"set": [{"concat": ["192.0.2.100", 80]}, {"concat": ["192.0.2.100", 81]}]}
    assert [right(rule) for rule in found] == [
        [both, "syn", "notrack"],
        [both, ["invalid", "untracked"], "synproxy"],
        [both, "invalid", "drop"],
    ]


def test_synproxy_announces_what_the_servers_have() -> None:
    second = '[[service]]\nname = "b"\naddress = "192.0.2.100:81"\nsynproxy = true\ncheck = "tcp"\n'
    text = service("synproxy = true\nsynproxy_mss = 1410\nsynproxy_wscale = 9") + second
    six = second.replace("192.0.2.100", "[2001:db8::1]").replace('"b"', '"c"') + 'real_server = ["[2001:db8::11]"]\n'
    found = rules(text + 'real_server = ["198.51.100.1"]\n' + six)
    told = {
        tuple(right(rule)[0]["set"][0]["concat"]): (options["mss"], options["wscale"])
        for rule in found
        if (options := rule["expr"][-1].get("synproxy"))
    }
    assert told == {("192.0.2.100", 80): (1410, 9), ("192.0.2.100", 81): (1460, 7), ("2001:db8::1", 81): (1440, 7)}
    assert [rule["chain"] for rule in found] == [*["prerouting"] * 3, *["input"] * 6]


def test_a_name_that_nft_could_not_hold_is_cut() -> None:
    long = "ä" * 100 + '"'
    (rule,) = rules(service('forward = "fullnat"').replace('"web"', f"'{long}'"))
    assert len(rule["comment"].encode()) <= 127
    assert rule["comment"] == "ä" * 63


def test_listing_in_another_order_with_handles_is_the_same() -> None:
    ours = ruleset(read(service('forward = "fullnat"', servers='["198.51.100.11", "198.51.100.12"]')).services)
    chain, rule = ours
    listed: list[dict[str, Any]] = [
        {"metainfo": {}},
        {"table": {"name": "lvs_healthd", "handle": 4}},
        {"rule": {**rule["rule"], "handle": 9, "expr": without_protocol(rule["rule"]["expr"])}},
        {"chain": {**chain["chain"], "handle": 1}},
    ]
    assert normal(listed) == normal(ours)
    for changed in ({**rule["rule"], "comment": "x"}, {**rule["rule"], "expr": rule["rule"]["expr"][:-1]}):
        assert normal([chain, {"rule": changed}]) != normal(ours)
    assert normal([*listed, {"set": {"name": "theirs"}}]) != normal(ours)


def without_protocol(expressions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return expressions as nft lists them: with the set reordered, and without the protocol."""
    address, _, port, pairs, statement = expressions
    turned = {"set": list(reversed(pairs["match"]["right"]["set"]))}
    return [address, port, {"match": {**pairs["match"], "right": turned}}, statement]


def test_flags_as_newer_versions_of_nftables_list_them_are_the_same() -> None:
    ours = ruleset(read(service("synproxy = true")).services)
    (rule,) = [each["rule"] for each in ours if each.get("rule", {}).get("chain") == "prerouting"]
    to_service, flags, notrack = rule["expr"]
    field, names = flags["match"]["left"]["&"]

    def listed(names: object) -> list[dict[str, Any]]:
        newer = {"match": {**flags["match"], "left": {"&": [field, {"|": names}]}}}
        theirs = {"rule": {**rule, "expr": [to_service, newer, notrack]}}
        return [theirs if each == {"rule": rule} else each for each in ours]

    assert normal(listed(names)) == normal(ours)
    assert normal(listed(names[1:])) != normal(ours)


def test_described_in_few_words() -> None:
    assert describe([]) == "none"
    assert describe(ruleset(read(service("synproxy = true")).services)) == "3 rules"
    assert describe(ruleset(read(service('forward = "fullnat"')).services)) == "1 rule"


def test_somebody_else_s_rule_of_any_kind_in_our_table_is_a_difference() -> None:
    ours = ruleset(read(service("synproxy = true")).services)
    prefix = {"prefix": {"addr": "10.0.0.0", "len": 8}}
    source = {"payload": {"protocol": "ip", "field": "saddr"}}
    mixed = {"match": {"op": "==", "left": source, "right": {"set": [prefix, "192.0.2.1", 7, {"concat": ["a", 1]}]}}}
    theirs = {"rule": {"family": "inet", "table": "lvs_healthd", "chain": "input", "expr": [mixed, {"accept": None}]}}
    assert normal([*ours, theirs]) != normal(ours)
    assert normal([*ours, theirs]) == normal([*ours, theirs])


@pytest.mark.parametrize("flags", ["dormant", ["dormant"], "lvs_healthd"])  # the last is what nft 1.0.6 lists
def test_a_table_with_flags_is_not_ours_as_it_should_be(flags: object) -> None:
    wanted = ruleset(read(service('forward = "fullnat"')).services)
    plain = {"table": {"family": "inet", "name": "lvs_healthd", "handle": 3}}
    flagged = {"table": {**plain["table"], "flags": flags}}
    assert normal([plain, *wanted]) == normal(wanted)
    found = normal([flagged, *wanted])
    assert found != normal(wanted)
    assert describe(found) == "1 rule, in a table with flags (dormant?)"
    assert normal([flagged]) != normal([])
