"""Opens, watches and reuses the engine's sockets.

connect(2) with AF_UNSPEC makes a socket as good as new: it resets the TCP connection and releases the local port.
Opening, setting up, watching and closing a socket for each probe would take up to five more system calls, a quarter of
what a tcp probe costs.
"""

import _socket
import ctypes
import errno
import select
import socket
import struct

from lvs_healthd.probes.exchange import Target
from lvs_healthd.probes.outcome import Outcome, Reason, unsure
from lvs_healthd.probing.apart import BEGUN, DATAGRAM_EDGES, STREAM_EDGES, connect_apart, prepare
from lvs_healthd.probing.errnos import at_connect, at_open

MOST_SPARE = 64
"""How many sockets of one address family and protocol are kept for the next probes. About as many start at once."""


# socket.socket is a Python class around this one. Its constructor and `close` would cost 3 µs a probe.
Socket = _socket.socket

_TYPES = {
    kind: int(kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
}
_FIN_ON_CLOSE = struct.pack("ii", 0, 0)

# Python's own `connect` cannot pass an address of family AF_UNSPEC. Its types are not declared, because ctypes converts
# two small ints and bytes to what connect(2) takes by itself, in half the time that declared types need.
_connect = ctypes.CDLL(None).connect
_NOWHERE = struct.pack("H14x", socket.AF_UNSPEC)
_NOWHERE_BYTES = len(_NOWHERE)


class Sockets:
    """Sockets that `epoll` watches, edge-triggered, each registered once.

    Spare sockets are still watched, so the caller must ignore events of descriptors that are not in use.
    """

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        # IPv4 at index 0, IPv6 at 1. A dict by family would be slower: hashing an enum member is a call in Python.
        self._streams: tuple[list[Socket], list[Socket]] = ([], [])
        self._datagrams: tuple[list[Socket], list[Socket]] = ([], [])
        self._polls: dict[int, select.poll] = {}
        """What polls a spare datagram socket, by its descriptor. It does so for whatever socket has the descriptor."""

    def connect(self, target: Target) -> Socket | Outcome:
        """Return a socket that has begun to connect. If there can be none, return the probe's outcome instead."""
        if target.apart:
            return connect_apart(target, self._epoll)
        is_stream = target.kind is socket.SOCK_STREAM
        spare = self._spare(target)
        opened = spare.pop() if spare else None
        if opened is not None and not is_stream and not self._is_empty(opened.fileno()):
            opened.close()
            opened = None
        is_new = opened is None
        try:
            if opened is None:
                opened = self._open(target)
            if is_stream:
                # Send the handshake's last packet together with our first bytes. That saves a packet, and a check that
                # only connects is over before the server's application is woken (HAProxy does the same).
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        except OSError as error:
            if opened is not None:
                opened.close()
            return at_open(error.errno or errno.EIO)
        number = opened.connect_ex(target.address)
        if number not in BEGUN:
            opened.close()
            return at_connect(number, target.address[0])
        if is_new:
            try:
                self._epoll.register(opened.fileno(), STREAM_EDGES if is_stream else DATAGRAM_EDGES)
            except OSError as error:  # ENOSPC (fs.epoll.max_user_watches) or ENOMEM
                opened.close()
                return unsure(Reason.LOCAL_LIMIT, f"no place in epoll: {error.strerror}")
        return opened

    def connect_anew(self, opened: Socket, target: Target) -> bool:
        """End the connection to a target that was kept, and begin another. Return False if none has begun."""
        if target.apart:
            return False
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0)
        if _connect(opened.fileno(), _NOWHERE, _NOWHERE_BYTES) != 0:
            return False
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)  # see `connect`
        return opened.connect_ex(target.address) in BEGUN

    def reset(self, opened: Socket, target: Target) -> None:
        """End a connection at once, whatever is under way on it. The peer receives a reset."""
        if target.apart:
            opened.close()
            return
        if target.keeping is not None:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0)
        spare = self._spare(target)
        if len(spare) < MOST_SPARE and _connect(opened.fileno(), _NOWHERE, _NOWHERE_BYTES) == 0:
            spare.append(opened)
        else:
            opened.close()

    @staticmethod
    def speak_last(opened: Socket) -> None:
        """Send the handshake's last packet now. A peer that speaks first needs it before its application can speak."""
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    @staticmethod
    def finish(opened: Socket) -> None:
        """End a connection normally: what was sent arrives, and the peer sees the connection end."""
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _FIN_ON_CLOSE)
        opened.close()

    def close(self) -> None:
        """Close the spare sockets."""
        for spare in (*self._streams, *self._datagrams):
            while spare:
                spare.pop().close()

    def _spare(self, target: Target) -> list[Socket]:
        kept = self._streams if target.kind is socket.SOCK_STREAM else self._datagrams
        return kept[target.family is socket.AF_INET6]

    def _is_empty(self, descriptor: int) -> bool:
        """Return whether a spare datagram socket holds no late or second answer, and no error, of an earlier probe.

        A poll costs a third of the exception of a read that finds nothing.
        """
        poll = self._polls.get(descriptor)
        if poll is None:
            self._polls[descriptor] = poll = select.poll()
            poll.register(descriptor, select.POLLIN)  # and, as always, POLLERR
        return not poll.poll(0)

    @staticmethod
    def _open(target: Target) -> Socket:
        opened = Socket(target.family, _TYPES[target.kind])
        prepare(opened, target)
        return opened
