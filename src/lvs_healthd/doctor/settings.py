"""Findings about settings beside the table, and what the daemon says of itself. Pure."""

from collections.abc import Iterator

from lvs_healthd.director.advice import CONN_MAX
from lvs_healthd.doctor.finding import Finding, Sureness
from lvs_healthd.doctor.observations import Observations

_FORWARDING = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
"""Sysctls that `doctor.answers` judges, with what was seen of servers."""
_BETTER = {
    "net.ipv4.vs.expire_nodest_conn": "1",
    "net.ipv4.vs.expire_quiescent_template": "1",
    "net.ipv4.vs.conn_max": str(CONN_MAX),
}
FULL_PERCENT = 90
"""How full the table of tracked connections may be, percent. An attack fills the rest within a second."""


def advised(seen: Observations) -> Iterator[Finding]:
    """Find that a sysctl has a value with which services do not work as expected."""
    told = set()
    for each in seen.advice:
        if each.name in _FORWARDING:
            continue
        told.add(each.name)
        lost = seen.lost_connections.get(each.service, 0) if each.name.endswith("expire_nodest_conn") else 0
        better = _BETTER.get(each.name)
        yield Finding(
            name="sysctl",
            sureness=Sureness.CERTAIN,
            seen=f"{each.name} = {each.value}"
            + (f"; {lost} connections go to servers that are not in the table" if lost else ""),
            why=each.text,
            command=f"sysctl -w {each.name}={better}" if better is not None else f"sysctl {each.name}",
            service=each.service,
        )
    for text in () if seen.daemon is None else seen.daemon.advice:
        name = text.partition(" ")[0]
        if name not in told and name not in _FORWARDING:
            yield Finding(
                name="sysctl",
                sureness=Sureness.CERTAIN,
                seen=text.partition(":")[0],
                why=text.partition(":")[2].strip() or text,
                command=f"sysctl {name}",
            )


def sticky_to_the_quiesced(seen: Observations) -> Iterator[Finding]:
    """Find that persistent clients stay with a server of weight 0 that is down."""
    if seen.host.is_on("net.ipv4.vs.expire_quiescent_template") is not False:
        return
    for service in seen.services:
        for server in service.servers:
            is_out = server.weight == 0 and server.configured != 0 and server.state != "drained"
            if is_out and server.after.persistent and (server.verdict == "down" or server.configured):
                yield Finding(
                    name="sticky-clients",
                    sureness=Sureness.CERTAIN if server.verdict == "down" else Sureness.LIKELY,
                    seen=f"{server.after.persistent} persistent clients are bound to {server.name}, which has weight 0"
                    + (" and is down" if server.verdict == "down" else ""),
                    why=f"with net.ipv4.vs.expire_quiescent_template = 0 they stay with it for "
                    f"{service.persistence_s}s after each attempt",
                    command="sysctl -w net.ipv4.vs.expire_quiescent_template=1",
                    service=service.name,
                    server=server.name,
                )


def setting_differs(seen: Observations) -> Iterator[Finding]:
    """Find that a setting beside the table is not as configured."""
    for each in seen.settings:
        if each.name.startswith("net."):
            command = f"sysctl -w {each.name}={each.wanted}"
        else:
            command = "systemctl start lvs-healthd" if seen.daemon is None else "journalctl -u lvs-healthd -g setting"
        yield Finding(
            name="setting-differs",
            sureness=Sureness.CERTAIN,
            seen=f"{each.name} is {each.found}, configured: {each.wanted}",
            why="the configuration asks for it, so some service relies on it",
            command=command,
        )


def conntrack_full(seen: Observations) -> Iterator[Finding]:
    """Find that connection tracking has hardly any room left, or one of the kernel's tables overflowed."""
    host = seen.host
    if host.tracked_most and host.tracked * 100 >= host.tracked_most * FULL_PERCENT:
        yield Finding(
            name="conntrack-full",
            sureness=Sureness.CERTAIN,
            seen=f"{host.tracked} of {host.tracked_most} tracked connections are in use",
            why="once the table is full, the kernel drops packets of new connections",
            command=f"sysctl -w net.netfilter.nf_conntrack_max={2 * host.tracked_most}",
        )
    for text in host.overflows:
        what, _, remedy = text.partition(": ")
        yield Finding(
            name="table-overflow",
            sureness=Sureness.CERTAIN,
            seen=f"while the doctor looked: {what}",
            why="the kernel drops packets of new connections or to new neighbours",
            command=remedy,
        )


def sync_interface_down(seen: Observations) -> Iterator[Finding]:
    """Find that the interface of a sync daemon does not work."""
    for name in dict.fromkeys(seen.host.sync_interfaces):
        link = seen.host.link(name)
        if link is not None and link.trouble:
            yield Finding(
                name="sync-link-down",
                sureness=Sureness.CERTAIN,
                seen=f"the sync daemon's interface {name} {link.trouble}",
                why="connections are not copied to the other director, so a takeover breaks them",
                command=f"ip link set {name} up" if link.trouble == "is down" else f"ethtool {name}",
            )


def daemon_troubled(seen: Observations) -> Iterator[Finding]:
    """Find that the daemon itself says that something is wrong."""
    if seen.daemon_error:
        yield Finding(
            name="daemon",
            sureness=Sureness.CERTAIN,
            seen=seen.daemon_error,
            why="servers that fail now may stay in the table",
            command="journalctl -u lvs-healthd -n 50",
        )
    if seen.daemon is None:
        return
    for text in seen.daemon.troubles:
        yield Finding(
            name="daemon",
            sureness=Sureness.CERTAIN,
            seen=text,
            why="the daemon says so",
            command="lvs-healthd status",
        )
    if seen.daemon.fights:
        programs = f": {', '.join(seen.host.writers)} runs here" if seen.host.writers else ""
        yield Finding(
            name="other-writer",
            sureness=Sureness.CERTAIN,
            seen=f"somebody else undoes {seen.daemon.fights} lines of the table again and again{programs}",
            why="two programs that manage one table undo each other's work",
            command="journalctl -u lvs-healthd -g table.fight",
        )


def server_down(seen: Observations) -> Iterator[Finding]:
    """Find that a server is down, or a check remarks on it."""
    for service in seen.services:
        for server in service.servers:
            if (server.verdict == "down" and not server.state) or server.state == "damped":
                yield Finding(
                    name="server-down",
                    sureness=Sureness.CERTAIN,
                    seen=f"{server.name} is {'damped' if server.state else 'down'}: {server.reason}",
                    why=f"{service.name} has one server less",
                    command=f"lvs-healthd why '{service.name}' {server.name}",
                    service=service.name,
                    server=server.name,
                )
            for remark in server.remarks:
                yield Finding(
                    name="check-remark",
                    sureness=Sureness.CERTAIN,
                    seen=f"{server.name}: {remark}",
                    why=f"a check of {service.name} passes, but somebody should look",
                    command=f"lvs-healthd why '{service.name}' {server.name}",
                    service=service.name,
                    server=server.name,
                )
