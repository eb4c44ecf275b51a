"""Reads `virtual_server_group`, whose entries are ranges of addresses and firewall marks."""

import ipaddress
import re

from lvs_healthd.importers.keepalived import words
from lvs_healthd.importers.keepalived.blocks import Node
from lvs_healthd.importers.keepalived.records import Entry
from lvs_healthd.importers.keepalived.told import MissingWordError, Told
from lvs_healthd.importers.keepalived.words import Address

_FAMILIES = {"inet": "ipv4", "inet6": "ipv6"}
_LAST_BYTE, _LAST_GROUP = 0xFF, 0xFFFF


def group(told: Told, node: Node) -> list[Entry]:
    """Read a group. Its name is the word behind the keyword."""
    entries = []
    for child in node.nodes:
        try:
            entry = _mark(told, child) if child.keyword == "fwmark" else _range(told, child)
        except MissingWordError:
            continue
        if entry:
            entries.append(entry)
    versions = {entry.first.version if entry.first else entry.family for entry in entries}
    if {4, 6} <= versions | {{"ipv4": 4, "ipv6": 6}.get(str(one), 0) for one in versions} and "" in versions:
        told.account.ignored(
            node.place, "keepalived removes a group of both families with a mark of none", *node.places()
        )
        return []
    if entries:
        told.carried(node)
    else:
        told.account.ignored(node.place, "keepalived removes a group without entries")
    return entries


def _mark(told: Told, node: Node) -> Entry | None:
    told.word(node)
    family = _FAMILIES.get(node.words[1]) if len(node.words) > 1 else ""
    if family is None:
        told.ignored(node, f"keepalived knows no family {node.words[1]!r}, and passes this mark over")
        return None
    mark = told.number(node, 0)
    return None if mark is None else Entry(node, fwmark=mark, family=family)


def _range(told: Told, node: Node) -> Entry | None:
    """Read an address, `a.b.c.d-e`, a range of two addresses or a network, with a port or without."""
    word = node.keyword
    first = words.address(word)
    port = words.port(node.words[0]) if node.words else words.Taken(0)
    if first is None or isinstance(port, words.Invalid):
        told.ignored(node, "keepalived does not understand this address or port, and passes it over")
        return None
    last = _network(first, word) if "/" in word else _last(first, word)
    if isinstance(last, str):
        told.ignored(node, f"keepalived passes it over, because {last}")
        return None
    told.taken(node, port)
    return Entry(node, first, last, port.value)


def _network(first: Address, word: str) -> Address | str:
    """Return the last address of a network, or what is wrong with it."""
    bits = word.partition("/")[2]
    try:
        return ipaddress.ip_network(f"{first}/{int(bits)}").broadcast_address if int(bits) else "a mask of 0 is none"
    except ValueError:
        return "its mask is wrong, or not all bits behind it are 0"


def _last(first: Address, word: str) -> Address | str:
    """Return the last address of a range, or what is wrong with it."""
    _start, dash, end = word.partition("-")
    if not dash:
        return first
    if ("." if first.version == 4 else ":") in end:  # IPv4
        last = words.address(end)
        if last is None or last.version != first.version:
            return "the end of the range is no address of this family"
        return last if int(last) >= int(first) else "the range ends before it begins"
    base, mask = (10, _LAST_BYTE) if first.version == 4 else (16, _LAST_GROUP)  # IPv4
    if not re.fullmatch("[0-9]+" if base == 10 else "[0-9a-fA-F]+", end) or int(end, base) > mask:
        return "the end of the range is wrong"
    if int(end, base) <= int(first) & mask:
        return "the range ends before it begins"
    return type(first)(int(first) & ~mask | int(end, base))
