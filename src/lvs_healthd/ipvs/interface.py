"""What a table is to the rest of the daemon: read it, write to it. The kernel's and the in-memory one both do this."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from lvs_healthd.ipvs.kernel.statistics import ServiceStatistics
from lvs_healthd.ipvs.records import Operation, Result, ServiceKey, Table
from lvs_healthd.runtime.exceptions import HostError


class TableUnavailableError(HostError):
    """The table cannot be reached at all; the message says what to do (load the module, grant the capability)."""


class IpvsTable(Protocol):
    """A table that can be read and written. One caller at a time: IPVS dumps are not atomic."""

    async def open(self) -> str:
        """Make ready for use and return a line describing it ("IPVS 1.2.1").

        Raises `TableUnavailableError`.
        """

    async def read(self) -> Table:
        """Read the whole table. Raises `TableUnavailableError`."""

    async def read_services(self, keys: Sequence[ServiceKey]) -> Table:
        """Read only the named services; a missing one is absent from the answer. Raises `TableUnavailableError`."""

    async def apply(self, operations: Sequence[Operation]) -> list[Result]:
        """Write in the given order, one result for each operation; a failed one does not stop the later ones.

        Raises `TableUnavailableError`.
        """

    def statistics(self, key: ServiceKey) -> ServiceStatistics | None:
        """Return what the kernel had counted of a service when it was last read; None when it was not there then."""

    def connections(self) -> Iterator[bytes]:
        """Read the list of connections in blocks of whole lines; for a thread. Raises `TableUnavailableError`.

        `ipvs.connections` decodes it.
        """

    def close(self) -> None:
        """Give back the socket. The table itself stays as it is."""
