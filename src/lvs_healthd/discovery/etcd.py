"""Reads real servers from etcd: a key that lists them, or one key for each, which its server may write itself.

All sources share what is known of the keys, because one watch tells of all of them. This module only reads what they
say: `daemon.store_lists` follows them.
"""

from collections.abc import Awaitable, Callable, Mapping

from lvs_healthd.config.sources import Entry, Source
from lvs_healthd.discovery.listing import ListError, read_list

FOLDER = "servers/"
"""What follows the prefix in the names of the keys that list servers."""


class StoredLists:
    """What is known of the keys that list servers.

    ask: asks etcd once for the values of the keys, by their names after `FOLDER`. Raises `ListError`.
    """

    def __init__(self, ask: Callable[[], Awaitable[Mapping[str, bytes]]]) -> None:
        self._ask = ask
        self.values: Mapping[str, bytes] | None = None
        """The value of each key, by its name after `FOLDER`; None while nothing is known."""
        self.prefix = ""
        """How the whole names of the keys begin, for messages."""
        self.error = ""
        """Why etcd does not answer; "" while it does."""

    async def known(self) -> Mapping[str, bytes]:
        """Return the values of the keys, from etcd if nobody knows them yet. Raises `ListError`."""
        return await self._ask() if self.values is None else self.values


class EtcdReader:
    """Reads the keys of one source.

    source: names them.
    lists: what is known of all keys.
    """

    def __init__(self, source: Source, lists: StoredLists) -> None:
        self._name = source.etcd
        self._lists = lists
        self._read: dict[str, bytes] | None = None
        """The keys that were read last; None before, and after an error."""

    async def first(self) -> tuple[Entry, ...]:
        """Return what the source lists now. Raises `ListError`."""
        return self._entries(self._own(await self._lists.known()))

    async def look(self) -> tuple[Entry, ...] | None:
        """Return what the source lists if that has changed; else None. Raises `ListError`."""
        if self._lists.error:
            self._read = None
            raise ListError(self._lists.error)
        if self._lists.values is None:
            return None
        own = self._own(self._lists.values)
        if own == self._read:
            return None
        self._read = own
        return self._entries(own)

    def _own(self, values: Mapping[str, bytes]) -> dict[str, bytes]:
        begin = f"{self._name}/"
        return {name: value for name, value in values.items() if name == self._name or name.startswith(begin)}

    def _entries(self, own: Mapping[str, bytes]) -> tuple[Entry, ...]:
        found: list[Entry] = []
        places: dict[str, str] = {}
        for name, value in sorted(own.items()):
            key = f"etcd {self._lists.prefix}{FOLDER}{name}"
            # A key of one server is one line of a list, of which the address is in the key's name.
            address = name.removeprefix(self._name).removeprefix("/").encode()
            for entry in read_list(address + b" " + value if address else value, key):
                if entry.address in places:
                    raise ListError(f"{entry.place}: {entry.address} is already listed by {places[entry.address]}")
                places[entry.address] = entry.place
                found.append(entry)
        return tuple(found)
