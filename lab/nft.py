"""Sets nftables rules on a machine of the lab: firewall marks for IPVS, and counters of incoming packets."""

import json
from collections.abc import Mapping

from lab.netns import Namespace


def mark(director: Namespace, marks: Mapping[str, int]) -> None:
    """Set firewall marks on incoming packets.

    marks: the mark for each match in nft's language: `{"ip daddr 192.0.2.100 tcp dport { 80, 443 }": 7}`.
    """
    rules = "\n".join(f"{match} meta mark set {value}" for match, value in marks.items())
    # prerouting comes before the input hook, where IPVS takes the packets.
    _load(director, "marks", f"chain marking {{ type filter hook prerouting priority mangle; {rules}\n }}")


def count(machine: Namespace, matches: Mapping[str, str]) -> None:
    """Count incoming packets. `counted` returns the counts.

    matches: a match in nft's language for each counter's name: `{"gre": "ip protocol gre"}`.
    """
    names = "\n".join(f"counter {name} {{ }}" for name in matches)
    rules = "\n".join(f"{match} counter name {name}" for name, match in matches.items())
    _load(machine, "witness", f"{names}\n chain counting {{ type filter hook prerouting priority raw; {rules}\n }}")


def counted(machine: Namespace) -> dict[str, int]:
    """Return how many packets each counter has counted since `count`, by the counter's name."""
    listing = json.loads(machine.run(["nft", "--json", "list", "counters", "table", "inet", "witness"]).stdout)
    counters = [entry["counter"] for entry in listing["nftables"] if "counter" in entry]
    return {counter["name"]: counter["packets"] for counter in counters}


def _load(machine: Namespace, table: str, content: str) -> None:
    machine.run(["nft", "--file", "-"], stdin=f"table inet {table} {{\n{content}\n}}\n")
