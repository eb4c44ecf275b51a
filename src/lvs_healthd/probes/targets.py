"""Turns a configured check into a target that the engine can probe. Only this file knows every protocol."""

import functools
import socket
from collections.abc import Callable, Container, Iterable
from itertools import chain
from typing import NamedTuple, TypeVar

import msgspec

from lvs_healthd.config.basics import Protocol
from lvs_healthd.config.check_model import (
    AgentCheck,
    AnyCheck,
    DnsCheck,
    ExecCheck,
    GrpcCheck,
    HttpCheck,
    HttpsCheck,
    Per,
    PingCheck,
    SctpCheck,
    StreamCheck,
    TcpCheck,
    TlsCheck,
    UdpCheck,
    kept,
    transport,
    uses_tls,
)
from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.model import Service
from lvs_healthd.config.per_service import PerService
from lvs_healthd.config.secrecy import parts_of_command
from lvs_healthd.probes.agent import agent_exchanges
from lvs_healthd.probes.conversation import conversations
from lvs_healthd.probes.credentials import read_secrets_again, secret_file
from lvs_healthd.probes.dns import dns_exchanges
from lvs_healthd.probes.exchange import Exchange, Keeping, Target
from lvs_healthd.probes.grpc import grpc_exchanges
from lvs_healthd.probes.http import HttpExchanges
from lvs_healthd.probes.http_kept import KeptHttpExchanges
from lvs_healthd.probes.http_over_2 import Http2Exchanges, http2_exchanges
from lvs_healthd.probes.http_sequence import SequenceExchanges, request_exchanges
from lvs_healthd.probes.ping import ping_exchanges
from lvs_healthd.probes.programs import program_runs
from lvs_healthd.probes.proxy import with_proxy_header
from lvs_healthd.probes.tcp import connections, tcp_exchanges
from lvs_healthd.probes.tls import TlsExchanges, try_tls
from lvs_healthd.probes.tls_sessions import TargetSessions
from lvs_healthd.probes.tls_trust import read_again
from lvs_healthd.probes.udp import udp_exchanges

LISTENER_S = 10.0
"""How often a new connection shows whether a target still listens, if those of its probes are kept, seconds."""

_Check = TypeVar("_Check", bound=AnyCheck)
_NotHttp = DnsCheck | GrpcCheck | PingCheck | ExecCheck | AgentCheck | SctpCheck | TcpCheck | UdpCheck


class ProbeKey(msgspec.Struct, frozen=True, gc=False):
    """What identifies a probe. Checks with equal keys share one probe."""

    address: str
    port: int
    manner: AnyCheck
    """The check without its address and port, and without what is nothing to its probe: name, rise, fall and paces.

    It is the same object for the probes of thousands of servers that differ in nothing else.
    """


def probe_key(check: AnyCheck) -> ProbeKey:
    """Return the key of a check's probe."""
    return ProbeKey(check.address, check.port, _same(msgspec.structs.replace(_of_probe(check), address="", port=0)))


def _of_probe(check: _Check) -> _Check:
    """Return a check without what is nothing to its probe."""
    return msgspec.structs.replace(check, name="", rise=0, fall=0, fast_interval=0.0, down_interval=0.0)


@functools.lru_cache(maxsize=1024)
def _same(manner: AnyCheck) -> AnyCheck:
    return manner


def run_of(check: ExecCheck) -> ExecCheck | None:
    """Return what this probe has in common with those that share one run with it; None if it has a run of its own.

    The port belongs to it only if the program is told the port.
    """
    if check.per is Per.SERVER:
        return None
    has_port = any("{port}" in word for word in check.command)
    return msgspec.structs.replace(_of_probe(check), address="", port=check.port if has_port else 0)


def targets(services: Iterable[Service], known: Container[ProbeKey] = ()) -> dict[ProbeKey, Target]:
    """Make every distinct probe of these services ready to run, except those in `known`. Return them by `probe_key`.

    Raises `ConfigError` for a file or a server name that TLS rejects. To find out, TLS is begun once for each check
    that uses it.
    """
    ready: dict[ProbeKey, Target] = {}
    shared = Conversations()
    errors: list[str] = []
    for service in services:
        for server in service.servers:
            for check in server.checks:
                key = probe_key(check)
                if key in ready or key in known:
                    continue
                try:
                    ready[key] = target(check, shared)
                    if uses_tls(check):
                        try_tls(check)
                except (OSError, ValueError) as error:
                    errors.append(f'service "{service.name}": check "{check.name}" of {server.endpoint}: {error}')
    if errors:
        raise ConfigError(tuple(errors))
    return ready


def _checks_with_tls(service: Service) -> tuple[TlsCheck, ...]:
    return tuple([check for server in service.servers for check in server.checks if uses_tls(check)])


def _checks_with_secret(service: Service) -> tuple[HttpCheck, ...]:
    checks = [check for server in service.servers for check in server.checks]
    return tuple([check for check in checks if isinstance(check, HttpCheck) and secret_file(check)])


_with_tls = PerService(_checks_with_tls)
_with_secret = PerService(_checks_with_secret)


def read_certificates(services: Iterable[Service]) -> Callable[[], None]:
    """Read every `ca`, `client_cert` and `client_key` again, for a reload.

    Return a function that puts them into force and cannot fail. Raises `ConfigError` when one cannot be used.
    """
    try:
        return read_again(chain.from_iterable(_with_tls.of(services)))
    except OSError as error:
        what = f"{error.filename}, which" if error.filename else "the system's certificates, which"
        raise ConfigError((f"{what} checks use for TLS, cannot be used: {error.strerror}",)) from error


def read_secrets(services: Iterable[Service]) -> Callable[[], None]:
    """Read every `password_file` and `token_file` again, for a reload.

    Return a function that puts them into force and cannot fail. Raises `ConfigError` when one cannot be used.
    """
    try:
        return read_secrets_again(chain.from_iterable(_with_secret.of(services)))
    except OSError as error:
        raise ConfigError((f"{error.filename}, a secret of http checks, cannot be used: {error.strerror}",)) from error


def hidden_parts(check: AnyCheck) -> tuple[bytes, ...] | None:
    """Return the parts of secrets that no quoted answer to an http check may show; None for another check.

    Raises an `OSError` that names the file when a secret of the check cannot be read.
    """
    return request_exchanges(check).hidden if isinstance(check, HttpCheck) else None


def is_http2(check: AnyCheck) -> bool:
    """Return whether the bytes of a check's connection are HTTP/2, not inside TLS."""
    match check:
        case GrpcCheck():
            return not uses_tls(check)
        case HttpCheck():
            return check.http_version == "2" and not uses_tls(check)
        case _:
            return False


class Conversations:
    """Lets all checks with the same request, expectation and trusted certificates share one conversation factory."""

    def __init__(self) -> None:
        self._known: dict[AnyCheck, _Manner] = {}

    def of(self, check: AnyCheck) -> "_Manner":
        """Return how this check converses. Raises `OSError` when its `ca` cannot be read."""
        if isinstance(check, ExecCheck):
            return _manner(check)  # a program is told what it probes, so no two checks have the same one
        address = _address_said(check)
        said = msgspec.structs.replace(_of_probe(check), way=None, interval=0.0, address=address, port=0)
        manner = self._known.get(said)
        if manner is None:
            manner = self._known[said] = _manner(check)
        return manner


class _Manner(NamedTuple):
    """How the probes of one check converse."""

    begin: Callable[[], Exchange]
    """Begins one conversation."""
    hidden: Callable[[], tuple[bytes, ...]]
    """Returns the parts of secrets that the target may repeat, and that nobody may see."""
    proxy_protocol: int = 0
    """The version of the header with which the connection begins; 0 for none."""


def _address_said(check: AnyCheck) -> str:
    """Return the part of the address on which a conversation depends; "" for most checks.

    TLS verifies the address if it has no name to verify. ICMP has other messages in IPv6.
    """
    if isinstance(check, PingCheck):
        return ":" if ":" in check.address else ""
    return check.address if uses_tls(check) and not check.tls.sni else ""


def target(check: AnyCheck, shared: Conversations | None = None) -> Target:
    """Make a check ready to run.

    shared: the conversation factories made so far, for reuse; None when there are none.

    Raises `OSError` (also as `ssl.SSLError`) when a file of the check cannot be read.
    """
    begin, hidden, proxy_protocol = (shared or Conversations()).of(check)
    if isinstance(check, ExecCheck):
        return Target(socket.SOCK_STREAM, socket.AF_UNIX, check.helper, check.timeout, begin, apart=True, hidden=hidden)
    family = socket.AF_INET6 if ":" in check.address else socket.AF_INET
    kind, protocol = _socket_of(check, family)
    address = (check.address, check.port)
    way = check.way
    keeping = _keeping(check)
    if isinstance(begin, TlsExchanges):
        begin = TargetSessions(begin)
    begin = with_proxy_header(proxy_protocol, begin, is_kept=isinstance(check, HttpCheck) and check.kept is not None)
    any_port = isinstance(check, UdpCheck) and check.any_port
    return Target(
        kind,
        family,
        address,
        check.timeout,
        begin,
        protocol,
        apart=bool(protocol or way or any_port),
        way=way,
        hidden=hidden,
        any_port=any_port,
        keeping=keeping,
    )


def _keeping(check: AnyCheck) -> Keeping | None:
    """Return how the connection of a check's probes is kept. Only a new connection shows that the target listens."""
    how = kept(check)
    if how is None:
        return None
    reconnect_s, look_s = float(how.reconnect), None
    if isinstance(check, HttpsCheck) and reconnect_s > LISTENER_S:
        look_s = LISTENER_S
    elif isinstance(check, HttpCheck):
        reconnect_s = min(reconnect_s, LISTENER_S)
    confirm_s, confirms = float(how.confirm_interval), check.fall - 1
    return Keeping(check.interval, reconnect_s, confirm_s, confirms, look_s, is_watch=isinstance(check, TcpCheck))


def _socket_of(check: AnyCheck, family: socket.AddressFamily) -> tuple[socket.SocketKind, int]:
    match transport(check):
        case Protocol.TCP:
            return socket.SOCK_STREAM, 0
        case Protocol.UDP:
            return socket.SOCK_DGRAM, 0
        case Protocol.SCTP:
            return socket.SOCK_STREAM, socket.IPPROTO_SCTP
        case None:
            is_ipv4 = family is socket.AF_INET
            return socket.SOCK_RAW, socket.IPPROTO_ICMP if is_ipv4 else socket.IPPROTO_ICMPV6


def _manner(check: AnyCheck) -> _Manner:
    if isinstance(check, HttpCheck):
        asking = _asking(check)
        begin: Callable[[], Exchange] = TlsExchanges(check, asking) if isinstance(check, HttpsCheck) else asking
        return _Manner(begin, lambda: asking.hidden, check.proxy_protocol)
    begin = _conversations(check)
    sent: list[bytes] = []
    if isinstance(check, StreamCheck | AgentCheck):
        sent.append(check.send)
    if isinstance(check, StreamCheck):
        sent += [step.send for step in check.steps]
    hidden = tuple({part for each in sent for part in parts_of_command(each)})
    return _Manner(begin, lambda: hidden, check.proxy_protocol if isinstance(check, TcpCheck | GrpcCheck) else 0)


def _asking(check: HttpCheck) -> "Http2Exchanges | KeptHttpExchanges | HttpExchanges | SequenceExchanges":
    if check.http_version == "2":
        return http2_exchanges(check, is_kept=check.kept is not None)
    return request_exchanges(check) if check.kept is None else KeptHttpExchanges(check)


def _conversations(check: _NotHttp) -> Callable[[], Exchange]:
    if isinstance(check, DnsCheck):
        asking = dns_exchanges(check)
        return TlsExchanges(check, asking) if uses_tls(check) else asking
    if isinstance(check, GrpcCheck):
        calling = grpc_exchanges(check)
        return TlsExchanges(check, calling) if uses_tls(check) else calling
    if isinstance(check, PingCheck):
        return ping_exchanges(check)
    if isinstance(check, ExecCheck):
        return program_runs(check)
    if isinstance(check, SctpCheck):
        return connections
    if isinstance(check, AgentCheck):
        return agent_exchanges(check)
    if check.steps:
        return conversations(check)
    if isinstance(check, TcpCheck):
        return tcp_exchanges(check)
    return udp_exchanges(check)
