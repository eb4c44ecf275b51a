"""Reads the `[pool.NAME]` tables: lists of real servers that several services share."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from lvs_healthd.config import values
from lvs_healthd.config.basics import Family, Protocol
from lvs_healthd.config.checks import CheckReader
from lvs_healthd.config.errors import Errors, WrongValueError, expected
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.reuse import fingerprint
from lvs_healthd.config.schema import SERVICE_KEYS, Key, TomlTable, read_table
from lvs_healthd.config.servers import ServerReader, Surroundings
from lvs_healthd.config.sources import LISTED, Entry, Lists, Source, said, sources
from lvs_healthd.config.values import did_you_mean

POOL_KEYS = {"real_server": Key(values.anything), "source": SERVICE_KEYS["source"]}

_MOST_NEAR = 3
"""How many names an error about an unknown pool offers."""

_NO_SERVICE = Surroundings(
    endpoint=None,
    protocol=Protocol.TCP,
    portless="",
    maps_ports=False,
    handed_down={},
    wrong=frozenset(),
    checks=(),
    has_checks=True,
    checks_are_right=False,
)
"""Surroundings in which only the values of servers are looked at, because it is not known what they are used for."""


class Pools:
    """The pools of a configuration. Their servers are read with each service that uses them.

    written: the value of `pool` in the file.
    errors: errors are added here. A pool that is wrong as a whole counts as present, with no servers.
    lists: what sources list; None if nobody has asked them.
    """

    def __init__(self, written: object, errors: Errors, lists: Lists | None = None) -> None:
        self._errors = errors
        self._lists = lists
        self._servers: dict[str, object] = {}
        self._sources: dict[str, tuple[Source, ...]] = {}
        for source, entries in (lists or {}).items():
            errors.name_places((LISTED, str(source)), partial(_place, entries))
        self._unused: set[str] = set()
        self._fingerprints: dict[str, bytes] = {}
        if not isinstance(written, dict):
            errors.add_all(("pool",), expected("[pool.NAME] tables", written, _in_single_brackets(written)))
            return
        for name, entry in written.items():
            path: KeyPath = ("pool", name)
            try:
                values.label(name)
            except WrongValueError as error:
                errors.add_all(path, error)
            own = entry
            if isinstance(entry, dict):
                of_services = SERVICE_KEYS.keys() - POOL_KEYS.keys()
                own = {key: value for key, value in entry.items() if key not in of_services}
                for key in [key for key in entry if key in of_services]:
                    errors.add((*path, key), "a key of a service, not of a pool; write it in the services")
            table = read_table(own, path, POOL_KEYS, errors)
            servers = table.values.get("real_server", [])
            self._sources[name] = table.values.get("sources", ())
            if "sources" in table:
                pass  # which may have all of its servers
            elif "real_server" not in table and isinstance(entry, dict):
                errors.add(path, "real_server is missing: a pool needs at least one")
            elif servers == [] and isinstance(entry, dict):
                errors.add(table.at("real_server"), "the list is empty: a pool needs at least one")
            self._servers[name] = servers
        self._unused = {*self._servers}

    def checked(self, table: TomlTable) -> TomlTable:
        """Return a service's table, without the value of its `pool` if a pool is unknown, which is then an error."""
        names = table.values.get("pool", ())
        unknown = [(index, name) for index, name in enumerate(names) if name not in self._servers]
        for index, name in unknown:
            guess = did_you_mean(name, self._servers, most=_MOST_NEAR)
            at = (*table.at("pool"), *((index,) if len(names) > 1 else ()))
            self._errors.add_all(at, expected("the name of a [pool.NAME]", name, guess or self._known()))
        if not unknown:
            return table
        kept = {field: value for field, value in table.values.items() if field != "pool"}
        return TomlTable(table.path, kept, table.written, table.elsewhere)

    def servers(self, table: TomlTable) -> Iterator[tuple[object, KeyPath]]:
        """Yield the servers of each pool that a service uses, as they are written, and where they are."""
        for name in table.values.get("pool", ()):
            yield self._servers[name], ("pool", name, "real_server")

    def sources(self, table: TomlTable, family: Family) -> tuple[Source, ...]:
        """Return the sources of a service: its own, and those of its pools.

        family: the service's family.
        """
        of_pools = [source for name in table.values.get("pool", ()) for source in self._sources[name]]
        both = (*of_pools, *table.values.get("sources", ()))
        return tuple(dict.fromkeys(source.of_family(family) for source in both))

    def listed(self, its_sources: Iterable[Source]) -> Iterator[tuple[object, KeyPath]]:
        """Yield the servers that sources list, as a file would write them, and where they are."""
        for source in its_sources:
            entries = (self._lists or {}).get(source, ())
            yield [{"address": each.address, "weight": each.weight} for each in entries], (LISTED, str(source))

    def is_unknown(self, source: Source) -> bool:
        """Return whether a source has been asked, and nothing is known of what it lists."""
        return self._lists is not None and source not in self._lists

    def read_unused(self, reader: CheckReader) -> None:
        """Report what is wrong with the servers of pools that no service uses."""
        for name in self._unused:
            ServerReader(_NO_SERVICE, reader, self._errors).real_servers(
                self._servers[name], ("pool", name, "real_server")
            )

    def with_content(self, entry: dict[str, Any], inherited: object) -> object:
        """Return everything that a service's table says: itself, and the pools that it uses, by their fingerprints.

        inherited: the value of `pool` in `[defaults.service]`, or None.
        """
        own = [] if self._lists is None else [self._said(source) for source in _own_sources(entry)]
        named = entry.get("pool", inherited)
        if named is None:
            return (entry, own) if own else entry
        names = [name for name in (named if isinstance(named, list | tuple) else [named]) if isinstance(name, str)]
        self._unused.difference_update(names)
        return entry, own, [self._fingerprint(name) for name in names if name in self._servers]

    def _fingerprint(self, name: str) -> bytes:
        if name not in self._fingerprints:
            listed = [self._said(source) for source in self._sources.get(name, ())]
            self._fingerprints[name] = fingerprint((name, self._servers[name], listed))
        return self._fingerprints[name]

    def _said(self, source: Source) -> object:
        """Return what stands for a source and what it lists, if that is known."""
        lists = [(self._lists or {}).get(each) for each in source.variants]
        return str(source), [None if entries is None else said(entries) for entries in lists]

    def _known(self) -> str:
        if not self._servers:
            return "there is none; write one, with its real_server"
        more = ", …" if len(self._servers) > _MOST_NEAR else ""
        return f"there is {', '.join(itertools.islice(self._servers, _MOST_NEAR))}{more}"


def _place(entries: Sequence[Entry], index: int) -> str:
    return entries[index].place


def _own_sources(entry: dict[str, Any]) -> tuple[Source, ...]:
    """Return the sources in a service's table; none if they are wrong, which is told when the table is read."""
    try:
        return sources(entry["source"]) if "source" in entry else ()
    except WrongValueError:
        return ()


def _in_single_brackets(written: object) -> str:
    """Return how to write a pool that stands in double brackets, as services do."""
    return "in single brackets, with its name: [pool.web]" if isinstance(written, list) else ""
