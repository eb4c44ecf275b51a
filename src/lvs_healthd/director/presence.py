"""Knows which addresses this host has, exactly as the kernel says now: on any interface, up or down, `lo` included.

`links` remembers addresses that an interface has lost because it is down, to know whom to blame. Here such a memory
would be wrong: whether the host has a virtual address says on which director of a pair its clients are.
"""

import asyncio
import errno
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from lvs_healthd.director import links
from lvs_healthd.runtime.exceptions import HostError
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.runtime.threads import in_thread

RETRY_S = 2.0
"""How long to wait before reading the addresses again after an error, seconds."""

DEADLINE_S = 2 * links.DEADLINE_S
"""How long one reading of all addresses may take, seconds."""

MOST_REPORTS = 64
"""How many buffers of reports are taken in one go. What they say together counts, so that an address that is taken away
and given back at once has not been missing."""

_NEWADDR, _DELADDR, _GETADDR, _DELLINK = 20, 21, 22, 17
_HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr (linux/netlink.h)."""
_ADDRESS = struct.Struct("=BBBBI")
"""struct ifaddrmsg (linux/if_addr.h): family, length of the prefix, flags, scope, index of the interface."""
_LINK = struct.Struct("=BBHiII")
"""struct ifinfomsg (linux/rtnetlink.h): family, padding, type, index of the interface, flags, mask of changes."""
_ATTRIBUTE = struct.Struct("=HH")
"""struct rtattr: its length and its type."""
_FLAGS = struct.Struct("=I")
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_DADFAILED, _TENTATIVE, _OPTIMISTIC = 0x08, 0x40, 0x04
"""Flags of an IPv6 address. One that is tentative, or that another host has, takes no packets (RFC 4862, 5.4)."""


class _Holder(NamedTuple):
    """Where an address is. The same one may be there with several prefixes."""

    interface: int
    length: int
    network: bytes
    """The peer's address on a point-to-point link, otherwise the address itself."""


class Addresses:
    """The addresses of a host, from the kernel's messages."""

    def __init__(self) -> None:
        self._holders: dict[str, set[_Holder]] = {}

    def __contains__(self, address: object) -> bool:
        return address in self._holders

    def take_dump(self, answers: Iterable[bytes]) -> None:
        """Take all parts of a dump. Whatever is not in it is forgotten."""
        self._holders.clear()
        for data in answers:
            self.take(data)

    def take(self, data: bytes) -> None:
        """Take netlink messages: reports, or a part of a dump."""
        for kind, body in _messages(data):
            if kind in {_NEWADDR, _DELADDR}:
                self._take_address(body, is_there=kind == _NEWADDR)
            elif kind == _DELLINK and len(body) >= _LINK.size:
                family, _, _, index, *_ = _LINK.unpack_from(body)
                if family == socket.AF_UNSPEC:  # a bridge says the same of a port that has left it, which still exists
                    self._forget(index)

    def _take_address(self, body: bytes, *, is_there: bool) -> None:
        if len(body) < _ADDRESS.size:
            return
        family, length, flags, _, index = _ADDRESS.unpack_from(body)
        if family not in {socket.AF_INET, socket.AF_INET6}:
            return
        found = dict(_attributes(body[_ADDRESS.size :]))
        network = found.get(_IFA_ADDRESS, b"")
        own = found.get(_IFA_LOCAL, network)
        if len(own) != (4 if family == socket.AF_INET else 16):
            return
        if len(wide := found.get(_IFA_FLAGS, b"")) == _FLAGS.size:
            (flags,) = _FLAGS.unpack(wide)
        holder, address = _Holder(index, length, network), socket.inet_ntop(family, own)
        if is_there and not _is_unusable(family, flags):
            self._holders.setdefault(address, set()).add(holder)
        elif (holders := self._holders.get(address)) is not None:
            holders.discard(holder)
            if not holders:
                del self._holders[address]

    def _forget(self, interface: int) -> None:
        for address, holders in list(self._holders.items()):
            holders -= {each for each in holders if each.interface == interface}
            if not holders:
                del self._holders[address]


def _is_unusable(family: int, flags: int) -> bool:
    if family != socket.AF_INET6:  # these flags mean something else for IPv4
        return False
    return bool(flags & _DADFAILED or (flags & _TENTATIVE and not flags & _OPTIMISTIC))


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the body of each netlink message."""
    position = 0
    while position + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, position)
        if length < _HEADER.size:
            return
        yield kind, data[position + _HEADER.size : position + length]
        position += length + 3 & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the value of each attribute."""
    position = 0
    while position + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, position)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[position + _ATTRIBUTE.size : position + length]
        position += length + 3 & ~3


class Presence:
    """Follows the addresses of one network namespace.

    netns: the namespace, which is that of the IPVS table.
    changed: called when the addresses may have changed, or are not known any more, or are known again.
    """

    def __init__(self, netns: Netns, changed: Callable[[], None]) -> None:
        self._netns = netns
        self._changed = changed
        self._addresses = Addresses()
        self._reports: socket.socket | None = None
        self._wanted = asyncio.Event()
        self.error = ""
        """Why the addresses are not known; empty while they are, and while nobody wants them."""

    @property
    def addresses(self) -> Addresses | None:
        """The addresses; None while they are not known."""
        return self._addresses if self._reports is not None else None

    async def want(self) -> None:
        """Read the addresses, and follow them from now on. If that fails, `error` says why, and `run` tries again."""
        if self._reports is None:
            await self._read()
        self._wanted.set()

    async def run(self) -> None:
        """Follow the addresses until cancelled, once somebody wants them."""
        try:
            await self._wanted.wait()
            while True:
                if self._reports is None:
                    await asyncio.sleep(RETRY_S)
                    await self._read()
                    self._changed()
                else:
                    await self._follow(self._reports)
        finally:
            self._close()

    async def _read(self) -> None:
        """Open the socket for reports, and read all addresses."""
        try:
            reports, answers = await in_thread(
                self._opened, timeout_s=DEADLINE_S, what="listing the addresses of this host"
            )
        except (OSError, HostError) as error:
            self.error = str(error)
            return
        self._close()
        self._reports, self.error = reports, ""
        self._addresses.take_dump(answers)

    def _opened(self) -> tuple[socket.socket, list[bytes]]:
        """Return a socket that receives reports, and all addresses as they were after it was opened."""
        with self._netns.entered():
            reports = links.listener()
            try:
                with links.asking() as opened:
                    return reports, links.dumped(opened, _GETADDR, bytes(_ADDRESS.size))
            except BaseException:
                reports.close()
                raise

    async def _follow(self, reports: socket.socket) -> None:
        """Take what the kernel reports, once. If reports were lost, read everything again at once."""
        try:
            self._addresses.take(await asyncio.get_running_loop().sock_recv(reports, links.RECEIVE_BYTES))
            for _ in range(MOST_REPORTS):
                self._addresses.take(reports.recv(links.RECEIVE_BYTES))
        except BlockingIOError:
            pass
        except OSError as error:
            self._close()
            if error.errno != errno.ENOBUFS:
                self.error = str(error)
            else:
                await self._read()
        self._changed()
        # `sock_recv` returns reports that are already there at once. Without this line, a flood of them would keep the
        # event loop from everything else.
        await asyncio.sleep(0)

    def _close(self) -> None:
        if self._reports is not None:
            self._reports.close()
            self._reports = None
