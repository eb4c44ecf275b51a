"""Notices that a rule of the director's own firewall drops what the director sends.

A dropped packet leaves no error and no trace but in the rule's counter, if the rule has one. So the counters are read
twice, and a rule whose counter has risen meanwhile has dropped something. Only nftables is read, which is also what
today's iptables command writes to.
"""

from collections.abc import Iterator
from typing import Any

from lvs_healthd.director.aspect import SettingError
from lvs_healthd.director.nft import decode, is_there, nft
from lvs_healthd.runtime.netns import Netns

_SENDING = frozenset({"output", "postrouting"})
"""The hooks that every packet of a probe passes."""

Drops = dict[tuple[str, str, str, int], int]
"""The counter of each rule that drops: packets, by the rule's family, table, chain and handle."""


def read_drops() -> Drops | None:
    """Read the counters of the rules that drop packets on their way out. This blocks.

    Returns None if they cannot be read: nft is not installed, or may not be used.
    """
    if not is_there():
        return None
    try:
        output = nft(Netns(), "list", "ruleset")
        return dropping(decode(output)) if output is not None else {}
    except SettingError:
        return None


def risen(before: Drops, after: Drops) -> list[str]:
    """Return in words which rules have dropped packets between two readings."""
    return [
        f"our own firewall drops packets: chain {chain} of table {family} {table}, rule {handle} "
        f"(see: nft -a list chain {family} {table} {chain})"
        for (family, table, chain, handle), packets in after.items()
        if packets > before.get((family, table, chain, handle), packets)
    ]


def dropping(listing: list[dict[str, Any]]) -> Drops:
    """Return the counters of the rules that drop what the host sends, from the output of `nft -j list ruleset`."""
    chains: set[tuple[str, str, str]] = set()
    rules: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for entry in listing:
        chain, rule = entry.get("chain"), entry.get("rule")
        if chain is not None and chain.get("hook") in _SENDING:
            chains.add((chain["family"], chain["table"], chain["name"]))
        if rule is not None:
            rules.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule)
    drops: Drops = {}
    seen: set[tuple[str, str, str]] = set()
    while chains:
        family, table, name = at = chains.pop()
        seen.add(at)
        for rule in rules.get(at, ()):
            expressions = rule.get("expr", ())
            chains |= {each for target in _targets(expressions) if (each := (family, table, target)) not in seen}
            packets = [each["counter"]["packets"] for each in expressions if isinstance(each.get("counter"), dict)]
            if packets and any("drop" in each for each in expressions):
                drops[family, table, name, int(rule["handle"])] = int(packets[0])
    return drops


def _targets(expressions: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the chains to which a rule sends packets."""
    for each in expressions:
        for word in ("jump", "goto"):
            if isinstance(each.get(word), dict):
                yield each[word]["target"]
