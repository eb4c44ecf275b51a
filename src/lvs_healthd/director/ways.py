"""Knows by which interface and next hop each target is reached, as it was while all was well.

The routes are asked for in the background, little by little. When the network breaks, somebody must know which targets
were behind the same interface. So a route that is gone is remembered, and another one counts when it is found twice.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.director import links
from lvs_healthd.runtime.threads import HungError, in_thread

AT_ONCE = 256
"""How many routes a thread asks for in one go. That takes some milliseconds."""

EVERY_S = 1.0
"""The minimum time between two goes in which known routes are asked for again, seconds. Fifty thousand targets take
200 s."""

CYCLE_S = 120.0
"""The minimum time after which a route is asked for again, seconds. Routes change seldom, and an old one does no more
harm than that the brake counts a target behind the interface where it was."""


class Hop(NamedTuple):
    """How packets to a target leave the director."""

    interface: str
    """The interface's name."""
    number: int
    """The interface's index."""
    next_hop: str
    """The address of the router behind it; "" for a target in the interface's own network."""


class Ways:
    """The ways to all targets.

    checks: returns the checks of all probes.
    """

    def __init__(self, checks: Callable[[], Iterable[AnyCheck]]) -> None:
        self._checks = checks
        self._ways: dict[str, tuple[str, ...]] = {}
        """The names of the ways to each address; () if packets to it do not leave the director."""
        self._named: dict[tuple[str, str], tuple[str, ...]] = {}
        """The same tuple for all targets with the same interface and next hop, because there are so many."""
        self._hops: dict[str, Hop] = {}
        """The interface and next hop that each way's name stands for."""
        self._other: dict[str, tuple[str, ...]] = {}
        """Other ways than before that were found once."""
        self.is_frozen = False
        """Whether no known route is asked for again, because the network may be broken."""
        self._changed = asyncio.Event()

    def of(self, check: AnyCheck) -> tuple[str, ...]:
        """Return the names of the ways to a check's target: its interface, and the next hop behind it if there is one.

        Returns () if that is not known, or if packets to the target do not leave the director.
        """
        way = check.way
        if way is not None and way.interface:
            return self._names(way.interface, "")
        # What a mark does to the route is written in rules that are not looked at.
        return () if way is not None and way.mark else self._ways.get(check.address, ())

    def hop(self, name: str) -> Hop | None:
        """Return the interface and next hop that a way's name stands for; None if that is not known."""
        return self._hops.get(name)

    def configured(self) -> None:
        """Note that there may be new targets."""
        self._changed.set()

    async def run(self) -> None:
        """Ask for routes until cancelled."""
        while True:
            self._changed.clear()
            addresses = self._addresses()
            unknown = iter([address for address in addresses if address not in self._ways])
            while chunk := tuple(islice(unknown, AT_ONCE)):
                await self._ask(chunk)
            pause_s = max(EVERY_S, CYCLE_S * AT_ONCE / max(len(addresses), AT_ONCE))
            again = iter(addresses)
            while not await self._is_changed(pause_s) and (chunk := tuple(islice(again, AT_ONCE))):
                await self._ask(chunk)

    def _addresses(self) -> tuple[str, ...]:
        """Return the addresses of all targets, and forget the ways to others."""
        addresses = dict.fromkeys(check.address for check in self._checks() if check.address)
        self._ways = {address: names for address, names in self._ways.items() if address in addresses}
        return tuple(addresses)

    async def _is_changed(self, pause_s: float) -> bool:
        """Wait, and return whether there may be new targets. While `is_frozen`, wait for longer."""
        while True:
            try:
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()
                    return True
            except TimeoutError:
                if not self.is_frozen:
                    return False

    async def _ask(self, addresses: tuple[str, ...]) -> None:
        try:
            found = await in_thread(
                hops, addresses, timeout_s=links.DEADLINE_S, what="asking for the routes to real servers"
            )
        except (OSError, HungError):
            return
        for address, hop in found.items():
            if hop is None:
                continue
            names = self._names(hop.interface, hop.next_hop) if hop.interface else ()
            for name in names:
                self._hops[name] = hop if " via " in name else hop._replace(next_hop="")
            if self._ways.get(address, names) == names or self._other.get(address) == names:
                self._ways[address] = names
                self._other.pop(address, None)
            elif not self.is_frozen:
                self._other[address] = names

    def _names(self, interface: str, next_hop: str) -> tuple[str, ...]:
        names = (interface, f"{interface} via {next_hop}") if next_hop else (interface,)
        return self._named.setdefault((interface, next_hop), names)


def hops(addresses: Iterable[str]) -> dict[str, Hop | None]:
    """Return how packets to each address leave the director; None without a route. This blocks. Raises `OSError`.

    The interface of an address to which packets stay on this host is "".
    """
    found: dict[str, Hop | None] = {}
    names: dict[int, str] = {}
    with links.asking() as opened:
        for address in addresses:
            opened.send(links.route_request(address))
            route = links.route_of(links.answer_from(opened))
            if route is None or not route.interface:
                found[address] = None
                continue
            if route.interface not in names:
                names[route.interface] = socket.if_indextoname(route.interface)
            is_here = route.is_local or names[route.interface] == "lo"
            found[address] = Hop("" if is_here else names[route.interface], route.interface, route.next_hop)
    return found
