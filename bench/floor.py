"""The floor: the least a Python program can spend on a probe. One epoll set, 50 ms ticks, no decisions, no reasons.

Runs as a program of its own: `floor.py http|tcp|udp|https FIRST COUNT PORT INTERVAL_S [CA]`. When it is told to end
(SIGTERM) it prints one JSON line: how late the last start of each tick was, seconds.
"""

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
_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\n\r\n"
_EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET

Serve = Callable[[int, int], None]
Start = Callable[[tuple[str, int]], None]


def main() -> None:
    """Probe until told to end."""
    kind, first, count, port, interval = sys.argv[1:6]
    begin = int(ipaddress.IPv4Address(first))
    targets = [(str(ipaddress.IPv4Address(begin + index)), int(port)) for index in range(int(count))]
    epoll = select.epoll()
    start, serve = _PROTOCOLS[kind](epoll)
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


def _connect(epoll: select.epoll, target: tuple[str, int], kind: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    if kind == socket.SOCK_STREAM:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        # The handshake's last packet waits for ours, a request or the reset: one less, and where it is the reset the
        # peer accepts nothing. Without it this would not be the least.
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
    opened.connect_ex(target)
    epoll.register(opened.fileno(), _EDGES)
    return opened


def _tcp(epoll: select.epoll) -> tuple[Start, Serve]:
    flights: dict[int, socket.socket] = {}

    def start(target: tuple[str, int]) -> None:
        opened = _connect(epoll, target, socket.SOCK_STREAM)
        flights[opened.fileno()] = opened

    def serve(descriptor: int, _mask: int) -> None:
        flights.pop(descriptor).close()

    return start, serve


def _http(epoll: select.epoll) -> tuple[Start, Serve]:
    flights: dict[int, socket.socket] = {}

    def start(target: tuple[str, int]) -> None:
        opened = _connect(epoll, target, socket.SOCK_STREAM)
        flights[opened.fileno()] = opened

    def serve(descriptor: int, mask: int) -> None:
        opened = flights[descriptor]
        if mask & select.EPOLLIN:
            if not opened.recv(65536).startswith(b"HTTP/1.1 200"):
                raise SystemExit("not the answer the floor was made for")
            del flights[descriptor]
            opened.close()
        else:
            opened.send(_REQUEST)

    return start, serve


def _udp(epoll: select.epoll) -> tuple[Start, Serve]:
    flights: dict[int, socket.socket] = {}

    def start(target: tuple[str, int]) -> None:
        opened = _connect(epoll, target, socket.SOCK_DGRAM)
        flights[opened.fileno()] = opened
        opened.send(b"ping")

    def serve(descriptor: int, mask: int) -> None:
        if mask & select.EPOLLIN:
            opened = flights.pop(descriptor)
            if opened.recv(65536) != b"ping":
                raise SystemExit("not the answer the floor was made for")
            opened.close()

    return start, serve


def _https(epoll: select.epoll) -> tuple[Start, Serve]:
    context = ssl.create_default_context(cafile=sys.argv[6])
    flights: dict[int, tuple[socket.socket, ssl.MemoryBIO, ssl.MemoryBIO, ssl.SSLObject]] = {}
    # A set of our own: asking the TLS object for its session would copy all of it, the certificate too.
    handshaken: set[int] = set()

    def start(target: tuple[str, int]) -> None:
        opened = _connect(epoll, target, socket.SOCK_STREAM)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="bench.test")
        flights[opened.fileno()] = opened, incoming, outgoing, tls

    def serve(descriptor: int, mask: int) -> None:
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
            opened.close()
        except ssl.SSLWantReadError:
            if data := outgoing.read():
                opened.send(data)

    return start, serve


_PROTOCOLS: dict[str, Callable[[select.epoll], tuple[Start, Serve]]] = {
    "tcp": _tcp,
    "http": _http,
    "udp": _udp,
    "https": _https,
}

if __name__ == "__main__":
    main()
