"""Checks with `through = "vip"`: which way their probes take, and what such a check cannot be combined with."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lvs_healthd.config.basics import Endpoint, Protocol
from lvs_healthd.config.check_model import AnyCheck, Carrier, data_path, transport
from lvs_healthd.config.check_ways import DataPath
from lvs_healthd.config.errors import Errors, show
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.model import TRANSLATING, Forward, Ipvs, Mode, RealServer, Service, TunChecksum, TunType
from lvs_healthd.config.per_service import PerService
from lvs_healthd.config.schema import THROUGH_VIP
from lvs_healthd.config.template import Template

SOURCE_PORTS = range(16384, 32768)
"""The source ports of udp probes through the service. They are below the ports that Linux gives to programs (32768 to
60999), so other programs seldom have them."""

MOST_MARKS = len(SOURCE_PORTS)
"""The most marks that `path_marks` may have."""

_WORDS = f'through = "{THROUGH_VIP}"'


def goes_through(template: Template) -> bool:
    """Return whether a check probes the virtual service's own address."""
    return template.fields.get("through") == THROUGH_VIP


def problems(
    template: Template, virtual: Endpoint | None, protocol: Protocol, server: Endpoint, fields: Mapping[str, Any]
) -> Iterator[str]:
    """Yield why a check cannot go through a virtual service to one of its servers.

    virtual: the service's address and port; None for a firewall mark.
    protocol: the service's transport.
    server: the real server.
    fields: the server's own and inherited keys.
    """
    forward = fields.get("forward", Forward.NAT)
    if virtual is None:
        yield f"{_WORDS} needs a service with an address, and a firewall mark has none; leave through out"
        return
    if "address" in template.fields:
        yield f"{_WORDS} probes the service's own address, so leave address out"
    if "port" in template.fields and virtual.port:
        yield f"{_WORDS} probes the service's own port, so leave port out"
    if "mark" in template.fields:
        yield f"{_WORDS} sets a firewall mark of its own, so leave mark out"
    carried = _transport(template)
    if carried is not protocol:
        yield f"{_WORDS}: this check uses {carried}, and the service is for {protocol}; choose a check over {protocol}"
    if forward is Forward.FULLNAT:
        yield (
            f"{_WORDS} is of no use with fullnat: its servers answer the director itself, which a plain check shows as "
            "well; leave through out"
        )
    if template.takes_silence:
        yield (
            f"{_WORDS} needs an answer, because a datagram that is lost on the way looks like one that needs none; add "
            "send and expect"
        )
    if virtual.is_loopback or server.is_loopback:
        yield f"{_WORDS} does not work with a loopback address; leave through out"


def path_to(virtual: Endpoint, protocol: Protocol, server: Endpoint, fields: Mapping[str, Any]) -> DataPath:
    """Return the way of clients' packets to one real server. The arguments are those of `problems`."""
    forward = fields.get("forward", Forward.NAT)
    is_tunnel = forward is Forward.TUN
    return DataPath(
        protocol=protocol,
        family=virtual.family,
        server=server if forward in TRANSLATING else Endpoint(server.address, 0),
        forward=str(forward),
        tun_type=str(fields.get("tun_type", TunType.IPIP)) if is_tunnel else "",
        tun_port=fields.get("tun_port", 0) if is_tunnel else 0,
        tun_checksum=str(fields.get("tun_checksum", TunChecksum.OFF)) if is_tunnel else "",
    )


def _transport(template: Template) -> Protocol:
    over = template.fields.get("over", Carrier.UDP)
    is_udp = template.kind == "udp" or (template.kind == "dns" and over is Carrier.UDP)
    return Protocol.UDP if is_udp else Protocol.TCP


def _ways_of(service: Service) -> frozenset[DataPath]:
    checks = [check for server in service.servers for check in server.checks if check.way is not None]
    return frozenset([path for check in checks if (path := data_path(check)) is not None])


_ways = PerService(_ways_of)


def validate_paths(services: Sequence[tuple[KeyPath, Service]], ipvs: Ipvs, errors: Errors) -> None:
    """Add an error for each check through a service that does not fit the rest of the file."""
    ways = frozenset[DataPath]().union(*_ways.of(service for _, service in services))
    if not ways:
        return
    first, last = ipvs.path_marks
    at = ("ipvs", "path_marks")
    if last - first >= MOST_MARKS:
        fix = f'write "{first}-{first + MOST_MARKS - 1}"'
        errors.add(at, f"expected at most {MOST_MARKS} marks, got {last - first + 1}; {fix}")
    if len(ways) > last - first + 1:
        errors.add(at, f"checks with {_WORDS} need {len(ways)} marks, and this range has only {last - first + 1}")
    if ipvs.netns:
        errors.add(
            ("ipvs", "netns"),
            f"checks with {_WORDS} need the table of the daemon's own namespace, in which probes run; leave netns out, "
            "or run the daemon in that namespace",
        )
    virtual = {service.endpoint.address: service.name for _, service in services if service.endpoint is not None}
    for where, service in services:
        checks = (check for server in service.real_servers for check in server.checks)
        if service.mode is Mode.SHADOW and any(map(data_path, checks)):
            errors.add((*where, "mode"), f"shadow writes nothing, and checks with {_WORDS} need services in the table")
        if first <= service.fwmark <= last:
            errors.add(
                (*where, "fwmark"),
                f"{service.fwmark} is one of the marks {first}-{last} of path probes; choose another mark, or other "
                "path_marks in [ipvs]",
            )
    for where, server, check in _checks(services):
        way = check.way
        if way is None:
            continue
        if way.mark is not None and first <= way.mark <= last:
            errors.add(
                where,
                f"check {show(check.name)}: mark {way.mark} is one of the marks {first}-{last} of path probes; choose "
                "another mark, or other path_marks in [ipvs]",
            )
        if data_path(check) is None:
            continue
        if way.source in virtual:
            errors.add(
                where,
                f"check {show(check.name)}: source {way.source} is the address of service {show(virtual[way.source])}, "
                "and answers to it would never leave the real server; write another address of this director",
            )
        if not any(_is_plain(other, check) for other in server.checks):
            errors.add(
                where,
                f"check {show(check.name)} goes through the service, and needs a plain check over {transport(check)} "
                "of the same server beside it: only both show whether the server or the way to it is at fault; "
                f'as in check = [{{ type = "tcp" }}, {{ type = "tcp", name = "path", {_WORDS} }}]',
            )


def _is_plain(check: AnyCheck, through: AnyCheck) -> bool:
    return data_path(check) is None and transport(check) is transport(through)


def _checks(services: Sequence[tuple[KeyPath, Service]]) -> Iterator[tuple[KeyPath, RealServer, AnyCheck]]:
    for where, service in services:
        for server in service.servers:
            for check in server.checks:
                if check.way is not None:
                    yield where, server, check
