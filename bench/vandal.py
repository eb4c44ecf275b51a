"""Edits the table of a recorded kernel behind the daemon's back, as a careless operator or another program does."""

import random
from collections.abc import Callable, Sequence

from bench.recorded_kernel_run import KernelProcess
from lvs_healthd.ipvs.records import (
    DestinationKey,
    DestinationRecord,
    Operation,
    ServiceEntry,
    ServiceKey,
    ServiceRecord,
    Table,
    Verb,
)
from lvs_healthd.ipvs.words import AF_INET, IPPROTO_TCP, ForwardingMethod

_FOREIGN_SERVICE = ServiceRecord(ServiceKey(AF_INET, IPPROTO_TCP, "203.0.113.5", 443), "sh", timeout=300)
_INTRUDERS = 50
"""How many different addresses the added servers have. No configuration has them."""
_SERVICE_SHARE = 0.1
"""The share of edits that change a service itself. Each service is changed so seldom that the daemon sees no fight."""


def foreign(address: str, weight: int) -> DestinationRecord:
    """Return a server that no configuration has.

    weight: the share of connections that it gets, relative to other servers.
    """
    return DestinationRecord(DestinationKey(AF_INET, address, 443), ForwardingMethod.DROUTE, weight)


FOREIGN = ServiceEntry(
    _FOREIGN_SERVICE, {each.key: each for each in (foreign("203.0.113.7", 7), foreign("203.0.113.8", 0))}
)
"""A service that is not configured, and that the daemon must leave exactly as it is."""


class Vandal:
    """Makes one random edit at a time.

    kernel: the recorded kernel.
    expected: returns the table that would be right at this moment.
    chance: chooses the edits.
    """

    def __init__(self, kernel: KernelProcess, expected: Callable[[], Table], chance: random.Random) -> None:
        self.edits = 0
        """How many edits the kernel has accepted."""
        self._kernel = kernel
        self._expected = expected
        self._chance = chance

    def settle_in(self) -> None:
        """Add the foreign service."""
        self._write([Operation(Verb.ADD_SERVICE, FOREIGN.service)])
        self._write([Operation(Verb.ADD_SERVER, FOREIGN.service, each) for each in FOREIGN.destinations.values()])

    def edit(self) -> None:
        """Make one edit in a service that the daemon manages. The kernel may refuse it, if the server is not there."""
        services = [entry.service for key, entry in self._expected().items() if key != _FOREIGN_SERVICE.key]
        service = self._chance.choice(services)
        is_of_service = self._chance.random() < _SERVICE_SHARE
        edit = self._of_service(service) if is_of_service else self._of_server(service)
        self.edits += self._write([edit])

    def _of_service(self, service: ServiceRecord) -> Operation:
        if self._chance.random() < 1 / 2:
            return Operation(Verb.DELETE_SERVICE, service)
        return Operation(Verb.SET_SERVICE, ServiceRecord(service.key, self._chance.choice(["wlc", "sh", "mh"])))

    def _of_server(self, service: ServiceRecord) -> Operation:
        servers = list(self._expected()[service.key].destinations.values())
        if not servers or self._chance.random() < 1 / 4:
            address = f"198.51.100.{self._chance.randrange(_INTRUDERS)}"
            return Operation(Verb.ADD_SERVER, service, foreign(address, self._chance.randrange(1, 9)))
        right = self._chance.choice(servers)
        verb = self._chance.choice([Verb.DELETE_SERVER, Verb.SET_SERVER, Verb.SET_SERVER])
        method = self._chance.choice([ForwardingMethod.MASQ, ForwardingMethod.DROUTE])
        wrong = DestinationRecord(right.key, method, self._chance.choice([0, 2, 999]), upper_threshold=5)
        return Operation(verb, service, wrong)

    def _write(self, operations: Sequence[Operation]) -> int:
        """Write the operations, and return how many of them the kernel has accepted."""
        with self._kernel.conversation() as conversation:
            return sum(code == 0 for batch in conversation.encoded(operations) for code in conversation.write(batch))
