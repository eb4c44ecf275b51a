"""From a configured check to a target the engine can probe: the one place that knows every protocol."""

import socket
from collections.abc import Callable, Container, Iterable

import msgspec

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.model import AnyCheck, HttpCheck, HttpsCheck, Service, TcpCheck, UdpCheck
from lvs_healthd.probes.exchange import Exchange, Target
from lvs_healthd.probes.http import http_exchanges
from lvs_healthd.probes.tcp import tcp_exchanges
from lvs_healthd.probes.tls import TlsExchanges, read_again
from lvs_healthd.probes.udp import udp_exchanges


def probe_key(check: AnyCheck) -> AnyCheck:
    """Return what makes two checks the same probe: all but the name and the thresholds, which judge its outcome."""
    return msgspec.structs.replace(check, name="", rise=0, fall=0)


def targets(services: Iterable[Service], known: Container[AnyCheck] = ()) -> dict[AnyCheck, Target]:
    """Make every distinct probe of these services ready to run, by `probe_key`, but those that are `known`.

    Raises `ConfigError` for what only shows when it is tried: a `ca` or a server name that TLS does not take.
    """
    ready: dict[AnyCheck, Target] = {}
    shared = Conversations()
    errors: list[str] = []
    for service in services:
        for server in service.real_servers:
            for check in server.checks:
                key = probe_key(check)
                if key in ready or key in known:
                    continue
                try:
                    ready[key] = target(key, shared)
                    if isinstance(key, HttpsCheck):
                        ready[key].begin()
                except (OSError, ValueError) as error:
                    errors.append(f'service "{service.name}": check "{check.name}" of {server.endpoint}: {error}')
    if errors:
        raise ConfigError(tuple(errors))
    return ready


def read_certificates(services: Iterable[Service]) -> None:
    """Read every `ca` anew, for a reload. Raises `ConfigError` when one cannot be read, and then changes nothing."""
    checks = (check for service in services for server in service.real_servers for check in server.checks)
    try:
        read_again(check for check in checks if isinstance(check, HttpsCheck))
    except OSError as error:
        what = f'ca = "{error.filename}"' if error.filename else "the system's certificates"
        raise ConfigError((f"{what}, which https checks trust: cannot be used: {error.strerror}",)) from error


class Conversations:
    """What checks say to their targets, made once for all that say the same: request, expectations, trust."""

    def __init__(self) -> None:
        self._known: dict[AnyCheck, Callable[[], Exchange]] = {}

    def of(self, check: AnyCheck) -> Callable[[], Exchange]:
        """Return what begins the conversations of this check. Raises `OSError` when its `ca` cannot be read."""
        # Where the probe goes does not matter, except to TLS where there is no name to verify.
        address = check.address if isinstance(check, HttpsCheck) and not check.sni else ""
        said = msgspec.structs.replace(check, name="", rise=0, fall=0, interval=0.0, address=address, port=0)
        begin = self._known.get(said)
        if begin is None:
            begin = self._known[said] = _conversations(check)
        return begin


def target(check: AnyCheck, shared: Conversations | None = None) -> Target:
    """Make a check ready to run.

    Raises `OSError` (also as `ssl.SSLError`) when the check's `ca` cannot be read.
    """
    begin = (shared or Conversations()).of(check)
    kind = socket.SOCK_DGRAM if isinstance(check, UdpCheck) else socket.SOCK_STREAM
    family = socket.AF_INET6 if ":" in check.address else socket.AF_INET
    return Target(kind, family, (check.address, check.port), check.timeout, begin)


def _conversations(check: AnyCheck) -> Callable[[], Exchange]:
    if isinstance(check, HttpsCheck):  # before HttpCheck, of which it is one
        return TlsExchanges(check, http_exchanges(check))
    if isinstance(check, HttpCheck):
        return http_exchanges(check)
    if isinstance(check, TcpCheck):
        return tcp_exchanges(check)
    return udp_exchanges(check)
