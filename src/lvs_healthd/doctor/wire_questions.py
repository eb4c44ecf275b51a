"""Decides what to ask on the wire, and adds the answers to what was seen of services and servers. Pure."""

import ipaddress
from collections.abc import Collection, Iterable, Sequence

import msgspec

from lvs_healthd.doctor.network import Around, Port
from lvs_healthd.doctor.observations import Answerer, Echoes, Server, Service
from lvs_healthd.doctor.on_the_wire import MOST, Claim, EchoAnswers, EchoQuestion, is_ipv4

ArpQuestion = tuple[Port, str]


def arp_questions(services: Iterable[Service], around: Around) -> list[ArpQuestion]:
    """Return whom to ask for by ARP: the addresses of services, and the servers in our own networks."""
    found: dict[ArpQuestion, None] = {}
    for service in services:
        port = around.port(service.interface) if service.interface else None
        if port is not None and port.has_arp and is_ipv4(service.address):
            found[port, service.address] = None
        for server in service.servers:
            near = around.port(server.way.interface) if server.way is not None and server.network else None
            if near is not None and near.has_arp and is_ipv4(server.address) and not server.is_here:
                found[near, server.address] = None
    return list(found)[:MOST]


def with_claims(
    services: Iterable[Service], questions: Sequence[ArpQuestion], claims: Collection[Claim]
) -> list[Service]:
    """Return the services with the answers to ARP requests."""
    asked = {(port.link.name, address) for port, address in questions}
    hardware = {claim.address: claim.hardware for claim in claims}
    found: list[Service] = []
    for service in services:
        servers = tuple(_heard(server, asked, hardware) for server in service.servers)
        found.append(
            msgspec.structs.replace(service, servers=servers, was_asked=(service.interface, service.address) in asked)
        )
    names = {server.hardware: server.address for each in found for server in each.servers if server.hardware}
    return [
        msgspec.structs.replace(
            each,
            answerers=tuple(
                Answerer(hardware=claim.hardware, server=names.get(claim.hardware, ""))
                for claim in sorted(claims)
                if claim.address == each.address and not _is_a_server(each.address, found)
            ),
        )
        for each in found
    ]


def echo_questions(services: Iterable[Service], around: Around) -> list[EchoQuestion]:
    """Return the echo requests to send: to each server for its own address, and in the way of clients' packets."""
    chosen = list(services)
    addresses = {each.address for each in chosen}
    found: dict[EchoQuestion, None] = {}
    for service in chosen:
        for server in service.servers:
            if through := _through(service, server, around, addresses):
                found[_plain(server.address)] = None
                found[through] = None
    return list(found)[: 2 * MOST]


def with_echoes(
    services: Iterable[Service], questions: Collection[EchoQuestion], answers: EchoAnswers
) -> list[Service]:
    """Return the services with the answers to echo requests."""
    asked = {(each.server, each.target, each.tunnel): each for each in questions if each != _plain(each.server)}
    return [
        msgspec.structs.replace(
            each, servers=tuple(_echoed(server, asked.get(_way_of(each, server)), answers) for server in each.servers)
        )
        for each in services
    ]


def _heard(server: Server, asked: Collection[tuple[str, str]], hardware: dict[str, str]) -> Server:
    if server.way is None or (server.way.interface, server.address) not in asked:
        return server
    return msgspec.structs.replace(
        server, answers_arp=server.address in hardware, hardware=hardware.get(server.address, server.hardware)
    )


def _is_a_server(address: str, services: Iterable[Service]) -> bool:
    return any(server.address == address for each in services for server in each.servers)


def _plain(address: str) -> EchoQuestion:
    return EchoQuestion(address, "")


def _through(service: Service, server: Server, around: Around, addresses: Collection[str]) -> EchoQuestion | None:
    """Return the echo request in the way of clients' packets; None if there is none that would tell anything."""
    way = server.way
    if way is None or way.is_local or not is_ipv4(server.address) or not (service.address or service.fwmark):
        return None
    match server.forward:
        case "dr" if server.network and server.hardware and _is_usable(service, way.source, addresses):
            return EchoQuestion(server.address, way.source, service.address, way.interface, server.hardware)
        case "tun" if _is_usable(service, way.source, addresses):
            return EchoQuestion(
                server.address, way.source, service.address, tunnel=server.tunnel, tunnel_port=server.tunnel_port
            )
        case "nat" if server.network:
            source = _outside(service, server, around)
            return EchoQuestion(server.address, source, interface=way.interface) if source else None
        case _:
            return None


def _is_usable(service: Service, source: str, addresses: Collection[str]) -> bool:
    """Whether a server with the service's address would answer to this source: it must not have that address too."""
    return bool(service.address) and is_ipv4(service.address) and bool(source) and source not in addresses


def _outside(service: Service, server: Server, around: Around) -> str:
    """Return the service's address if it is ours and outside the server's network; else "".

    A server answers to it by its route to strangers, as it answers clients. Another address of ours would prove less:
    the server may have a route of its own to it.
    """
    target = ipaddress.ip_address(server.address)
    own = {each.address for each in around.own}
    if service.address not in own or not is_ipv4(service.address):
        return ""
    networks = [each.network for each in around.own if target in each.network]
    return "" if any(ipaddress.ip_address(service.address) in each for each in networks) else service.address


def _way_of(service: Service, server: Server) -> tuple[str, str, str]:
    """Return the fields of an echo request that tell in which way it went: server, target and tunnel."""
    return server.address, "" if server.forward == "nat" else service.address, server.tunnel


def _echoed(server: Server, through: EchoQuestion | None, answers: EchoAnswers) -> Server:
    if through is None:
        return server
    return msgspec.structs.replace(
        server,
        echoes=Echoes(
            plain=_plain(server.address) in answers.answered,
            through=through in answers.answered,
            refused=through in answers.refused,
            source=through.source if server.forward == "nat" else "",
        ),
    )
