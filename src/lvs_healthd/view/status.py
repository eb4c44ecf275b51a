"""Describes services for `lvs-healthd status`: verdicts with reasons, and weights both wanted and actual."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from lvs_healthd.config.basics import Endpoint
from lvs_healthd.decide import endings, stale
from lvs_healthd.decide.held import ServerState, ServiceState, Watch
from lvs_healthd.decide.roles import Roles
from lvs_healthd.health.machine import Verdict
from lvs_healthd.ipvs.records import DestinationKey, ServiceEntry, Table, Wanted
from lvs_healthd.plan.precedence import State
from lvs_healthd.plan.records import destination_key
from lvs_healthd.runtime.pace import paced
from lvs_healthd.view.reasons import reason_of
from lvs_healthd.view.status_values import CheckStatus, RealServerStatus, ServiceStatus


class RoleValues(NamedTuple):
    """The role of a service. The fields are those of `ServiceStatus`."""

    role: str
    vip: str
    since: float | None
    suspended: bool


def role_values(service: ServiceState, roles: Roles, shift_s: float) -> RoleValues:
    """Describe the role of a service.

    shift_s: what to add to the monotonic clock to get Unix time, seconds.
    """
    vip, standing = roles.of(service.key)
    if standing is None:
        return RoleValues("", "", None, suspended=False)
    # Its probes are suspended and resumed together, unless an active service shares some of them.
    watches = [watch for server in service.members for watch in server.watches]
    is_suspended = bool(watches) and all(watch.probe.is_suspended for watch in watches)
    return RoleValues(standing.role, vip, standing.since + shift_s, suspended=is_suspended)


async def service_status(
    service: ServiceState,
    wanted: Wanted | None,
    actual: Table,
    *,
    in_sync: bool,
    held_by: str,
    role: RoleValues,
    shift_s: float,
    wall: float,
) -> ServiceStatus:
    """Describe one service.

    in_sync: whether the kernel's entry of the service equals the wanted one.
    held_by: what keeps the daemon from writing what is wanted: "operator", "brake", "veto" or "".
    role: its role on this director of a pair.
    shift_s: what to add to the monotonic clock to get Unix time, seconds.
    wall: Unix time now.
    """
    wanted = wanted or Wanted({}, {}, {})
    want = wanted.table.get(service.key)
    have = actual.get(service.key)
    config = service.config
    # A reload during this function empties the services and servers that it replaces, so their content is kept here.
    held = [(server, server.watches) for server in service.members]
    described = (_server_status(server, watches, want, have, (shift_s, wall)) for server, watches in held)
    known = zip(described, [server for server, _ in held], strict=True)
    servers = [_as_spare(status, server, wanted) async for status, server in paced(known)]
    return ServiceStatus(
        service=config.name,
        address=str(service.key),
        scheduler=config.scheduler,
        forward=config.forward,
        in_fallback=service.serving is False or uses_fallback(service, want),
        min_up=service.planned.floor.needed,
        able=service.plan.able,
        counts_weight=service.planned.floor.counts_weight,
        below=service.action or "",
        in_sync=in_sync,
        held_by=held_by,
        role=role.role,
        vip=role.vip,
        role_since=role.since,
        suspended=role.suspended,
        real_servers=tuple(servers),
    )


def _as_spare(status: RealServerStatus, server: ServerState, wanted: Wanted) -> RealServerStatus:
    """Return the status of a server, changed to that of a fallback server if it is one."""
    if not server.is_spare:
        return status
    if status.weight_wanted is not None:
        why = wanted.why.get((server.service.key, server.key))
        reason = why.reason if why is not None else ""
    else:
        reason = status.reason if status.state or status.verdict != Verdict.UP else "standing by"
    plain = msgspec.structs.replace(status, fallback=True, reason=reason)
    return plain if server.watches else msgspec.structs.replace(plain, verdict="unchecked", since=None)


def uses_fallback(service: ServiceState, want: ServiceEntry | None) -> bool:
    """Return whether a fallback server of the service is in the wanted table."""
    return any(weight_in(want, destination_key(spare)) is not None for spare in service.config.fallback)


def _server_status(
    server: ServerState,
    watches: Iterable[Watch],
    want: ServiceEntry | None,
    have: ServiceEntry | None,
    times: tuple[float, float],
) -> RealServerStatus:
    health = server.health
    shift_s, wall = times
    return RealServerStatus(
        server=str(server.key),
        verdict=health.verdict,
        reason=reason_of(server),
        since=health.since + shift_s,
        weight_configured=server.config.weight,
        weight_wanted=weight_in(want, server.key),
        weight_actual=weight_in(have, server.key),
        fallback=False,
        state=state_of(server) or "",
        override=ordered(server),
        checks=tuple([_check_status(watch, shift_s, wall) for watch in watches]),
    )


def state_of(server: ServerState) -> State | None:
    """Return what keeps a server from serving; None for nothing. A damped server that is down is just down."""
    state = server.special.state if server.special is not None else None
    return None if state is State.DAMPED and server.health.verdict is not Verdict.UP else state


def ordered(server: ServerState) -> str:
    """Say what operators have ordered about a server; empty for nothing."""
    hand = server.hand
    if hand is None:
        return ""
    empty = "no connections left" if hand.is_empty else ""
    return "; ".join(filter(None, (hand.state_reason, hand.weight_reason, empty)))


def _check_status(watch: Watch, shift_s: float, wall: float) -> CheckStatus:
    probe, health = watch.probe, watch.health
    return CheckStatus(
        name=watch.check.name,
        type=watch.type,
        target=Endpoint(watch.check.address, watch.check.port).shown,
        verdict=health.verdict,
        reason=probe.last.detail if probe.last is not None else "not probed yet",
        passes=health.passes,
        failures=health.failures,
        latency_s=probe.latency_s,
        last_probe=None if probe.last_at is None else probe.last_at + shift_s,
        certificate_end=probe.certificate_end,
        remark="; ".join(filter(None, (stale.remark_on(probe, wall - shift_s), endings.remark_on(probe, wall)))),
    )


def weight_in(entry: ServiceEntry | None, key: DestinationKey) -> int | None:
    """Return a server's weight in the table, or None if it is not there."""
    record = entry.destinations.get(key) if entry is not None else None
    return record.weight if record is not None else None
