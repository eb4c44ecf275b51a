"""An IPVS table in memory, with the kernel's interface and errors, for tests and for machines without IPVS.

Tests can inject faults and read a log of the writes. With `--table memory`, the daemon uses this table, so that an
operator can try a configuration without IPVS. The errors follow net/netfilter/ipvs/ip_vs_ctl.c, and tests/kernel/
compares this table with the kernel's.
"""

import errno
import ipaddress
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence

from lvs_healthd.ipvs.diff import update
from lvs_healthd.ipvs.interface import TableUnavailableError
from lvs_healthd.ipvs.kernel.statistics import NOTHING, ServiceStatistics, Statistics, encoded
from lvs_healthd.ipvs.records import (
    DestinationKey,
    DestinationRecord,
    Operation,
    Result,
    ServiceEntry,
    ServiceKey,
    ServiceRecord,
    Table,
    TableLine,
    Verb,
)
from lvs_healthd.ipvs.refusals import UNKNOWN_OUTCOME, explain
from lvs_healthd.ipvs.words import AF_INET6, ForwardingMethod

SCHEDULERS = frozenset({"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "none"})
"""The schedulers of Debian 12's kernel, and "none", which IPVS also accepts."""
PERSISTENCE_ENGINES = frozenset({"", "sip"})

_MAX_WEIGHT = 2**31 - 1
"""The largest weight, because the kernel keeps weights in a signed int."""
_TUNNEL_GUE = 1


class MemoryTable:
    """An IPVS table that lives in this process.

    `writes` lists the operations that changed `entries`. A test may also change `entries` directly, to simulate
    somebody else who uses ipvsadm. The table forwards no packets, so its statistics are zero except for those that a
    test puts into `counted`.

    keeps_writes: whether `writes` is filled. It grows for ever, so a daemon that runs on this table leaves it empty.
    """

    def __init__(self, *, keeps_writes: bool = True) -> None:
        self._keeps_writes = keeps_writes
        self.entries: Table = {}
        self.writes: list[Operation] = []
        self.counted: dict[TableLine, Statistics] = {}
        self._faults: defaultdict[Verb, deque[tuple[int | None, bool]]] = defaultdict(deque)
        self._unavailable: deque[str] = deque()

    async def open(self) -> str:
        """Return "memory" as the description. There is nothing to open."""
        self._check_available()
        return "memory"

    async def read(self) -> Table:
        """Return a copy of the whole table."""
        self._check_available()
        return {key: _copy(entry) for key, entry in self.entries.items()}

    async def read_services(self, keys: Sequence[ServiceKey]) -> Table:
        """Return a copy of the named services. A service that does not exist is left out."""
        self._check_available()
        return {key: _copy(self.entries[key]) for key in keys if key in self.entries}

    async def apply(self, operations: Sequence[Operation]) -> list[Result]:
        """Carry out each operation, or return the error that the kernel would return."""
        self._check_available()
        return [self._apply_one(operation) for operation in operations]

    def statistics(self, key: ServiceKey) -> ServiceStatistics | None:
        """Return the statistics of a service as they are now."""
        entry = self.entries.get(key)
        if entry is None:
            return None
        keys = tuple(entry.destinations)
        if not self.counted:
            return ServiceStatistics(keys, NOTHING * (1 + len(keys)))
        rows = [self.row(key, server) for server in (None, *keys)]
        return ServiceStatistics(keys, b"".join(rows))

    def row(self, key: ServiceKey, server: DestinationKey | None) -> bytes:
        """Return the statistics of one line of the table, encoded as a row."""
        counted = self.counted.get((key, server))
        return NOTHING if counted is None else encoded(counted)

    def connections(self) -> Iterator[bytes]:
        """Return no connections, because nothing is forwarded."""
        return iter(())

    def close(self) -> None:
        """Do nothing: there is no socket to close."""

    def fail_next(self, verb: Verb, code: int | None, *, times: int = 1, executed: bool = False) -> None:
        """Let the next operations of one kind fail.

        verb: the kind of operation.
        code: the errno to answer with; None means that the outcome stays unknown.
        times: how many operations fail.
        executed: whether the operations take effect nevertheless, as if only the acknowledgements were lost.
        """
        self._faults[verb].extend([(code, executed)] * times)

    def be_unavailable(self, message: str, *, times: int = 1) -> None:
        """Let the next `times` calls raise `TableUnavailableError` with `message`."""
        self._unavailable.extend([message] * times)

    def _check_available(self) -> None:
        if self._unavailable:
            raise TableUnavailableError(self._unavailable.popleft())

    def _apply_one(self, operation: Operation) -> Result:
        if faults := self._faults[operation.verb]:
            code, executed = faults.popleft()
            if executed:
                self._write(operation)
        else:
            code = self._write(operation)
        if code is None:
            return Result(None, UNKNOWN_OUTCOME)
        return Result(code, explain(operation, code) if code else "")

    def _write(self, operation: Operation) -> int:
        code = self._errno_of(operation)
        if code == 0:
            update(self.entries, operation)
            if self._keeps_writes:
                self.writes.append(operation)
        return code

    def _errno_of(self, operation: Operation) -> int:
        """Return the errno that the kernel would return. The checks are made in the kernel's order."""
        entry = self.entries.get(operation.service.key)
        verb = operation.verb
        if verb is Verb.ADD_SERVICE:
            return errno.EEXIST if entry else _service_errno(operation.service)
        if entry is None:
            return errno.ESRCH
        if verb is Verb.SET_SERVICE:
            return _service_errno(operation.service)
        if verb is Verb.DELETE_SERVICE:
            return 0
        if operation.destination is None:
            raise ValueError(f"{verb} without a destination")
        return _destination_errno(verb, entry, operation.destination)


def _service_errno(service: ServiceRecord) -> int:
    if service.scheduler not in SCHEDULERS or service.persistence_engine not in PERSISTENCE_ENGINES:
        return errno.ENOENT
    if service.key.family == AF_INET6 and not 1 <= service.netmask <= 128:
        return errno.EINVAL
    return 0


def _destination_errno(verb: Verb, entry: ServiceEntry, destination: DestinationRecord) -> int:
    exists = destination.key in entry.destinations
    if verb is Verb.DELETE_SERVER:
        return 0 if exists else errno.ENOENT
    is_mixed = destination.key.family != entry.service.key.family
    if is_mixed and destination.forward is not ForwardingMethod.TUNNEL:
        return errno.EINVAL
    if destination.weight > _MAX_WEIGHT or destination.lower_threshold > destination.upper_threshold:
        return errno.ERANGE
    if destination.tunnel_type == _TUNNEL_GUE and destination.tunnel_port == 0:
        return errno.EINVAL
    if verb is Verb.SET_SERVER:
        return 0 if exists else errno.ENOENT
    if exists:
        return errno.EEXIST
    return 0 if _is_unicast(destination.key.address) else errno.EINVAL


def _is_unicast(text: str) -> bool:
    """Return whether the kernel would accept an address for a server.

    Unlike the kernel, this function does not consider routes and local addresses.
    """
    address = ipaddress.ip_address(text)
    if address.is_multicast or address.is_unspecified:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        return not address.is_link_local and address.ipv4_mapped is None
    return text != "255.255.255.255"


def _copy(entry: ServiceEntry) -> ServiceEntry:
    return ServiceEntry(entry.service, dict(entry.destinations))
