"""Works out what the director's nftables rules do with a packet, as far as the rules can be understood. Pure.

A rule may match for certain, not match for certain, or perhaps: it asks for something that is not known of the packet,
or that is not understood here. Then both ways are followed. A packet counts as dropped only if every way drops it, so a
rule that is not understood never leads to a false alarm.

Source: libnftables-json(5), as nft 1.0 and 1.1 list rulesets.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

Rule = dict[str, Any]

_FAMILIES = {"ipv4": ("inet", "ip"), "ipv6": ("inet", "ip6")}
_NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17, "ipv6-icmp": 58, "icmpv6": 58, "sctp": 132}
_OWN_TABLE = "lvs_healthd"
"""The daemon's table, which drops nothing of its services."""
_DEEPEST = 16
"""How many jumps are followed into each other; the kernel's limit (NFT_JUMP_STACK_SIZE)."""
_ENDING = frozenset({"masquerade", "snat", "dnat", "redirect", "tproxy", "queue", "vmap", "synproxy"})
"""Statements after which a packet may be through with the chain."""
_HARMLESS_TARGETS = frozenset({"LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "CT", "NOTRACK", "CLASSIFY", "TRACE"})
"""Targets of iptables after which the next rule is looked at."""


class Packet(NamedTuple):
    """A packet on its way through a hook. "" and 0 stand for what is not known."""

    family: str
    """"ipv4" or "ipv6"."""
    protocol: str
    source: str = ""
    destination: str = ""
    source_port: int = 0
    destination_port: int = 0
    arrives: str = ""
    """The interface by which it arrives."""
    leaves: str = ""
    state: str = ""
    """Its state for connection tracking: "new", "established", "invalid", …."""


class Drop(NamedTuple):
    """What drops a packet."""

    family: str
    table: str
    chain: str
    handle: int
    """The rule's number; 0 for the chain's policy."""
    is_for_invalid: bool = False
    """Whether the rule drops packets because connection tracking calls them invalid."""

    def __str__(self) -> str:
        what = f"rule {self.handle}" if self.handle else "policy"
        return f"{what} of chain {self.chain} in table {self.family} {self.table}"


_PASSES = None
"""A way through a chain at whose end the packet is let through for good."""
_FALLS_THROUGH = Drop("", "", "", -1)
"""A way through a chain at whose end the next rule of the chain before is looked at."""

_RETURNS = Drop("", "", "", -2)
"""A way through a chain that leaves the chain, as `return` does."""

_Ends = dict[Drop | None, None]
"""The ways in which a chain can end, in the order of its rules."""


class Ruleset:
    """The rules of a host, as `nft -j list ruleset` lists them."""

    def __init__(self, listing: Iterable[Rule]) -> None:
        self._bases: list[Rule] = []
        self._rules: dict[tuple[str, str, str], list[Rule]] = {}
        for each in listing:
            if chain := each.get("chain"):
                self._rules.setdefault((chain["family"], chain["table"], chain["name"]), [])
                if chain.get("hook") and chain.get("type") == "filter" and chain["table"] != _OWN_TABLE:
                    self._bases.append(chain)
            elif rule := each.get("rule"):
                self._rules.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule)

    def drop(self, hook: str, packet: Packet) -> Drop | None:
        """Return what drops a packet at a hook ("input", "forward", …) for certain; None if it may pass."""
        for base in sorted(self._bases, key=lambda each: _priority(each.get("prio", 0))):
            if base["hook"] != hook or base["family"] not in _FAMILIES[packet.family]:
                continue
            ends = self._ends((base["family"], base["table"], base["name"]), packet, 0)
            if _FALLS_THROUGH in ends:
                del ends[_FALLS_THROUGH]
                dropped = Drop(base["family"], base["table"], base["name"], 0)
                ends[dropped if base.get("policy") == "drop" else _PASSES] = None
            if _PASSES not in ends:
                return next(iter(ends))
        return None

    def marks(self) -> tuple[set[int], bool]:
        """Return the firewall marks that rules set, and whether some rules set marks that cannot be read here."""
        found: set[int] = set()
        is_open = False
        for rule in (rule for rules in self._rules.values() for rule in rules):
            for statement in rule.get("expr", ()):
                mangled = statement.get("mangle") or {}
                if mangled.get("key") == {"meta": {"key": "mark"}}:
                    value = mangled.get("value")
                    if isinstance(value, int):
                        found.add(value)
                    else:
                        is_open = True
                if "xt" in statement:
                    is_open = True
        return found, is_open

    def _ends(self, at: tuple[str, str, str], packet: Packet, depth: int) -> _Ends:
        ends: _Ends = {}
        if depth > _DEEPEST:
            return {_PASSES: None}
        for rule in self._rules.get(at, ()):
            matches = _matches(rule.get("expr", ()), packet)
            if matches is False:
                continue
            found = self._after(rule, at, packet, depth)
            falls = _FALLS_THROUGH in found
            ends |= {_FALLS_THROUGH if each == _RETURNS else each: None for each in found if each != _FALLS_THROUGH}
            if matches and not falls:
                return ends
        ends[_FALLS_THROUGH] = None
        return ends

    def _after(self, rule: Rule, at: tuple[str, str, str], packet: Packet, depth: int) -> _Ends:
        """Return what may come of a packet that matches a rule."""
        family, table, _ = at
        for statement in rule.get("expr", ()):
            for word, detail in statement.items():
                if word == "accept":
                    return {_PASSES: None}
                if word in {"drop", "reject"}:
                    return {Drop(*at, int(rule.get("handle", 0)), _is_for_invalid(rule)): None}
                if word in {"jump", "goto"}:
                    ends = self._ends((family, table, detail["target"]), packet, depth + 1)
                    if word == "goto" and _FALLS_THROUGH in ends:
                        del ends[_FALLS_THROUGH]
                        ends[_RETURNS] = None
                    return ends
                if word == "return":
                    return {_RETURNS: None}
                if word in _ENDING or (word == "xt" and _may_end(detail)):
                    return {_PASSES: None, _FALLS_THROUGH: None}
        return {_FALLS_THROUGH: None}


def _may_end(detail: Any) -> bool:  # noqa: ANN401  # JSON
    if not isinstance(detail, dict):
        return True
    return detail.get("type") == "target" and detail.get("name") not in _HARMLESS_TARGETS


def _priority(value: Any) -> int:  # noqa: ANN401  # JSON
    return value if isinstance(value, int) else 0


def _is_for_invalid(rule: Rule) -> bool:
    return any(
        (match := statement.get("match")) is not None
        and match["left"] == {"ct": {"key": "state"}}
        and "invalid" in _listed(match["right"])
        for statement in rule.get("expr", ())
    )


def _matches(statements: Iterable[Mapping[str, Any]], packet: Packet) -> bool | None:
    """Return whether a packet matches all conditions of a rule; None if that cannot be told."""
    answers = [_answer(each, packet) for each in statements]
    if False in answers:
        return False
    return None if None in answers else True


def _answer(statement: Mapping[str, Any], packet: Packet) -> bool | None:
    if "match" in statement:
        return _match(statement["match"], packet)
    if "limit" in statement or ("xt" in statement and not _is_target(statement["xt"])):
        return None
    return True


def _is_target(detail: Any) -> bool:  # noqa: ANN401  # JSON
    return isinstance(detail, dict) and detail.get("type") == "target"


def _match(match: Mapping[str, Any], packet: Packet) -> bool | None:
    known = _known(match.get("left"), packet)
    if known is None:
        return None
    if known is False:
        return False
    answers = [_equals(known, each) for each in _listed(match.get("right"))]
    if match.get("op") not in {"==", "in", "!="}:
        return None
    found = True if True in answers else None if None in answers else False
    return found if match["op"] != "!=" or found is None else not found


def _known(left: Any, packet: Packet) -> object:  # noqa: ANN401  # JSON
    """Return what is known of the packet; None if nothing is, False if the packet has no such field."""
    if not isinstance(left, dict):
        return None
    match left:
        case {"meta": {"key": "iifname" | "iif"}}:
            return packet.arrives or None
        case {"meta": {"key": "oifname" | "oif"}}:
            return packet.leaves or None
        case {"meta": {"key": "l4proto"}} | {"payload": {"protocol": "ip", "field": "protocol"}}:
            return packet.protocol or None
        case {"payload": {"protocol": "ip6", "field": "nexthdr"}}:
            return packet.protocol or None
        case {"meta": {"key": "nfproto"}}:
            return packet.family
        case {"ct": {"key": "state"}}:
            return packet.state or None
        case {"payload": {"protocol": "ip" | "ip6" as protocol, "field": "saddr" | "daddr" as field}}:
            if (protocol == "ip6") is not (packet.family == "ipv6"):
                return False
            return (packet.source if field == "saddr" else packet.destination) or None
        case {"payload": {"protocol": str() as protocol, "field": "sport" | "dport" as field}}:
            if not packet.protocol:
                return None
            if protocol not in {packet.protocol, "th"}:
                return False
            return (packet.source_port if field == "sport" else packet.destination_port) or None
        case {"payload": {"protocol": "tcp" | "udp" | "icmp" | "icmpv6" | "sctp" as protocol}}:
            return None if _NUMBERS[protocol] == _NUMBERS.get(packet.protocol, _NUMBERS[protocol]) else False
        case _:
            return None


def _listed(right: Any) -> list[Any]:  # noqa: ANN401  # JSON
    if isinstance(right, dict) and "set" in right:
        return _listed(right["set"])
    return right if isinstance(right, list) else [right]


def _equals(known: object, value: Any) -> bool | None:  # noqa: ANN401  # JSON
    try:
        if isinstance(value, dict):
            return _is_within(known, value)
        if isinstance(value, str) and value.startswith("@"):
            return None
        if isinstance(known, str) and known in _NUMBERS and isinstance(value, int):
            return _NUMBERS[known] == value
        if isinstance(known, str) and isinstance(value, str):
            if value.endswith("*"):
                return known.startswith(value[:-1])
            if ":" in known:
                return ipaddress.ip_address(known) == ipaddress.ip_address(value)
            return _NUMBERS.get(known, known) == _NUMBERS.get(value, value)
        return bool(known == value) if type(known) is type(value) else None
    except ValueError:
        return None


def _is_within(known: object, value: Mapping[str, Any]) -> bool | None:
    match value:
        case {"prefix": {"addr": address, "len": length}} if isinstance(known, str):
            network = ipaddress.ip_network(f"{address}/{length}", strict=False)
            return ipaddress.ip_address(known) in network
        case {"range": [int() as first, int() as last]} if isinstance(known, int):
            return first <= known <= last
        case {"range": [str() as first, str() as last]} if isinstance(known, str):
            low, high, there = (int(ipaddress.ip_address(each)) for each in (first, last, known))
            return low <= there <= high
        case {"elem": {"val": inner}}:
            return _equals(known, inner)
        case _:
            return None
