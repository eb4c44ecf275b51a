"""Findings about the way back: why the answers of nat and fullnat servers may not reach the clients. Pure.

Answers pass the FORWARD hook with the server's address, before IPVS translates them (net/netfilter/ipvs/ip_vs_core.c).
"""

import ipaddress
from collections.abc import Iterator

from lvs_healthd.doctor.arrival import accept_command
from lvs_healthd.doctor.finding import Finding, Sureness
from lvs_healthd.doctor.firewall import Packet, Ruleset
from lvs_healthd.doctor.host import conf
from lvs_healthd.doctor.observations import Host, Observations, Server, Service

FEW = 2
"""So many packets without an answer are the first sign of trouble: a SYN, and the same SYN again."""

MANY = 5
"""The same for udp, whose clients may not need an answer to each datagram."""


def forwarding_off(seen: Observations) -> Iterator[Finding]:
    """Find that the director forwards nothing, so it drops the servers' answers."""
    for service, server in _translated(seen):
        if service.family == "ipv6":
            names = ["net.ipv6.conf.all.forwarding"]
        else:
            names = ["net.ipv4.ip_forward"]
            if server.way is not None and seen.host.is_on("net.ipv4.ip_forward"):
                names = [conf(server.way.interface, "forwarding")]
        for name in names:
            if seen.host.is_on(name) is False:
                yield Finding(
                    name="forwarding-off",
                    sureness=Sureness.CERTAIN,
                    seen=f"{name} = 0{_figures(server)}",
                    why=f"answers of {server.forward} servers are forwarded to the clients of {service.name}, and this "
                    "director forwards nothing",
                    command=f"sysctl -w {name}=1   # and in /etc/sysctl.d",
                    service=service.name,
                    server=server.name,
                )


def answers_dropped(seen: Observations) -> Iterator[Finding]:
    """Find that a rule or policy of the director's firewall drops the servers' answers."""
    if seen.host.rules is None:
        return
    ruleset = Ruleset(seen.host.rules)
    for service, server in _translated(seen):
        is_tracked = bool(seen.host.is_on("net.ipv4.vs.conntrack"))
        fates = [ruleset.drop("forward", each) for each in _answers(service, server, is_tracked=is_tracked)]
        drop = fates[0]
        if drop is None or None in fates:
            continue
        ip = "ip6" if service.family == "ipv6" else "ip"
        accepted = f"{ip} saddr {server.address}"
        if service.protocol in {"tcp", "udp"} and server.port and service.address:
            accepted += f" {service.protocol} sport {server.port}"
        command = accept_command(drop, accepted)
        is_for_invalid = drop.is_for_invalid and not is_tracked
        if is_for_invalid:
            command = "sysctl -w net.ipv4.vs.conntrack=1   # [ipvs.sysctl] conntrack = true"
        yield Finding(
            name="answers-dropped",
            sureness=Sureness.CERTAIN,
            seen=f"{drop} drops answers of {server.name} (forward){_figures(server)}",
            why=(
                "connections of IPVS are not tracked (net.ipv4.vs.conntrack = 0), so connection tracking calls the "
                f"answers to tcp clients of {service.name} invalid"
                if is_for_invalid
                else f"answers to clients of {service.name} pass this hook with the server's address"
            ),
            command=command,
            service=service.name,
            server=server.name,
        )


def client_beside_servers(seen: Observations) -> Iterator[Finding]:
    """Find that a client is on the servers' own network, where the server answers it directly."""
    for service, server in _translated(seen):
        if server.forward != "nat" or not server.network or _is_gone(server):
            continue
        network = ipaddress.ip_network(server.network)
        client = next((each for each in server.half_open_clients if ipaddress.ip_address(each) in network), None)
        if client is not None:
            yield Finding(
                name="client-beside-servers",
                # If other clients are answered, this one may only be in the middle of its handshake.
                sureness=Sureness.CERTAIN if _is_silent(service, server) else Sureness.LIKELY,
                seen=f"client {client} is on the servers' network {server.network}, and its connection to "
                f"{server.name} is half open",
                why=f"the server answers that client of {service.name} directly, with an address that the client did "
                "not connect to",
                command=f'forward = "fullnat"   # in [[service]] "{service.name}": answers then come back through here',
                service=service.name,
                server=server.name,
            )


def server_answers_elsewhere(seen: Observations) -> Iterator[Finding]:
    """Find that a server's route to clients does not lead through the director."""
    for service, server in _translated(seen):
        if server.forward != "nat" or not service.expects_answers:
            continue
        is_silent = _is_silent(service, server)
        lost_echo = server.echoes.plain is True and server.echoes.through is False and not server.has_answered
        if not is_silent and not lost_echo:
            continue
        if is_silent and _is_gone(server):
            continue
        figures = []
        if lost_echo:
            figures.append(f"it answers echo requests from its own network, but none from {server.echoes.source}")
        if is_silent:
            figures.append(
                f"{server.after.in_packets} packets in, {server.after.out_packets} out, {server.half_open} connections "
                "half open"
            )
        gateway = server.way.source if server.way is not None else ""
        is_beside = bool(server.network and gateway)
        via = "-6 route" if service.family == "ipv6" else "route"
        yield Finding(
            name="answers-elsewhere",
            # A server's own firewall may answer echo requests from its own network only.
            sureness=Sureness.LIKELY if is_silent and not server.echoes.through else Sureness.POSSIBLE,
            seen=f"no answer of {server.name} comes back through this director: {'; '.join(figures)}",
            why=f"with nat, the server's route to the clients of {service.name} must lead through this director",
            command=f"ip {via} replace default via {gateway}"
            if is_beside
            else f'forward = "fullnat"   # in [[service]] "{service.name}": the server is behind a router',
            on=server.address if is_beside else "",
            service=service.name,
            server=server.name,
        )


def reverse_path_checked(seen: Observations) -> Iterator[Finding]:
    """Find that the director's check of source addresses drops the servers' answers."""
    dropped = seen.host.risen("TcpExt.IPReversePathFilter")
    if dropped <= 0:
        return
    for service, server in _translated(seen):
        interface = server.way.interface if server.way is not None else ""
        if service.family == "ipv4" and _is_strict(seen.host, interface) and _is_silent(service, server):
            yield Finding(
                name="reverse-path",
                sureness=Sureness.LIKELY,
                seen=f"rp_filter of {interface} is strict (1), and {dropped} packets were dropped for it in two "
                f"seconds{_figures(server)}",
                why=f"answers to clients of {service.name} that arrive by {interface} are dropped if the route to "
                f"{server.address} leads elsewhere",
                command=f"sysctl -w {conf('all', 'rp_filter')}=2",
                service=service.name,
                server=server.name,
            )


def redirects_sent(seen: Observations) -> Iterator[Finding]:
    """Find that the director tells servers of a one-armed nat a shorter way, past itself."""
    sent = seen.host.risen("Icmp.OutRedirects")
    for service, server in _translated(seen):
        interface = server.way.interface if server.way is not None else ""
        is_one_armed = bool(interface) and interface == service.interface and server.forward == "nat"
        is_on = seen.host.is_on(conf("all", "send_redirects")) or seen.host.is_on(conf(interface, "send_redirects"))
        if is_one_armed and is_on and sent > 0:
            yield Finding(
                name="redirects-sent",
                sureness=Sureness.LIKELY,
                seen=f"this director sent {sent} ICMP redirects in two seconds, and servers and clients of "
                f"{service.name} share {interface}",
                why="a server that believes them sends its answers past the director",
                command=f"sysctl -w {conf('all', 'send_redirects')}=0 {conf(interface, 'send_redirects')}=0",
                service=service.name,
                server=server.name,
            )


def one_packet_untranslated(seen: Observations) -> Iterator[Finding]:
    """Find that one-packet scheduling keeps no entry by which an answer could be translated."""
    for service, server in _translated(seen):
        if service.is_one_packet and service.expects_answers and service.protocol == "udp":
            yield Finding(
                name="one-packet-answers",
                sureness=Sureness.LIKELY if not server.after.out_packets else Sureness.POSSIBLE,
                seen=f"{service.shown_address} is scheduled packet by packet, by {server.forward}, and its servers "
                "answer",
                why="the kernel keeps no entry by which to translate an answer, so clients get it from an address that "
                "they did not ask",
                command=f'one_packet = false   # in [[service]] "{service.name}"; or forward = "dr"',
                service=service.name,
                server=server.name,
            )


def _translated(seen: Observations) -> Iterator[tuple[Service, Server]]:
    """Yield the servers on other hosts whose answers pass through the director."""
    for service in seen.services:
        for server in service.servers if service.is_located else ():
            is_present = server.weight is not None or (
                server.configured and not seen.is_shadow and not service.is_shadow
            )
            if server.is_translated and is_present and not server.is_here:
                yield service, server


def _answers(service: Service, server: Server, *, is_tracked: bool) -> list[Packet]:
    """Return an answer of the server, once for each interface by which it may leave."""
    state = "established" if is_tracked else "invalid" if service.protocol == "tcp" else "new"
    packet = Packet(
        service.family,
        service.protocol if service.address else "",
        source=server.address,
        source_port=server.port if service.address else 0,
        arrives=server.way.interface if server.way is not None else "",
        state=state if service.address else "",
    )
    return [packet._replace(leaves=each) for each in service.leaves or ("",)]


def _is_silent(service: Service, server: Server) -> bool:
    """Whether packets go to the server and no answer comes back through the director, though one should.

    The kernel counts both at the same moment, and it had two seconds for an answer.
    """
    if service.protocol == "udp":
        return service.expects_answers and server.before.in_packets >= MANY and not server.after.out_packets
    if not service.address or service.protocol != "tcp":
        return False
    if server.established:
        return False
    if server.before.in_packets >= FEW and not server.after.out_packets:
        return True
    return server.arrived >= FEW and not server.answered and server.half_open > 0


def _is_gone(server: Server) -> bool:
    return server.neighbour in {"FAILED", "INCOMPLETE"} or server.answers_arp is False


def _is_strict(host: Host, interface: str) -> bool:
    values = [host.sysctls.get(conf(each, "rp_filter"), "0") for each in ("all", interface)]
    return max(values) == "1"


def _figures(server: Server) -> str:
    """Return the server's counters in words, if any packet has come."""
    counts = server.after
    if not counts.in_packets:
        return ""
    half_open = (
        f", {server.half_open} connection{'' if server.half_open == 1 else 's'} half open" if server.half_open else ""
    )
    return f"; {counts.in_packets} packets to {server.name}, {counts.out_packets} back{half_open}"
