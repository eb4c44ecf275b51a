"""Lists the IPVS table line by line: what the kernel has, what it should have, and what it has counted."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping

import msgspec

from lvs_healthd.decide.held import ServiceState
from lvs_healthd.ipvs.describe import differences, fields
from lvs_healthd.ipvs.diff import Servers, is_foreign
from lvs_healthd.ipvs.kernel.statistics import ServiceStatistics, Statistics
from lvs_healthd.ipvs.records import (
    DestinationKey,
    DestinationRecord,
    ServiceEntry,
    ServiceKey,
    ServiceRecord,
    Table,
    Wanted,
    Why,
)
from lvs_healthd.ipvs.saved import server_order, service_order
from lvs_healthd.reconcile.ownership import Ownership
from lvs_healthd.runtime.pace import paced
from lvs_healthd.view.naming import UnknownNameError, canonical, spellings
from lvs_healthd.view.reasons import reason_of
from lvs_healthd.view.table_values import Difference, ListedServer, ListedService, ServerFields, ServiceFields, State


def meant(which: str, services: Iterable[ServiceState], tables: Iterable[Table]) -> list[ServiceKey]:
    """Return the services that an operator means, in ipvsadm's order.

    which: a name ("web"), an address ("192.0.2.100:80/tcp", "192.0.2.100:80", "192.0.2.100") or a firewall mark
        ("fwmark 7" for both families, or "fwmark 7 ipv6"). "" means all services.
    services: the configured services.
    tables: tables whose services can also be meant, whether they are configured or not.

    Raises `UnknownNameError` when there is no such service.
    """
    names = {service.key: service.config.name for service in services}
    keys = set(names).union(*tables)
    if which:
        address = canonical(which)
        keys = {key for key in keys if which == names.get(key) or address in spellings(str(key))}
        if not keys:
            raise UnknownNameError(f'no service is called "{which}" or has that address')
    return sorted(keys, key=service_order)


async def listed(
    keys: Iterable[ServiceKey],
    *,
    service: Callable[[ServiceKey], ServiceState | None],
    wanted: Callable[[], Wanted | None],
    actual: Callable[[], Table],
    ownership: Ownership,
    statistics: Callable[[ServiceKey], ServiceStatistics | None],
) -> AsyncIterator[ListedService]:
    """Yield the services `keys` with their servers, wanted and actual side by side.

    The event loop runs in between, so the last service may be listed as it is a moment later than the first.

    service: returns what is known of a configured service.
    wanted: returns the wanted table; None before the first decision.
    actual: returns the kernel's table.
    statistics: returns what the kernel has counted for a service.
    """
    async for key in paced(keys):
        want = wanted() or Wanted({}, {}, {})
        entry, found = want.table.get(key), actual().get(key)
        if entry is None and found is None:
            continue
        is_foreign = entry is None and key not in ownership.services
        counted = statistics(key) if found is not None else None
        servers = _Servers(key, service(key), want.why, counted, ownership.servers, is_foreign=is_foreign)
        lines = [line async for line in paced(servers.listed(entry, found))]
        name = want.names.get(key, "")
        yield _service(key, entry, found, name=name, servers=lines, counted=counted, is_foreign=is_foreign)


def _service(
    key: ServiceKey,
    entry: ServiceEntry | None,
    found: ServiceEntry | None,
    *,
    name: str,
    servers: list[ListedServer],
    counted: ServiceStatistics | None,
    is_foreign: bool,
) -> ListedService:
    want = entry.service if entry is not None else None
    have = found.service if found is not None else None
    return ListedService(
        service=name,
        address=str(key),
        state=_state(want, have, is_foreign=is_foreign),
        differences=_differences(have, want),
        actual=None if have is None else ServiceFields(**fields(have)),
        wanted=None if want is None else ServiceFields(**fields(want)),
        statistics=None if counted is None else _with_connections(counted.service(), servers),
        servers=tuple(servers),
    )


def _with_connections(own: Statistics, servers: list[ListedServer]) -> Statistics:
    counted = [server.statistics for server in servers if server.statistics is not None]
    return msgspec.structs.replace(
        own,
        active_connections=sum(each.active_connections for each in counted),
        inactive_connections=sum(each.inactive_connections for each in counted),
        persistent_connections=sum(each.persistent_connections for each in counted),
    )


class _Servers:
    """Lists the servers of one service. `state` is None for a service that is not configured."""

    def __init__(
        self,
        key: ServiceKey,
        state: ServiceState | None,
        why: Mapping[tuple[ServiceKey, DestinationKey], Why],
        counted: ServiceStatistics | None,
        ours: Servers,
        *,
        is_foreign: bool,
    ) -> None:
        self._key = key
        self._ours = ours
        self._states = {server.key: server for server in state.servers} if state is not None else {}
        self._spares = {spare.key: spare for spare in state.spares} if state is not None else {}
        self._why = why
        self._rows = counted.servers() if counted is not None else {}
        self._is_foreign = is_foreign

    def listed(self, entry: ServiceEntry | None, found: ServiceEntry | None) -> Iterable[ListedServer]:
        """Yield the servers in ipvsadm's order. A fallback server is listed only while it is in one of the tables."""
        wanted = entry.destinations if entry is not None else {}
        actual = found.destinations if found is not None else {}
        for server in sorted({*wanted, *actual, *self._states}, key=server_order):
            yield self._line(server, wanted.get(server), actual.get(server))

    def _line(
        self, server: DestinationKey, want: DestinationRecord | None, have: DestinationRecord | None
    ) -> ListedServer:
        verdict, reason = self._verdict(server)
        row = self._rows.get(server) if have is not None else None
        actual = _server_fields(have)
        return ListedServer(
            server=str(server),
            state=_state(want, have, is_foreign=self._is_foreign or is_foreign((self._key, server), self._ours)),
            differences=_differences(have, want),
            actual=actual,
            wanted=actual if want == have else _server_fields(want),
            verdict=verdict,
            reason=reason,
            statistics=None if row is None else Statistics(*row),
        )

    def _verdict(self, server: DestinationKey) -> tuple[str, str]:
        state = self._states.get(server)
        if state is not None:
            return state.health.verdict, reason_of(state)
        why, spare = self._why.get((self._key, server)), self._spares.get(server)
        verdict = "" if spare is None else spare.health.verdict if spare.watches else "unchecked"
        return verdict, why.reason if why is not None else ""


def _state(
    want: ServiceRecord | DestinationRecord | None,
    have: ServiceRecord | DestinationRecord | None,
    *,
    is_foreign: bool,
) -> State:
    if is_foreign:
        return State.FOREIGN
    if want == have:
        return State.OUT if want is None else State.OK
    if want is None:
        return State.EXTRA
    return State.MISSING if have is None else State.DIFFERS


def _differences(
    have: ServiceRecord | DestinationRecord | None, want: ServiceRecord | DestinationRecord | None
) -> tuple[Difference, ...]:
    if have is None or want is None or have == want:
        return ()
    return tuple(
        Difference(field=name.replace(" ", "_"), actual=old, wanted=new) for name, old, new in differences(have, want)
    )


def _server_fields(record: DestinationRecord | None) -> ServerFields | None:
    if record is None:
        return None
    words = fields(record)
    return ServerFields(
        forward=words["forward"],
        weight=record.weight,
        upper_threshold=record.upper_threshold,
        lower_threshold=record.lower_threshold,
        tunnel=words["tunnel"],
    )
