"""The interface through which the daemon reads and writes an IPVS table: the kernel's, or one in memory."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from lvs_healthd.ipvs.kernel.statistics import ServiceStatistics
from lvs_healthd.ipvs.records import Operation, Result, ServiceKey, Table
from lvs_healthd.runtime.exceptions import HostError


class TableUnavailableError(HostError):
    """Raised when the table cannot be reached.

    The message says what to do, such as loading the module or granting the capability.
    """


class IpvsTable(Protocol):
    """An IPVS table that can be read and written.

    Only one caller may use it at a time, because IPVS dumps are not atomic.
    """

    async def open(self) -> str:
        """Prepare the table for use and return a description of it, such as "IPVS 1.2.1".

        Raises `TableUnavailableError`.
        """

    async def read(self) -> Table:
        """Read the whole table. Raises `TableUnavailableError`."""

    async def read_services(self, keys: Sequence[ServiceKey]) -> Table:
        """Read only the named services. A service that does not exist is left out. Raises `TableUnavailableError`."""

    async def apply(self, operations: Sequence[Operation]) -> list[Result]:
        """Make the writes in the given order, and return one result for each.

        A write that fails does not stop the later ones. Raises `TableUnavailableError`.
        """

    def statistics(self, key: ServiceKey) -> ServiceStatistics | None:
        """Return the statistics from the last reading of a service; None if that reading did not find the service."""

    def connections(self) -> Iterator[bytes]:
        """Read the list of connections, in blocks of whole lines that `ipvs.kernel.connections` decodes.

        The iterator blocks, so use it in a thread. Raises `TableUnavailableError`.
        """

    def close(self) -> None:
        """Close the connection to the kernel. The table itself stays as it is."""
