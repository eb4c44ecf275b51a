"""Prepares the engine's sockets, and opens those that serve one probe only (see `Target.apart`)."""

import _socket
import errno
import os
import select
import socket
import struct

from lvs_healthd.config.check_ways import PathWay, Way
from lvs_healthd.probes.exchange import Target
from lvs_healthd.probes.outcome import Outcome, Reason, unsure
from lvs_healthd.probing.any_port import AnyPort
from lvs_healthd.probing.errnos import at_connect, at_open
from lvs_healthd.probing.firewall import RECEIVE_ERRORS

NO_HELPER = "the process that runs programs is not there"
NO_PING = "not permitted to send pings: the daemon needs CAP_NET_RAW (docs/systemd.md)"

STREAM_EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
DATAGRAM_EDGES = select.EPOLLIN | select.EPOLLET
"""EPOLLOUT is left out: a datagram socket is writable at once, and reporting that would cost each probe an event."""

BEGUN = frozenset((0, errno.EINPROGRESS))
"""What `connect_ex` returns when a connection has begun."""

# Closing with a reset leaves no TIME_WAIT on the director. Otherwise the director would run out of local ports at a few
# hundred probes a second to one port of one address. HAProxy's checks do the same. `partings` ends connections that the
# server's application knows of.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

_IP_BIND_ADDRESS_NO_PORT = 24
_IPV6_TCLASS = 67
"""Options of linux/in.h and linux/in6.h."""
_DSCP_SHIFT = 2
"""The DSCP is the upper six bits of the byte; the lower two are for congestion (RFC 3168)."""


def prepare(opened: _socket.socket, target: Target) -> None:
    """Set the options that every socket to this target has. Raises `OSError`."""
    if target.family is socket.AF_UNIX:
        return
    if target.kind is socket.SOCK_STREAM:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    else:
        # Without this, a datagram socket learns of closed ports, but never of unreachable hosts and networks.
        opened.setsockopt(*RECEIVE_ERRORS[target.family is socket.AF_INET6], 1)


def connect_apart(target: Target, epoll: select.epoll) -> _socket.socket | Outcome:
    """Return a new socket that has begun to connect and that `epoll` watches, or else the probe's outcome."""
    try:
        kind = AnyPort if target.any_port else _socket.socket
        opened = kind(target.family, target.kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, target.protocol)
    except OSError as error:
        if error.errno == errno.EPERM:
            return unsure(Reason.LOCAL_LIMIT, NO_PING)
        return at_open(error.errno or errno.EIO)
    refused = _refused(opened, target) if target.way is None else _sent_off(opened, target, target.way)
    if refused is not None:
        opened.close()
        return refused
    number = opened.connect_ex(target.address)
    if number not in BEGUN:
        opened.close()
        if target.family is socket.AF_UNIX:
            return unsure(Reason.LOCAL_LIMIT, f"{NO_HELPER}: {target.address}: {os.strerror(number)}")
        return at_connect(number, target.address[0])
    try:
        epoll.register(opened.fileno(), STREAM_EDGES if target.kind is socket.SOCK_STREAM else DATAGRAM_EDGES)
    except OSError as error:
        opened.close()
        return at_open(error.errno or errno.EIO)
    return opened


def _refused(opened: _socket.socket, target: Target) -> Outcome | None:
    """Prepare a socket. Return the outcome if the kernel refuses."""
    try:
        prepare(opened, target)
    except OSError as error:
        return at_open(error.errno or errno.EIO)
    return None


def _sent_off(opened: _socket.socket, target: Target, way: Way) -> Outcome | None:
    """Prepare a socket, and set where it leaves. Return the outcome if the kernel refuses."""
    is_ipv6 = target.family is socket.AF_INET6
    doing = "prepare a socket"
    try:
        prepare(opened, target)
        if target.kind is socket.SOCK_STREAM and not target.protocol:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)  # see `Sockets.connect`
        if way.interface:
            doing = f"probe by interface {way.interface}"
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, way.interface.encode())
        if way.mark is not None:
            doing = f"set mark {way.mark} without CAP_NET_ADMIN or CAP_NET_RAW"
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, struct.pack("=I", way.mark))
        if way.dscp is not None:
            doing = f"set DSCP {way.dscp}"
            option = (socket.IPPROTO_IPV6, _IPV6_TCLASS) if is_ipv6 else (socket.IPPROTO_IP, socket.IP_TOS)
            opened.setsockopt(*option, way.dscp << _DSCP_SHIFT)
        if isinstance(way, PathWay) and way.source_port:
            doing = f"probe from port {way.source_port} of {way.source}, which another program may have"
            # Several services may be probed from the port at once. Each socket gets only what its own service answers.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind((way.source, way.source_port))
        elif way.source:
            doing = f"probe from source {way.source}"
            # The kernel then chooses a port at `connect`, and can use one port for many targets.
            opened.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            opened.bind((way.source, 0))
    except OSError as error:
        return unsure(Reason.LOCAL_NETWORK, f"cannot {doing}: {error.strerror}")
    return None
