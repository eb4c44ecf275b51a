"""The kernel's numbers and their names, for the configuration, ipvsadm's options and the log.

Constants are named after the kernel's (include/uapi/linux/ip_vs.h). Each dictionary maps the word that an operator
writes to the kernel's number. The reverse dictionary is derived from it, so that every word is written only once.
"""

import enum
from collections.abc import Iterable

AF_INET = 2
AF_INET6 = 10

IPPROTO_TCP = 6
IPPROTO_UDP = 17
IPPROTO_SCTP = 132

SVC_F_PERSISTENT = 0x0001
SVC_F_HASHED = 0x0002
"""The kernel sets this flag on every service it lists. Records do not hold it."""
SVC_F_ONEPACKET = 0x0004
SVC_F_SCHED1 = 0x0008
SVC_F_SCHED2 = 0x0010
SVC_F_SCHED3 = 0x0020
"""The meaning of the flags SVC_F_SCHED1 to SVC_F_SCHED3 depends on the scheduler."""

TUNNEL_IPIP = 0
TUNNEL_GUE = 1
TUNNEL_GRE = 2
TUNNEL_F_CSUM = 0x0001
TUNNEL_F_REMCSUM = 0x0002


class ForwardingMethod(enum.IntEnum):
    """How packets reach a server: the values under the kernel's IP_VS_CONN_F_FWD_MASK."""

    MASQ = 0
    LOCAL = 1
    TUNNEL = 2
    DROUTE = 3
    BYPASS = 4


PROTOCOLS = {"tcp": IPPROTO_TCP, "udp": IPPROTO_UDP, "sctp": IPPROTO_SCTP}
PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}
PROTOCOL_OPTIONS = {IPPROTO_TCP: "-t", IPPROTO_UDP: "-u", IPPROTO_SCTP: "--sctp-service"}
"""ipvsadm's option for a service of each protocol."""

METHODS = {
    "nat": ForwardingMethod.MASQ,
    "dr": ForwardingMethod.DROUTE,
    "tun": ForwardingMethod.TUNNEL,
    "local": ForwardingMethod.LOCAL,
    "bypass": ForwardingMethod.BYPASS,
}
"""The operator's word for each forwarding method.

"local" and "bypass" can be read from the kernel but not set. "fullnat" is missing, because to the kernel it is MASQ.
"""
METHOD_NAMES = {method: name for name, method in METHODS.items()}
METHOD_OPTIONS = {
    ForwardingMethod.DROUTE: "-g",
    ForwardingMethod.TUNNEL: "-i",
    ForwardingMethod.MASQ: "-m",
}
"""ipvsadm's option for each forwarding method that can be set."""

TUNNELS = {"ipip": TUNNEL_IPIP, "gue": TUNNEL_GUE, "gre": TUNNEL_GRE}
"""The operator's word for each tunnel type. ipvsadm's --tun-type takes the same words."""
TUNNEL_NAMES = {number: name for name, number in TUNNELS.items()}

CHECKSUMS = {"off": 0, "on": TUNNEL_F_CSUM, "remote": TUNNEL_F_REMCSUM}
CHECKSUM_NAMES = {flags: name for name, flags in CHECKSUMS.items()}
CHECKSUM_FLAGS = TUNNEL_F_CSUM | TUNNEL_F_REMCSUM
CHECKSUM_OPTIONS = {0: "--tun-nocsum", TUNNEL_F_CSUM: "--tun-csum", TUNNEL_F_REMCSUM: "--tun-remcsum"}

_SCHEDULER_FLAGS = (SVC_F_SCHED1, SVC_F_SCHED2, SVC_F_SCHED3)
_PLAIN_FLAG_NAMES = ("flag-1", "flag-2", "flag-3")
_SCHEDULER_FLAG_NAMES = {
    "sh": ("sh-fallback", "sh-port", "flag-3"),
    "mh": ("mh-fallback", "mh-port", "flag-3"),
}
"""The names of a scheduler's flags, in the order of their bits. All other schedulers use the plain names.

sh and mh define two flags. ipvsadm has no name for their third flag, and writes "-b" without a value for it.
"""
SCHEDULER_FLAGS = {
    name: flag
    for names in (_PLAIN_FLAG_NAMES, *_SCHEDULER_FLAG_NAMES.values())
    for name, flag in zip(names, _SCHEDULER_FLAGS, strict=True)
}
"""The bit of each scheduler flag, by every name that the flag has."""


def scheduler_flag_names(scheduler: str) -> tuple[str, ...]:
    """Return the names of a scheduler's three flags, in the order of their bits."""
    return _SCHEDULER_FLAG_NAMES.get(scheduler, _PLAIN_FLAG_NAMES)


def names_of_flags(scheduler: str, flags: int) -> list[str]:
    """Return the names of the scheduler flags that are set in `flags` (SVC_F_*)."""
    return [name for name in scheduler_flag_names(scheduler) if flags & SCHEDULER_FLAGS[name]]


def flags_of_names(names: Iterable[str]) -> int:
    """Return the SVC_F_* bits of scheduler flags. Raises `KeyError` when a name is unknown."""
    flags = 0
    for name in names:
        flags |= SCHEDULER_FLAGS[name]
    return flags


def plain_flag_names(flags: int) -> list[str]:
    """Return the names of a service's flags, without regard to their meaning for its scheduler.

    Unknown bits are written as one hexadecimal number.
    """
    names = ["ops"] if flags & SVC_F_ONEPACKET else []
    names += names_of_flags("", flags)
    rest = flags & ~(SVC_F_PERSISTENT | SVC_F_ONEPACKET | sum(_SCHEDULER_FLAGS))
    return [*names, hex(rest)] if rest else names
