"""Finds the virtual service that a watch belongs to: in ipvs.alert's arguments, or in the table of the director."""

import socket
from collections.abc import Callable, Iterator

import msgspec

from lvs_healthd.config.schema import SCHEDULERS
from lvs_healthd.importers.account import Place
from lvs_healthd.importers.configuration import is_of_path_probes, with_ports_that_work
from lvs_healthd.importers.ipvsadm import CommandError, table_of
from lvs_healthd.importers.mon.alerts import Link
from lvs_healthd.importers.mon.checks import Probe
from lvs_healthd.importers.mon.records import Group, Service
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, ServiceEntry, ServiceKey, Table

LookUp = Callable[[str], str]
"""Returns the IPv4 address of a name, as mon's monitors look it up. Raises `OSError`."""


class Host(msgspec.Struct, frozen=True):
    """A host of a hostgroup that is watched."""

    word: str
    """As the file has it."""
    address: str
    """Its address, in the kernel's spelling."""
    places: tuple[Place, ...]


class Watched(msgspec.Struct):
    """A host with a monitor that watches it."""

    host: Host
    service: Service
    probe: Probe


class Server(msgspec.Struct):
    """A real server with what watches it."""

    watched: list[Watched] = []
    unknown: list[str] = []
    """The keys of it that neither the file nor the table says."""


class Found(msgspec.Struct):
    """A virtual service with its servers."""

    key: ServiceKey
    entry: ServiceEntry
    servers: dict[DestinationKey, Server] = {}
    unknown: list[str] = []
    """The keys that neither the file nor the table says."""


def look_up(name: str) -> str:
    """Return the IPv4 address of a name: mon's monitors know no other."""
    return str(socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])


def address_of(word: str, name_to_address: LookUp) -> str:
    """Return the address of a host, in the kernel's spelling. Raises `OSError` for a name that cannot be looked up."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_ntop(family, socket.inet_pton(family, word))
        except (OSError, UnicodeEncodeError):
            continue
    try:
        return name_to_address(word)
    except UnicodeError:
        raise OSError(f"{word!r} is no name") from None


def lines_with_hosts(group: Group) -> dict[str, tuple[Place, ...]]:
    """Return each host of a group as it stands, with the lines that name it."""
    found: dict[str, list[Place]] = {}
    for place, words in group.places:
        for word in words:
            found.setdefault(word, []).append(place)
    return {word: tuple(places) for word, places in found.items()}


class UnusableError(Exception):
    """Raised for arguments of ipvs.alert that ipvsadm refuses. The message is for the operator."""


def linked(link: Link) -> tuple[ServiceKey, ServiceEntry, list[str]]:
    """Return the service and the one server that an ipvs.alert line is about, and which keys are not said.

    Raises `UnusableError`.
    """
    service = ["-A", link.protocol, link.service, *(["-s", link.scheduler] if link.scheduler else [])]
    server = ["-a", link.protocol, link.service, "-r", link.server, link.method or "-m"]
    server += ["-w", link.weight] if link.weight else []
    try:
        ((key, entry),) = table_of([" ".join(service), " ".join(server)], "ipvs.alert").items()
    except CommandError as error:
        raise UnusableError(f"ipvsadm refuses it: {error.errors[0].partition(': ')[2]}") from None
    if not key.port:
        raise UnusableError("ipvsadm refuses port 0 without persistence, which ipvs.alert never asks for")
    if not all(server.port for server in entry.destinations):
        raise UnusableError("a real server with port 0 reaches nobody")
    if entry.service.scheduler not in SCHEDULERS:
        raise UnusableError(f"the kernel has no scheduler {link.scheduler!r}")
    said = {"scheduler": link.scheduler, "forward": link.method, "weight": link.weight}
    return key, entry, [name for name, value in said.items() if not value]


class Services:
    """The virtual services that are found.

    table: the director's table, or None if it is not given.
    """

    def __init__(self, table: Table | None) -> None:
        self.remarks: list[str] = []
        """On the table: ports that the kernel does not use, and what ipvs.alert knows that is not there."""
        self._is_given = table is not None
        self.table: Table = {}
        for key, entry in (table or {}).items():
            if is_of_path_probes(key, entry):
                continue
            self.table[key] = with_ports_that_work(key, entry, self.remarks)
        self.found: dict[ServiceKey, Found] = {}

    def add_linked(self, link: Link, watched: Watched | None) -> Iterator[str]:
        """Add the server of ipvs.alert arguments. Yield how the table says something else.

        Raises `UnusableError`.
        """
        key, entry, unknown = linked(link)
        ((server, record),) = entry.destinations.items()
        in_table = self.table.get(key)
        found = self.found.get(key)
        if found is None:
            service = ServiceEntry((in_table or entry).service, {})
            found = self.found[key] = Found(
                key, service, unknown=["scheduler"] if "scheduler" in unknown and not in_table else []
            )
        elif "scheduler" not in unknown and found.unknown:
            found.entry.service, found.unknown = entry.service, []
        present = in_table.destinations.get(server) if in_table else None
        if self._is_given and (in_table is None or present is None):
            what = f"{key} is not in the table" if in_table is None else f"{key}: {server} is not in the table"
            self.remarks.append(f"{what}; it is written as ipvs.alert says, and comes in when its check passes")
        if in_table is not None:
            yield from _differences(link, unknown, entry, in_table, server)
        found.entry.destinations.setdefault(server, present or record)
        missing = [] if present else [name for name in unknown if name != "scheduler"]
        place = found.servers.setdefault(server, Server(unknown=missing))
        if watched is not None and all(each.service is not watched.service for each in place.watched):
            place.watched.append(watched)

    def candidates(self, watched: Watched) -> list[tuple[ServiceKey, DestinationKey]]:
        """Return the lines that a monitor may be about: by address, and by port if one has its port."""
        known = {**{key: found.entry for key, found in self.found.items()}, **self.table}
        lines = [
            (key, server)
            for key, entry in known.items()
            for server in entry.destinations
            if server.address == watched.host.address
        ]
        port = watched.probe.port
        same_port = [line for line in lines if port is not None and line[1].port == port]
        return same_port or lines

    def add_lines(self, watched: Watched, lines: list[tuple[ServiceKey, DestinationKey]]) -> None:
        """Add a monitor to servers of the table."""
        for key, server in lines:
            found = self.found.get(key)
            if found is None:
                found = self.found[key] = Found(key, ServiceEntry(self.table[key].service, {}))
            if server not in found.entry.destinations:
                found.entry.destinations[server] = self.table[key].destinations[server]
            found.servers.setdefault(server, Server()).watched.append(watched)

    def unwatched(self, found: Found) -> list[DestinationKey]:
        """Return the servers of a service in the table that nothing watches."""
        entry = self.table.get(found.key)
        return [server for server in entry.destinations if server not in found.servers] if entry else []


def _differences(
    link: Link, unknown: list[str], entry: ServiceEntry, in_table: ServiceEntry, server: DestinationKey
) -> Iterator[str]:
    """Yield where ipvs.alert and the table say something different."""
    said, present = entry.destinations[server], in_table.destinations.get(server)
    if "scheduler" not in unknown and entry.service.scheduler != in_table.service.scheduler:
        yield f"scheduler {entry.service.scheduler}, and the table says {in_table.service.scheduler}"
    if present is None:
        return
    yield from _different(link, unknown, said, present)


def _different(link: Link, unknown: list[str], said: DestinationRecord, present: DestinationRecord) -> Iterator[str]:
    if "weight" not in unknown and said.weight != present.weight:
        yield f"weight {link.weight}, and the table says {present.weight}"
    if "forward" not in unknown and said.forward != present.forward:
        yield f"{said.forward.name.lower()}, and the table says {present.forward.name.lower()}"
