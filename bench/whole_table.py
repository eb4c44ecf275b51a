"""Measures the daemon's reconciler on a whole table: it fills an empty one, reads it back in sync, and empties it.

This works with any kernel: `guest_table.py` uses a real one, and `scenarios/table.py` a recorded one too.
"""

import time
from typing import NamedTuple

from bench.outcome import MeasurementError
from lvs_healthd.events.kinds import Event, TableError
from lvs_healthd.ipvs.kernel.client import IpvsClient
from lvs_healthd.ipvs.records import (
    DestinationKey,
    DestinationRecord,
    ServiceEntry,
    ServiceKey,
    ServiceRecord,
    Table,
    Wanted,
)
from lvs_healthd.ipvs.words import AF_INET, IPPROTO_TCP, ForwardingMethod
from lvs_healthd.reconcile.reconciler import Reconciler

SERVICES = 100
SERVERS = 10_000
_RESYNC_S = 10.0
_RESYNCS = 5


class Took(NamedTuple):
    """How long something took, seconds: by the clock, and in CPU time of this process."""

    wall_s: float
    cpu_s: float


class Round(NamedTuple):
    """What the life of one table took."""

    start: Took
    resyncs: list[Took]
    removal: Took


def table(services: int = SERVICES, servers: int = SERVERS) -> Table:
    """Return a table of so many services with so many servers among them."""
    share = servers // services
    return dict(_service(number, share) for number in range(services))


def commands(entries: Table) -> str:
    """Write the commands that fill a table with `ipvsadm -R`."""
    lines = []
    for key, entry in entries.items():
        lines.append(f"-A -t {key.address}:{key.port} -s {entry.service.scheduler}\n")
        lines += [
            f"-a -t {key.address}:{key.port} -r {server.address}:{server.port} -m -w {record.weight}\n"
            for server, record in entry.destinations.items()
        ]
    return "".join(lines)


class _Nobody:
    """An observer that counts nothing."""

    def operation(self, verb: str, ok: bool, error: str) -> None:  # noqa: FBT001  # as the protocol has it
        """Ignore it."""

    def resync(self, seconds: float) -> None:
        """Ignore it."""

    def drift(self, kind: str) -> None:
        """Ignore it."""

    def detection(self, seconds: float) -> None:
        """Ignore it."""


async def live(entries: Table) -> Round:
    """Fill an empty table, read it back a few times, and empty it. Raises `MeasurementError` when a step fails."""
    errors: list[Event] = []
    clock = _Clock()
    client = IpvsClient()
    keeper = Reconciler(
        client, lambda event: errors.append(event) if isinstance(event, TableError) else None,
        clock=clock, resync_s=_RESYNC_S, observer=_Nobody(),
    )  # fmt: skip
    try:
        await keeper.open()
        if await keeper.adopt():
            raise MeasurementError("the table was not empty")
        start = await _turn(keeper, entries)
        written = client.writes_sent
        if keeper.actual != entries:
            raise MeasurementError(f"the table was not filled: {errors[:1]}")
        resyncs = []
        for _ in range(_RESYNCS):
            clock.skip(_RESYNC_S)
            resyncs.append(await _turn(keeper, None))
        if client.writes_sent != written or keeper.last_resync != clock.skipped_to:
            raise MeasurementError("a resync wrote, or did not happen")
        removal = await _turn(keeper, {})
        if await client.read():
            raise MeasurementError(f"the table was not emptied: {errors[:1]}")
    finally:
        client.close()
    return Round(start, resyncs, removal)


async def _turn(keeper: Reconciler, wanted: Table | None) -> Took:
    began, cpu = time.monotonic(), time.process_time()
    if wanted is not None:
        keeper.want(Wanted(wanted, {}, {}))
    await keeper.turn()
    return Took(time.monotonic() - began, time.process_time() - cpu)


class _Clock:
    """A clock that stands still until it is told to skip, so that a resync is due when we want it."""

    def __init__(self) -> None:
        self.skipped_to = 0.0

    def skip(self, seconds: float) -> None:
        self.skipped_to += seconds

    def __call__(self) -> float:
        return self.skipped_to


def _service(number: int, share: int) -> tuple[ServiceKey, ServiceEntry]:
    service = ServiceRecord(ServiceKey(AF_INET, IPPROTO_TCP, f"198.19.{number // 250}.{number % 250 + 1}", 80), "wrr")
    keys = [
        DestinationKey(AF_INET, f"198.18.{index // 250}.{index % 250 + 1}", 80)
        for index in range(number * share, (number + 1) * share)
    ]
    return service.key, ServiceEntry(service, {key: DestinationRecord(key, ForwardingMethod.MASQ, 1) for key in keys})
