"""Rules between servers and between services: what the kernel could not do, or would do otherwise than meant."""

from collections.abc import Hashable, Sequence

from lvs_healthd.config.errors import Errors, show
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.model import TRANSLATING, Endpoint, Family, Forward, Protocol, Service, TunChecksum, TunType
from lvs_healthd.config.schema import TomlTable
from lvs_healthd.config.servers import Placed

_IPV4_BITS = 32
_TUNNEL_FIELDS = ("tun_type", "tun_port", "tun_checksum")
_FLAG_OWNERS = ("sh", "mh")
"""Schedulers whose flags have names of their own, which begin with the scheduler's."""


def validate_service(service: Service, table: TomlTable, errors: Errors) -> None:
    """Note what is wrong with a service's own keys together."""
    _validate_persistence(service, table, errors)
    is_udp = service.endpoint is None or service.protocol is Protocol.UDP
    if service.one_packet and not is_udp:
        errors.add(table.at("one_packet"), f"only for udp and firewall marks: {service.protocol} has connections")
    if not any(server.forward is Forward.TUN for server in service.servers) and not table.is_wrong("forward"):
        for field in _TUNNEL_FIELDS:
            if field in table:
                errors.add(table.at(field), 'only for forward = "tun", and no server here has that')
    _validate_synproxy(service, table, errors)
    for flag in service.scheduler_flags:
        owner = flag.partition("-")[0]
        if flag == "flag-3" and service.scheduler in _FLAG_OWNERS:
            # ipvsadm -S has no name for it either, and writes what -R refuses.
            errors.add(table.at("scheduler_flags"), f"{service.scheduler} has only two flags, and flag-3 is neither")
        if owner in _FLAG_OWNERS and owner != service.scheduler and not table.is_wrong("scheduler"):
            message = f'{flag} is a flag of scheduler = "{owner}", and the scheduler is "{service.scheduler}"'
            errors.add(table.at("scheduler_flags"), message)


def _validate_synproxy(service: Service, table: TomlTable, errors: Errors) -> None:
    if not service.synproxy:
        for field in ("synproxy_mss", "synproxy_wscale"):
            if field in table and not table.is_wrong("synproxy"):
                errors.add(table.at(field), "without synproxy = true it does nothing")
        return
    if service.endpoint is None:
        errors.add(table.at("synproxy"), "not for a firewall mark: the handshake is finished at an address and port")
    elif service.protocol is not Protocol.TCP:
        errors.add(table.at("synproxy"), f"only for tcp: {service.protocol} has no such handshake")
    elif not service.endpoint.port:
        errors.add(table.at("synproxy"), "not for port 0: say which port's handshakes are finished here")
    passing = next((server for server in service.servers if server.forward not in TRANSLATING), None)
    if passing is not None and not table.is_wrong("forward"):
        message = f'{passing.endpoint} has forward = "{passing.forward}", and its answers do not pass the director, '
        errors.add(table.at("synproxy"), message + "which has to correct their sequence numbers; only nat and fullnat")


def _validate_persistence(service: Service, table: TomlTable, errors: Errors) -> None:
    if not service.persistence and not table.is_wrong("persistence"):
        for field in ("persistence_mask", "persistence_engine"):
            if getattr(service, field) not in {None, ""}:
                errors.add(table.at(field), 'without persistence it does nothing; add persistence = "300s"')
        if service.endpoint is not None and service.endpoint.port == 0:
            message = 'port 0 is all ports, which the kernel forwards only with persistence; add persistence = "300s"'
            errors.add(table.at("endpoint"), f"{message}, or mark the packets and use fwmark")
    mask = table.values.get("persistence_mask")
    if mask is not None and service.family is Family.IPV6 and (mask.is_dotted or mask.bits == 0):
        errors.add(table.at("persistence_mask"), "of an ipv6 service it is a number of bits of 1..128")
    if mask is not None and service.family is Family.IPV4 and mask.bits > _IPV4_BITS:
        errors.add(table.at("persistence_mask"), "of an ipv4 service it is a number of bits of 0..32, or a mask")
    if service.persistence_engine == "sip" and service.endpoint and service.protocol is not Protocol.UDP:
        errors.add(table.at("persistence_engine"), f"the kernel's sip engine reads udp only, not {service.protocol}")


def validate_servers(service: Service, table: TomlTable, servers: Sequence[Placed], errors: Errors) -> None:
    """Note what is wrong with the servers of one service, real servers and fallback; `table` is the service's."""
    seen: dict[Endpoint, KeyPath] = {}
    for placed in servers:
        endpoint = placed.server.endpoint
        if endpoint in seen:
            errors.add(placed.path, f"{_spelled(endpoint)} is there already, on line {errors.line(seen[endpoint])}")
        seen.setdefault(endpoint, placed.path)
        if "forward" not in placed.wrong:
            _validate_forwarding(service, placed, errors)
            _validate_tunnel(placed, table, errors)
        _validate_thresholds(placed, table, errors)


def _validate_forwarding(service: Service, placed: Placed, errors: Errors) -> None:
    forward, endpoint = placed.server.forward, placed.server.endpoint
    if service.endpoint and forward not in TRANSLATING and endpoint.port != service.endpoint.port:
        errors.add(
            placed.path,
            f"port {endpoint.port} is not the service's {service.endpoint.port}, and {forward} leaves ports as they "
            'are; only forward = "nat" or "fullnat" can map them',
        )
    if forward is not Forward.TUN and endpoint.family != service.family:
        errors.add(
            placed.path,
            f"{endpoint.address} is not {service.family} like its service, and {forward} cannot cross families; "
            'only forward = "tun" can',
        )
    if forward in TRANSLATING and endpoint.is_loopback and not (service.endpoint and service.endpoint.is_loopback):
        # net/netfilter/ipvs/ip_vs_xmit.c, ip_vs_nat_xmit: "From world but DNAT to loopback address?" Packets of clients
        # on this director pass, and a loopback service has no others. dr and tun deliver them as they were addressed.
        errors.add(
            placed.path,
            f"the kernel drops what {forward} would send to a loopback address, unless the client is this director; "
            'write another address of this director, or forward = "dr" where the program here listens on the '
            "service's own address",
        )
    if service.one_packet and forward is Forward.FULLNAT:
        # Nor does nat's, but there one-way traffic is a use: the server sees who sent it.
        errors.add(placed.path, "with one_packet the kernel translates no answers, so fullnat has nothing to offer")


def _validate_tunnel(placed: Placed, around: TomlTable, errors: Errors) -> None:
    """Judge what the server has of its own, and what it needs; the service's keys are for servers of several kinds."""
    server, table = placed.server, placed.table
    kind, checksum = server.tun_type, server.tun_checksum
    if server.forward is not Forward.TUN:
        for field in _TUNNEL_FIELDS:
            if field in table:
                errors.add(table.at(field), f'only for forward = "tun", and this server has "{server.forward}"')
        return
    if "tun_type" in placed.wrong:
        return
    if kind is TunType.GUE and not server.tun_port and "tun_port" not in placed.wrong:
        errors.add(placed.path, "a gue tunnel goes to a UDP port; say which: tun_port = 6080")
    if kind is not TunType.GUE and server.tun_port:
        errors.add(_place(placed, around, "tun_port"), f"only for gue tunnels, and this one is {kind}")
    if kind is TunType.IPIP and checksum is not TunChecksum.OFF:
        errors.add(_place(placed, around, "tun_checksum"), "only for gue and gre tunnels: ipip has no checksum")
    if kind is TunType.GRE and checksum is TunChecksum.REMOTE:
        errors.add(_place(placed, around, "tun_checksum"), "remote checksum offload is gue's; gre takes off or on")


def _validate_thresholds(placed: Placed, around: TomlTable, errors: Errors) -> None:
    upper, lower = placed.server.upper_threshold, placed.server.lower_threshold
    if lower > upper and not placed.wrong & {"upper_threshold", "lower_threshold"}:
        fix = f"above the upper one, {upper}" if upper else "without an upper_threshold it does nothing"
        errors.add(_place(placed, around, "lower_threshold"), f"{lower} is {fix}" if upper else fix)


def _place(placed: Placed, around: TomlTable, field: str) -> KeyPath:
    """Say where a value was written: in the server's table, or the service's, which hands it down."""
    return placed.table.at(field) if field in placed.table else around.at(field)


def validate_together(services: Sequence[tuple[KeyPath, Service]], errors: Errors) -> None:
    """Note services that are in each other's way."""
    names: dict[str, KeyPath] = {}
    tuples: dict[Hashable, tuple[KeyPath, str]] = {}
    for path, service in services:
        if service.name in names:
            line = errors.line(names[service.name])
            errors.add((*path, "name"), f"the service on line {line} is called {show(service.name)} too")
        names.setdefault(service.name, path)
        identity = (service.endpoint, service.protocol) if service.endpoint else (service.fwmark, service.family)
        if identity in tuples:
            other, other_name = tuples[identity]
            what = f"{service.endpoint}/{service.protocol}" if service.endpoint else f"fwmark {service.fwmark}"
            key = "address" if service.endpoint else "fwmark"
            message = f"{what} is service {show(other_name)} already, on line {errors.line(other)}"
            errors.add((*path, key), message)
        tuples.setdefault(identity, (path, service.name))


def _spelled(endpoint: Endpoint) -> str:
    return str(endpoint) if endpoint.port else endpoint.address
