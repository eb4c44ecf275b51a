"""Clients of the services in examples/, which speak just as much of each protocol as shows that it works."""

import contextlib
import socket
import ssl

from lab.netns import Namespace
from lab.topology import Topology
from tests.kernel.on_examples import Director

ANSWER_S = 20.0
"""How long an emulated server may take to answer, seconds."""


def connected(client: Namespace, address: str, port: int, *, source: tuple[str, int] = ("", 0)) -> socket.socket:
    """Return a connection of the client. `source` is the address and port that it comes from, if that matters."""
    with client.entered():
        return socket.create_connection((address, port), timeout=ANSWER_S, source_address=source)


def exchange(client: Namespace, address: str, port: int, question: bytes, *, source_port: int = 0) -> bytes:
    """Send a datagram, again each second while no answer comes, and return the answer."""
    with client.entered():
        asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with asking:
        asking.bind(("", source_port))
        asking.settimeout(1.0)
        asking.connect((address, port))
        for _ in range(int(ANSWER_S)):
            asking.send(question)
            with contextlib.suppress(TimeoutError):
                return asking.recv(4096)
    raise TimeoutError(f"no answer from {address}:{port} in {ANSWER_S:g} s")


# ---- DNS

QUESTION = bytes.fromhex("002a 0000 0001 0000 0000 0000 07") + b"example\x03org\x00\x00\x01\x00\x01"


def over_udp(network: Topology, source_port: int = 0) -> str:
    """Ask for the address of example.org, and return it: each server says its own."""
    return _address(network, exchange(network.client, network.vip, 53, QUESTION, source_port=source_port))


def over_tcp(network: Topology) -> str:
    """Do the same over tcp."""
    with connected(network.client, network.vip, 53) as connection:
        connection.sendall(len(QUESTION).to_bytes(2) + QUESTION)
        return _address(network, connection.recv(4096))


def _address(network: Topology, answer: bytes) -> str:
    (found,) = [each.address for each in network.servers if socket.inet_aton(each.address) in answer]
    return found


# ---- HTTP


def get(network: Topology, port: int, *, client: str = "", tls: ssl.SSLContext | None = None, cookie: str = "") -> str:
    """Return the answer to a request for "/", with plain line ends. `client` is the address that it comes from."""
    head = ["GET / HTTP/1.1", "Host: www.example.org", "Connection: close", *([f"Cookie: {cookie}"] if cookie else [])]
    connection = connected(network.client, network.vip, port, source=(client, 0))
    with tls.wrap_socket(connection, server_hostname="www.example.org") if tls else connection as asked:
        asked.sendall("".join(f"{line}\r\n" for line in [*head, ""]).encode())
        return b"".join(iter(lambda: asked.recv(65536), b"")).decode().replace("\r\n", "\n")


def server_name(answer: str) -> str:
    """Return the header of an answer that says which server gave it."""
    return answer.partition("\nServer-Name: ")[2].partition("\n")[0]


# ---- CoAP

PUT, GET, CREATED, CONTENT, NOT_FOUND = 0x03, 0x01, 0x41, 0x45, 0x84


def coap(client: Namespace, address: str, code: int, number: int, payload: bytes = b"") -> int:
    """Send a confirmable message about the resource /degrees from a port of its own. Return the answer's code."""
    path = b"\xb7degrees"
    return exchange(client, address, 5683, bytes([0x40, code]) + number.to_bytes(2) + path + payload)[1]


# ---- SNMP

TRAP = bytes.fromhex(
    "3040 020101 04067075626c6963 a733 020101 020100 020100 3028"  # SNMP v2c, community public, a trap
    "300d 06082b06010201010300 430100"  # sysUpTime.0
    "3017 060a2b060106030101040100 06092b0601060301010501"  # snmpTrapOID.0: coldStart
)


# ---- MQTT over WebSocket


class WebSocket:
    """A client's MQTT session over a WebSocket."""

    def __init__(self, network: Topology) -> None:
        self._socket = connected(network.client, network.vip, 9001)
        self.port: int = self._socket.getsockname()[1]
        self._socket.sendall(
            b"GET /mqtt HTTP/1.1\r\nHost: broker\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            more = self._socket.recv(1)
            assert more, answer
            answer += more
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        assert self._ask("100c 0004 4d515454 04 02 003c 0000") == bytes.fromhex("2002 0000")

    def ping(self) -> bool:
        """Return whether the broker answers."""
        return self._ask("c000") == bytes.fromhex("d000")

    def close(self) -> None:
        self._socket.close()

    def _ask(self, packet: str) -> bytes:
        """Send a packet of MQTT in a masked frame, and return that of the answer."""
        sent = bytes.fromhex(packet)
        self._socket.sendall(bytes([0x82, 0x80 | len(sent), 0, 0, 0, 0]) + sent)
        head = self._socket.recv(2, socket.MSG_WAITALL)
        return self._socket.recv(head[1], socket.MSG_WAITALL)


# ---- RDP

CONNECT = bytes.fromhex("03000013 0ee0 0000 0000 00 01000800 03000000")
CONFIRM = bytes.fromhex("03000013 0ed0")


def desktop(director: Director, client: str) -> str:
    """Ask for a session from an address of the client, and return the server."""
    topology = director.topology
    with connected(topology.client, topology.vip, 3389, source=(client, 0)) as connection:
        connection.sendall(CONNECT)
        assert connection.recv(len(CONFIRM), socket.MSG_WAITALL) == CONFIRM
        return director.connections()[connection.getsockname()[1]][0]
