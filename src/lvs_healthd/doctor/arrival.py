"""Findings about the way to IPVS: why clients' packets may not get to it, or to a server of the service. Pure."""

import ipaddress
from collections.abc import Iterator

from lvs_healthd.doctor.finding import Finding, Sureness
from lvs_healthd.doctor.firewall import Drop, Packet, Ruleset
from lvs_healthd.doctor.observations import Observations, Service

CLOUDS = {
    "Amazon EC2": "EC2",
    "Google": "Google Cloud",
    "Microsoft Corporation": "Azure",
    "Alibaba Cloud": "Alibaba Cloud",
}
"""Makers of machines whose public addresses are translated outside the machine."""

_PRIVATE = tuple(
    ipaddress.ip_network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
"""The private networks (RFC 1918) and the shared one (RFC 6598). `is_private` of Python counts others too."""

_ADDRESS_KEEPERS = frozenset({"keepalived"})
"""Programs that move a service's address between directors."""


def table_unreadable(seen: Observations) -> Iterator[Finding]:
    """Find that the kernel's table cannot be read: no module, no permission."""
    if seen.table_error:
        command = "modprobe ip_vs" if "modprobe" in seen.table_error else "sudo lvs-healthd doctor"
        yield Finding(
            name="table-unreadable",
            sureness=Sureness.CERTAIN,
            seen=f"the kernel's IPVS table cannot be read: {seen.table_error}",
            why="without IPVS no service is balanced, and without its table little can be found out",
            command=command,
        )


def config_broken(seen: Observations) -> Iterator[Finding]:
    """Find that the configuration file has errors."""
    for first in seen.config_errors[:1]:
        count = len(seen.config_errors)
        yield Finding(
            name="config-broken",
            sureness=Sureness.CERTAIN,
            seen=f"the configuration has {count} error{'' if count == 1 else 's'}: {first}",
            why="the daemon refuses it, and goes on with the last good one or does not start",
            command="lvs-healthd validate",
        )


def service_missing(seen: Observations) -> Iterator[Finding]:
    """Find that a configured service is not in the kernel's table."""
    for service in _ours(seen):
        if service.is_in_table or seen.is_shadow or service.is_shadow:
            continue
        module = f"ip_vs_{service.scheduler}"
        installed = seen.host.installed
        if installed is not None and module not in installed and module not in seen.host.modules:
            yield Finding(
                name="scheduler-missing",
                sureness=Sureness.CERTAIN,
                seen=f"this kernel has no module {module}, and the service is not in its table",
                why=f'{service.name} asks for the scheduler "{service.scheduler}", so the kernel refuses the service',
                command="apt install linux-image-amd64   # or choose another scheduler in the configuration",
                service=service.name,
            )
        else:
            yield Finding(
                name="service-missing",
                sureness=Sureness.CERTAIN,
                seen=f"{service.shown_address} is not in the kernel's table",
                why=f"clients of {service.name} are refused, or reach this host itself",
                command="systemctl start lvs-healthd" if seen.daemon is None else f"lvs-healthd table '{service.name}'",
                service=service.name,
            )


def nobody_serves(seen: Observations) -> Iterator[Finding]:
    """Find that no server of a service in the kernel's table has a weight above 0."""
    for service in seen.services:
        if not service.is_in_table or any((server.weight or 0) > 0 for server in service.servers):
            continue
        present = sum(server.weight is not None for server in service.servers)
        what = f"{present} server{'' if present == 1 else 's'}, all of weight 0" if present else "no server"
        yield Finding(
            name="nobody-serves",
            sureness=Sureness.CERTAIN,
            seen=f"{service.shown_address} has {what} in the kernel's table",
            why=f"the kernel refuses or drops every new client of {service.name}",
            command=f"lvs-healthd status '{service.name}'" if service.is_configured else "ipvsadm -Ln",
            service=service.name,
        )


def address_not_here(seen: Observations) -> Iterator[Finding]:
    """Find that nothing takes packets to a service's address as this host's own, so they never reach IPVS."""
    own = [each.rpartition("/")[0] for link in seen.host.links for each in link.addresses]
    for service in _addressed(seen):
        if service.is_here or _is_elsewhere(seen, service) or any(server.arrived for server in service.servers):
            continue
        cloud = _cloud(seen.host.vendor)
        private = _private_address(own, service.family)
        if (
            ipaddress.ip_address(service.address).is_global
            and private
            and (cloud or _has_no_public(own, service.family))
        ):
            yield Finding(
                name="public-address",
                sureness=Sureness.CERTAIN if cloud else Sureness.LIKELY,
                seen=f"{service.address} is on no interface, and this host has {private} only"
                + (f" ({seen.host.vendor})" if cloud else ""),
                why=f"{cloud or 'a router before it'} translates the public address to the private one, so packets for "
                f"{service.name} arrive with the private address, for which there is no service",
                command=f'address = "{_endpoint(private, service.port)}"   # in the configuration, instead of '
                f"{service.address}; on EC2 also turn off the source/destination check of the instance",
                service=service.name,
            )
        else:
            interface = _best_interface(service)
            length = 128 if service.family == "ipv6" else 32
            yield Finding(
                name="address-not-here",
                sureness=Sureness.CERTAIN,
                seen=f"{service.address} is no address of this host (see: ip route get {service.address})",
                why=f"packets for {service.name} are forwarded or dropped like any others, and never reach IPVS",
                command=f"ip address add {service.address}/{length} dev {interface}",
                service=service.name,
            )


def address_taken(seen: Observations) -> Iterator[Finding]:
    """Find that somebody else answers ARP requests for a service's address."""
    if _cloud(seen.host.vendor):
        return  # a cloud's network answers for everybody
    for service in _addressed(seen):
        if not service.is_here:
            continue
        for answerer in service.answerers:
            if answerer.server:
                yield Finding(
                    name="server-answers-arp",
                    sureness=Sureness.CERTAIN,
                    seen=f"{answerer.server} ({answerer.hardware}) answers ARP requests for {service.address} on "
                    f"{service.interface}",
                    why=f"clients of {service.name} reach that server alone, past IPVS: the director's counters stay "
                    "still, and nobody notices until it stops",
                    command="sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2; "
                    f"ip address add {service.address}/32 dev lo   # and take it off any other interface",
                    on=answerer.server,
                    service=service.name,
                    server=answerer.server,
                )
            else:
                yield Finding(
                    name="address-twice",
                    sureness=Sureness.CERTAIN,
                    seen=f"this host has {service.address}, and {answerer.hardware} answers ARP requests for it on "
                    f"{service.interface} too",
                    why=f"some clients of {service.name} reach another machine: the other director, if both "
                    "believe that they are active",
                    command=f"arping -D -c 3 -I {service.interface} {service.address}",
                    service=service.name,
                )


def input_dropped(seen: Observations) -> Iterator[Finding]:
    """Find that the director's own firewall drops what clients send."""
    if seen.host.rules is None:
        return
    ruleset = Ruleset(seen.host.rules)
    for service in _addressed(seen):
        if not service.is_here or not service.port:
            continue
        packet = Packet(
            service.family,
            service.protocol,
            destination=service.address,
            destination_port=service.port,
            arrives=service.interface,
            state="new",
        )
        for hook in ("prerouting", "input"):
            drop = ruleset.drop(hook, packet)
            if drop is None:
                continue
            yield Finding(
                name="input-dropped",
                sureness=Sureness.CERTAIN,
                seen=f"{drop} drops packets to {service.shown_address} ({hook})",
                why=f"IPVS takes clients' packets after this hook, so no client of {service.name} gets through",
                command=accept_command(
                    drop, f"{_ip(service.family)} daddr {service.address} {service.protocol} dport {service.port}"
                ),
                service=service.name,
            )
            break


def mark_unset(seen: Observations) -> Iterator[Finding]:
    """Find that no rule gives packets the firewall mark of a service."""
    if seen.host.rules is None or seen.host.has_legacy_rules:
        return
    marks, is_open = Ruleset(seen.host.rules).marks()
    for service in seen.services:
        if not service.fwmark or service.fwmark in marks or is_open or not service.is_in_table:
            continue
        if any(server.after.in_packets for server in service.servers):
            continue
        yield Finding(
            name="mark-unset",
            sureness=Sureness.LIKELY,
            seen=f"no nftables rule sets the mark {service.fwmark}, and no packet has come",
            why=f"only packets with this mark reach {service.name}",
            command="nft add rule inet TABLE PREROUTING ip daddr ADDRESS tcp dport PORT "
            f"meta mark set {service.fwmark}",
            service=service.name,
        )


def ftp_helper_missing(seen: Observations) -> Iterator[Finding]:
    """Find that FTP goes by nat without the module that reads its addresses."""
    for service in seen.services:
        is_ftp = service.port == 21 and service.protocol == "tcp" and not service.persistence_s
        if (
            is_ftp
            and any(server.forward == "nat" for server in service.servers)
            and "ip_vs_ftp" not in seen.host.modules
        ):
            yield Finding(
                name="ftp-helper-missing",
                sureness=Sureness.LIKELY,
                seen="the module ip_vs_ftp is not loaded",
                why=f"FTP tells addresses inside the connection: by nat, clients of {service.name} log in, but get no "
                "data",
                command="modprobe ip_vs_ftp",
                service=service.name,
            )


def _ours(seen: Observations) -> Iterator[Service]:
    if not seen.table_error:
        yield from (each for each in seen.services if each.is_configured)


def _addressed(seen: Observations) -> Iterator[Service]:
    """Yield the services with an address that are in the table, or belong there."""
    for each in seen.services:
        if each.address and each.is_located and (each.is_in_table or not (seen.is_shadow or each.is_shadow)):
            yield each


def _is_elsewhere(seen: Observations, service: Service) -> bool:
    """Whether another director has the address now: this one is the backup, or the daemon does not announce it here."""
    if is_withdrawn(seen, service):
        return True
    return bool(service.answerers) or bool(_ADDRESS_KEEPERS & set(seen.host.writers))


def is_standby(seen: Observations, service: Service) -> bool:
    """Whether this director waits to get the service's address from another one."""
    return bool(service.address) and service.is_located and not service.is_here and _is_elsewhere(seen, service)


def is_withdrawn(seen: Observations, service: Service) -> bool:
    """Whether the daemon has the service's address on no interface, because it may not be announced from here."""
    return seen.daemon is not None and service.address in seen.daemon.not_announced


def _cloud(vendor: str) -> str:
    return next((name for maker, name in CLOUDS.items() if vendor.startswith(maker)), "")


def _private_address(own: list[str], family: str) -> str:
    """Return the first private IPv4 address of this host; "" without one, and for IPv6, which nobody translates."""
    if family == "ipv6":
        return ""
    addresses = (ipaddress.ip_address(each) for each in own if ":" not in each)
    return next((str(each) for each in addresses if any(each in network for network in _PRIVATE)), "")


def _has_no_public(own: list[str], family: str) -> bool:
    return not any(ipaddress.ip_address(each).is_global for each in own if (":" in each) is (family == "ipv6"))


def _best_interface(service: Service) -> str:
    """Return the interface on which a service's address most probably belongs."""
    if service.interface:
        return service.interface
    return service.way.interface if service.way is not None and service.way.interface else "INTERFACE"


def _endpoint(address: str, port: int) -> str:
    return f"{address}:{port}"


def _ip(family: str) -> str:
    return "ip6" if family == "ipv6" else "ip"


def accept_command(drop: Drop, match: str) -> str:
    """Return the command that lets such packets through before the rule that drops them."""
    return f"nft insert rule {drop.family} {drop.table} {drop.chain} {match} accept"
