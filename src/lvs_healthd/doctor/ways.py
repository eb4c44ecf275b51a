"""Findings about the way to a server: routes, neighbours, interfaces, and what dr and tunnels need. Pure."""

from collections.abc import Iterator

from lvs_healthd.doctor.arrival import accept_command
from lvs_healthd.doctor.finding import Finding, Sureness
from lvs_healthd.doctor.firewall import Packet, Ruleset
from lvs_healthd.doctor.observations import Observations, Server, Service

_OVERHEAD = {"ipip": 20, "gre": 24, "gue": 32}
"""What a tunnel over IPv4 adds to each packet, bytes. Over IPv6 it is 20 more."""
_IPV6_MORE = 20
_IPV6_LEAST = 1280
"""The smallest packet that every way must carry over IPv6 (RFC 8200, section 5), bytes."""

_GONE = ("FAILED", "INCOMPLETE")


def no_route(seen: Observations) -> Iterator[Finding]:
    """Find that there is no route to a server."""
    for service, server in _wanted(seen):
        if server.way is None:
            yield Finding(
                name="no-route",
                sureness=Sureness.CERTAIN,
                seen=f"there is no route to {server.address} (see: ip route get {server.address})",
                why=f"neither clients of {service.name} nor probes get to it",
                command=f"ip route add {server.address} via ROUTER",
                service=service.name,
                server=server.name,
            )


def link_down(seen: Observations) -> Iterator[Finding]:
    """Find that an interface over which servers or clients are reached does not work."""
    for service, server in _wanted(seen):
        for name in (server.way.interface if server.way is not None and not server.is_here else "", service.interface):
            link = seen.host.link(name) if name else None
            if link is not None and link.trouble:
                yield Finding(
                    name="link-down",
                    sureness=Sureness.CERTAIN,
                    seen=f"interface {name} {link.trouble}",
                    why=f"packets of {service.name} pass this interface",
                    command=f"ip link set {name} up" if link.trouble == "is down" else f"ethtool {name}",
                    service=service.name,
                    server=server.name,
                )


def server_absent(seen: Observations) -> Iterator[Finding]:
    """Find that a server, or the router to it, does not answer on the link."""
    for service, server in _wanted(seen):
        if server.way is None or server.is_here:
            continue
        link = seen.host.link(server.way.interface)
        is_gone = server.answers_arp is False if server.answers_arp is not None else server.neighbour in _GONE
        # An entry stays REACHABLE for half a minute after the last answer, so it proves less than the question did.
        is_seen = server.neighbour == "PERMANENT" or server.echoes.plain or server.answered or server.verdict == "up"
        if not is_gone or is_seen or (link is not None and link.trouble):
            continue
        who = server.way.next_hop or server.address
        asked = "does not answer ARP requests" if server.answers_arp is False else f"is {server.neighbour}"
        yield Finding(
            name="server-absent",
            sureness=Sureness.CERTAIN if server.answers_arp is False else Sureness.LIKELY,
            seen=f"{who} {asked} on {server.way.interface}",
            why=f"{server.name} of {service.name} is "
            + ("off, on another network, or has another address" if not server.way.next_hop else "behind this router"),
            command=f"arping -c 3 -I {server.way.interface} {who}" if ":" not in who else f"ping -c 3 {who}",
            service=service.name,
            server=server.name,
        )


def dr_behind_router(seen: Observations) -> Iterator[Finding]:
    """Find that a dr server is behind a router, though dr changes nothing but the frame's address."""
    for service, server in _wanted(seen):
        if server.forward == "dr" and server.way is not None and server.way.next_hop and not server.is_here:
            yield Finding(
                name="dr-behind-router",
                sureness=Sureness.CERTAIN,
                seen=f"{server.address} is reached via {server.way.next_hop}",
                why=f"dr sends packets for {service.shown_address} unchanged to the next hop, which sends them back to "
                "this director",
                command=f'forward = "tun"   # in [[service]] "{service.name}", or a network shared with the server',
                service=service.name,
                server=server.name,
            )


def port_kept(seen: Observations) -> Iterator[Finding]:
    """Find that a dr or tun server is meant to get packets on another port."""
    for service, server in _wanted(seen):
        if server.forward in {"dr", "tun"} and service.port and server.port and server.port != service.port:
            yield Finding(
                name="port-kept",
                sureness=Sureness.CERTAIN,
                seen=f"{server.name} has another port than {service.shown_address}, by {server.forward}",
                why=f"{server.forward} does not change packets: they reach the server on port {service.port}",
                command=f'forward = "nat"   # in [[service]] "{service.name}"; or let the server listen on '
                f"{service.port}",
                service=service.name,
                server=server.name,
            )


def address_missing_on_server(seen: Observations) -> Iterator[Finding]:
    """Find that a dr or tun server does not take packets to the service's address."""
    for service, server in _wanted(seen):
        if server.forward not in {"dr", "tun"} or server.is_here or server.established:
            continue
        says_path = f"not by {server.tunnel or server.forward}" in server.reason
        if server.echoes.refused and server.forward == "tun":
            yield Finding(
                name="tunnel-refused",
                sureness=Sureness.CERTAIN,
                seen=f"{server.address} refuses {server.tunnel} (ICMP unreachable)",
                why=f"the server does not unwrap the packets of {service.name}",
                command=_unwrap(service, server),
                on=server.address,
                service=service.name,
                server=server.name,
            )
        elif (server.echoes.plain and server.echoes.through is False) or says_path:
            how = f"an echo request to {service.address} sent to it by {server.tunnel or server.forward}"
            yield Finding(
                name="address-missing",
                # A server may let nothing through its tunnel but the service.
                sureness=Sureness.LIKELY if says_path or server.half_open or not server.tunnel else Sureness.POSSIBLE,
                seen=f"{server.address} answers, but not {how}"
                if not says_path or server.echoes.through is False
                else f"the daemon's probe through the service: {server.reason}",
                why=f"the server takes packets of {service.name} for somebody else's if it does not have the address"
                + (", and drops unwrapped ones if it checks their source (rp_filter)" if server.tunnel else ""),
                command=_unwrap(service, server) if server.tunnel else _hold(service),
                on=server.address,
                service=service.name,
                server=server.name,
            )


def tunnel_too_small(seen: Observations) -> Iterator[Finding]:
    """Find that large packets do not fit into a tunnel, and clients are not told."""
    ruleset = Ruleset(seen.host.rules) if seen.host.rules is not None else None
    for service, server in _wanted(seen):
        link = seen.host.link(server.way.interface) if server.way is not None else None
        front = seen.host.link(service.interface)
        if not server.tunnel or link is None or server.is_here or not link.mtu:
            continue
        left = link.mtu - _OVERHEAD[server.tunnel] - (_IPV6_MORE if ":" in server.address else 0)
        figures = f"{link.mtu} bytes fit into {link.name}, and {left} of them into {server.tunnel} to {server.address}"
        if service.family == "ipv6" and left < _IPV6_LEAST:
            yield Finding(
                name="tunnel-too-small",
                sureness=Sureness.CERTAIN,
                seen=figures,
                why=f"clients of {service.name} may always send {_IPV6_LEAST} bytes over IPv6, and need not believe "
                "less",
                command=f"ip link set {link.name} mtu {_IPV6_LEAST + link.mtu - left}",
                service=service.name,
                server=server.name,
            )
        elif ruleset is not None and front is not None and front.mtu > left:
            icmp = "ipv6-icmp" if service.family == "ipv6" else "icmp"
            packet = Packet(service.family, icmp, source=service.address, leaves=front.name)
            drop = ruleset.drop("output", packet)
            if drop is not None:
                yield Finding(
                    name="tunnel-too-small",
                    sureness=Sureness.CERTAIN,
                    seen=f"{figures}; {drop} drops this director's ICMP messages",
                    why=f"clients of {service.name} are not told to send smaller packets, so their uploads hang",
                    command=accept_command(drop, f"meta l4proto {icmp}"),
                    service=service.name,
                    server=server.name,
                )


def output_dropped(seen: Observations) -> Iterator[Finding]:
    """Find that the director's own firewall drops what IPVS sends to a server."""
    if seen.host.rules is None:
        return
    ruleset = Ruleset(seen.host.rules)
    for service, server in _wanted(seen):
        if server.is_here or server.way is None or not service.address:
            continue
        packet = Packet(
            service.family,
            service.protocol,
            destination=service.address if server.forward == "dr" else server.address,
            destination_port=server.port,
            leaves=server.way.interface,
        )
        if server.tunnel:
            is_gue = server.tunnel == "gue"
            packet = packet._replace(
                family="ipv6" if ":" in server.address else "ipv4",
                protocol="udp" if is_gue else "",  # nft has several names for the others
                destination_port=server.tunnel_port if is_gue else 0,
            )
        drop = ruleset.drop("output", packet)
        if drop is not None:
            yield Finding(
                name="output-dropped",
                sureness=Sureness.CERTAIN,
                seen=f"{drop} drops what IPVS sends to {server.name} (output)",
                why=f"packets of {service.name} pass this hook on their way to the server",
                command=accept_command(drop, f"oifname {server.way.interface}"),
                service=service.name,
                server=server.name,
            )


def backup_loops(seen: Observations) -> Iterator[Finding]:
    """Find that a backup director that is itself a real server balances the packets that the active one sends it."""
    is_backup = "backup" in seen.host.sync_roles
    for service in seen.services:
        here = next((each for each in service.servers if each.is_here and each.forward in {"dr", "tun"}), None)
        if here is not None and is_backup and seen.host.is_on("net.ipv4.vs.backup_only") is False:
            yield Finding(
                name="backup-loops",
                sureness=Sureness.LIKELY,
                seen="net.ipv4.vs.backup_only = 0, a backup sync daemon runs, and this director is a real server of "
                f"{service.name}",
                why="what the active director sends here as to a server is balanced once more, perhaps back to it",
                command="sysctl -w net.ipv4.vs.backup_only=1   # [ipvs.sysctl] backup_only = true",
                service=service.name,
                server=here.name,
            )


def _wanted(seen: Observations) -> Iterator[tuple[Service, Server]]:
    """Yield the servers that ought to serve, or do."""
    for service in seen.services:
        is_ours = not (seen.is_shadow or service.is_shadow)
        for server in service.servers if service.is_located else ():
            if server.weight or (
                is_ours and server.configured is not None and server.is_wanted and not server.is_fallback
            ):
                yield service, server


def _hold(service: Service) -> str:
    if service.family == "ipv6":
        return f"ip address add {service.address}/128 dev lo"
    return (
        "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2; "
        f"ip address add {service.address}/32 dev lo"
    )


def _unwrap(service: Service, server: Server) -> str:
    """Return the commands that let a server unwrap packets and take them."""
    device = {"ipip": "tunl0", "gre": "gre0", "gue": "tunl0"}[server.tunnel]
    module = {"ipip": "ipip", "gre": "ip_gre", "gue": "fou"}[server.tunnel]
    receive = f"ip fou add port {server.tunnel_port} gue; modprobe ipip; " if server.tunnel == "gue" else ""
    return (
        f"modprobe {module}; {receive}ip link set {device} up; "
        f"sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.{device}.rp_filter=0; {_hold(service)}"
    )
