"""Lets drained servers leave the table when their connections are gone, and says what keeps sending clients to them."""

from collections.abc import Callable, Iterable, Iterator

from lvs_healthd.config.basics import Protocol
from lvs_healthd.config.model import Mode, Service
from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.decide.held import ServerState, ServiceState
from lvs_healthd.decide.maintenance import Drain
from lvs_healthd.events.kinds import Event, RealServerDrained
from lvs_healthd.ipvs.records import DestinationKey
from lvs_healthd.plan.precedence import State
from lvs_healthd.reconcile.reconciler import Reconciler
from lvs_healthd.runtime.pace import paced

READ_AGAIN_S = 1.0
"""The kernel's count of a drained server's connections is believed when it was read at least so long after the server
was drained, seconds. Before, the server may still have got new ones."""

_CONNECTIONS = ("active_connections", "inactive_connections", "persistent_connections")

_HASHING = {"sh": "sh-fallback", "mh": "mh-fallback", "dh": ""}
"""The schedulers that choose a server by a hash, and the flag with which they take another one."""


def drain_advice(servers: Iterable[ServerState]) -> Iterator[str]:
    """Yield a sentence for each thing that clients of these servers will meet, once for each service."""
    for service in {server.service.config.name: server.service.config for server in servers}.values():
        yield from (f"{service.name}: {text}" for text in _of(service))


def _of(service: Service) -> Iterator[str]:
    if service.mode is Mode.SHADOW:
        yield "its mode is shadow: nothing of it is written, so its servers go on serving"
    if service.persistence:
        yield (
            f"clients stay with their server for up to {service.persistence:g}s after their last connection, and come "
            "back to it even at weight 0, unless [ipvs.sysctl] expire_quiescent_template = true"
        )
    fallback = _HASHING.get(service.scheduler)
    if fallback is not None and (not fallback or fallback not in service.scheduler_flags):
        with_flag = f', unless scheduler_flags = ["{fallback}"]' if fallback else ""
        yield f"the scheduler {service.scheduler} refuses the new clients whose hash is that of the server{with_flag}"
    if service.protocol is Protocol.UDP and not service.one_packet:
        yield "a udp flow lasts as long as its client goes on sending, within the kernel's timeout of 300s by default"


class Drains:
    """The drained servers that still have connections.

    replan: brings the wanted table up to date.
    clock: monotonic, seconds.
    """

    def __init__(
        self,
        decisions: Decisions,
        reconciler: Reconciler,
        emit: Callable[[Event], None],
        *,
        replan: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._decisions = decisions
        self._reconciler = reconciler
        self._emit = emit
        self._replan = replan
        self._clock = clock

    async def turn(self, now: float) -> None:
        """Remove the drained servers whose connections are gone, or whose deadline has passed.

        now: Unix time.
        """
        read = self._reconciler.last_resync
        read_at = None if read is None else read + now - self._clock()
        async for service in paced(tuple(self._decisions.services)):
            drained = [server for server in service.members if _has_to_go(server)]
            gone = [*self._gone(service, drained, now, read_at)] if drained else []
            async for server, event in paced(gone):
                if self._decisions.service(service.key) is not service:
                    break  # a reload has replaced it meanwhile
                if not _has_to_go(server):
                    continue  # it has been enabled meanwhile
                self._decisions.overrides.emptied(service.key, server.key)
                self._emit(event)
                self._decisions.reconsider([server])
            if gone:
                self._replan()

    def _gone(
        self, service: ServiceState, drained: list[ServerState], now: float, read_at: float | None
    ) -> Iterator[tuple[ServerState, RealServerDrained]]:
        """Yield the servers of a service that may leave, and what is to be told of each.

        read_at: when the kernel's table was last read, Unix time; None if it was not.
        """
        counts: dict[DestinationKey, int] | None = None
        for server in drained:
            drain = self._decisions.overrides.drain_of(service.key, server.key)
            is_late = drain is not None and drain.deadline is not None and drain.deadline <= now
            if drain is None or not (is_late or (read_at is not None and read_at >= drain.since + READ_AGAIN_S)):
                continue
            counts = self._connections(service) if counts is None else counts
            left = counts.get(server.key)
            if left == 0 or (left and is_late):
                yield server, _drained(server, drain, left, now)

    def _connections(self, service: ServiceState) -> dict[DestinationKey, int]:
        """Return how many connections the kernel counts for each server that it has at weight 0."""
        entry = self._reconciler.actual.get(service.key)
        counted = self._reconciler.statistics(service.key)
        if entry is None or counted is None:
            return {}
        columns = (counted.column(field) for field in _CONNECTIONS)
        sums = zip(counted.keys, map(sum, zip(*columns, strict=True)), strict=True)
        at_rest = {key for key, record in entry.destinations.items() if not record.weight}
        return {key: left for key, left in sums if key in at_rest}


def _has_to_go(server: ServerState) -> bool:
    hand = server.hand
    return hand is not None and hand.state is State.DRAINED and not hand.is_empty


def _drained(server: ServerState, drain: Drain, left: int, now: float) -> RealServerDrained:
    return RealServerDrained(
        service=server.service.config.name,
        server=str(server.key),
        reason=f"deadline passed: {left} connections are cut off" if left else "no connections left",
        after_s=round(now - drain.since, 1),
    )
