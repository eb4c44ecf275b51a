"""Looks at the director beside its network and its table: modules, sysctls, rules, programs. Everything here blocks."""

import os
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lvs_healthd.director.nft import decode, is_there, nft
from lvs_healthd.doctor.observations import Service
from lvs_healthd.reconcile.suspects import managers
from lvs_healthd.runtime.netns import Netns

_MODULES = Path("/sys/module")
_INSTALLED = "/lib/modules/{}/modules.{}"
_VENDOR = Path("/sys/class/dmi/id/sys_vendor")
_LEGACY = {"ipv4": "ip_tables_names", "ipv6": "ip6_tables_names"}
_OURS = "lvs-healthd"
_PLAIN = (
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "net.ipv4.vs.conntrack",
    "net.ipv4.vs.expire_nodest_conn",
    "net.ipv4.vs.expire_quiescent_template",
    "net.ipv4.vs.backup_only",
    "net.ipv4.vs.pmtu_disc",
    "net.ipv4.vs.snat_reroute",
    "net.ipv4.vs.conn_reuse_mode",
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_max",
)
_OF_INTERFACES = ("rp_filter", "forwarding", "send_redirects", "accept_local", "arp_ignore", "arp_announce")


def sysctl_names(interfaces: Iterable[str]) -> list[str]:
    """Return the names of the sysctls to read."""
    return [*_PLAIN, *(conf(each, key) for each in (*interfaces, "all") for key in _OF_INTERFACES)]


def conf(interface: str, key: str) -> str:
    """Return the name of an interface's sysctl for IPv4, as sysctl(8) takes it."""
    dotted = f"net.ipv4.conf.{interface}.{key}"
    return f"net/ipv4/conf/{interface}/{key}" if "." in interface else dotted


def modules() -> tuple[str, ...]:
    """Return the loaded modules of IPVS, and those built into the kernel."""
    loaded = {each.name for each in _MODULES.glob("ip_vs*")}
    return tuple(sorted(loaded))


def installed() -> tuple[str, ...] | None:
    """Return the modules of IPVS that this kernel could load; None if that cannot be read."""
    found: set[str] = set()
    is_known = False
    for kind in ("dep", "builtin"):
        try:
            text = Path(_INSTALLED.format(platform.release(), kind)).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        is_known = True
        names = (line.partition(":")[0].rpartition("/")[2].partition(".ko")[0] for line in text.splitlines())
        found |= {name for name in names if name.startswith("ip_vs")}
    return tuple(sorted(found)) if is_known else None


def vendor() -> str:
    """Return what the firmware calls the machine's maker; "" if it says nothing."""
    try:
        return _VENDOR.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def writers(netns: Netns, proc: Path = Path("/proc")) -> tuple[str, ...]:
    """Return which programs but ours run that may write to the table of a network namespace.

    keepalived is among them, which often only keeps the address.

    proc: where procfs is mounted.
    """
    return tuple(sorted({each.name for each in managers(netns, os.getpid(), proc=proc)} - {_OURS}))


def rules(netns: Netns) -> list[dict[str, Any]] | None:
    """Return the ruleset of nftables. None if nft is not installed: then there are no such rules either.

    Raises `SettingError`.
    """
    if not is_there():
        return None
    output = nft(netns, "list", "ruleset")
    return [] if output is None else decode(output)


def has_legacy_rules() -> bool:
    """Whether the old iptables has tables in this network namespace. nft does not show them."""
    return any(_names(file) for file in _LEGACY.values())


def _names(file: str) -> str:
    try:
        return Path(f"/proc/thread-self/net/{file}").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def interfaces_of(services: Iterable[Service]) -> Iterator[str]:
    """Yield the interfaces that matter to services: those to the servers, and those of the services' addresses."""
    for service in services:
        if service.interface:
            yield service.interface
        for server in service.servers:
            if server.way is not None and server.way.interface:
                yield server.way.interface
