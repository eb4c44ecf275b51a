"""The kernel's table, in memory: same interface, same errors, plus what tests need: faults and a log of writes.

Also behind `--table memory`, to try a configuration on a machine without IPVS. The errors follow
net/netfilter/ipvs/ip_vs_ctl.c; tests/kernel/ holds the two against each other.
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
"""Debian 12's kernel, and "none", which IPVS takes as well."""
PERSISTENCE_ENGINES = frozenset({"", "sip"})

_MAX_WEIGHT = 2**31 - 1
"""The kernel keeps the weight in a signed int."""
_TUNNEL_GUE = 1


class MemoryTable:
    """An IPVS table that lives in this process.

    `writes` lists the operations that changed `entries`; a test may also change `entries` itself, as somebody else
    with ipvsadm would. It forwards nothing and so counts nothing, except what a test puts into `counted`.
    """

    def __init__(self) -> None:
        self.entries: Table = {}
        self.writes: list[Operation] = []
        self.counted: dict[TableLine, Statistics] = {}
        self._faults: defaultdict[Verb, deque[tuple[int | None, bool]]] = defaultdict(deque)
        self._unavailable: deque[str] = deque()

    async def open(self) -> str:
        """Nothing to make ready; describes itself as "memory"."""
        self._check_available()
        return "memory"

    async def read(self) -> Table:
        """Return a copy of the whole table."""
        self._check_available()
        return {key: _copy(entry) for key, entry in self.entries.items()}

    async def read_services(self, keys: Sequence[ServiceKey]) -> Table:
        """Return a copy of the named services; a missing one is absent."""
        self._check_available()
        return {key: _copy(self.entries[key]) for key in keys if key in self.entries}

    async def apply(self, operations: Sequence[Operation]) -> list[Result]:
        """Do each operation, or answer with the kernel's error."""
        self._check_available()
        return [self._apply_one(operation) for operation in operations]

    def statistics(self, key: ServiceKey) -> ServiceStatistics | None:
        """Return what is counted now."""
        entry = self.entries.get(key)
        if entry is None:
            return None
        keys = tuple(entry.destinations)
        if not self.counted:
            return ServiceStatistics(keys, NOTHING * (1 + len(keys)))
        rows = [self.row(key, server) for server in (None, *keys)]
        return ServiceStatistics(keys, b"".join(rows))

    def row(self, key: ServiceKey, server: DestinationKey | None) -> bytes:
        """Return one line's row of statistics."""
        counted = self.counted.get((key, server))
        return NOTHING if counted is None else encoded(counted)

    def connections(self) -> Iterator[bytes]:
        """List none: nothing is forwarded."""
        return iter(())

    def close(self) -> None:
        """Nothing to give back."""

    def fail_next(self, verb: Verb, code: int | None, *, times: int = 1, executed: bool = False) -> None:
        """Let the next operations of this kind fail with errno `code`; None is an outcome that stays unknown.

        With `executed` the operation takes effect all the same: an acknowledgement lost, not a write.
        """
        self._faults[verb].extend([(code, executed)] * times)

    def be_unavailable(self, message: str, *, times: int = 1) -> None:
        """Let the next calls raise `TableUnavailableError`."""
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
            self.writes.append(operation)
        return code

    def _errno_of(self, operation: Operation) -> int:
        """Return the errno the kernel would answer, in the kernel's order of checks."""
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
    """Tell what the kernel takes for a server's address; routes and local addresses are not looked at."""
    address = ipaddress.ip_address(text)
    if address.is_multicast or address.is_unspecified:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        return not address.is_link_local and address.ipv4_mapped is None
    return text != "255.255.255.255"


def _copy(entry: ServiceEntry) -> ServiceEntry:
    return ServiceEntry(entry.service, dict(entry.destinations))
