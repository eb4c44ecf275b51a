"""Knows the truth about the soak's servers, and finds where the daemon or the kernel's table differs from it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from bench.healthd import SERVERS_PER_SERVICE, Load
from bench.netlink import Conversation
from lvs_healthd.ipvs.kernel import codec, genetlink
from lvs_healthd.ipvs.kernel.genetlink import NLMSG_DONE
from lvs_healthd.ipvs.records import (
    DestinationKey,
    DestinationRecord,
    ServiceEntry,
    ServiceKey,
    ServiceRecord,
    Table,
    TableLine,
)
from lvs_healthd.ipvs.words import AF_INET, IPPROTO_TCP, ForwardingMethod


class Truth:
    """Which servers are configured, which of them answer, and how long this has been so for each.

    load: gives the addresses of the virtual services.
    servers: the address and port of each server, in the order of the configuration. `move` changes them.
    always: services that must be in the table as well, and that nobody may change.
    clock: monotonic time, seconds.
    """

    def __init__(
        self,
        load: Load,
        servers: Sequence[str],
        *,
        always: Table | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.servers = list(servers)
        self.off: set[int] = set()
        """The ports on which nobody answers."""
        self._load = load
        self._always = always or {}
        self._clock = clock
        self._port_changed: dict[int, float] = {}
        self._moved: dict[int, float] = {}

    def switched(self, port: int, *, is_on: bool) -> None:
        """Note that a port has begun to answer, or has stopped."""
        self._port_changed[port] = self._clock()
        if is_on:
            self.off.discard(port)
        else:
            self.off.add(port)

    def move(self, index: int, server: str) -> None:
        """Note that a server has another address from now on.

        index: the server's place in `servers`.
        server: its new address and port.
        """
        self._moved[index] = self._clock()
        self.servers[index] = server

    def is_down(self, server: str) -> bool:
        """Return whether nobody answers at this address and port."""
        return _port(server) in self.off

    def table(self) -> Table:
        """Return the table that is right at this moment, without the services of `always`."""
        found: Table = {}
        for start in range(0, len(self.servers), SERVERS_PER_SERVICE):
            service = self._service(start)
            members = [
                _record(server)
                for server in self.servers[start : start + SERVERS_PER_SERVICE]
                if not self.is_down(server)
            ]
            found[service.key] = ServiceEntry(service, {each.key: each for each in members})
        return found

    def wrong_verdicts(self, verdicts: Mapping[str, str], *, unchanged_s: float = 0.0) -> list[str]:
        """Return a line for each server about which the daemon is wrong.

        verdicts: the daemon's verdict for each server, by its address and port.
        unchanged_s: servers that have changed in the last `unchanged_s` seconds are left out.
        """
        found = []
        for index in self._settled(unchanged_s):
            server = self.servers[index]
            expected = "down" if self.is_down(server) else "up"
            if verdicts.get(server) != expected:
                found.append(f"{server} is {expected}, the daemon says {verdicts.get(server)}")
        return found

    def wrong_lines(self, table: Table) -> list[str]:
        """Return a description of each line of a table that is missing, is not wanted, or is wrong in any field."""
        wanted, have = _lines({**self.table(), **self._always}), _lines(table)
        return [
            f"{' '.join(map(str, filter(None, line)))}: {wanted.get(line)} is right, the table has {have.get(line)}"
            for line in sorted({*wanted, *have}, key=str)
            if wanted.get(line) != have.get(line)
        ]

    def settled(self, unchanged_s: float) -> int:
        """Return how many servers have not changed for `unchanged_s` seconds."""
        return sum(1 for _ in self._settled(unchanged_s))

    def _settled(self, unchanged_s: float) -> Iterator[int]:
        long_ago = self._clock() - unchanged_s
        for index, server in enumerate(self.servers):
            if self._port_changed.get(_port(server), long_ago) <= long_ago >= self._moved.get(index, long_ago):
                yield index

    def _service(self, start: int) -> ServiceRecord:
        host, _, port = self._load.vip(start // SERVERS_PER_SERVICE).partition(":")
        return ServiceRecord(ServiceKey(AF_INET, IPPROTO_TCP, host, int(port)), "rr")


def table_of(conversation: Conversation) -> Table:
    """Read the kernel's table without the daemon's own client, and return it."""
    found: Table = {}
    for service in genetlink.messages(conversation.dump(codec.CMD_GET_SERVICE)):
        if service.type == NLMSG_DONE:
            break
        record = codec.decode_service(service.payload)
        answers = conversation.dump(codec.CMD_GET_DEST, codec.encode_service_key(record.key))
        members = [
            codec.decode_destination(each.payload, AF_INET)
            for each in genetlink.messages(answers)
            if each.type != NLMSG_DONE
        ]
        found[record.key] = ServiceEntry(record, {each.key: each for each in members})
    return found


def _lines(table: Table) -> dict[TableLine, ServiceRecord | DestinationRecord]:
    found: dict[TableLine, ServiceRecord | DestinationRecord] = {}
    for key, entry in table.items():
        found[key, None] = entry.service
        found.update({(key, server): record for server, record in entry.destinations.items()})
    return found


def _record(server: str) -> DestinationRecord:
    address, _, port = server.rpartition(":")
    return DestinationRecord(DestinationKey(AF_INET, address, int(port)), ForwardingMethod.MASQ, 1)


def _port(server: str) -> int:
    return int(server.rpartition(":")[2])
