"""What every kind of source has in common: how it is asked, and how it fails."""

from typing import Protocol

from lvs_healthd.config.sources import Entry, Source
from lvs_healthd.discovery.dns import DnsReader
from lvs_healthd.discovery.etcd import EtcdReader, StoredLists
from lvs_healthd.discovery.file import FileReader


class Reader(Protocol):
    """Asks one source. Every question has a time limit, and none blocks the event loop.

    Both methods raise `ListError` if the source cannot be asked, or if what it says is no list of servers. A list is
    right as a whole or not at all.
    """

    async def first(self) -> tuple[Entry, ...]:
        """Return what the source lists now."""

    async def look(self) -> tuple[Entry, ...] | None:
        """Return what the source lists if that may have changed since it was asked last; None if it has not."""


def reader(source: Source, lists: StoredLists) -> Reader:
    """Return a new reader of a source.

    lists: what is known of the keys of etcd that list servers.
    """
    if source.etcd:
        return EtcdReader(source, lists)
    return DnsReader(source) if source.dns else FileReader(source.file)
