"""Servers that behave badly. Each kind in `KINDS` has a port of its own.

It is a separate program, on the other core: `python -m bench.hostile_servers CERTIFICATE KEY`. It listens on every
address of this machine until SIGTERM. Nothing that it sends is meant to exploit a fault in a program. It only sends too
much, too little or too slowly, as a peer may that is broken, overloaded or hostile.
"""

import asyncio
import contextlib
import os
import socket
import ssl
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from bench.processes import end_in_good_order
from bench.udp_echo import CONTROL_BYTES, IP_PKTINFO

_FIRST_PORT = 23_000
_BLOCK_BYTES = 1 << 16
_PAUSE_S = 0.002
"""The pause between two blocks of something endless, seconds. Each client gets 30 MB/s, so that the real servers keep
a share of the core."""
_DRIP_S = 1.0
_LONGEST_S = 5.0
"""How long any of these conversations lasts, seconds. The daemon ends it after its timeout of a second."""
_DATAGRAMS = 2000
"""How many wrong datagrams the answer to one datagram has."""
_DATAGRAMS_AT_ONCE = 50

_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(_LONGEST_S)


async def _half_open(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close our direction of the connection, and keep the other one open."""
    if writer.can_write_eof():
        writer.write_eof()
    await asyncio.sleep(_LONGEST_S)


async def _drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for byte in _OK + b"Content-Length: 2\r\n\r\nok":
        writer.write(bytes([byte]))
        await asyncio.sleep(_DRIP_S)


async def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reset the connection in the middle of the answer."""
    await reader.read(_BLOCK_BYTES)
    writer.write(_OK + b"Content-Length: 1000\r\n\r\nhalf of")
    await writer.drain()
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _endless(begin: bytes, block: bytes) -> Behaviour:
    """Return a behaviour that sends one beginning, and then the same block for ever."""
    blocks = block * max(1, _BLOCK_BYTES // len(block))

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(_BLOCK_BYTES)
        writer.write(begin)
        while True:
            writer.write(blocks)
            await writer.drain()
            await asyncio.sleep(_PAUSE_S)

    return behave


def _answer(answer: bytes) -> Behaviour:
    """Return a behaviour that sends these bytes to every client, and then closes the connection."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(_BLOCK_BYTES)
        writer.write(answer)
        await writer.drain()

    return behave


def _repeated() -> bytes:
    body = b"a" * (1 << 20)
    return _OK + b"Content-Length: %d\r\n\r\n" % len(body) + body


TCP: dict[str, Behaviour] = {
    "silent": _silent,
    "half-open": _half_open,
    "a byte a second": _drip,
    "endless headers": _endless(_OK, b"X-More: and more\r\n"),
    "endless header value": _endless(_OK + b"X-More: ", b"a"),
    "endless body": _endless(_OK + b"\r\n", b"more "),
    "chunks that are none": _endless(_CHUNKED, b"\xffzz;=\r\r\n\n-1\r\n"),
    "endless chunk extension": _endless(_CHUNKED + b"2;", b"more;"),
    "endless trailers": _endless(_CHUNKED + b"2\r\nok\r\n0\r\n", b"X-More: and more\r\n"),
    "reset in mid-answer": _reset,
    "body of one character": _answer(_repeated()),
}
"""The behaviours towards clients of plain TCP, by name."""

UNDER_TLS: dict[str, Behaviour] = {
    "TLS that stalls": _silent,
    "TLS garbage": _endless(b"", os.urandom(4096)),
    "TLS records too long": _endless(b"", b"\x16\x03\x03\xff\xff" + bytes(0xFFFF)),
    "plain text on a TLS port": _answer(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
}
"""The behaviours towards clients that begin a TLS handshake, by name. These servers do not take part in it."""

BEHIND_TLS: dict[str, Behaviour] = {
    "endless body in TLS": _endless(_OK + b"\r\n", b"more "),
    "a byte a second in TLS": _drip,
}
"""The behaviours after a TLS handshake that succeeds, by name."""

BACKLOG_FULL = "backlog full"
DATAGRAMS = "wrong datagrams"

KINDS = (*TCP, *UNDER_TLS, *BEHIND_TLS, BACKLOG_FULL, DATAGRAMS)


def port_of(kind: str) -> int:
    """Return the port on which servers of this kind listen."""
    return _FIRST_PORT + KINDS.index(kind)


async def serve(certificate: str, key: str) -> None:
    """Serve every kind until cancelled.

    certificate, key: the files for servers behind TLS.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with contextlib.AsyncExitStack() as stack:
        for kind, behaviour in {**TCP, **UNDER_TLS, **BEHIND_TLS}.items():
            tls = context if kind in BEHIND_TLS else None
            server = await asyncio.start_server(_bounded(behaviour), "", port_of(kind), backlog=4096, ssl=tls)
            await stack.enter_async_context(server)
        await stack.enter_async_context(_full_backlog(port_of(BACKLOG_FULL)))
        flood = _Flood(port_of(DATAGRAMS))
        stack.enter_context(flood.socket)
        asyncio.get_running_loop().add_reader(flood.socket, flood.asked)
        print("listening", flush=True)
        await asyncio.Event().wait()


def _bounded(behaviour: Behaviour) -> Behaviour:
    """Return a behaviour that ends after `_LONGEST_S`, or when its client has gone away."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_LONGEST_S):
                    await behaviour(reader, writer)
                writer.close()
                await writer.wait_closed()
        finally:
            writer.transport.abort()

    return behave


@contextlib.asynccontextmanager
async def _full_backlog(port: int) -> AsyncIterator[None]:
    """Listen, accept no client, and fill the backlog, so that the kernel drops the packets of later clients."""
    with socket.socket() as listening, contextlib.ExitStack() as stack:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("", port))
        listening.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield


class _Flood:
    """Answers each datagram with very many wrong ones."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        # Answers must come from the address that was asked. A wildcard socket would choose 127.0.0.1.
        self.socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self.socket.bind(("", port))
        self._tasks: set[asyncio.Task[None]] = set()

    def asked(self) -> None:
        """Begin to answer whoever has asked."""
        with contextlib.suppress(OSError):
            _, control, _, peer = self.socket.recvmsg(2048, CONTROL_BYTES)
            task = asyncio.ensure_future(self._answer(control, peer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, control: Sequence[tuple[int, int, bytes]], peer: tuple[str, int]) -> None:
        for _ in range(_DATAGRAMS // _DATAGRAMS_AT_ONCE):
            with contextlib.suppress(OSError):  # the client has closed its socket, or the buffer is full
                for _ in range(_DATAGRAMS_AT_ONCE):
                    self.socket.sendmsg([b"not what you expect"], control, 0, peer)
            await asyncio.sleep(_PAUSE_S)


if __name__ == "__main__":
    end_in_good_order()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(*sys.argv[1:3]))
