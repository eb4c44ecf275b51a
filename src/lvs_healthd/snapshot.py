"""Builds the `status` values from the daemon's live state."""

from lvs_healthd.config.model import Endpoint
from lvs_healthd.decisions import ServerState, ServiceState, Watch
from lvs_healthd.ipvs.records import DestinationKey, ServiceEntry, Table, Wanted
from lvs_healthd.plan import destination_key
from lvs_healthd.status import CheckStatus, RealServerStatus, ServiceStatus


def service_status(
    service: ServiceState, wanted: Wanted, actual: Table, *, in_sync: bool, shift_s: float
) -> ServiceStatus:
    """Describe one service; `shift_s` turns the monotonic clock into Unix time."""
    want = wanted.table.get(service.key)
    have = actual.get(service.key)
    config = service.config
    servers = [_server_status(server, want, have, shift_s) for server in service.servers]
    fallback_in_use = False
    for spare in config.fallback:
        key = destination_key(spare)
        why = wanted.why.get((service.key, key))
        in_use = _weight(want, key) is not None
        fallback_in_use = fallback_in_use or in_use
        servers.append(
            RealServerStatus(
                server=str(key),
                verdict="unchecked",
                reason=why.reason if why is not None and in_use else "standing by",
                since=None,
                weight_configured=spare.weight,
                weight_wanted=_weight(want, key),
                weight_actual=_weight(have, key),
                fallback=True,
                checks=(),
            )
        )
    return ServiceStatus(
        name=config.name,
        service=str(service.key),
        scheduler=config.scheduler,
        forward=config.forward,
        in_fallback=fallback_in_use or service.serving is False,
        in_sync=in_sync,
        real_servers=tuple(servers),
    )


def _server_status(
    server: ServerState, want: ServiceEntry | None, have: ServiceEntry | None, shift_s: float
) -> RealServerStatus:
    health = server.health
    return RealServerStatus(
        server=str(server.key),
        verdict=health.verdict,
        reason=health.detail or ("not probed yet" if health.passes + health.failures == 0 else ""),
        since=health.since + shift_s,
        weight_configured=server.config.weight,
        weight_wanted=_weight(want, server.key),
        weight_actual=_weight(have, server.key),
        fallback=False,
        checks=tuple(_check_status(watch) for watch in server.watches),
    )


def _check_status(watch: Watch) -> CheckStatus:
    probe, health = watch.probe, watch.health
    return CheckStatus(
        name=watch.check.name,
        type=watch.type,
        target=str(Endpoint(watch.check.address, watch.check.port)),
        verdict=health.verdict,
        reason=probe.last.detail if probe.last is not None else "not probed yet",
        passes=health.passes,
        failures=health.failures,
        latency_s=probe.last.latency_s if probe.last is not None else None,
        last_probe=probe.last_at,
    )


def _weight(entry: ServiceEntry | None, key: DestinationKey) -> int | None:
    record = entry.destinations.get(key) if entry is not None else None
    return record.weight if record is not None else None
