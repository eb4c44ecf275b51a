"""Values of an exec check that do not fit together, and what programs with mon's convention are told about."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from lvs_healthd.config.check_model import AnyCheck, Convention, ExecCheck, MonNames, Per
from lvs_healthd.config.model import RealServer, Service

S = TypeVar("S", bound=RealServer)


def misfits(fields: Mapping[str, Any], wrong: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield the field and the message of every error in the combination of a check's values.

    fields: the values of the check, inherited ones too.
    wrong: the fields that were written with a wrong value. They count as set.
    """
    if not fields.get("command") and "command" not in wrong:
        yield "type", 'command is missing: the program to run, as in command = ["/usr/local/bin/check"]'
    if not fields.get("convention") and "convention" not in wrong:
        yield (
            "type",
            (
                'convention is missing: which exit statuses pass, those of "nagios" (0 and 1), or of "mon" or '
                '"keepalived" (only 0)'
            ),
        )
    if fields.get("dynamic_weight") and fields.get("convention", Convention.KEEPALIVED) is not Convention.KEEPALIVED:
        yield "dynamic_weight", 'exit statuses ask for weights only with convention = "keepalived"'
    if fields.get("per") is not Per.GROUP:
        return
    if fields.get("convention", Convention.MON) is not Convention.MON:
        yield "per", 'one run for all servers needs convention = "mon", in which a program says which of them failed'
    if any("{address}" in word for word in fields.get("command", ())):
        yield "per", "one run for all servers has no {address}; leave it out, because all addresses are appended"


def told_about(service: Service) -> Service:
    """Return a service whose checks with mon's convention know the names that their programs are told."""
    names: dict[str, MonNames] = {}

    def told(check: AnyCheck) -> AnyCheck:
        if not isinstance(check, ExecCheck) or check.convention is not Convention.MON:
            return check
        known = names.setdefault(check.name, MonNames(group=service.name, service=check.name))
        return msgspec.structs.replace(check, mon=known)

    def with_names(server: S) -> S:
        checks = tuple(map(told, server.checks))
        return server if checks == server.checks else msgspec.structs.replace(server, checks=checks)

    servers, spares = tuple(map(with_names, service.real_servers)), tuple(map(with_names, service.fallback))
    return msgspec.structs.replace(service, real_servers=servers, fallback=spares) if names else service
