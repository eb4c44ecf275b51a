"""Converts the configuration to IPVS records, which are the part of the wanted table that no verdict changes. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from lvs_healthd.config.basics import Endpoint, Family
from lvs_healthd.config.model import Below, Config, ForeignServers, Forward, OnFailure, RealServer, Service
from lvs_healthd.ipvs.records import (
    DestinationKey,
    DestinationRecord,
    ServiceKey,
    ServiceRecord,
)
from lvs_healthd.ipvs.words import (
    AF_INET,
    AF_INET6,
    CHECKSUMS,
    METHODS,
    PROTOCOLS,
    SVC_F_ONEPACKET,
    SVC_F_PERSISTENT,
    TUNNEL_IPIP,
    TUNNELS,
    flags_of_names,
)


class PlannedServer(msgspec.Struct, frozen=True, gc=False):
    """A configured server as an IPVS record, with its configured weight."""

    key: DestinationKey
    record: DestinationRecord

    @property
    def quiesced(self) -> DestinationRecord:
        """The server's record with weight 0. Few servers are ever quiesced, so it is made when it is needed."""
        return self.at(0)

    def at(self, weight: int) -> DestinationRecord:
        """Return the server's record with this weight."""
        return self.record if weight == self.record.weight else msgspec.structs.replace(self.record, weight=weight)


class Floor(NamedTuple):
    """How much of a service must be able to serve (`min_up`)."""

    needed: int
    """So many servers, or so much weight."""
    hysteresis: int = 0
    counts_weight: bool = False

    def is_met(self, serving: int, *, was_met: bool | None) -> bool:
        """Return whether enough can serve.

        serving: how many servers, or how much weight.
        was_met: the last answer; None if there is none, and then the hysteresis does not count.
        """
        if was_met is None:
            return serving >= self.needed
        edge = self.needed - self.hysteresis if was_met else self.needed + self.hysteresis
        return serving > 0 and serving >= edge

    def __str__(self) -> str:
        """Write it for an operator: "2", or "weight 2"."""
        return f"weight {self.needed}" if self.counts_weight else str(self.needed)


class PlannedService(msgspec.Struct, frozen=True):
    """A configured service as IPVS records: the part of its plan that no verdict changes."""

    key: ServiceKey
    record: ServiceRecord
    name: str
    quiesce: bool
    is_shared: bool
    """Whether somebody else may also have servers in this service."""
    servers: tuple[PlannedServer, ...]
    tiers: tuple[tuple[PlannedServer, ...], ...]
    """The fallback servers, the lowest tier first."""
    floor: Floor
    below: Below

    @property
    def fallback(self) -> tuple[PlannedServer, ...]:
        """All fallback servers."""
        return tuple(server for tier in self.tiers for server in tier)

    @property
    def configured(self) -> frozenset[DestinationKey]:
        """All servers configured for the service, including fallbacks."""
        return frozenset(server.key for server in (*self.servers, *self.fallback))


def prepare(config: Config) -> tuple[PlannedService, ...]:
    """Return the IPVS records of a whole configuration. Every plan for that configuration uses them."""
    return tuple(planned(service) for service in config.services)


def planned(service: Service) -> PlannedService:
    """Return the IPVS records of one service."""
    return PlannedService(
        service_key(service),
        _service_record(service),
        service.name,
        service.on_failure is OnFailure.QUIESCE,
        service.foreign_servers is ForeignServers.KEEP,
        tuple(_planned(server) for server in service.real_servers),
        _tiers(service),
        floor_of(service),
        service.below,
    )


def _tiers(service: Service) -> tuple[tuple[PlannedServer, ...], ...]:
    numbers = sorted({server.tier for server in service.fallback})
    return tuple(tuple(_planned(server) for server in service.fallback if server.tier == number) for number in numbers)


def floor_of(service: Service) -> Floor:
    """Return how much of a service must be able to serve."""
    min_up = service.min_up
    needed = min_up.needed(server.weight for server in service.real_servers)
    return Floor(needed, min_up.hysteresis, counts_weight=bool(min_up.weight))


def shared(services: Iterable[PlannedService]) -> dict[ServiceKey, frozenset[DestinationKey]]:
    """Return the configured servers of each shared service: one in which somebody else may also have servers."""
    return {service.key: service.configured for service in services if service.is_shared}


def service_key(service: Service) -> ServiceKey:
    """Return the key by which the kernel knows this service."""
    if service.endpoint is None:
        return ServiceKey(AF_INET6 if service.family is Family.IPV6 else AF_INET, fwmark=service.fwmark)
    endpoint = service.endpoint
    return ServiceKey(_family(endpoint), PROTOCOLS[service.protocol], endpoint.address, endpoint.port)


def destination_key(server: RealServer) -> DestinationKey:
    """Return the key by which the kernel knows this real server."""
    return DestinationKey(_family(server.endpoint), server.endpoint.address, server.endpoint.port)


def _service_record(service: Service) -> ServiceRecord:
    key = service_key(service)
    timeout = int(service.persistence)
    flags = SVC_F_PERSISTENT if timeout else 0
    flags |= SVC_F_ONEPACKET if service.one_packet else 0
    flags |= flags_of_names(service.scheduler_flags)
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
        METHODS["nat" if server.forward is Forward.FULLNAT else server.forward],
        server.weight,
        upper_threshold=server.upper_threshold,
        lower_threshold=server.lower_threshold,
        tunnel_type=TUNNELS[server.tun_type] if is_tunnel else TUNNEL_IPIP,
        tunnel_port=server.tun_port if is_tunnel else 0,
        tunnel_flags=CHECKSUMS[server.tun_checksum] if is_tunnel else 0,
    )
    return PlannedServer(record.key, record)


def _family(endpoint: Endpoint) -> int:
    return AF_INET6 if endpoint.family is Family.IPV6 else AF_INET
