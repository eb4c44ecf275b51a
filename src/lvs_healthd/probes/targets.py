"""From a configured check to a target the engine can probe: the one place that knows every protocol."""

import socket
from collections.abc import Callable

import msgspec

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.model import AnyCheck, Config, HttpCheck, HttpsCheck, TcpCheck
from lvs_healthd.probes.exchange import Exchange, Target
from lvs_healthd.probes.http import http_exchanges
from lvs_healthd.probes.tcp import tcp_exchanges
from lvs_healthd.probes.tls import TlsExchanges
from lvs_healthd.probes.udp import udp_exchanges


def probe_key(check: AnyCheck) -> AnyCheck:
    """Return what makes two checks the same probe: all but the name and the thresholds, which judge its outcome."""
    return msgspec.structs.replace(check, name="", rise=0, fall=0)


def targets(config: Config) -> dict[AnyCheck, Target]:
    """Make every distinct probe of a configuration ready to run, by `probe_key`.

    Raises `ConfigError` for what only shows when it is tried: a `ca` or a server name that TLS does not take.
    """
    ready: dict[AnyCheck, Target] = {}
    errors: list[str] = []
    for service in config.services:
        for server in service.real_servers:
            for check in server.checks:
                key = probe_key(check)
                if key in ready:
                    continue
                try:
                    ready[key] = target(key)
                    if isinstance(key, HttpsCheck):
                        ready[key].begin()
                except (OSError, ValueError) as error:
                    errors.append(f'service "{service.name}": check "{check.name}" of {server.endpoint}: {error}')
    if errors:
        raise ConfigError(tuple(errors))
    return ready


def target(check: AnyCheck) -> Target:
    """Make a check ready to run.

    Raises `OSError` (also as `ssl.SSLError`) when the check's `ca` cannot be read.
    """
    begin: Callable[[], Exchange]
    kind = socket.SOCK_STREAM
    if isinstance(check, HttpsCheck):  # before HttpCheck, of which it is one
        begin = TlsExchanges(check, http_exchanges(check))
    elif isinstance(check, HttpCheck):
        begin = http_exchanges(check)
    elif isinstance(check, TcpCheck):
        begin = tcp_exchanges(check)
    else:
        begin, kind = udp_exchanges(check), socket.SOCK_DGRAM
    family = socket.AF_INET6 if ":" in check.address else socket.AF_INET
    return Target(kind, family, (check.address, check.port), check.timeout, begin)
