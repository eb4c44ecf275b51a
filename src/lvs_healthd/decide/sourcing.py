"""Decides whether what a source lists may take effect by itself. Pure.

A source is somebody else's program. One that lists nobody, or far fewer servers than before, is more likely to be wrong
than right: a template without its data, a query that found nothing, half of a file. Then the servers stay that it
listed before, and their checks go on deciding which of them serve. The rule is about the list alone, so it holds in
whatever state the servers are.
"""

from collections.abc import Iterable

from lvs_healthd.config.sources import Entry

MOST_NAMED = 3
"""How many servers a reason names at most."""

NO_GUARD = 100
"""The share in percent with which only a list without any server is held."""


def held_back(before: Iterable[Entry] | None, found: Iterable[Entry], share: int) -> str:
    """Say why a list does not take effect unless somebody says that it is meant; "" if it does.

    A server with weight 0 gets no clients, so it counts as one that is not listed.

    before: the list in force; None if there is none yet.
    found: the new list.
    share: the share of the listed servers that must go, at least, to hold it, percent (`reload_guard`).
    """
    kept = _weighty(found)
    if before is None:
        return "" if kept else "it lists no server, and nothing was known of it before"
    had = _weighty(before)
    lost = [address for address in had if address not in kept]
    if not lost:
        return ""
    if not kept:
        return f"it lists no server any more, and {_count(len(had))} before: {_named(lost)}"
    if share >= NO_GUARD or 100 * len(lost) < share * len(had):
        return ""
    return f"{len(lost)} of its {_count(len(had))} would be taken out, {share}% or more: {_named(lost)}"


def _weighty(entries: Iterable[Entry]) -> dict[str, None]:
    return {entry.address: None for entry in entries if entry.weight > 0}


def _named(addresses: list[str]) -> str:
    more = f" and {len(addresses) - MOST_NAMED} more" if len(addresses) > MOST_NAMED else ""
    return ", ".join(addresses[:MOST_NAMED]) + more


def _count(number: int) -> str:
    return "1 server" if number == 1 else f"{number} servers"
