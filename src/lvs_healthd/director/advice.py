"""Sysctls that decide whether taking a server out works as meant: what is worth saying of their values. Pure.

Sources: Documentation/networking/ipvs-sysctl.rst; net/netfilter/ipvs/ip_vs_core.c (ip_vs_in_hook) and ip_vs_conn.c
(ip_vs_check_template).
"""

from collections.abc import Callable, Iterator, Mapping

import msgspec

from lvs_healthd.config.model import TRANSLATING, Config, Family, OnFailure, Service
from lvs_healthd.director.sysctls import wanted


class Advice(msgspec.Struct, frozen=True):
    """A sysctl, its value, and what follows from that for a service: the first that it concerns."""

    name: str
    value: str
    service: str
    text: str


class _Rule(msgspec.Struct, frozen=True):
    """With this value of a sysctl, services of some kind do not work as their operator thinks."""

    name: str
    bad: str
    concerns: Callable[[Service], bool]
    text: str


def _removes(service: Service) -> bool:
    return service.on_failure is OnFailure.REMOVE and not service.one_packet


def _quiesces_persistent(service: Service) -> bool:
    return service.on_failure is OnFailure.QUIESCE and service.persistence > 0


def _translates(family: Family) -> Callable[[Service], bool]:
    return lambda service: service.family is family and any(server.forward in TRANSLATING for server in service.servers)


_FORWARDING = (
    "answers of servers with nat and fullnat have to be forwarded to the clients, and this director forwards nothing: "
    "set it to 1, in /etc/sysctl.d"
)
_RULES = (
    _Rule(
        "net.ipv4.vs.expire_nodest_conn",
        "0",
        _removes,
        "packets of connections to a server that was removed are dropped silently until they time out: a tcp client "
        "hangs, a udp client that keeps its port gets no answer. With 1 the one is reset and the other gets "
        "another server: [ipvs.sysctl] expire_nodest_conn = true",
    ),
    _Rule(
        "net.ipv4.vs.expire_quiescent_template",
        "0",
        _quiesces_persistent,
        "persistent clients of a server at weight 0 stay with it, up or down, until their persistence ends. With 1 "
        "they get another one at once: [ipvs.sysctl] expire_quiescent_template = true",
    ),
    _Rule("net.ipv4.ip_forward", "0", _translates(Family.IPV4), _FORWARDING),
    _Rule("net.ipv6.conf.all.forwarding", "0", _translates(Family.IPV6), _FORWARDING),
)

READ = tuple(rule.name for rule in _RULES)
"""What has to be read for advice."""


def advise(config: Config, values: Mapping[str, str | None]) -> Iterator[Advice]:
    """Look at the values, one piece of advice for each sysctl at most.

    What could not be read is passed over, and what is configured: that is somebody's decision.
    """
    configured = wanted(config)
    for rule in _RULES:
        if rule.name in configured or values.get(rule.name) != rule.bad:
            continue
        concerned = next((service for service in config.services if rule.concerns(service)), None)
        if concerned is not None:
            yield Advice(rule.name, rule.bad, concerned.name, rule.text)
