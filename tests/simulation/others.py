"""What others do to a site: whoever uses ipvsadm, the kernel, and the director's own faults."""

from collections.abc import Iterable

import msgspec

from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, ServiceEntry, ServiceKey, ServiceRecord, Verb
from tests.simulation.documents import HOSTS, KEYS, RESYNC_S
from tests.simulation.eyes import Eyes
from tests.simulation.outside import INTERFACES

_OUT_OF_MEMORY = 12


class Others:
    """Steps that no operator takes: each is a method whose name begins with "do_".

    eyes: knows the site, and is told what somebody else has changed.
    """

    def __init__(self, eyes: Eyes) -> None:
        self.eyes = eyes
        self.site = eyes.site

    # The kernel's table

    def do_foreign(self, what: str, where: int, host: int) -> None:
        """Somebody uses ipvsadm."""
        entries, strangers = self.site.entries, self.eyes.strangers
        if what == "flush":
            self.eyes.disturbed.update(entries)
            strangers.clear()
            entries.clear()
        key = _key(where, entries)
        if key is None:
            return
        self.eyes.disturbed.add(key)
        entry = entries[key]
        server = next((each for each in entry.destinations if each.address == HOSTS[host]), None)
        match what:
            case "delete_service":
                del entries[key]
                strangers.pop(key, None)
            case "scheduler":
                entry.service = ServiceRecord(key, "rr")
            case "add":
                self._add_stranger(entry, key, host)
            case "delete" if server is not None:
                del entry.destinations[server]
                strangers.get(key, set()).discard(server)
            case "quiesce" | "raise" if server is not None:
                weight = 0 if what == "quiesce" else 9
                entry.destinations[server] = msgspec.structs.replace(entry.destinations[server], weight=weight)

    def _add_stranger(self, entry: ServiceEntry, key: ServiceKey, host: int) -> None:
        like = next(iter(entry.destinations.values()), None)
        if like is not None:
            server = DestinationKey(like.key.family, f"10.3.0.{host + 1}", like.key.port)
            entry.destinations[server] = DestinationRecord(server, like.forward, 1)
            self.eyes.strangers.setdefault(key, set()).add(server)

    def do_undo(self, what: str, where: int, host: int, times: int) -> None:
        """Another program undoes what the daemon writes, again and again."""
        for _ in range(times):
            self.do_foreign(what, where, host)
            self.site.loop.advance(RESYNC_S + 0.5)

    def do_refuse(self, verb: str, times: int) -> None:
        """The kernel refuses the next writes of one kind."""
        self.site.table.fail_next(Verb(verb), _OUT_OF_MEMORY, times=times)

    def do_lose(self, verb: str, times: int, executed: bool) -> None:
        """The answers to the next writes of one kind are lost."""
        self.site.table.fail_next(Verb(verb), None, times=times, executed=executed)

    def do_unavailable(self, times: int) -> None:
        """The kernel cannot be asked for a while."""
        self.site.table.be_unavailable("no answer from the kernel", times=times)

    def do_miss(self, where: int) -> None:
        """The next dump of the table misses a service."""
        self.site.table.missed = _key(where, self.site.entries)

    def do_connections(self, where: int, host: int, number: int) -> None:
        """A server has so many connections from now on."""
        key = _key(where, self.site.entries)
        for server in self.site.entries[key].destinations if key is not None else ():
            if server.address == HOSTS[host] and key is not None:
                self.site.count(key, server, number)

    # The director

    def do_cut(self, interface: int) -> None:
        """An interface loses its carrier."""
        self.site.director.cut.add(INTERFACES[interface])

    def do_mend(self, interface: int) -> None:
        """An interface has a carrier again."""
        director, name = self.site.director, INTERFACES[interface]
        if name in director.cut:
            director.cut.discard(name)
            director.mended[name] = self.site.clock.now

    def do_fault(self, what: str, is_there: bool) -> None:
        """Something else is wrong with the director, or not any more."""
        director = self.site.director
        match what:
            case "full":
                director.is_full = is_there
            case "drops":
                director.drops = is_there
            case "neighbour":
                director.neighbour = is_there
            case "lag":
                director.lag_s = 2.0 if is_there else 0.0


def _key(where: int, among: Iterable[ServiceKey]) -> ServiceKey | None:
    return next((key for key in among if str(key) == KEYS[where]), None)
