"""Warns about values of sysctls with which services do not work as their operator expects.

Sources: Documentation/networking/ipvs-sysctl.rst; net/netfilter/ipvs/ip_vs_core.c (ip_vs_in_hook) and ip_vs_conn.c
(ip_vs_check_template, ip_vs_conn_new).
"""

import sys
from collections.abc import Callable, Iterator, Mapping

import msgspec

from lvs_healthd.config.basics import Family
from lvs_healthd.config.model import TRANSLATING, Config, OnFailure, Service
from lvs_healthd.director.sysctls import wanted


class Advice(msgspec.Struct, frozen=True):
    """A warning about the value of one sysctl."""

    name: str
    """The sysctl's dotted name."""
    value: str
    """The sysctl's value."""
    service: str
    """The first configured service that suffers from the value."""
    text: str
    """What happens with this value, and what to set instead."""


class _Rule(msgspec.Struct, frozen=True):
    """One piece of advice, and the conditions under which it applies."""

    name: str
    """The sysctl's dotted name."""
    is_bad: Callable[[str], bool]
    """Returns whether a value of the sysctl is bad."""
    concerns: Callable[[Service], bool]
    """Returns whether a service suffers from a bad value."""
    text: str


def _is_off(value: str) -> bool:
    return value == "0"


def _is_below_default(value: str) -> bool:
    return int(value) < CONN_MAX


def _any(_: Service) -> bool:
    return True


def _removes(service: Service) -> bool:
    return service.on_failure is OnFailure.REMOVE and not service.one_packet


def _quiesces_persistent(service: Service) -> bool:
    return service.on_failure is OnFailure.QUIESCE and service.persistence > 0


def _translates(family: Family) -> Callable[[Service], bool]:
    return lambda service: service.family is family and any(server.forward in TRANSLATING for server in service.servers)


CONN_MAX = 2**30 if sys.maxsize > 2**32 else 2**24
"""The kernel's default for conn_max, which is also its maximum (net/netfilter/ipvs/ip_vs_conn.c)."""

_FORWARDING = (
    "answers of nat and fullnat servers have to be forwarded to the clients, and this director forwards nothing: set "
    "it to 1 in /etc/sysctl.d"
)
_RULES = (
    _Rule(
        "net.ipv4.vs.expire_nodest_conn",
        _is_off,
        _removes,
        "packets of connections to a server that was removed are dropped silently until the connections time out: a "
        "tcp client hangs, and a udp client that keeps its port gets no answer. With 1 the tcp client is reset and the "
        "udp client gets another server: [ipvs.sysctl] expire_nodest_conn = true",
    ),
    _Rule(
        "net.ipv4.vs.expire_quiescent_template",
        _is_off,
        _quiesces_persistent,
        "persistent clients of a server at weight 0 stay with it, up or down, until their persistence ends. With 1 "
        "they get another one at once: [ipvs.sysctl] expire_quiescent_template = true",
    ),
    _Rule("net.ipv4.ip_forward", _is_off, _translates(Family.IPV4), _FORWARDING),
    _Rule("net.ipv6.conf.all.forwarding", _is_off, _translates(Family.IPV6), _FORWARDING),
    _Rule(
        "net.ipv4.vs.conn_max",
        _is_below_default,
        _any,
        "once the kernel holds this many connections, including ended ones and persistence templates, it drops the "
        "packets of new ones silently and counts nothing: clients hang. The kernel's default is "
        f"[ipvs.sysctl] conn_max = {CONN_MAX}",
    ),
)

READ = tuple(rule.name for rule in _RULES)
"""The sysctls whose values `advise` needs."""


def advise(config: Config, values: Mapping[str, str | None]) -> Iterator[Advice]:
    """Check the values of sysctls, and yield at most one piece of advice for each sysctl.

    config: the configuration, whose services the advice is about.
    values: the value of each sysctl in `READ`; None for a sysctl that does not exist.

    A sysctl that is configured gets no advice, because its value is the operator's decision.
    """
    configured = wanted(config)
    for rule in _RULES:
        value = values.get(rule.name)
        if rule.name in configured or value is None or not rule.is_bad(value):
            continue
        concerned = next((service for service in config.services if rule.concerns(service)), None)
        if concerned is not None:
            yield Advice(rule.name, value, concerned.name, rule.text)
