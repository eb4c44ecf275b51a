"""Looks up a name whose records list real servers, again whenever they may have changed.

What is right about the answer is decided as for a file: a list counts as a whole or not at all. An answer that is an
error says nothing about the servers. That a name does not exist, or has no records any more, counts as a list of nobody
only if it lasts: while a zone is loaded again, name servers say the same.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from ipaddress import ip_address
from typing import NamedTuple, TypeVar

from lvs_healthd.config.addresses import MOST_PORT, server_addresses
from lvs_healthd.config.basics import Family
from lvs_healthd.config.errors import WrongValueError, show
from lvs_healthd.config.sources import Entry, Source
from lvs_healthd.discovery.listing import MOST_SERVERS, MOST_WEIGHT, ListError, written_address
from lvs_healthd.discovery.lookup import Addresses, Lookup, NoRecordsError, Target, Targets

GONE_S = 60.0
"""For how long a name must say that it has no records until that counts as a list of nobody, seconds. To load a zone
again takes less, and a reload of the daemon accepts the list only if an operator says so."""

LONGEST_S = 300.0
"""After how long a name is looked up again at the latest, seconds, whatever its records allow: whoever has mended a
record need not wait for a day."""

MOST_TARGETS = 256
"""How many hosts the SRV records of a name may name."""

MOST_AT_ONCE = 8
"""How many look-ups keep a thread each at the same time. Others wait for their turn."""

_turns = threading.BoundedSemaphore(MOST_AT_ONCE)

_Found = TypeVar("_Found", Addresses, Targets)


class _Reading(NamedTuple):
    """What a look-up has brought."""

    entries: tuple[Entry, ...]
    ttl_s: float
    error: ListError | None = None


class DnsReader:
    """Looks up one name, on threads.

    source: the name, and whom to ask.
    lookup: begins a look-up.
    clock: monotonic time, seconds.
    """

    def __init__(
        self,
        source: Source,
        lookup: Callable[[Source], Lookup] = Lookup,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._lookup = lookup
        self._clock = clock
        self._asked: asyncio.Future[_Reading] | None = None
        """A look-up that is under way, or whose result nobody has taken yet."""
        self._due = clock()
        """When to look the name up next, seconds."""
        self._gone: dict[str, float] = {}
        """Since when each name has no records, seconds."""
        self._said: tuple[Entry, ...] | None = None
        """What was returned last; None before, and after an error."""

    async def first(self) -> tuple[Entry, ...]:
        """Return what the name lists now. Raises `ListError`."""
        reading = await asyncio.get_running_loop().run_in_executor(None, self._read)
        if reading.error is not None:
            raise reading.error
        return reading.entries

    async def look(self) -> tuple[Entry, ...] | None:
        """Return what the name lists if a look-up has ended and that has changed; else None, without waiting.

        Raises `ListError`, once for each look-up that fails.
        """
        if self._asked is None:
            if self._clock() >= self._due and _turns.acquire(blocking=False):
                self._asked = asyncio.get_running_loop().run_in_executor(None, self._read_in_turn)
            return None
        if not self._asked.done():
            return None
        reading, self._asked = self._asked.result(), None
        self._due = self._clock() + max(self._source.min_ttl, min(reading.ttl_s, LONGEST_S))
        if reading.error is not None:
            self._said = None
            raise reading.error
        if reading.entries == self._said:
            return None
        self._said = reading.entries
        return reading.entries

    def _read_in_turn(self) -> _Reading:
        try:
            return self._read()
        finally:
            _turns.release()

    def _read(self) -> _Reading:
        try:
            lookup = self._lookup(self._source)
            return self._read_targets(lookup) if self._source.is_srv else self._read_addresses(lookup)
        except ListError as error:
            return _Reading((), 0.0, error)

    def _read_addresses(self, lookup: Lookup) -> _Reading:
        source, port = self._source, self._source.port or None
        found = self._unless_gone(source.dns, Addresses((), 0.0), partial(lookup.addresses, source.dns, self._family))
        entries = [_entry(address, port, 1, str(source)) for address in found.found]
        return _Reading(tuple(_in_order(entries)), found.ttl_s)

    def _read_targets(self, lookup: Lookup) -> _Reading:
        source, nothing = self._source, Addresses((), LONGEST_S)
        found = self._unless_gone(source.dns, Targets((), 0.0), partial(lookup.targets, source.dns))
        targets = best(found.found)
        hosts = sorted({target.name for target in targets})
        if len(hosts) > MOST_TARGETS:
            raise ListError(f"{source}: more than {MOST_TARGETS} hosts")
        ttl_s, errors = found.ttl_s, []
        addresses: dict[str, tuple[str, ...]] = {}
        for host in hosts:
            try:
                of_host = self._unless_gone(host, nothing, partial(lookup.addresses, host, self._family))
            except NoRecordsError as error:
                errors.append(error)  # the others are asked all the same, so that it is known since when they are gone
                continue
            addresses[host], ttl_s = of_host.found, min(ttl_s, of_host.ttl_s)
        if errors:
            raise errors[0]
        return _Reading(tuple(_in_order(_entries(targets, addresses, str(source)))), ttl_s)

    @property
    def _family(self) -> Family:
        return self._source.family or Family.IPV4

    def _unless_gone(self, name: str, nothing: _Found, ask: Callable[[], _Found]) -> _Found:
        """Return what a name has. Return `nothing` if it has had no records for long."""
        try:
            found = ask()
        except NoRecordsError:
            if self._clock() - self._gone.setdefault(name, self._clock()) < GONE_S:
                raise
            return nothing
        self._gone.pop(name, None)
        return found


def best(targets: Iterable[Target]) -> list[Target]:
    """Return the SRV records with the lowest priority, which is the best one. "." stands for no service at all."""
    least = min((target.priority for target in targets), default=0)
    return [target for target in targets if target.priority == least and target.name]


def _entries(targets: Iterable[Target], addresses: dict[str, tuple[str, ...]], source: str) -> Iterator[Entry]:
    """Yield the servers of SRV records: each address of each host.

    A record with weight 0 is to get few clients, and IPVS would give it none, so it has weight 1. An address with the
    same port that several records lead to has the weight of all of them.
    """
    weights: Counter[tuple[str, int]] = Counter()
    places: dict[tuple[str, int], str] = {}
    for target in targets:
        for address in addresses[target.name]:
            server = address, target.port
            weights[server] += max(target.weight, 1)
            places.setdefault(server, f"{source}: {target.name}")
            if len(weights) > MOST_SERVERS:
                raise ListError(f"{source}: more than {MOST_SERVERS} servers")
    for (address, port), weight in weights.items():
        yield _entry(address, port, min(weight, MOST_WEIGHT), places[address, port])


def _entry(address: str, port: int | None, weight: int, place: str) -> Entry:
    """Return a server that records list. Raises `ListError` if it cannot be one, as 0.0.0.0."""
    if port is not None and not 0 < port <= MOST_PORT:
        raise ListError(f"{place}: expected a port of 1..{MOST_PORT}, got {show(port)}")
    written = written_address(address, port)
    try:
        found = server_addresses(written)
    except WrongValueError as error:
        raise ListError(f"{place}: {error}") from None
    return Entry(written_address(found.addresses[0], port), weight, place)


def _in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Return servers in an order that does not depend on that of the records, which changes from answer to answer."""
    return sorted(entries, key=_order)


def _order(entry: Entry) -> tuple[int, int]:
    found = server_addresses(entry.address)
    return int(ip_address(found.addresses[0])), found.port or 0
