"""Reports values, in one service or in several, that do not fit together: the kernel would not do what was meant."""

from collections.abc import Hashable, Sequence

from lvs_healthd.config import announcing
from lvs_healthd.config.basics import Endpoint, Family, Protocol
from lvs_healthd.config.capacity_rules import validate_capacity
from lvs_healthd.config.check_model import data_path, transport
from lvs_healthd.config.errors import Errors, show
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.model import TRANSLATING, Forward, Ipvs, OnFailure, Service, TunChecksum, TunType
from lvs_healthd.config.schema import TomlTable
from lvs_healthd.config.servers import Placed
from lvs_healthd.config.text import leaves
from lvs_healthd.config.values import listing

_IPV4_BITS = 32
_TUNNEL_FIELDS = ("tun_type", "tun_port", "tun_checksum")
_FLAG_OWNERS = ("sh", "mh")
"""The schedulers whose flags have names of their own, which begin with the scheduler's name."""


def validate_service(service: Service, table: TomlTable, errors: Errors) -> None:
    """Add an error for each key of a service that does not fit its other keys or its servers."""
    _validate_persistence(service, table, errors)
    is_udp = service.endpoint is None or service.protocol is Protocol.UDP
    if service.one_packet and not is_udp:
        errors.add(
            table.at("one_packet"), f"only for udp and firewall marks: {service.protocol} has connections; leave it out"
        )
    is_tunnel = any(server.forward is Forward.TUN for server in service.servers)
    may_come = bool(service.sources) and service.forward is Forward.TUN
    if not is_tunnel and not may_come and not table.is_wrong("forward"):
        for field in _TUNNEL_FIELDS:
            if field in table and field not in table.elsewhere:  # a default may be meant for other services
                errors.add(table.at(field), 'only for forward = "tun", and no server here has that; leave it out')
    _validate_synproxy(service, table, errors)
    validate_capacity(service, table, errors)
    announcing.validate_keys(service, table, errors)
    for flag in service.scheduler_flags:
        owner = flag.partition("-")[0]
        if flag == "flag-3" and service.scheduler in _FLAG_OWNERS:
            # `ipvsadm -S` has no name for flag-3 with sh and mh, and would write a line that `ipvsadm -R` rejects.
            errors.add(table.at("scheduler_flags"), f"{service.scheduler} has only two flags, and flag-3 is neither")
        if owner in _FLAG_OWNERS and owner != service.scheduler and not table.is_wrong("scheduler"):
            message = (
                f'{flag} is a flag of scheduler = "{owner}", and the scheduler is "{service.scheduler}"; leave it out'
            )
            errors.add(table.at("scheduler_flags"), message)


def _validate_synproxy(service: Service, table: TomlTable, errors: Errors) -> None:
    if not service.synproxy:
        for field in ("synproxy_mss", "synproxy_wscale"):
            if field in table and not table.is_wrong("synproxy"):
                errors.add(table.at(field), "this does nothing without synproxy = true")
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
        errors.add(table.at("persistence_mask"), "for an ipv6 service it must be a number of bits of 1..128")
    if mask is not None and service.family is Family.IPV4 and mask.bits > _IPV4_BITS:
        errors.add(table.at("persistence_mask"), "for an ipv4 service it must be a number of bits of 0..32, or a mask")
    if service.persistence_engine == "sip" and service.endpoint and service.protocol is not Protocol.UDP:
        errors.add(table.at("persistence_engine"), f"the kernel's sip engine reads udp only, not {service.protocol}")


def validate_servers(service: Service, table: TomlTable, servers: Sequence[Placed], errors: Errors) -> None:
    """Add an error for each server that does not fit its service or the other servers.

    service: the service as read.
    table: the service's table.
    servers: its real servers and fallback servers.
    """
    seen: dict[Endpoint, Placed] = {}
    for placed in servers:
        endpoint = placed.server.endpoint
        if endpoint in seen:
            other = seen[endpoint]
            message = f"{endpoint.shown} is already listed, {errors.on_line(other.path, placed.path)}"
            fix = _how_to_split(placed, other, servers) or "; keep one of them"
            errors.add(placed.path, message + fix)
        seen.setdefault(endpoint, placed)
        if "forward" not in placed.wrong:
            _validate_forwarding(service, placed, errors)
            _validate_tunnel(placed, table, errors)
        _validate_thresholds(placed, table, errors)


def _how_to_split(placed: Placed, other: Placed, servers: Sequence[Placed]) -> str:
    """Say how to write a range without one of its servers, when that server has an entry of its own with other keys."""
    for own, entry in ((placed, other), (other, placed)):
        if not own.table.written.keys() - {"endpoint"}:
            continue
        among = [each.server.endpoint for each in servers if each.path == entry.path]
        if len(among) > 1:
            at = among.index(own.server.endpoint)
            pieces = [_range_text(piece) for piece in (among[:at], among[at + 1 :]) if piece]
            return f", in a range; write the range without it: {listing(map(show, pieces), 'and')}"
    return ""


def _range_text(endpoints: Sequence[Endpoint]) -> str:
    """Write a range of servers as the file does, without the port when that is the service's."""
    first, last = endpoints[0].address, endpoints[-1].address
    if first == last:
        return first
    return f"{first}-{last}"


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
        # on this director pass, and a loopback service has only such clients. dr and tun do not change the address to
        # which a packet was sent.
        errors.add(
            placed.path,
            f"the kernel drops what {forward} would send to a loopback address, unless the client is this director; "
            'write another address of this director, or forward = "dr" where the program here listens on the '
            "service's own address",
        )
    if service.one_packet and forward is Forward.FULLNAT:
        # Answers are not translated with nat either. But nat is still useful for one-way traffic, because the server
        # sees the client's address.
        errors.add(placed.path, "with one_packet the kernel translates no answers, so fullnat does not work")


def _validate_tunnel(placed: Placed, around: TomlTable, errors: Errors) -> None:
    """Add an error for each tunnel key of a server that is missing, or does not fit its forwarding method or tunnel.

    A key of the service that does not fit this server's forwarding method is not an error, because it may be meant for
    other servers.
    """
    server, table = placed.server, placed.table
    kind, checksum = server.tun_type, server.tun_checksum
    if server.forward is not Forward.TUN:
        for field in _TUNNEL_FIELDS:
            if field in table:
                errors.add(
                    table.at(field), f'only for forward = "tun", and this server has "{server.forward}"; leave it out'
                )
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
        fix = (
            f"above the upper one, {upper}; it has to be that or less"
            if upper
            else "without an upper_threshold it does nothing"
        )
        errors.add(_place(placed, around, "lower_threshold"), f"{lower} is {fix}" if upper else fix)


def _place(placed: Placed, around: TomlTable, field: str) -> KeyPath:
    """Return where a value was written: in the server's own table, or in its service's."""
    return placed.table.at(field) if field in placed.table else around.at(field)


def remark_quiescing(services: Sequence[tuple[KeyPath, Service]], ipvs: Ipvs, errors: Errors) -> None:
    """Remark on each service whose servers at weight 0 would still be given clients, or would make clients fail.

    Sources: net/netfilter/ipvs/ip_vs_sh.c, ip_vs_mh.c and ip_vs_dh.c, which hash a client to a server even at weight 0,
    and then return no server; ip_vs_core.c, ip_vs_in_hook, which looks for another server only when a connection
    begins.
    """
    expires = ("expire_quiescent_template", "1") in ipvs.sysctl
    for path, service in services:
        if service.on_failure is not OnFailure.QUIESCE:
            continue
        at = (*path, "on_failure")
        scheduler, flags = service.scheduler, service.scheduler_flags
        if scheduler == "dh" or (scheduler in _FLAG_OWNERS and not {f"{scheduler}-fallback", "flag-1"} & {*flags}):
            fix = "" if scheduler == "dh" else f', or add scheduler_flags = ["{scheduler}-fallback"]'
            errors.remark(
                at,
                f"{scheduler} goes on choosing a server at weight 0 for the clients that hash to it, and the kernel "
                f'refuses them; write on_failure = "remove"{fix}',
            )
        if service.endpoint is not None and service.protocol is Protocol.UDP and not service.one_packet:
            errors.remark(
                at,
                "a udp client that keeps its port stays with a server at weight 0 for as long as it sends; "
                'write on_failure = "remove", with expire_nodest_conn = true in [ipvs.sysctl]',
            )
        if service.persistence and not expires:
            errors.remark(
                at,
                "persistent clients go on being sent to a server at weight 0 until their persistence ends; "
                'write expire_quiescent_template = true in [ipvs.sysctl], or on_failure = "remove"',
            )


def validate_targets(services: Sequence[tuple[KeyPath, Service]], written: Sequence[object], errors: Errors) -> None:
    """Add an error for each check that probes a virtual service of this file, and so decides about itself.

    written: the service tables as they are in the file, to find the place of the error.
    """
    virtual = {
        (service.endpoint.address, service.endpoint.port, service.protocol): service.name
        for _, service in services
        if service.endpoint is not None
    }
    addresses = {address for address, _, _ in virtual}
    for path, service in services:
        for server in service.servers:
            for check in server.checks:
                if check.address not in addresses or data_path(check) is not None:
                    continue
                protocol = transport(check)
                if protocol is None:
                    continue
                name = virtual.get((check.address, check.port, protocol)) or virtual.get((check.address, 0, protocol))
                if name is not None:
                    target = f"{Endpoint(check.address, check.port)}, which is the virtual service {show(name)}"
                    errors.add(
                        (*path, *_aimed_at(written[int(path[1])], check.address)),
                        f"check {show(check.name)} probes {target}: it would find whichever server answers there, and "
                        "decide about itself; probe the real server",
                    )


def _aimed_at(table: object, address: str) -> KeyPath:
    """Return the key path, in a service's table, of the first `address` that makes a check probe `address`."""
    for path, value in leaves(table):
        if path[-1:] == ("address",) and "check" in path and value == address:
            return path
    places = ("real_server", "fallback")
    return next((path for path, value in leaves(table) if path[:1] and path[0] in places and value == address), ())


def validate_together(services: Sequence[tuple[KeyPath, Service]], errors: Errors) -> None:
    """Add an error for each service that has the same name, address or firewall mark as an earlier one."""
    names: dict[str, KeyPath] = {}
    tuples: dict[Hashable, tuple[KeyPath, str]] = {}
    for path, service in services:
        if service.name in names:
            line = errors.on_line(names[service.name], path)
            errors.add(
                (*path, "name"), f"the service {line} is called {show(service.name)} too; give one of them another name"
            )
        names.setdefault(service.name, path)
        identity = (service.endpoint, service.protocol) if service.endpoint else (service.fwmark, service.family)
        if identity in tuples:
            other, other_name = tuples[identity]
            what = f"{service.endpoint}/{service.protocol}" if service.endpoint else f"fwmark {service.fwmark}"
            key = "address" if service.endpoint else "fwmark"
            message = f"{what} is already service {show(other_name)}, {errors.on_line(other, path)}; keep one of them"
            errors.add((*path, key), message)
        tuples.setdefault(identity, (path, service.name))
