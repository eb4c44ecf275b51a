"""Finds out whether our own firewall refuses a connection, because such a refusal is no fault of the server.

A REJECT rule in the OUTPUT chain makes the kernel send an ICMP error to itself. The connection then fails with the same
errno as if the server or a router had sent the error. Only the error queue says who did (IP_RECVERR in ip(7),
IPV6_RECVERR in ipv6(7)). Probe sockets do without that queue, because it would make every ICMP error during a
conversation fatal. So a second connection is opened with the queue, to see what happens to its first packet. If a rule
refuses that packet, the error is in the queue before connect(2) returns.

- If a host does not answer ARP, the kernel reports an error to itself too. But that takes seconds, so it is not seen.
- A rule with `reject with tcp reset` sends what the server would send. Nothing distinguishes the two.
- A rule that drops packets sends nothing, so a TCP socket does not notice it.
"""

import errno
import socket
import struct

from lvs_healthd.probes.exchange import Target
from lvs_healthd.probes.outcome import Outcome, Reason, unsure
from lvs_healthd.probing.errnos import FIREWALL_ADVICE

CAUSED_BY_ICMP = frozenset(
    {
        *(errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENOPROTOOPT),
        *(errno.EACCES, errno.EPROTO, errno.EOPNOTSUPP),
    }
)
"""The errnos that ICMP errors become (icmp_err_convert in net/ipv4/icmp.c, tab_unreach in net/ipv6/icmp.c)."""

RECEIVE_ERRORS = ((socket.IPPROTO_IP, 11), (socket.IPPROTO_IPV6, 25))
"""The options IP_RECVERR (index False) and IPV6_RECVERR (index True, for IPv6); see linux/in.h and linux/in6.h."""

_ERROR = struct.Struct("=IBBBBII")
"""struct sock_extended_err (linux/errqueue.h). The offender's address, a struct sockaddr, follows it."""

_FROM_ICMP = (2, 3)
"""SO_EE_ORIGIN_ICMP and SO_EE_ORIGIN_ICMP6 (linux/errqueue.h)."""

_ADDRESS_AT = {socket.AF_INET: (4, 8), socket.AF_INET6: (8, 24)}
"""Where the address begins and ends in struct sockaddr_in and sockaddr_in6, bytes."""

_MOST_ERRORS = 4
"""How many queued errors are read at most."""


def own_refusal(target: Target) -> Outcome | None:
    """Return an unsure outcome if our own firewall refuses connections to this target; otherwise None.

    Returns None too if that cannot be found out. Does not block.
    """
    try:
        with socket.socket(target.family, target.kind | socket.SOCK_NONBLOCK, target.protocol) as second:
            second.setsockopt(*RECEIVE_ERRORS[target.family is socket.AF_INET6], 1)
            second.connect_ex(target.address)
            ours = second.getsockname()[0]
            if ours == target.address[0] or ours not in _offenders(second):
                return None
    except OSError:
        return None
    return unsure(
        Reason.LOCAL_NETWORK, f"our own firewall refuses the connection (ICMP from {ours}): {FIREWALL_ADVICE}"
    )


def _offenders(opened: socket.socket) -> set[str]:
    """Return the addresses that sent the ICMP errors in a socket's queue."""
    found: set[str] = set()
    for _ in range(_MOST_ERRORS):
        try:
            _, ancillary, _, _ = opened.recvmsg(0, 512, socket.MSG_ERRQUEUE)
        except BlockingIOError:
            break
        found.update(filter(None, (_offender(data) for _, _, data in ancillary)))
    return found


def _offender(error: bytes) -> str:
    """Return the address that sent a queued error; "" if the error did not come by ICMP."""
    if len(error) < _ERROR.size + 2 or _ERROR.unpack_from(error)[1] not in _FROM_ICMP:
        return ""
    address = error[_ERROR.size :]
    (family,) = struct.unpack_from("=H", address)
    start, end = _ADDRESS_AT.get(family, (0, 0))
    return socket.inet_ntop(family, address[start:end]) if 0 < end <= len(address) else ""
