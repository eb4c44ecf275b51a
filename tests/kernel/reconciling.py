"""A reconciler on the kernel's table, with services of ours and of somebody else in it."""

from lvs_healthd.events.kinds import Event, TableDrift
from lvs_healthd.ipvs.kernel.client import IpvsClient
from lvs_healthd.ipvs.records import Table, Wanted
from lvs_healthd.ipvs.words import SVC_F_PERSISTENT, ForwardingMethod
from lvs_healthd.reconcile.reconciler import Reconciler
from tests.ipvs.tables import DNS, MARK, WEB, entry, server, service, table
from tests.reconciling import Counts

RESYNC_S = 10.0

DEADLINE_S = 60.0
"""An emulated kernel takes its time to load a scheduler's module."""

FOREIGN_RULES = """\
-A -t 203.0.113.5:443 -s sh -p 300 -M 255.255.255.0 -b sh-fallback,sh-port
-a -t 203.0.113.5:443 -r 198.51.100.77:8443 -m -w 5
-a -t 203.0.113.5:443 -r 198.51.100.78:8443 -m -w 0
-A -f 99 -6 -s wlc
-a -f 99 -6 -r [2001:db8::a]:0 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum
"""

WANTED = table(
    entry(service(WEB), server("198.51.100.1"), server("198.51.100.2", 2)),
    entry(
        service(DNS, "rr", flags=SVC_F_PERSISTENT, timeout=120, netmask=64),
        server("2001:db8::1", forward=ForwardingMethod.DROUTE),
    ),
    entry(service(MARK, "wlc"), server("198.51.100.3", forward=ForwardingMethod.TUNNEL)),
)


class Bench:
    """A reconciler on the kernel's table, with a clock that the test moves."""

    def __init__(self, client: IpvsClient) -> None:
        self.now = 0.0
        self.events: list[Event] = []
        self.client = client
        self.reconciler = Reconciler(
            client, self.events.append, clock=lambda: self.now, resync_s=RESYNC_S, observer=Counts()
        )

    async def start(self, wanted: Table) -> None:
        await self.reconciler.open()
        await self.reconciler.adopt()
        await self.want(wanted)

    async def want(self, wanted: Table) -> None:
        self.reconciler.want(Wanted(wanted, {WEB: "web", DNS: "dns", MARK: "mark"}, {}))
        await self.reconciler.turn()

    async def resync(self) -> None:
        self.now += RESYNC_S
        await self.reconciler.turn()

    def drifts(self) -> list[tuple[str, str, str]]:
        return [(event.service, event.server, event.found) for event in self.events if isinstance(event, TableDrift)]
