"""Describes services for the metrics, in columns, which is several times as fast as building a status."""

from lvs_healthd.decide.endings import is_ending
from lvs_healthd.decide.held import ServiceState
from lvs_healthd.decide.overrides import Overrides
from lvs_healthd.ipvs.interface import IpvsTable
from lvs_healthd.plan.precedence import State
from lvs_healthd.plan.records import destination_key
from lvs_healthd.reconcile.reconciler import Reconciler
from lvs_healthd.view.status import state_of, uses_fallback, weight_in
from lvs_healthd.view.status_values import ServiceSamples


def service_samples(
    service: ServiceState,
    overrides: Overrides,
    reconciler: Reconciler,
    table: IpvsTable,
    *,
    shift_s: float,
    wall: float,
) -> ServiceSamples:
    """Describe one service for the metrics.

    overrides: what operators have ordered.
    shift_s: what to add to the monotonic clock to get Unix time, seconds.
    wall: Unix time now.
    """
    wanted = reconciler.wanted
    want = wanted.table.get(service.key) if wanted is not None else None
    have = reconciler.actual.get(service.key)
    servers = service.servers
    names = [str(server.key) for server in servers]
    statistics = table.statistics(service.key) if have is not None else None
    present = have.destinations if have is not None else {}
    # A dict, because a fallback server may also be one of the real servers.
    named = dict(zip((server.key for server in servers), names, strict=True))
    named.update((key, str(key)) for key in map(destination_key, service.config.fallback) if key not in named)
    keys = statistics.keys if statistics is not None else ()
    return ServiceSamples(
        name=service.config.name,
        in_fallback=service.serving is False or uses_fallback(service, want),
        in_sync=reconciler.in_sync(service.key),
        is_shadow=service.key in reconciler.gate.shadowed,
        servers=names,
        verdicts=[server.health.verdict for server in servers],
        since=[server.health.since + shift_s for server in servers],
        weights_configured=[server.config.weight for server in servers],
        weights_wanted=[weight_in(want, server.key) for server in servers],
        weights_actual=[weight_in(have, server.key) for server in servers],
        latencies=[
            (name, watch.check.name, watch.probe.latency_s)
            for name, server in zip(names, servers, strict=True)
            for watch in server.watches
            if watch.probe.latency_s is not None
        ],
        certificates_ending=sum(is_ending(watch.probe, wall) for server in servers for watch in server.watches),
        servers_damped=sum(state_of(server) is State.DAMPED for server in servers),
        checks_stale=sum(watch.probe.is_stale for server in servers for watch in server.watches),
        certificate_ends=[
            (name, watch.check.name, watch.probe.certificate_end)
            for name, server in zip(names, servers, strict=True)
            for watch in server.watches
            if watch.probe.certificate_end is not None
        ],
        overrides=_orders(service, overrides),
        statistics=statistics,
        counted=[named.get(key) if key in present else None for key in keys],
        is_persistent=bool(service.config.persistence),
    )


def _orders(service: ServiceState, overrides: Overrides) -> list[tuple[str, str, float]]:
    if not len(overrides):
        return []
    return [
        (str(server.key), str(order.kind), order.since)
        for server in service.servers
        if server.hand is not None
        for order in overrides.of(service.key, server.key)
        if order is not None
    ]
