"""Finds certificates that do not go together: whom to ask for them, and what it means if they differ. Pure."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from lvs_healthd.config.basics import Protocol
from lvs_healthd.config.check_model import HttpsCheck, TcpCheck
from lvs_healthd.config.model import Config
from lvs_healthd.doctor.finding import Finding, Sureness
from lvs_healthd.doctor.handshakes import TlsQuestion
from lvs_healthd.doctor.observations import Observations, Server, Service

MOST = 64
"""How many servers are asked at most. Each handshake costs the server a signature."""

_PORT = 443
"""The port of HTTPS: its servers are asked even if no check speaks TLS."""


def certificates_differ(seen: Observations) -> Iterator[Finding]:
    """Find that there is no name for which the certificates of all servers of a service are valid."""
    for service in seen.services:
        showing = [each for each in service.servers if each.certified]
        if len(showing) < 2 or any(_covered_by_all(showing)):
            continue
        first = showing[0]
        other = next((each for each in showing if not any(_covered_by_all([first, each]))), showing[-1])
        yield Finding(
            name="certificates-differ",
            sureness=Sureness.LIKELY,
            seen=f"{first.name} shows a certificate for {_few(first.certified)}, {other.name} one for "
            f"{_few(other.certified)}",
            why=f"IPVS passes TLS through, so clients of {service.name} meet now one and now the other, and whatever "
            "name they use, one of them is not valid for it",
            command=f"openssl s_client -connect {other.name} -servername NAME </dev/null | openssl x509 -noout -text",
            service=service.name,
            server=other.name,
        )


def tls_questions(services: Iterable[Service], config: Config | None) -> list[TlsQuestion]:
    """Return whom to ask: the servers of each service whose checks speak TLS, or whose port is 443."""
    known = {} if config is None else {each.name: each for each in config.services}
    found: list[TlsQuestion] = []
    for service in services:
        meant = known.get(service.name)
        real = () if meant is None else meant.real_servers
        checks = {(each.endpoint.address, each.endpoint.port): each.checks for each in real}
        for server in service.servers:
            if server.is_fallback or not server.is_wanted:
                continue
            speaking = [
                each for check in checks.get((server.address, server.port), ()) if (each := _tls(check, server))
            ]
            if service.protocol == Protocol.TCP and _PORT in {server.port, service.port}:
                speaking.append((server.port or _PORT, ""))
            found += [TlsQuestion(service.name, server.name, server.address, *each) for each in speaking[:1]]
    return found[:MOST]


def with_certificates(services: Iterable[Service], shown: Mapping[TlsQuestion, tuple[str, ...]]) -> list[Service]:
    """Return the services with the names in their servers' certificates."""
    names = {(each.service, each.server): found for each, found in shown.items()}
    return [
        msgspec.structs.replace(
            service,
            servers=tuple(
                msgspec.structs.replace(each, certified=names.get((service.name, each.name), ()))
                for each in service.servers
            ),
        )
        for service in services
    ]


def _tls(check: object, server: Server) -> tuple[int, str] | None:
    """Return the port on which clients of a server begin TLS as this check does, and the name; None if none do."""
    if isinstance(check, HttpsCheck):
        speaks_tls = True
    elif isinstance(check, TcpCheck):
        speaks_tls = bool(check.steps) and check.steps[0].starttls
    else:
        return None
    is_clients_port = check.address == server.address and server.port in {0, check.port}
    return (check.port, check.tls.sni) if speaks_tls and is_clients_port and check.way is None else None


def _covered_by_all(servers: Iterable[Server]) -> Iterator[str]:
    certificates = [each.certified for each in servers]
    for name in dict.fromkeys(name for each in certificates for name in each):
        # A wildcard stands for one label (RFC 9525, section 6.3).
        if all({name, f"*.{name.partition('.')[2]}"} & set(each) for each in certificates):
            yield name


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
