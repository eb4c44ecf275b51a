"""A reconciler on a table in memory, for its tests."""

from lvs_healthd.events.kinds import Event
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.ipvs.records import ServiceKey, Table, Wanted, Why
from lvs_healthd.reconcile.reconciler import Reconciler
from tests.ipvs.tables import DNS, MARK, WEB, copy, entry, server, service, table

ONE = server("198.51.100.1")
TWO = server("198.51.100.2")
THREE = server("198.51.100.3")
FALLBACK = server("198.51.100.99")
BOTH = table(entry(service(WEB), ONE, TWO))
FOREIGN = entry(service(MARK, "rr"), server("198.51.100.77", 3))
RESYNC_S = 10.0


class Counts:
    """An observer that keeps everything."""

    def __init__(self) -> None:
        self.operations: list[tuple[str, bool, str]] = []
        self.resyncs: list[float] = []
        self.drifts: list[str] = []
        self.detections: list[float] = []

    def operation(self, verb: str, ok: bool, error: str) -> None:
        self.operations.append((verb, ok, error))

    def resync(self, seconds: float) -> None:
        self.resyncs.append(seconds)

    def drift(self, kind: str) -> None:
        self.drifts.append(kind)

    def detection(self, seconds: float) -> None:
        self.detections.append(seconds)


class FlickeringTable(MemoryTable):
    """A table whose whole reads can miss an entry, as a dump that races a write may."""

    def __init__(self) -> None:
        super().__init__()
        self.missed: set[ServiceKey] = set()

    async def read(self) -> Table:
        return {key: one for key, one in (await super().read()).items() if key not in self.missed}


class Bench:
    """A reconciler on a table in memory, with a clock that the test moves."""

    def __init__(self, *, shadow: bool = False, table: MemoryTable | None = None) -> None:
        self.now = 1000.0
        self.table = table or FlickeringTable()
        self.events: list[Event] = []
        self.counts = Counts()
        self.reconciler = Reconciler(
            self.table,
            self.events.append,
            clock=lambda: self.now,
            resync_s=RESYNC_S,
            shadow=shadow,
            observer=self.counts,
        )

    async def adopt(self, entries: Table, wanted: Table | None = None) -> None:
        """Start on a table that exists already, and forget the writes and events so far."""
        self.table.entries = copy(entries)
        await self.reconciler.open()
        await self.reconciler.adopt()
        if wanted is not None:
            await self.want(wanted)
            self.table.writes.clear()
            self.events.clear()

    async def want(self, entries: Table, why: dict[str, Why] | None = None) -> None:
        self.reconciler.want(wanted(entries, why))
        await self.reconciler.turn()

    async def resync(self) -> None:
        self.now += RESYNC_S
        await self.reconciler.turn()

    def told(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if type(event) is kind]

    def writes(self) -> list[tuple[str, str]]:
        return [
            (operation.verb.value, str((operation.destination or operation.service).key))
            for operation in self.table.writes
        ]


def wanted(entries: Table, why: dict[str, Why] | None = None) -> Wanted:
    reasons = {
        (key, one): (why or {}).get(str(one), Why("all checks pass"))
        for key, entry in entries.items()
        for one in [*entry.destinations, ONE.key, TWO.key]
    }
    return Wanted(entries, {WEB: "web", DNS: "dns"}, reasons)
