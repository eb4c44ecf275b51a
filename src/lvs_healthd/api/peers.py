"""Finds out who is at the other end of the control socket, and whether they may change anything."""

import asyncio
import os
import socket
import struct
from typing import NamedTuple

_CREDENTIALS = struct.Struct("iII")
"""struct ucred: pid, uid, gid (unix(7))."""

_SO_PEERGROUPS = 59
"""asm-generic/socket.h; Python does not name it."""

_MOST_GROUPS = 256
"""How many groups Python's getsockopt has room for. For a user in more groups, only the primary group is known."""


class Peer(NamedTuple):
    """The process at the other end of a Unix socket, as it was when it connected."""

    pid: int
    uid: int
    groups: frozenset[int]


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """Return who is at the other end. Raises `OSError` for anything but a Unix socket."""
    opened = transport.get_extra_info("socket")
    pid, uid, gid = _CREDENTIALS.unpack(opened.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    try:
        packed = opened.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _MOST_GROUPS)
    except OSError:
        packed = b""
    return Peer(pid, uid, frozenset({gid, *struct.unpack(f"{len(packed) // 4}I", packed)}))


def may_change(peer: Peer, control: str) -> bool:
    """Return whether a peer may change anything: it is root, the daemon's own user or in the control socket's group.

    The mode of the socket's file already keeps others out, but somebody may have made it more permissive.

    control: the path of the socket.
    """
    return peer.uid in (0, os.geteuid()) or _group(control) in peer.groups


def _group(control: str) -> int:
    try:
        return os.stat(control).st_gid  # noqa: PTH116  # a plain string will do
    except OSError:
        return os.getegid()
