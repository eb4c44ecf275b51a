"""Reads the `[ipvs]` table: settings for the director's IPVS as a whole."""

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

from lvs_healthd.config import values
from lvs_healthd.config.errors import Errors, Problem, WrongValueError, expected, show
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.model import Ipvs, Service, Sync, SyncDaemon, Timeouts
from lvs_healthd.config.schema import Key, read_table
from lvs_healthd.config.shapes import Shape, shape_of, shaped, with_shape

_CPUS = re.compile(r"[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*")
_INTERFACE = re.compile(r"[^\s/\0]{1,15}")
_NETNS_NAME = re.compile(r"[^\s/\0]{1,255}")
_RANGE = re.compile(r"([0-9]{1,10})-([0-9]{1,10})")
_LAST_MARK = 2**32 - 1
_LONGEST_SYNC = {4: 65507, 6: 65487}
"""The maximum number of bytes in one UDP datagram, by IP version."""
_SHORTEST_BACKUP = 1024
"""The smallest buffer that the kernel uses for a backup (net/netfilter/ipvs/ip_vs_sync.c, start_sync_thread)."""


@shaped("a name that `ip netns` lists, or an absolute path", type="string")
def _netns(value: object) -> str:
    """Parse a network namespace: a name listed by `ip netns`, an absolute path, or "" for the daemon's own."""
    text = values.string(value)
    if text.startswith("/"):
        return values.absolute_path(value)
    if text and (not _NETNS_NAME.fullmatch(text) or text in {".", ".."}):
        raise expected("a name that `ip netns` lists, or an absolute path", value)
    return text


@shaped("the name of an interface", type="string", pattern=r"^[^/\s]{1,15}$")
def _interface(value: object) -> str:
    if not isinstance(value, str) or not _INTERFACE.fullmatch(value) or value in {".", ".."}:
        raise expected("the name of a network interface", value)
    return value


@shaped('a multicast address such as "224.0.0.81"', type="string", minLength=2)
def _multicast(value: object) -> str:
    """Parse a multicast address."""
    try:
        address = ipaddress.ip_address(values.string(value))
    except ValueError:
        raise expected('a multicast address such as "224.0.0.81"', value) from None
    if not address.is_multicast or "%" in str(address):
        raise expected('a multicast address such as "224.0.0.81"', value)
    return str(address)


def _mark_range(value: object) -> tuple[int, int]:
    """Parse a range of firewall marks."""
    words = 'a range of firewall marks such as "65536-81919"'
    numbers = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if numbers is None:
        raise expected(words, value)
    first, last = map(int, numbers.groups())
    if not 1 <= first <= last <= _LAST_MARK:
        raise expected(words, value, f"marks are 1 to {_LAST_MARK}, and the first one comes first")
    return first, last


with_shape(
    _mark_range,
    Shape(
        schema={"type": "string", "pattern": f"^{_RANGE.pattern}$"},
        words='a range of firewall marks such as "65536-81919"',
        write=lambda span: f"{span[0]}-{span[1]}",
    ),
)


@shaped("true or false", **shape_of(values.boolean).schema)
def _on_or_off(value: object) -> str:
    return str(int(values.boolean(value)))


def _number(least: int, most: int) -> Key:
    parse = values.integer(least, most)
    return Key(with_shape(lambda value: str(parse(value)), shape_of(parse)))


@shaped("two integers such as [3, 50]", type="array", items={"type": "integer", "minimum": 0}, minItems=2, maxItems=2)
def _threshold(value: object) -> str:
    """Parse `sync_threshold`, which says how many packets of a connection cause sync messages about it.

    The first number is the packets before the first message, the second the packets from one message to the next. The
    second is greater than the first, or 0 to send only one message.
    """
    words = "two integers such as [3, 50], the second greater or 0"
    if not isinstance(value, list) or len(value) != 2 or any(type(each) is not int for each in value):
        raise expected(words, value)
    first, period = value
    if not 0 <= first <= _INT_MAX or not (first < period <= _INT_MAX or period == 0):
        raise WrongValueError(Problem((), f"expected {words}, got {show(first)} and {show(period)}"))
    return f"{first}\t{period}"


@shaped("0 (never), 1 (while memory is short) or 3 (always)", enum=[0, 1, 3])
def _defence(value: object) -> str:
    """Parse the number that says when one of the kernel's defences against floods is active."""
    words = "0 (never), 1 (while memory is short) or 3 (always)"
    if value == 2 and type(value) is int:
        raise expected(words, value, "the kernel itself turns 1 into 2 while memory is short")
    if type(value) is not int or value not in {0, 1, 3}:
        raise expected(words, value)
    return str(value)


@shaped("a power of two, 1 to 64", enum=[1, 2, 4, 8, 16, 32, 64])
def _ports(value: object) -> str:
    if type(value) is not int or value not in _PORTS:
        raise expected("a power of two, 1 to 64", value)
    return str(value)


@shaped('CPUs such as "0-3,6"', type="string", pattern=f"^{_CPUS.pattern}$")
def _cpus(value: object) -> str:
    """Parse a list of CPUs, such as "0-3,6".

    The result is in the form that the kernel prints: ascending, in as few ranges as possible (lib/vsprintf.c, %*pbl).
    """
    words = f'CPUs from 0 to {_LAST_CPU}, such as "0-3,6"'
    if not isinstance(value, str) or not _CPUS.fullmatch(value):
        hint = "for none: run_estimation = false" if value == "" else ""
        raise expected(words, value, hint)
    cpus: set[int] = set()
    for part in value.split(","):
        first, _, last = part.partition("-")
        numbers = range(int(first), int(last or first) + 1)
        if not numbers or numbers[-1] > _LAST_CPU:
            raise expected(words, value)
        cpus.update(numbers)
    firsts = sorted(cpu for cpu in cpus if cpu - 1 not in cpus)
    lasts = sorted(cpu for cpu in cpus if cpu + 1 not in cpus)
    spans = zip(firsts, lasts, strict=True)
    return ",".join(f"{first}-{last}" if first < last else str(first) for first, last in spans)


_INT_MAX = 2**31 - 1
_LONGEST_S = _INT_MAX // 1000
"""The longest time in seconds that fits into an `int` of jiffies, in kernels with 1000 jiffies a second."""
_LAST_CPU = 8191
"""The last CPU that any Linux can have (arch/x86/Kconfig, NR_CPUS). A kernel rejects CPUs that its machine lacks."""
_MOST_CONNECTIONS = 2**30
"""The maximum and default of conn_max on 64-bit kernels (net/netfilter/ipvs/ip_vs_conn.c)."""
_PORTS = frozenset({1, 2, 4, 8, 16, 32, 64})
_SWITCH = Key(_on_or_off)
_DEFENCE = Key(_defence)
_CPU_LIST = Key(_cpus)

SYSCTL_KEYS = {
    "am_droprate": _number(1, _INT_MAX),
    "amemthresh": _number(0, _INT_MAX),
    "backup_only": _SWITCH,
    "cache_bypass": _SWITCH,
    "conn_lfactor": _number(-8, 8),
    "conn_max": _number(0, _MOST_CONNECTIONS),
    "conn_reuse_mode": _number(0, 3),
    "conntrack": _SWITCH,
    "drop_entry": _DEFENCE,
    "drop_packet": _DEFENCE,
    "est_cpulist": _CPU_LIST,
    "est_nice": _number(-20, 19),
    "expire_nodest_conn": _SWITCH,
    "expire_quiescent_template": _SWITCH,
    "ignore_tunneled": _SWITCH,
    "nat_icmp_send": _SWITCH,
    "pmtu_disc": _SWITCH,
    "run_estimation": _SWITCH,
    "schedule_icmp": _SWITCH,
    "secure_tcp": _DEFENCE,
    "sloppy_sctp": _SWITCH,
    "sloppy_tcp": _SWITCH,
    "snat_reroute": _SWITCH,
    "svc_lfactor": _number(-8, 8),
    "sync_persist_mode": _SWITCH,
    "sync_ports": Key(_ports),
    "sync_qlen_max": _number(0, _INT_MAX),
    "sync_refresh_period": _number(0, _LONGEST_S),
    "sync_retries": _number(0, 3),
    "sync_sock_size": _number(0, _INT_MAX),
    "sync_threshold": Key(_threshold),
    "sync_version": _number(0, 1),
}
"""The parsers for all files in /proc/sys/net/ipv4/vs of Linux 7.2, except those of the schedulers lblc and lblcr.

Linux 6.1 lacks five of these files: est_cpulist, est_nice, conn_lfactor, conn_max and svc_lfactor. Linux 6.12 has the
first two.

Sources: Documentation/networking/ipvs-sysctl.rst; net/netfilter/ipvs/ip_vs_ctl.c (proc_do_*, update_defense_level).
"""

TIMEOUT_KEYS = {name: Key(values.duration("1s", "596h", whole=True)) for name in ("tcp", "tcp_fin", "udp")}

SYNC_KEYS = {
    "interface": Key(_interface),
    "syncid": Key(values.integer(0, 255)),
    "group": Key(_multicast),
    "port": Key(values.integer(1, 65535)),
    "ttl": Key(values.integer(1, 255)),
    "maxlen": Key(values.integer(1, 65507)),
}

IPVS_KEYS = {
    "netns": Key(_netns),
    "timeouts": Key(values.anything),
    "sync": Key(values.anything),
    "sysctl": Key(values.anything),
    "path_marks": Key(_mark_range),
}

_ROLES = {"master": Key(values.anything), "backup": Key(values.anything)}


def sysctl_value(name: str, text: str) -> object:
    """Convert the content of a sysctl's file to the value that an operator would write in the configuration."""
    if SYSCTL_KEYS[name] is _SWITCH:
        return text == "1"
    if SYSCTL_KEYS[name] is _CPU_LIST:
        return text
    numbers = [int(each) for each in text.split()]
    return numbers if len(numbers) > 1 else numbers[0]


def read_ipvs(written: object, errors: Errors) -> Ipvs:
    """Read the `[ipvs]` table. Errors are added to `errors`."""
    path: KeyPath = ("ipvs",)
    found = read_table(written, path, IPVS_KEYS, errors).values
    timeouts = read_table(found.get("timeouts", {}), (*path, "timeouts"), TIMEOUT_KEYS, errors).values
    sync = read_table(found.get("sync", {}), (*path, "sync"), _ROLES, errors).values
    sysctl = read_table(found.get("sysctl", {}), (*path, "sysctl"), SYSCTL_KEYS, errors).values
    daemons = {role: _sync_daemon(table, (*path, "sync", role), errors) for role, table in sync.items()}
    return Ipvs(
        netns=found.get("netns", ""),
        timeouts=Timeouts(**timeouts),
        sync=Sync(**daemons),
        sysctl=tuple(sorted(sysctl.items())),
        path_marks=found.get("path_marks", Ipvs().path_marks),
    )


def _sync_daemon(written: object, path: KeyPath, errors: Errors) -> SyncDaemon | None:
    table = read_table(written, path, SYNC_KEYS, errors)
    found: dict[str, Any] = table.values
    if "interface" not in table and isinstance(written, dict):
        errors.add(path, 'interface is missing: the one that leads to the other director, such as interface = "eth1"')
    if "interface" not in found:
        return None
    daemon = SyncDaemon(**found)
    longest = _LONGEST_SYNC[6 if ":" in daemon.group else 4]
    if daemon.maxlen is not None and daemon.maxlen > longest:
        errors.add(table.at("maxlen"), f"expected at most {longest} for {daemon.group}, got {daemon.maxlen}")
    if daemon.maxlen is not None and path[-1] == "backup" and daemon.maxlen < _SHORTEST_BACKUP:
        errors.add(table.at("maxlen"), f"expected at least {_SHORTEST_BACKUP} for a backup, got {daemon.maxlen}")
    return daemon


def validate_ipvs(ipvs: Ipvs, services: Iterable[Service], errors: Errors) -> None:
    """Add an error for each setting that conflicts with a service."""
    if ipvs.sync.master or ipvs.sync.backup:
        mixed = next((service for service in services if _crosses_families(service)), None)
        if mixed is not None:
            message = "the kernel accepts no server of another address family than its service while a sync daemon runs"
            errors.add(("ipvs", "sync"), f"{message}, and service {show(mixed.name)} has one")
    if dict(ipvs.sysctl).get("conntrack") == "0":
        needy = next((service for service in services if service.needs_conntrack), None)
        if needy is not None:
            message = f"service {show(needy.name)} needs it: fullnat and synproxy rely on connection tracking"
            errors.add(("ipvs", "sysctl", "conntrack"), message)


def _crosses_families(service: Service) -> bool:
    return any(server.endpoint.family != service.family for server in service.servers)
