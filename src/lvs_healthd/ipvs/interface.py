"""The interface through which the daemon reads and writes an IPVS table, the kernel's or the one in memory."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from lvs_healthd.ipvs.kernel.statistics import ServiceStatistics
from lvs_healthd.ipvs.records import Operation, Result, ServiceKey, Table
from lvs_healthd.runtime.exceptions import HostError


class TableUnavailableError(HostError):
    """The table cannot be reached. The message says what to do, such as load the module or grant the capability."""


class IpvsTable(Protocol):
    """A table that can be read and written, by one caller at a time, because IPVS dumps are not atomic."""

    async def open(self) -> str:
        """Prepare the table for use and return a description of it, such as "IPVS 1.2.1".

        Raises `TableUnavailableError`.
        """

    async def read(self) -> Table:
        """Read the whole table. Raises `TableUnavailableError`."""

    async def read_services(self, keys: Sequence[ServiceKey]) -> Table:
        """Read only the named services. One that does not exist is left out. Raises `TableUnavailableError`."""

    async def apply(self, operations: Sequence[Operation]) -> list[Result]:
        """Make the writes in the given order, and return one result for each.

        A write that fails does not stop the later ones. Raises `TableUnavailableError`.
        """

    def statistics(self, key: ServiceKey) -> ServiceStatistics | None:
        """Return a service's statistics as of its last reading; None when the table did not have it then."""

    def connections(self) -> Iterator[bytes]:
        """Read the list of connections, in blocks of whole lines that `ipvs.kernel.connections` decodes.

        It blocks, so call it in a thread. Raises `TableUnavailableError`.
        """

    def close(self) -> None:
        """Close the socket. The table itself stays as it is."""
