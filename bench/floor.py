"""The floor: the least that a Python program can spend on a probe. One epoll set, 50 ms ticks, no decisions or reasons.

It is a separate program: `floor.py KIND FIRST COUNT PORT INTERVAL_S CA [again]`. KIND is http, tcp, udp, https,
http-keep or https-keep. It probes COUNT IPv4 addresses, from FIRST on. CA is a certificate file, which only https
reads. A probe over TCP gets a new socket, or with `again` a socket whose last connection was reset. The kinds that keep
connections never have a new one. On SIGTERM the program prints one JSON line: how late the last start of each tick was,
seconds.
"""

import ctypes
import functools
import ipaddress
import json
import select
import signal
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable

TICK_S = 0.05
_RESET = struct.pack("ii", 1, 0)
_NOWHERE = struct.pack("H14x", socket.AF_UNSPEC)
_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\n\r\n"
_KEPT_REQUEST = _REQUEST.replace(b"close", b"keep-alive")
_EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET

Serve = Callable[[int, int], None]
Start = Callable[[tuple[str, int]], None]


def main() -> None:
    """Probe until SIGTERM."""
    kind, first, count, port, interval, ca, *again = sys.argv[1:]
    begin = int(ipaddress.IPv4Address(first))
    targets = [(str(ipaddress.IPv4Address(begin + index)), int(port)) for index in range(int(count))]
    epoll = select.epoll()
    streams = _SpareStreams(epoll) if again else _Streams(epoll)
    protocols: dict[str, Callable[[_Streams], tuple[Start, Serve]]]
    protocols = {
        "tcp": _tcp,
        "http": _http,
        "udp": _udp,
        "https": functools.partial(_https, ca=ca),
        "http-keep": _http_keep,
        "https-keep": functools.partial(_https_keep, ca=ca),
    }
    start, serve = protocols[kind](streams)
    ticks = max(1, round(float(interval) / TICK_S))
    slots = [targets[index::ticks] for index in range(ticks)]
    due = time.monotonic()
    turn = 0
    late_s: list[float] = []
    signal.signal(signal.SIGTERM, lambda *_: (print(json.dumps(late_s), flush=True), sys.exit()))
    while True:
        for target in slots[turn % ticks]:
            start(target)
        late_s.append(time.monotonic() - due)
        turn += 1
        due += TICK_S
        while (left := due - time.monotonic()) > 0:
            for descriptor, mask in epoll.poll(left):
                serve(descriptor, mask)


class _Streams:
    """Makes a new socket for each probe."""

    def __init__(self, epoll: select.epoll) -> None:
        self.epoll = epoll

    def connect(self, target: tuple[str, int]) -> socket.socket:
        """Begin to connect."""
        opened = self._open()
        # Without quick acknowledgements, the handshake's last ACK is not sent alone but with our next packet, the
        # request or the reset. That saves a packet, so a probe has its least cost. If the next packet is the reset, the
        # peer never has a connection to accept.
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        opened.connect_ex(target)
        self.epoll.register(opened.fileno(), _EDGES)
        return opened

    @staticmethod
    def end(opened: socket.socket) -> None:
        """Reset the connection."""
        opened.close()

    @staticmethod
    def _open() -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        return opened


class _SpareStreams(_Streams):
    """Reuses sockets: a connection ends by connecting to nowhere, and epoll keeps watching the socket."""

    def __init__(self, epoll: select.epoll) -> None:
        super().__init__(epoll)
        self._spare: list[socket.socket] = []
        self._disconnect = ctypes.CDLL(None).connect
        self._disconnect.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)

    def connect(self, target: tuple[str, int]) -> socket.socket:
        if not self._spare:
            return super().connect(target)
        opened = self._spare.pop()
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        opened.connect_ex(target)
        return opened

    def end(self, opened: socket.socket) -> None:  # type: ignore[override]
        self._disconnect(opened.fileno(), _NOWHERE, len(_NOWHERE))
        self._spare.append(opened)


def _tcp(streams: _Streams) -> tuple[Start, Serve]:
    flights: dict[int, socket.socket] = {}

    def start(target: tuple[str, int]) -> None:
        opened = streams.connect(target)
        flights[opened.fileno()] = opened

    def serve(descriptor: int, _mask: int) -> None:
        opened = flights.pop(descriptor, None)
        if opened is not None:  # else it is a last event of a spare socket
            streams.end(opened)

    return start, serve


def _http(streams: _Streams) -> tuple[Start, Serve]:
    flights: dict[int, socket.socket] = {}

    def start(target: tuple[str, int]) -> None:
        opened = streams.connect(target)
        flights[opened.fileno()] = opened

    def serve(descriptor: int, mask: int) -> None:
        opened = flights.get(descriptor)
        if opened is None:
            return
        if mask & select.EPOLLIN:
            if not opened.recv(65536).startswith(b"HTTP/1.1 200"):
                raise SystemExit("not the answer the floor was made for")
            del flights[descriptor]
            streams.end(opened)
        else:
            opened.send(_REQUEST)

    return start, serve


def _udp(streams: _Streams) -> tuple[Start, Serve]:
    flights: dict[int, socket.socket] = {}

    def start(target: tuple[str, int]) -> None:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        opened.connect_ex(target)
        streams.epoll.register(opened.fileno(), select.EPOLLIN | select.EPOLLET)
        flights[opened.fileno()] = opened
        opened.send(b"ping")

    def serve(descriptor: int, _mask: int) -> None:
        opened = flights.pop(descriptor)
        if opened.recv(65536) != b"ping":
            raise SystemExit("not the answer the floor was made for")
        opened.close()

    return start, serve


def _https(streams: _Streams, ca: str) -> tuple[Start, Serve]:
    context = ssl.create_default_context(cafile=ca)
    flights: dict[int, tuple[socket.socket, ssl.MemoryBIO, ssl.MemoryBIO, ssl.SSLObject]] = {}
    # Kept in our own set: asking the TLS object for its session would copy all of it, including the certificate.
    handshaken: set[int] = set()

    def start(target: tuple[str, int]) -> None:
        opened = streams.connect(target)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="bench.test")
        flights[opened.fileno()] = opened, incoming, outgoing, tls

    def serve(descriptor: int, mask: int) -> None:
        if descriptor not in flights:
            return
        opened, incoming, outgoing, tls = flights[descriptor]
        if mask & select.EPOLLIN:
            incoming.write(opened.recv(65536))
        try:
            if descriptor not in handshaken:
                tls.do_handshake()
                handshaken.add(descriptor)
                tls.write(_REQUEST)
            if not tls.read(65536).startswith(b"HTTP/1.1 200"):
                raise SystemExit("not the answer the floor was made for")
            del flights[descriptor]
            handshaken.remove(descriptor)
            streams.end(opened)
        except ssl.SSLWantReadError:
            if data := outgoing.read():
                opened.send(data)

    return start, serve


def _http_keep(streams: _Streams) -> tuple[Start, Serve]:
    kept: dict[tuple[str, int], socket.socket] = {}
    flights: dict[int, socket.socket] = {}
    connecting: set[int] = set()

    def start(target: tuple[str, int]) -> None:
        opened = kept.get(target)
        if opened is None:
            opened = kept[target] = streams.connect(target)
            flights[opened.fileno()] = opened
            connecting.add(opened.fileno())
        else:
            opened.send(_KEPT_REQUEST)

    def serve(descriptor: int, mask: int) -> None:
        if mask & select.EPOLLIN:
            if not flights[descriptor].recv(65536).startswith(b"HTTP/1.1 200"):
                raise SystemExit("not the answer the floor was made for")
        elif descriptor in connecting:
            connecting.remove(descriptor)
            flights[descriptor].send(_KEPT_REQUEST)

    return start, serve


def _https_keep(streams: _Streams, ca: str) -> tuple[Start, Serve]:
    context = ssl.create_default_context(cafile=ca)
    kept: dict[tuple[str, int], tuple[socket.socket, ssl.MemoryBIO, ssl.MemoryBIO, ssl.SSLObject]] = {}
    flights: dict[int, tuple[socket.socket, ssl.MemoryBIO, ssl.MemoryBIO, ssl.SSLObject]] = {}
    connecting: set[int] = set()

    def start(target: tuple[str, int]) -> None:
        flight = kept.get(target)
        if flight is None:
            opened = streams.connect(target)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(incoming, outgoing, server_hostname="bench.test")
            kept[target] = flights[opened.fileno()] = opened, incoming, outgoing, tls
            connecting.add(opened.fileno())
            return
        opened, _, outgoing, tls = flight
        tls.write(_KEPT_REQUEST)
        opened.send(outgoing.read())

    def serve(descriptor: int, mask: int) -> None:
        opened, incoming, outgoing, tls = flights[descriptor]
        if mask & select.EPOLLIN:
            incoming.write(opened.recv(65536))
        elif descriptor not in connecting:
            return
        try:
            if descriptor in connecting:
                tls.do_handshake()
                connecting.remove(descriptor)
                tls.write(_KEPT_REQUEST)
            if not tls.read(65536).startswith(b"HTTP/1.1 200"):
                raise SystemExit("not the answer the floor was made for")
        except ssl.SSLWantReadError:
            pass
        if data := outgoing.read():
            opened.send(data)

    return start, serve


if __name__ == "__main__":
    main()
