"""Puts together the services to look at, from the configuration, the kernel's table and what the daemon says. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from lvs_healthd.config.basics import Endpoint, Family, Protocol
from lvs_healthd.config.check_model import DnsCheck, UdpCheck
from lvs_healthd.config.model import Config, Mode, RealServer
from lvs_healthd.config.model import Service as Configured
from lvs_healthd.doctor.observations import Counts, Server, Service
from lvs_healthd.ipvs.kernel.connections import Connection
from lvs_healthd.ipvs.kernel.statistics import ServiceStatistics, Statistics
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, ServiceEntry, ServiceKey, Table
from lvs_healthd.ipvs.words import (
    AF_INET6,
    METHOD_NAMES,
    PROTOCOL_NAMES,
    SVC_F_ONEPACKET,
    SVC_F_PERSISTENT,
    TUNNEL_NAMES,
    ForwardingMethod,
)
from lvs_healthd.plan.records import destination_key, service_key
from lvs_healthd.view.status_values import RealServerStatus, Status

_DNS = 53
"""The port on which every datagram is a question, whatever its checks say."""
_CLIENTS = 8
"""How many clients with half-open connections are kept of each server."""


def services_of(config: Config | None, table: Table, status: Status | None) -> list[Service]:
    """Return the services of the configuration and of the table. The mark services of path probes are left out."""
    first, last = (config or Config()).ipvs.path_marks
    found: list[Service] = []
    known = set()
    told = {} if status is None else {each.service: each for each in status.services}
    for service in () if config is None else config.services:
        key = service_key(service)
        known.add(key)
        said = told.get(service.name)
        servers = {} if said is None else {each.server: each for each in said.real_servers}
        found.append(_configured(service, table.get(key), servers))
    for key, entry in table.items():
        if key not in known and not (key.fwmark and first <= key.fwmark <= last):
            found.append(_foreign(entry))
    return found


def with_counters(
    services: Iterable[Service],
    before: Mapping[ServiceKey, ServiceStatistics | None],
    after: Mapping[ServiceKey, ServiceStatistics | None],
) -> list[Service]:
    """Return the services with the counters of two readings."""
    return [_counted(each, before.get(key_of(each)), after.get(key_of(each))) for each in services]


def key_of(service: Service) -> ServiceKey:
    """Return the kernel's key of a service."""
    family = AF_INET6 if service.family == Family.IPV6 else 2
    if service.fwmark:
        return ServiceKey(family, fwmark=service.fwmark)
    protocol = next(number for number, name in PROTOCOL_NAMES.items() if name == service.protocol)
    return ServiceKey(family, protocol, service.address, service.port)


class Connections:
    """Counts the kernel's connections by server: feed it all of them, then ask for the services with the counts.

    tcp_timeout_s: after how long the kernel forgets a silent established connection; 0 if that is not known.
    """

    def __init__(self, services: Iterable[Service], tcp_timeout_s: int = 0) -> None:
        self._services = list(services)
        self._tcp_timeout_s = tcp_timeout_s
        self._by_address: dict[tuple[str, str], int] = {}
        self._by_mark: dict[str, int] = {}
        self._states: dict[tuple[int, str], _States] = {}
        self._present = {
            (number, server.address)
            for number, service in enumerate(self._services)
            for server in service.servers
            if server.weight is not None
        }
        """The servers in the table, each with its service's number."""
        self.lost: dict[str, int] = {}
        """How many connections go to servers that are not in the table, by the service's name."""
        for number, service in enumerate(self._services):
            if service.fwmark:
                self._by_mark |= {server.address: number for server in service.servers}
            else:
                self._by_address[service.protocol, str(Endpoint(service.address, service.port))] = number

    def take(self, connection: Connection) -> None:
        """Count one connection. Persistence templates do not count."""
        address, _, port = connection.destination.rpartition(":")
        address = address.strip("[]")
        virtual, _, _ = connection.virtual.rpartition(":")
        if connection.client.endswith(":0"):
            return
        number = self._by_address.get((connection.protocol, connection.virtual))
        if number is None:
            number = self._by_address.get((connection.protocol, f"{virtual}:0"))
        if number is None:
            number = self._by_mark.get(address)
        if number is None:
            return
        service = self._services[number]
        if (number, address) not in self._present and service.is_in_table and not service.fwmark:
            self.lost[service.name] = self.lost.get(service.name, 0) + 1
        states = self._states.setdefault((number, f"{address}:{port}"), _States(0, 0, (), 0))
        client = connection.client.rpartition(":")[0].strip("[]")
        self._states[number, f"{address}:{port}"] = states.with_one(
            connection.state, client, is_quiet=2 * connection.expires_s < self._tcp_timeout_s
        )

    def services(self) -> list[Service]:
        """Return the services with what was counted."""
        return [
            msgspec.structs.replace(service, servers=tuple(self._counted(number, server) for server in service.servers))
            for number, service in enumerate(self._services)
        ]

    def _counted(self, number: int, server: Server) -> Server:
        ports = [server.port] if server.port else [each for at, each in self._ports(number, server.address) if at]
        states = [self._states.get((number, f"{server.address}:{port}")) for port in ports]
        chosen = [each for each in states if each is not None]
        return msgspec.structs.replace(
            server,
            half_open=sum(each.half_open for each in chosen),
            established=sum(each.established for each in chosen),
            quiet=sum(each.quiet for each in chosen),
            half_open_clients=tuple(client for each in chosen for client in each.clients)[:_CLIENTS],
        )

    def _ports(self, number: int, address: str) -> Iterator[tuple[bool, int]]:
        for at, endpoint in self._states:
            host, _, port = endpoint.rpartition(":")
            yield at == number and host == address, int(port)


class _States(NamedTuple):
    half_open: int
    established: int
    clients: tuple[str, ...]
    quiet: int

    def with_one(self, state: str, client: str, *, is_quiet: bool) -> "_States":
        match state:
            case "SYN_RECV":
                is_new = client not in self.clients and len(self.clients) < _CLIENTS
                return self._replace(
                    half_open=self.half_open + 1, clients=(*self.clients, client) if is_new else self.clients
                )
            case "ESTABLISHED":
                return self._replace(established=self.established + 1, quiet=self.quiet + is_quiet)
            case _:
                return self


def _configured(service: Configured, entry: ServiceEntry | None, told: Mapping[str, RealServerStatus]) -> Service:
    present = {} if entry is None else entry.destinations
    fallback = {destination_key(each) for each in service.fallback}
    servers = [
        _server(server, destination_key(server), present, told, is_fallback=destination_key(server) in fallback)
        for server in service.servers
    ]
    configured = {destination_key(server) for server in service.servers}
    servers += [_strange(record) for key, record in present.items() if key not in configured]
    return Service(
        name=service.name,
        family=str(service.endpoint.family if service.endpoint else service.family),
        protocol=str(service.protocol),
        address=service.endpoint.address if service.endpoint else "",
        port=service.endpoint.port if service.endpoint else 0,
        fwmark=service.fwmark,
        scheduler=service.scheduler,
        is_one_packet=service.one_packet,
        persistence_s=int(service.persistence),
        is_configured=True,
        is_located=False,
        is_in_table=entry is not None,
        is_shadow=service.mode is Mode.SHADOW,
        expects_answers=_expects_answers(service),
        needs_conntrack=service.needs_conntrack,
        servers=tuple(servers),
    )


def _expects_answers(service: Configured) -> bool:
    if service.endpoint is None:
        return False
    if service.protocol is not Protocol.UDP or service.endpoint.port == _DNS:
        return True
    checks = [check for server in service.servers for check in server.checks]
    return any(isinstance(each, DnsCheck) or (isinstance(each, UdpCheck) and not each.is_silent) for each in checks)


def _server(
    server: RealServer,
    key: DestinationKey,
    present: Mapping[DestinationKey, DestinationRecord],
    told: Mapping[str, RealServerStatus],
    *,
    is_fallback: bool,
) -> Server:
    record = present.get(key)
    said = told.get(str(server.endpoint))
    is_tunnel = server.forward == "tun"
    return Server(
        address=server.endpoint.address,
        port=server.endpoint.port,
        forward=str(server.forward),
        tunnel=str(server.tun_type) if is_tunnel else "",
        tunnel_port=server.tun_port if is_tunnel else 0,
        is_fallback=is_fallback,
        weight=None if record is None else record.weight,
        configured=server.weight,
        verdict="" if said is None else said.verdict,
        state="" if said is None else said.state,
        reason="" if said is None else said.reason,
        remarks=() if said is None else tuple(check.remark for check in said.checks if check.remark),
    )


def _strange(record: DestinationRecord) -> Server:
    is_tunnel = record.forward is ForwardingMethod.TUNNEL
    return Server(
        address=record.key.address,
        port=record.key.port,
        forward=METHOD_NAMES.get(record.forward, str(record.forward)),
        tunnel=TUNNEL_NAMES.get(record.tunnel_type, "") if is_tunnel else "",
        tunnel_port=record.tunnel_port,
        weight=record.weight,
    )


def _foreign(entry: ServiceEntry) -> Service:
    record = entry.service
    key = record.key
    protocol = PROTOCOL_NAMES.get(key.protocol, "tcp")
    return Service(
        name=str(key),
        family="ipv6" if key.family == AF_INET6 else "ipv4",
        protocol=protocol,
        address=key.address if not key.fwmark else "",
        port=key.port,
        fwmark=key.fwmark,
        scheduler=record.scheduler,
        is_one_packet=bool(record.flags & SVC_F_ONEPACKET),
        persistence_s=record.timeout if record.flags & SVC_F_PERSISTENT else 0,
        is_configured=False,
        is_located=False,
        expects_answers=not key.fwmark and (protocol != "udp" or key.port == _DNS),
        servers=tuple(_strange(each) for each in entry.destinations.values()),
    )


def _counted(service: Service, before: ServiceStatistics | None, after: ServiceStatistics | None) -> Service:
    first, second = _rows(before), _rows(after)
    return msgspec.structs.replace(
        service,
        servers=tuple(
            msgspec.structs.replace(
                each,
                before=first.get((each.address, each.port), Counts()),
                after=second.get((each.address, each.port), Counts()),
            )
            for each in service.servers
        ),
    )


def _rows(found: ServiceStatistics | None) -> dict[tuple[str, int], Counts]:
    if found is None:
        return {}
    return {(key.address, key.port): _counts(Statistics(*row)) for key, row in found.servers().items()}


def _counts(row: Statistics) -> Counts:
    return Counts(
        connections=row.connections,
        in_packets=row.in_packets,
        out_packets=row.out_packets,
        persistent=row.persistent_connections,
    )
