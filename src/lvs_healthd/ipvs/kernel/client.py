"""Reads and writes the kernel's IPVS table over generic netlink.

Requests are made one at a time. Each has a deadline, and none blocks the event loop. This code relies on these facts
(net/netlink/af_netlink.c, net/netfilter/ipvs/ip_vs_ctl.c):

- A write is done when send() returns; its acknowledgement then waits in the receive buffer. One send can carry many
  writes. The kernel makes them in order, a failed write does not stop the later ones, and each has its own
  acknowledgement.
- When the receive buffer overflows, acknowledgements are lost and recv() fails once with ENOBUFS. The writes were made.
- When a service is gone, the kernel answers a request for its destinations with an empty list and no error.
"""

import asyncio
import contextlib
import errno
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from lvs_healthd.ipvs.interface import TableUnavailableError
from lvs_healthd.ipvs.kernel import codec, connections, genetlink
from lvs_healthd.ipvs.kernel.channel import DEADLINE_S, Channel
from lvs_healthd.ipvs.kernel.genetlink import NLM_F_ACK, NLMSG_ERROR, GarbledMessageError, Message
from lvs_healthd.ipvs.kernel.known import Known
from lvs_healthd.ipvs.kernel.modules import load_module
from lvs_healthd.ipvs.kernel.requests import KernelError, Requests
from lvs_healthd.ipvs.kernel.statistics import ServiceStatistics
from lvs_healthd.ipvs.records import (
    DestinationKey,
    DestinationRecord,
    Operation,
    Result,
    ServiceEntry,
    ServiceKey,
    ServiceRecord,
    Table,
    Verb,
)
from lvs_healthd.ipvs.refusals import NO_MODULE, UNKNOWN_OUTCOME, explain
from lvs_healthd.runtime.netns import Netns

_BATCH = 128
"""The maximum number of writes in one send: half as many as the default receive buffer has room for acknowledgements,
in case the buffer cannot be enlarged."""
_SERVICE_COST = 8
"""A write to a service counts as this many writes to servers when a batch is filled. It may run modprobe or wait for an
RCU grace period, about 30 ms each, and there is one deadline for the whole batch."""
_SERVICE_WRITES = frozenset({Verb.ADD_SERVICE, Verb.SET_SERVICE})

_T = TypeVar("_T")


class IpvsClient:
    """The kernel's IPVS table. `IpvsTable` documents the calls.

    netns: network namespace of the table; default: the process's own.
    deadline_s: the longest that one request may take, seconds.
    load: function that loads a kernel module by name, and returns whether it succeeded.
    """

    def __init__(
        self,
        *,
        netns: Netns | None = None,
        deadline_s: float = DEADLINE_S,
        load: Callable[[str], Awaitable[bool]] = load_module,
    ) -> None:
        self.writes_sent = 0
        """How many writes were sent to the kernel so far. Tests use it to check that a table in sync gets none."""
        self._netns = netns or Netns()
        self._requests = Requests(Channel(deadline_s, self._netns))
        self._load = load
        self._known = Known()
        self._statistics: dict[ServiceKey, ServiceStatistics] = {}
        self._schedulers_tried: set[str] = set()

    async def open(self) -> str:
        """Find the IPVS netlink family, and describe the table. Loads the module if that is needed and permitted."""
        async with self._requests.lock:
            find = self._requests.find_family
            if not await find() and not (await self._load("ip_vs") and await find()):
                raise TableUnavailableError(NO_MODULE)
            return await self._reading(self._describe)

    async def read(self) -> Table:
        """Read all services, then the destinations of each."""
        async with self._requests.lock:
            self._requests.channel.follow_netns()
            return await self._reading(self._read_all)

    async def read_services(self, keys: Sequence[ServiceKey]) -> Table:
        """Read the named services only."""
        async with self._requests.lock:
            return await self._reading(lambda: self._read_some(keys))

    async def apply(self, operations: Sequence[Operation]) -> list[Result]:
        """Make the writes in batches. If a write fails because a module is missing, load it and retry once."""
        async with self._requests.lock:
            self._requests.check_open()
            results = await self._write(operations)
            again = await self._curable(operations, results)
            if again:
                second = await self._write([operations[index] for index in again])
                for index, result in zip(again, second, strict=True):
                    results[index] = result
            return results

    def statistics(self, key: ServiceKey) -> ServiceStatistics | None:
        """Return the statistics that came with the last reading of a service."""
        return self._statistics.get(key)

    def connections(self) -> Iterator[bytes]:
        """Read the connections from /proc, because netlink does not list them."""
        return connections.blocks(self._netns)

    def close(self) -> None:
        """Close the socket."""
        self._requests.channel.close()

    # Reading

    async def _reading(self, read: Callable[[], Awaitable[_T]]) -> _T:
        """Call `read`, and retry once if the family has a new number because the module was reloaded meanwhile."""
        self._requests.check_open()
        try:
            try:
                return await read()
            except KernelError as error:
                if error.answer.errno != errno.ENOENT or not await self._requests.find_family():
                    raise
                return await read()
        except GarbledMessageError as error:
            raise TableUnavailableError(f"the kernel's answer cannot be read: {error}") from error

    async def _describe(self) -> str:
        return codec.decode_info(await self._requests.ask(codec.CMD_GET_INFO, b""))

    async def _read_all(self) -> Table:
        services = await self._requests.dump(codec.CMD_GET_SERVICE, b"", codec.decode_counted_service)
        self._known.begin()
        table = await self._with_destinations(services)
        self._known.end()
        for key in self._statistics.keys() - table.keys():
            del self._statistics[key]
        return table

    async def _read_some(self, keys: Sequence[ServiceKey]) -> Table:
        services = []
        for key in keys:
            try:
                reply = await self._requests.ask(codec.CMD_GET_SERVICE, codec.encode_service_key(key))
            except KernelError as error:
                if error.answer.errno != errno.ESRCH:
                    raise
                self._statistics.pop(key, None)
            else:
                services.append(codec.decode_counted_service(reply))
        return await self._with_destinations(services)

    async def _with_destinations(self, services: Sequence[tuple[ServiceRecord, bytes]]) -> Table:
        """Read the destinations of services, each of which comes with the row of its counters."""
        requests = [
            (
                codec.encode_service_key(each.key),
                partial(self._known.decoded, service_family=each.key.family),
            )
            for each, _ in services
        ]
        table: Table = {}
        rows = iter(services)
        async for found in self._requests.dumps(codec.CMD_GET_DEST, requests):
            service, row = next(rows)
            destinations: dict[DestinationKey, DestinationRecord] = {}
            for part in found:
                destinations.update(part.records)
            table[service.key] = ServiceEntry(service, destinations)
            # The rows are replaced service by service, so that memory never holds the rows of two whole readings.
            self._statistics[service.key] = ServiceStatistics(
                tuple(itertools.chain.from_iterable([part.keys for part in found])),
                b"".join([row, *[part.rows for part in found]]),
            )
        return table

    # Writing

    async def _write(self, operations: Sequence[Operation]) -> list[Result]:
        results: list[Result] = []
        for batch in _batches(operations):
            results += await self._write_batch(batch)
            await asyncio.sleep(0)
        return results

    async def _write_batch(self, batch: Sequence[Operation]) -> list[Result]:
        waiting = {self._requests.next_sequence(): index for index in range(len(batch))}
        requests = [
            self._requests.request(*codec.encode(operation), NLM_F_ACK, sequence)
            for sequence, operation in zip(waiting, batch, strict=True)
        ]
        results = [Result(None, UNKNOWN_OUTCOME)] * len(batch)

        def take(received: list[Message]) -> None:
            for message in received:
                if message.type == NLMSG_ERROR and message.sequence in waiting:
                    index = waiting.pop(message.sequence)
                    code, text = genetlink.answer(message)
                    results[index] = Result(code, explain(batch[index], code, text) if code else "")

        channel = self._requests.channel
        channel.connect()
        try:
            async with channel.exchange():
                self.writes_sent += len(batch)
                await channel.send(b"".join(requests))
                try:
                    while waiting:
                        take(await channel.receive())
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise
                    # All writes were made inside send(), so every acknowledgement that was not lost is already here.
                    take(channel.receive_held())
        except TableUnavailableError as error:
            # The batch may have been sent, so the outcome of a write without an answer is unknown.
            for index in waiting.values():
                results[index] = Result(None, f"outcome unknown: {error}")
        return results

    async def _curable(self, operations: Sequence[Operation], results: Sequence[Result]) -> list[int]:
        """Try to fix what made writes fail with ENOENT, and return the indices of the operations to retry."""
        missing = [index for index, result in enumerate(results) if result.errno == errno.ENOENT]
        if not missing:
            return []
        family = self._requests.family
        with contextlib.suppress(TableUnavailableError):
            if await self._requests.find_family() and self._requests.family != family:
                return missing  # the module was reloaded meanwhile, and the old number is invalid
        services = {operations[index].service for index in missing if operations[index].verb in _SERVICE_WRITES}
        loaded = {scheduler for scheduler in {service.scheduler for service in services} if await self._cure(scheduler)}
        cured = {service.key for service in services if service.scheduler in loaded}
        return [
            index
            for index, (operation, result) in enumerate(zip(operations, results, strict=True))
            if operation.service.key in cured and result.errno in (errno.ENOENT, errno.ESRCH)
        ]

    async def _cure(self, scheduler: str) -> bool:
        """Try to load a scheduler's module, and return whether that succeeded.

        It is tried only once for each scheduler, because the kernel has already tried, and each try starts a process.
        """
        if scheduler in self._schedulers_tried:
            return False
        self._schedulers_tried.add(scheduler)
        return await self._load(f"ip_vs_{scheduler}")


def _batches(operations: Sequence[Operation]) -> Iterator[list[Operation]]:
    batch: list[Operation] = []
    room = _BATCH
    for operation in operations:
        cost = _SERVICE_COST if operation.verb in _SERVICE_WRITES else 1
        if cost > room:
            yield batch
            batch, room = [], _BATCH
        batch.append(operation)
        room -= cost
    if batch:
        yield batch
