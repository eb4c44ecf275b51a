"""Decides whose fault an errno is, by one table, so that our own trouble does not count against a server.

- `TARGET` counts as down.
- `LOCAL` is unsure and never removes a server.
- `AMBIGUOUS` (nobody answered ARP, or a router sent ICMP) is how a powered-off server looks, so it counts as down. The
  outcome's text says what was seen, because a fault of the network looks the same.

The moment at which an errno comes matters. If `connect` itself returns "unreachable", our own routing table said so
before any packet left. Whose fault that is depends on the other targets, which this file does not know. So the outcome
is unsure here, and `decide.blame` decides.
"""

import enum
import errno
import os

from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down, unsure


class Fault(enum.Enum):
    """Whose fault an errno is."""

    TARGET = enum.auto()
    LOCAL = enum.auto()
    AMBIGUOUS = enum.auto()


FIREWALL_ADVICE = "look for its rule in the OUTPUT chains (nft list ruleset, iptables -S OUTPUT)"

FAULTS: dict[int, tuple[Fault, Reason, str]] = {
    errno.ECONNREFUSED: (Fault.TARGET, Reason.REFUSED, "connection refused"),
    errno.ECONNRESET: (Fault.TARGET, Reason.RESET, "connection reset"),
    errno.ECONNABORTED: (Fault.TARGET, Reason.RESET, "connection aborted"),
    errno.EPIPE: (Fault.TARGET, Reason.RESET, "connection closed while we sent"),
    errno.ETIMEDOUT: (Fault.TARGET, Reason.TIMEOUT, "connection timed out"),
    errno.EPROTO: (Fault.TARGET, Reason.PROTOCOL_ERROR, "protocol error"),
    errno.ENOPROTOOPT: (Fault.TARGET, Reason.REFUSED, "protocol not available (ICMP)"),
    errno.EHOSTUNREACH: (Fault.AMBIGUOUS, Reason.UNREACHABLE, "host unreachable (no ARP answer or ICMP)"),
    errno.ENETUNREACH: (Fault.AMBIGUOUS, Reason.UNREACHABLE, "network unreachable (ICMP from a router)"),
    errno.EHOSTDOWN: (Fault.AMBIGUOUS, Reason.UNREACHABLE, "host down (no ARP answer)"),
    errno.EMFILE: (Fault.LOCAL, Reason.LOCAL_LIMIT, "our file descriptors are used up: raise LimitNOFILE"),
    errno.ENFILE: (Fault.LOCAL, Reason.LOCAL_LIMIT, "the system's file table is full: raise fs.file-max"),
    errno.ENOBUFS: (Fault.LOCAL, Reason.LOCAL_LIMIT, "no buffer space on the director, or its neighbour table is full"),
    errno.ENOMEM: (Fault.LOCAL, Reason.LOCAL_LIMIT, "no memory on the director"),
    errno.EAGAIN: (Fault.LOCAL, Reason.LOCAL_LIMIT, "no local port or route entry free"),
    errno.EADDRNOTAVAIL: (Fault.LOCAL, Reason.LOCAL_LIMIT, "no local port or address free for this target"),
    errno.EADDRINUSE: (Fault.LOCAL, Reason.LOCAL_LIMIT, "local address in use"),
    errno.ENETDOWN: (Fault.LOCAL, Reason.LOCAL_NETWORK, "our network interface is down"),
    errno.ENODEV: (Fault.LOCAL, Reason.LOCAL_NETWORK, "our network interface is gone"),
    errno.EACCES: (Fault.AMBIGUOUS, Reason.UNREACHABLE, "prohibited by a firewall (ICMP)"),
    errno.EPERM: (
        Fault.LOCAL,
        Reason.LOCAL_NETWORK,
        f"our own firewall or full connection tracking drops the packet: {FIREWALL_ADVICE}",
    ),
    errno.EINVAL: (Fault.LOCAL, Reason.LOCAL_NETWORK, "invalid argument: the kernel refuses this target"),
    errno.EAFNOSUPPORT: (Fault.LOCAL, Reason.LOCAL_NETWORK, "this kernel has no such address family"),
    errno.EPROTONOSUPPORT: (Fault.LOCAL, Reason.LOCAL_LIMIT, "this kernel has no such protocol: modprobe sctp"),
    errno.EMSGSIZE: (Fault.LOCAL, Reason.LOCAL_LIMIT, "datagram larger than the path allows"),
}

_NO_ROUTE = {
    errno.ENETUNREACH: "nothing in the routing table leads there",
    errno.EHOSTUNREACH: "a route or rule of type unreachable",
    errno.EACCES: "a route or rule of type prohibit",
    errno.EINVAL: "a route or rule of type blackhole",
}
"""What the routing table says with these errnos before any packet has left (fib_props in net/ipv4/fib_semantics.c)."""


def at_open(number: int) -> Outcome:
    """Judge an errno that came while the socket was made. No target can have caused it, so it is always unsure."""
    judged = from_network(number)
    if judged.kind is OutcomeKind.UNSURE:
        return judged
    return unsure(Reason.LOCAL_LIMIT, f"no socket: {os.strerror(number)}")


def at_connect(number: int, address: str) -> Outcome:
    """Judge an errno that `connect` or `send` returned at once, before any answer could have arrived.

    address: the target's address.
    """
    what = _NO_ROUTE.get(number)
    if what is not None:
        return unsure(Reason.NO_ROUTE, f"no route from here: {what} (see: ip route get {address})")
    return from_network(number)


def from_network(number: int, *, datagram: bool = False) -> Outcome:
    """Judge an errno that came from the network, through SO_ERROR or a failed read.

    An errno that is not in the table is unsure: what we do not understand must not remove a server.

    datagram: whether the probe is over UDP, where a refusal is an ICMP message.
    """
    if datagram and number == errno.ECONNREFUSED:
        return down(Reason.REFUSED, "port unreachable (ICMP)")
    fault, reason, text = FAULTS.get(
        number, (Fault.LOCAL, Reason.LOCAL_NETWORK, f"{os.strerror(number)} ({errno.errorcode.get(number, number)})")
    )
    return unsure(reason, text) if fault is Fault.LOCAL else down(reason, text)
