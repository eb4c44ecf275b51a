"""Which addresses this host has, as the kernel's messages tell it. pyroute2 makes the messages."""

import asyncio
import errno
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from lvs_healthd.director import links, presence
from lvs_healthd.director.presence import Addresses, Presence
from lvs_healthd.runtime.netns import Netns

NEWLINK, DELLINK, NEWADDR, DELADDR = 16, 17, 20, 21
VIP, VIP6 = "192.0.2.100", "2001:db8::100"
LO, ETH0, DUMMY = 1, 2, 3
TENTATIVE, DADFAILED, OPTIMISTIC, PERMANENT = 0x40, 0x08, 0x04, 0x80


def _encoded(message: Any, kind: int) -> bytes:
    message["header"] = {"type": kind, "flags": 0, "sequence_number": 0}
    message.encode()
    return bytes(message.data)


def address(
    text: str, index: int = ETH0, *, kind: int = NEWADDR, length: int = 32, peer: str = "", flags: int = PERMANENT
) -> bytes:
    message = ifaddrmsg()
    message["family"] = socket.AF_INET6 if ":" in text else socket.AF_INET
    message["index"], message["prefixlen"], message["flags"] = index, length, flags & 0xFF
    message["attrs"] = [("IFA_ADDRESS", peer or text), ("IFA_LOCAL", text), ("IFA_FLAGS", flags)]
    if ":" in text and not peer:
        del message["attrs"][1]  # the kernel leaves it out
    return _encoded(message, kind)


def link(index: int, kind: int, *, family: int = 0, flags: int = 1) -> bytes:
    message = ifinfmsg()
    message["family"], message["index"], message["flags"] = family, index, flags
    message["attrs"] = [("IFLA_IFNAME", f"if{index}")]
    return _encoded(message, kind)


def seen(*messages: bytes) -> Addresses:
    addresses = Addresses()
    for message in messages:
        addresses.take(message)
    return addresses


@pytest.mark.parametrize("index", [LO, ETH0, DUMMY])
def test_address_counts_on_any_interface_until_it_is_taken_away(index: int) -> None:
    for text in (VIP, VIP6):
        addresses = seen(address(text, index))
        assert text in addresses
        addresses.take(address(text, index, kind=DELADDR))
        assert text not in addresses


def test_address_counts_whatever_its_interface_does() -> None:
    addresses = seen(link(ETH0, NEWLINK, flags=0), address(VIP), link(ETH0, NEWLINK, flags=0))
    assert VIP in addresses, "the kernel has not taken it away"


def test_same_address_twice_must_be_taken_away_twice() -> None:
    addresses = seen(address(VIP, LO), address(VIP, ETH0, length=24), address(VIP, ETH0, length=32))
    for gone in (address(VIP, LO, kind=DELADDR), address(VIP, ETH0, length=24, kind=DELADDR)):
        addresses.take(gone)
        assert VIP in addresses
    addresses.take(address(VIP, ETH0, kind=DELADDR))
    assert VIP not in addresses


def test_own_end_of_a_point_to_point_link_counts_and_not_the_other() -> None:
    addresses = seen(address(VIP, peer="198.51.100.9"))
    assert VIP in addresses
    assert "198.51.100.9" not in addresses


@pytest.mark.parametrize(
    ("flags", "counts"),
    [
        (TENTATIVE, False),
        (TENTATIVE | OPTIMISTIC, True),
        (DADFAILED | PERMANENT, False),
        (TENTATIVE | DADFAILED, False),
        (PERMANENT, True),
    ],
)
def test_ipv6_address_counts_once_nobody_else_has_it(flags: int, counts: bool) -> None:
    addresses = seen(address(VIP6, length=128, flags=flags))
    assert (VIP6 in addresses) is counts
    addresses.take(address(VIP6, length=128))
    assert VIP6 in addresses
    addresses.take(address(VIP6, length=128, flags=DADFAILED))
    assert VIP6 not in addresses


def test_flags_mean_something_else_for_ipv4() -> None:
    assert VIP in seen(address(VIP, flags=TENTATIVE | DADFAILED))


def test_deleted_interface_takes_its_addresses_along() -> None:
    addresses = seen(address(VIP, DUMMY), address(VIP6, LO, length=128), link(DUMMY, DELLINK))
    assert VIP not in addresses
    assert VIP6 in addresses


def test_port_that_leaves_a_bridge_still_exists() -> None:
    assert VIP in seen(address(VIP), link(ETH0, DELLINK, family=socket.AF_BRIDGE))


def test_dump_clears_what_is_not_in_it() -> None:
    addresses = seen(address(VIP))
    addresses.take_dump([address(VIP6, length=128), address("192.0.2.7")])
    assert [text in addresses for text in (VIP, VIP6, "192.0.2.7")] == [False, True, True]


@pytest.mark.parametrize("cut", range(1, 60, 3))
def test_broken_messages_are_no_error(cut: int) -> None:
    seen(address(VIP)[:cut], address(VIP6, length=128)[:cut], b"\0" * cut, b"\xff" * cut)


def test_this_machine_has_the_address_of_its_loopback() -> None:
    async def read() -> bool:
        follower = Presence(Netns(), lambda: None)
        await follower.want()
        assert follower.error == ""
        found = follower.addresses
        follower._close()
        return found is not None and "127.0.0.1" in found and VIP not in found

    assert asyncio.run(read())


async def following(follower: Presence, is_done: Callable[[], bool]) -> None:
    running = asyncio.create_task(follower.run())
    try:
        async with asyncio.timeout(10):
            while not is_done():
                await asyncio.sleep(0.005)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class Kernel:
    """Reports that the test sends, and dumps that it prepares."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dumps: list[list[bytes] | OSError] = []
        self.opened: list[socket.socket] = []
        monkeypatch.setattr(links, "listener", self._listener)
        monkeypatch.setattr(links, "dumped", self._dumped)
        monkeypatch.setattr(presence, "RETRY_S", 0.01)

    def _listener(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.setblocking(False)
        self.opened.append(ours)
        return theirs

    def _dumped(self, *_: object) -> list[bytes]:
        found = self.dumps.pop(0)
        if isinstance(found, OSError):
            raise found
        return found

    def close(self) -> None:
        for each in self.opened:
            each.close()


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Kernel(monkeypatch)
    yield made
    made.close()


async def test_addresses_are_unknown_while_they_cannot_be_read_and_known_again_later(kernel: Kernel) -> None:
    kernel.dumps = [OSError(errno.ENOMEM, "no memory"), OSError(errno.ENOMEM, "no memory"), [address(VIP)]]
    told: list[str] = []
    follower = Presence(Netns(), lambda: told.append(follower.error))
    await follower.want()
    assert (follower.addresses, follower.error) == (None, "[Errno 12] no memory")
    await following(follower, lambda: follower.error == "")
    assert told == ["[Errno 12] no memory", ""]


async def test_lost_reports_are_made_up_for_by_reading_all_again(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.dumps = [[address(VIP)], [address(VIP6, length=128)]]
    found: list[list[bool]] = []

    def look() -> None:
        addresses = follower.addresses
        assert addresses is not None, "they were never unknown"
        found.append([VIP in addresses, VIP6 in addresses])

    follower = Presence(Netns(), look)
    await follower.want()
    real = asyncio.get_running_loop().sock_recv
    lost = iter([True])

    async def sock_recv(reports: socket.socket, size: int) -> bytes:
        if next(lost, False):
            raise OSError(errno.ENOBUFS, "No buffer space available")
        return await real(reports, size)

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_recv", sock_recv)
    await following(follower, lambda: bool(found))
    assert found == [[False, True]]
    assert len(kernel.opened) == 2


async def test_reports_that_wait_together_count_together(kernel: Kernel) -> None:
    """An address that is taken away and given back at once has not been missing."""
    kernel.dumps = [[address(VIP)]]
    found: list[bool] = []

    def look() -> None:
        assert follower.addresses is not None
        found.append(VIP in follower.addresses)

    follower = Presence(Netns(), look)
    await follower.want()
    kernel.opened[0].send(address(VIP, kind=DELADDR))
    kernel.opened[0].send(address(VIP))
    await following(follower, lambda: bool(found))
    assert found == [True]


async def test_reading_that_hangs_is_given_up(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    hung = threading.Event()

    def dumped(*_: object) -> list[bytes]:
        hung.wait(10)
        raise OSError(errno.EINTR, "late")

    monkeypatch.setattr(links, "dumped", dumped)
    monkeypatch.setattr(presence, "DEADLINE_S", 0.05)
    follower = Presence(Netns(), lambda: None)
    await follower.want()
    hung.set()
    assert "listing the addresses of this host has taken more than 0.05s" in follower.error
    assert follower.addresses is None
