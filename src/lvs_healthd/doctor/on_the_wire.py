"""Asks on the wire who has an address (ARP), and who answers in the way of clients' packets (ICMP echo). It blocks.

Nothing here needs the kernel's table, and no entry is made in it:

- An ARP request for a service's address is answered by nobody but a host that would take its clients' packets away.
- For dr, an echo request to the service's address is sent in a frame to the server's link-layer address. For a tunnel,
  it is wrapped as IPVS wraps clients' packets. A server that has the service's address answers from that address. Our
  own kernel drops the answer, because the address is its own too, but a packet socket sees it before.
- For nat, an echo request leaves from one of our addresses outside the server's network. The answer comes back by the
  server's interface only if the server's route to strangers leads through us.

IPv4 only. Sources: RFC 826, RFC 792, RFC 2003, RFC 2784, draft-ietf-intarea-gue (the header), packet(7).
"""

import contextlib
import ipaddress
import os
import selectors
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lvs_healthd.doctor.network import Around, Port

_ETH_ARP, _ETH_IP = 0x0806, 0x0800
_BROADCAST = b"\xff" * 6
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ASK, _ANSWER = 1, 2
_OUTGOING = 4
"""PACKET_OUTGOING (linux/if_packet.h): a packet that we sent ourselves."""
_HEADER = struct.Struct("!BBHHHBBH4s4s")
_ECHO = struct.Struct("!BBHHH")
_ICMP, _ECHO_REPLY, _UNREACHABLE, _ECHO_REQUEST = 1, 0, 3, 8
_TTL = 64
_DATA = b"lvs-healthd doctor"
_TUNNEL_PROTOCOL = {"ipip": 4, "gre": 47, "gue": 17}
_GRE = struct.pack("!HH", 0, _ETH_IP)
_GUE = struct.pack("!BBH", 0, 4, 0)
"""A GUE header without options, for a packet of IP protocol 4."""

PATIENCE_S = 1.0
"""How long answers are awaited, seconds. A question without an answer is asked again halfway."""

MOST = 256
"""How many servers are asked at most, so that a large director neither floods its network nor waits."""


class Claim(NamedTuple):
    """An answer to an ARP request."""

    address: str
    hardware: str


class EchoQuestion(NamedTuple):
    """One echo request."""

    server: str
    """The server's address."""
    source: str
    """Our address from which it is asked."""
    target: str = ""
    """The service's address; "" to ask the server for its own."""
    interface: str = ""
    """The interface by which it leaves, and with nat must come back; "" for the routing table's."""
    hardware: str = ""
    """For dr: the server's link-layer address."""
    tunnel: str = ""
    tunnel_port: int = 0


class EchoAnswers(NamedTuple):
    """Which questions were answered, and which tunnels were refused."""

    answered: frozenset[EchoQuestion]
    refused: frozenset[EchoQuestion]


def who_has(questions: Iterable[tuple[Port, str]], around: Around) -> set[Claim]:
    """Ask for addresses by ARP, and return who else than this host has answered. Raises `OSError`.

    questions: the interface and the address to ask for on it.
    """
    wanted = dict.fromkeys(questions)
    ours = {_packed(port.hardware) for port in around.ports if port.hardware}
    found: set[Claim] = set()
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        sockets: dict[int, socket.socket] = {}
        for port, _ in wanted:
            if port.number not in sockets:
                opened = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_ARP)))
                opened.setblocking(False)
                opened.bind((port.link.name, _ETH_ARP))
                selector.register(opened, selectors.EVENT_READ)
                sockets[port.number] = opened
        for _ in _rounds():
            for port, address in wanted:
                if not any(claim.address == address for claim in found):
                    with contextlib.suppress(OSError):  # the interface is down: nobody answers
                        sockets[port.number].sendto(
                            _request(port, address, around), (port.link.name, _ETH_ARP, 0, 0, _BROADCAST)
                        )
            asked = {address for _, address in wanted}
            for data, sender in _received(selector, lambda: False):
                claim = _claim(data)
                is_own = sender[2] == _OUTGOING or (claim is not None and _packed(claim.hardware) in ours)
                if claim is not None and not is_own and claim.address in asked:
                    found.add(claim)
    return found


def echoes(questions: Iterable[EchoQuestion]) -> EchoAnswers:
    """Send echo requests, and return which were answered. Raises `OSError`."""
    wanted = list(dict.fromkeys(questions))[: 2 * MOST]
    number = int.from_bytes(os.urandom(2), "big")
    answered: set[EchoQuestion] = set()
    refused: set[EchoQuestion] = set()
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_IP)) as heard,
        selectors.DefaultSelector() as selector,
    ):
        heard.setblocking(False)
        selector.register(heard, selectors.EVENT_READ)
        for _ in _rounds():
            for sequence, question in enumerate(wanted):
                if question not in answered:
                    with contextlib.suppress(OSError):  # our own firewall or a missing route: it counts as silence
                        _send(question, number, sequence)
            for data, sender in _received(selector, lambda: len(answered) == len(wanted)):
                if sender[2] == _OUTGOING:
                    continue
                for sequence in _replied(data, number):
                    if sequence < len(wanted) and _is_from(wanted[sequence], data, sender[0]):
                        answered.add(wanted[sequence])
                refused |= {each for each in wanted if each.tunnel and _refuses(data, each)}
    return EchoAnswers(frozenset(answered), frozenset(refused - answered))


def _rounds() -> Iterator[None]:
    yield
    yield


def _received(selector: selectors.BaseSelector, is_enough: object) -> Iterator[tuple[bytes, tuple[str, int, int]]]:
    """Yield what arrives within half of `PATIENCE_S`, with its sender, until it is enough."""
    end = time.monotonic() + PATIENCE_S / 2
    while (left := end - time.monotonic()) > 0 and not (callable(is_enough) and is_enough()):
        for key, _ in selector.select(left):
            with contextlib.suppress(OSError):
                data, sender = key.fileobj.recvfrom(65536)  # type: ignore[union-attr]  # a socket
                yield data, sender


def _request(port: Port, address: str, around: Around) -> bytes:
    # An address of the interface's own network as the sender's: neighbours know it already, so they learn nothing new.
    near = around.on_link(address)
    is_usable = near is not None and near.port.number == port.number and near.address != address
    sender = near.address if near is not None and is_usable else "0.0.0.0"  # noqa: S104  # RFC 5227
    return _ARP.pack(
        1, _ETH_IP, 6, 4, _ASK, _packed(port.hardware), socket.inet_aton(sender), bytes(6), socket.inet_aton(address)
    )


def _claim(data: bytes) -> Claim | None:
    if len(data) < _ARP.size:
        return None
    kind, _, _, _, operation, hardware, address, _, _ = _ARP.unpack_from(data)
    if kind != 1 or operation != _ANSWER:
        return None
    return Claim(socket.inet_ntoa(address), hardware.hex(":"))


def _packed(hardware: str) -> bytes:
    return bytes.fromhex(hardware.replace(":", ""))[:6].ljust(6, b"\0")


def _send(question: EchoQuestion, number: int, sequence: int) -> None:
    echo = _checked(_ECHO.pack(_ECHO_REQUEST, 0, 0, number, sequence) + _DATA, 2)
    if question.target:
        echo = _packet(question.source, question.target, echo)
    if question.hardware:
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as opened:
            opened.sendto(echo, (question.interface, _ETH_IP, 0, 0, _packed(question.hardware)))
    elif question.tunnel == "gue":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
            opened.sendto(_GUE + echo, (question.server, question.tunnel_port))
    else:
        protocol = _TUNNEL_PROTOCOL.get(question.tunnel, _ICMP)
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol) as opened:
            if question.interface:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, question.interface.encode())
            if question.source:
                opened.bind((question.source, 0))
            opened.sendto((_GRE if question.tunnel == "gre" else b"") + echo, (question.server, 0))


def _packet(source: str, target: str, content: bytes) -> bytes:
    addresses = socket.inet_aton(source), socket.inet_aton(target)
    size = _HEADER.size + len(content)
    return _checked(_HEADER.pack(0x45, 0, size, 0, 0, _TTL, _ICMP, 0, *addresses), 10) + content


def _checked(data: bytes, position: int) -> bytes:
    """Return the data with its checksum (RFC 1071) at this position."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    total = (total >> 16) + (total & 0xFFFF)
    total += total >> 16
    return data[:position] + struct.pack("!H", ~total & 0xFFFF) + data[position + 2 :]


def _replied(data: bytes, number: int) -> Iterator[int]:
    """Yield the number of the question to which a packet is the answer."""
    start = (data[0] & 0xF) * 4 if data else 0
    if len(data) < start + _ECHO.size or data[9] != _ICMP:
        return
    kind, _, _, identity, sequence = _ECHO.unpack_from(data, start)
    if kind == _ECHO_REPLY and identity == number:
        yield sequence


def _is_from(question: EchoQuestion, data: bytes, interface: str) -> bool:
    """Whether an answer comes from the address that was asked for, and by the interface by which it must come."""
    expected = question.target or question.server
    is_nat = bool(question.interface) and not question.hardware
    return socket.inet_ntoa(data[12:16]) == expected and (not is_nat or interface == question.interface)


def _refuses(data: bytes, question: EchoQuestion) -> bool:
    """Whether a packet says that the server does not take the tunnel's protocol, or that nothing there unwraps it."""
    start = (data[0] & 0xF) * 4 if data else 0
    quoted = data[start + _ECHO.size :]
    if len(quoted) < _HEADER.size or data[9] != _ICMP or data[start] != _UNREACHABLE:
        return False
    is_ours = quoted[9] == _TUNNEL_PROTOCOL[question.tunnel]
    return is_ours and socket.inet_ntoa(quoted[16:20]) == question.server


def is_ipv4(address: str) -> bool:
    """Whether an address can be asked for here."""
    return isinstance(ipaddress.ip_address(address), ipaddress.IPv4Address)
