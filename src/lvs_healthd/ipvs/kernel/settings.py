"""Reads and writes the kernel's IPVS settings outside the table: connection timeouts and sync daemons.

Wire format: include/uapi/linux/ip_vs.h, IPVS_CMD_ATTR_* and IPVS_DAEMON_ATTR_*; net/netfilter/ipvs/ip_vs_ctl.c.
"""

import contextlib
import enum
import socket
import struct
from collections.abc import AsyncIterator

import msgspec

from lvs_healthd.ipvs.interface import TableUnavailableError
from lvs_healthd.ipvs.kernel.channel import DEADLINE_S, Channel
from lvs_healthd.ipvs.kernel.genetlink import GENL_HEADER_BYTES, GarbledMessageError, attribute, attributes
from lvs_healthd.ipvs.kernel.requests import Requests
from lvs_healthd.ipvs.refusals import NO_MODULE
from lvs_healthd.runtime.netns import Netns

_CMD_NEW_DAEMON = 9
_CMD_DEL_DAEMON = 10
_CMD_GET_DAEMON = 11
_CMD_SET_CONFIG = 12
_CMD_GET_CONFIG = 13

_DAEMON = 3
_TIMEOUT_TCP = 4
_TIMEOUT_TCP_FIN = 5
_TIMEOUT_UDP = 6

_DAEMON_STATE = 1
_DAEMON_INTERFACE = 2
_DAEMON_SYNC_ID = 3
_DAEMON_MAXLEN = 4
_DAEMON_GROUP = 5
_DAEMON_GROUP6 = 6
_DAEMON_PORT = 7
_DAEMON_TTL = 8

_U8 = struct.Struct("=B")
_U16 = struct.Struct("=H")
_U32 = struct.Struct("=I")


class Role(enum.IntEnum):
    """Whether a sync daemon sends connections (master) or receives them (backup): the kernel's IP_VS_STATE_*."""

    MASTER = 1
    BACKUP = 2


class TimeoutRecord(msgspec.Struct, frozen=True):
    """Connection timeouts in seconds. In a write, 0 leaves the kernel's value unchanged."""

    tcp: int
    tcp_fin: int
    udp: int


class SyncRecord(msgspec.Struct, frozen=True):
    """A sync daemon, with the fields the kernel lists."""

    role: Role
    interface: str
    syncid: int
    group: str
    port: int
    ttl: int
    maxlen: int
    """Longest message, bytes. In a write, 0 lets the kernel choose."""


class SettingsClient:
    """Reads and writes the timeouts and sync daemons of one network namespace.

    Calls raise `TableUnavailableError`, and its subclass `requests.KernelError` when the kernel refuses. Every request
    may have to wait in the kernel for the IPVS mutex, which a write of ours may hold.

    deadline_s: longest duration of one request, seconds.
    """

    def __init__(self, netns: Netns, *, deadline_s: float = DEADLINE_S) -> None:
        self._requests = Requests(Channel(deadline_s, netns))

    async def timeouts(self) -> TimeoutRecord:
        """Read the timeouts."""
        async with self._asking():
            payload = await self._requests.ask(_CMD_GET_CONFIG, b"")
        found = attributes(payload, GENL_HEADER_BYTES, len(payload))
        try:
            return TimeoutRecord(
                *(_u32(payload, found, kind) for kind in (_TIMEOUT_TCP, _TIMEOUT_TCP_FIN, _TIMEOUT_UDP))
            )
        except GarbledMessageError as error:  # a kernel built without IPVS for tcp or udp leaves these out
            raise TableUnavailableError(f"the kernel does not report its timeouts: {error}") from error

    async def set_timeouts(self, wanted: TimeoutRecord) -> None:
        """Write the timeouts that are not 0."""
        body = b"".join(
            attribute(kind, _U32.pack(value))
            for kind, value in (
                (_TIMEOUT_TCP, wanted.tcp),
                (_TIMEOUT_TCP_FIN, wanted.tcp_fin),
                (_TIMEOUT_UDP, wanted.udp),
            )
        )
        await self._write(_CMD_SET_CONFIG, body)

    async def sync_daemons(self) -> dict[Role, SyncRecord]:
        """Return the running sync daemons."""
        async with self._asking():
            records = await self._requests.dump(_CMD_GET_DAEMON, b"", decode_sync)
        return {record.role: record for record in records}

    async def start_sync(self, record: SyncRecord) -> None:
        """Start a sync daemon. The kernel starts its thread and opens its sockets before this returns."""
        await self._write(_CMD_NEW_DAEMON, encode_sync(record))

    async def stop_sync(self, role: Role) -> None:
        """Stop a sync daemon."""
        await self._write(_CMD_DEL_DAEMON, attribute(_DAEMON, attribute(_DAEMON_STATE, _U32.pack(role))))

    async def _write(self, command: int, body: bytes) -> None:
        async with self._asking():
            await self._requests.ask(command, body)

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        """Find the family before the request, and close the socket after it, because these requests are rare."""
        async with self._requests.lock:
            try:
                if not await self._requests.find_family():
                    raise TableUnavailableError(NO_MODULE)
                yield
            finally:
                self._requests.channel.close()


def encode_sync(record: SyncRecord) -> bytes:
    """Encode the attributes that start a sync daemon."""
    is_ipv6 = ":" in record.group
    group = socket.inet_pton(socket.AF_INET6 if is_ipv6 else socket.AF_INET, record.group)
    body = (
        attribute(_DAEMON_STATE, _U32.pack(record.role))
        + attribute(_DAEMON_INTERFACE, record.interface.encode() + b"\0")
        + attribute(_DAEMON_SYNC_ID, _U32.pack(record.syncid))
        + attribute(_DAEMON_GROUP6 if is_ipv6 else _DAEMON_GROUP, group)
        + attribute(_DAEMON_PORT, _U16.pack(record.port))
        + attribute(_DAEMON_TTL, _U8.pack(record.ttl))
    )
    if record.maxlen:
        body += attribute(_DAEMON_MAXLEN, _U16.pack(record.maxlen))
    return attribute(_DAEMON, body)


def decode_sync(payload: bytes) -> SyncRecord:
    """Decode one message of a listing. Raises `GarbledMessageError`."""
    start, end = attributes(payload, GENL_HEADER_BYTES, len(payload)).get(_DAEMON, (0, 0))
    found = attributes(payload, start, end)
    try:
        name_start, name_end = found[_DAEMON_INTERFACE]
        return SyncRecord(
            role=Role(_u32(payload, found, _DAEMON_STATE)),
            interface=payload[name_start:name_end].partition(b"\0")[0].decode(),
            syncid=_u32(payload, found, _DAEMON_SYNC_ID),
            group=_group(payload, found),
            port=_number(_U16, payload, found, _DAEMON_PORT),
            ttl=_number(_U8, payload, found, _DAEMON_TTL),
            maxlen=_number(_U16, payload, found, _DAEMON_MAXLEN),
        )
    except (KeyError, ValueError, OSError) as error:
        raise GarbledMessageError(f"IPVS sync daemon: {error}") from error


def _group(payload: bytes, found: dict[int, tuple[int, int]]) -> str:
    if _DAEMON_GROUP6 in found:
        start, end = found[_DAEMON_GROUP6]
        return socket.inet_ntop(socket.AF_INET6, payload[start:end])
    start, end = found[_DAEMON_GROUP]
    return socket.inet_ntop(socket.AF_INET, payload[start:end])


def _u32(payload: bytes, found: dict[int, tuple[int, int]], kind: int) -> int:
    return _number(_U32, payload, found, kind)


def _number(form: struct.Struct, payload: bytes, found: dict[int, tuple[int, int]], kind: int) -> int:
    start, end = found.get(kind, (0, 0))
    if end - start < form.size:
        raise GarbledMessageError(f"IPVS attribute {kind} of {end - start} bytes, expected {form.size}")
    return int(form.unpack_from(payload, start)[0])
