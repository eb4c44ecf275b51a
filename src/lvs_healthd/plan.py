"""Verdicts and configuration in, the wanted table out, with a reason for every server. Pure."""

from collections.abc import Iterable, Mapping

import msgspec

from lvs_healthd.config.model import (
    Config,
    Endpoint,
    Family,
    ForeignServers,
    Forward,
    OnFailure,
    Protocol,
    RealServer,
    Service,
    TunChecksum,
    TunType,
)
from lvs_healthd.health import Health, Verdict
from lvs_healthd.ipvs.records import (
    AF_INET,
    AF_INET6,
    IPPROTO_SCTP,
    IPPROTO_TCP,
    IPPROTO_UDP,
    SVC_F_ONEPACKET,
    SVC_F_PERSISTENT,
    SVC_F_SCHED1,
    SVC_F_SCHED2,
    SVC_F_SCHED3,
    TUNNEL_F_CSUM,
    TUNNEL_F_REMCSUM,
    TUNNEL_GRE,
    TUNNEL_GUE,
    TUNNEL_IPIP,
    DestinationKey,
    DestinationRecord,
    ForwardingMethod,
    ServiceEntry,
    ServiceKey,
    ServiceRecord,
    Table,
    Wanted,
    Why,
)

FALLBACK_REASON = "fallback: no real server may serve"
SERVING_REASON = "real servers serve again"
LEAVING_REASON = "not configured any more; serves until a new server is proven"

Verdicts = Mapping[tuple[ServiceKey, DestinationKey], Health]
"""What is held of every configured real server."""

_METHODS = {
    Forward.NAT: ForwardingMethod.MASQ,
    Forward.FULLNAT: ForwardingMethod.MASQ,
    Forward.DR: ForwardingMethod.DROUTE,
    Forward.TUN: ForwardingMethod.TUNNEL,
}
_PROTOCOLS = {Protocol.TCP: IPPROTO_TCP, Protocol.UDP: IPPROTO_UDP, Protocol.SCTP: IPPROTO_SCTP}
_TUNNELS = {TunType.IPIP: TUNNEL_IPIP, TunType.GUE: TUNNEL_GUE, TunType.GRE: TUNNEL_GRE}
_CHECKSUMS = {TunChecksum.OFF: 0, TunChecksum.ON: TUNNEL_F_CSUM, TunChecksum.REMOTE: TUNNEL_F_REMCSUM}
_SCHEDULER_FLAGS = {
    **dict.fromkeys(("sh-fallback", "mh-fallback", "flag-1"), SVC_F_SCHED1),
    **dict.fromkeys(("sh-port", "mh-port", "flag-2"), SVC_F_SCHED2),
    "flag-3": SVC_F_SCHED3,
}


class PlannedServer(msgspec.Struct, frozen=True):
    """A configured server as the kernel would keep it at its full weight."""

    key: DestinationKey
    record: DestinationRecord
    quiesced: DestinationRecord


class PlannedService(msgspec.Struct, frozen=True):
    """A configured service as the kernel would keep it: everything of the plan that no verdict changes."""

    key: ServiceKey
    record: ServiceRecord
    name: str
    quiesce: bool
    is_shared: bool
    """Somebody else may have servers in it too."""
    servers: tuple[PlannedServer, ...]
    fallback: tuple[PlannedServer, ...]


def prepare(config: Config) -> tuple[PlannedService, ...]:
    """Turn the configuration into IPVS records, once for all the plans made of it."""
    return tuple(planned(service) for service in config.services)


def planned(service: Service) -> PlannedService:
    """Turn one service into IPVS records."""
    return PlannedService(
        service_key(service),
        _service_record(service),
        service.name,
        service.on_failure is OnFailure.QUIESCE,
        service.foreign_servers is ForeignServers.KEEP,
        tuple(_planned(server) for server in service.real_servers),
        tuple(_planned(server) for server in service.fallback),
    )


def plan(services: tuple[PlannedService, ...], verdicts: Verdicts, actual: Table) -> Wanted:
    """Decide the whole table, knowing what is in the kernel's (`actual`). `Planner` does the same change by change.

    A server that is up is in with its configured weight. One that is down is out, or at weight 0 where the service
    quiesces; one that is not proven yet likewise, but where it is in the table at weight 0 it stays so, with its
    connections. When no server of a service may serve, its fallback is in. But while none may serve only because the
    new ones are not proven yet, the servers that a reload has dropped go on serving: replacing all servers at once
    must not empty the service.
    """
    table: dict[ServiceKey, ServiceEntry] = {}
    why: dict[tuple[ServiceKey, DestinationKey], Why] = {}
    for service in services:
        destinations: dict[DestinationKey, DestinationRecord] = {}
        present = actual[service.key].destinations if service.key in actual else {}
        serving = 0
        unproven = False
        for server in service.servers:
            health = verdicts[service.key, server.key]
            why[service.key, server.key] = why_of(health)
            if health.verdict is Verdict.UP:
                destinations[server.key] = server.record
                serving += server.record.weight
            elif service.quiesce or (health.verdict is Verdict.UNKNOWN and server.key in present):
                destinations[server.key] = server.quiesced
            unproven = unproven or health.verdict is Verdict.UNKNOWN
        if serving == 0 and unproven:
            configured = {server.key for server in (*service.servers, *service.fallback)}
            for key, record in present.items():
                if key not in configured and record.weight > 0:
                    destinations[key] = record
                    why[service.key, key] = Why(LEAVING_REASON)
                    serving += record.weight
        for server in service.fallback:
            if serving == 0:
                destinations[server.key] = server.record
            why[service.key, server.key] = Why(FALLBACK_REASON if serving == 0 else SERVING_REASON)
        table[service.key] = ServiceEntry(service.record, destinations)
    return Wanted(table, {service.key: service.name for service in services}, why, shared(services))


def shared(services: Iterable[PlannedService]) -> dict[ServiceKey, frozenset[DestinationKey]]:
    """Return the configured servers of the services in which somebody else may have some too."""
    return {
        service.key: frozenset(server.key for server in (*service.servers, *service.fallback))
        for service in services
        if service.is_shared
    }


def why_of(health: Health) -> Why:
    """Say why a configured server's line is what it is."""
    if health.verdict is Verdict.UNKNOWN:
        return Why("not proven healthy yet", health.first_failure)
    return Why(health.detail or "as found in the kernel's table", health.first_failure)


def service_key(service: Service) -> ServiceKey:
    """Return what the kernel will know this service by."""
    if service.endpoint is None:
        return ServiceKey(AF_INET6 if service.family is Family.IPV6 else AF_INET, fwmark=service.fwmark)
    endpoint = service.endpoint
    return ServiceKey(_family(endpoint), _PROTOCOLS[service.protocol], endpoint.address, endpoint.port)


def destination_key(server: RealServer) -> DestinationKey:
    """Return what the kernel will know this real server by."""
    return DestinationKey(_family(server.endpoint), server.endpoint.address, server.endpoint.port)


def _service_record(service: Service) -> ServiceRecord:
    key = service_key(service)
    timeout = int(service.persistence)
    flags = SVC_F_PERSISTENT if timeout else 0
    flags |= SVC_F_ONEPACKET if service.one_packet else 0
    for name in service.scheduler_flags:
        flags |= _SCHEDULER_FLAGS[name]
    one_client = 128 if key.family == AF_INET6 else 32
    return ServiceRecord(
        key,
        service.scheduler,
        flags=flags,
        timeout=timeout,
        netmask=one_client if service.persistence_mask is None else service.persistence_mask,
        persistence_engine=service.persistence_engine,
    )


def _planned(server: RealServer) -> PlannedServer:
    is_tunnel = server.forward is Forward.TUN
    record = DestinationRecord(
        destination_key(server),
        _METHODS[server.forward],
        server.weight,
        upper_threshold=server.upper_threshold,
        lower_threshold=server.lower_threshold,
        tunnel_type=_TUNNELS[server.tun_type] if is_tunnel else TUNNEL_IPIP,
        tunnel_port=server.tun_port if is_tunnel else 0,
        tunnel_flags=_CHECKSUMS[server.tun_checksum] if is_tunnel else 0,
    )
    return PlannedServer(record.key, record, msgspec.structs.replace(record, weight=0))


def _family(endpoint: Endpoint) -> int:
    return AF_INET6 if endpoint.family is Family.IPV6 else AF_INET
