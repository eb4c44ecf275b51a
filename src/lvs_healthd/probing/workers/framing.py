"""Frames over a stream socket, for both ends of the conversation between the daemon and a probe worker.

A frame is the payload's length (32 bits, little endian) followed by the payload.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator

from lvs_healthd.runtime.exceptions import PeerError

_LENGTH = struct.Struct("<I")


class GarbledFrameError(PeerError):
    """The other end sent bytes that are not a valid message."""


def frame(payload: bytes) -> bytes:
    """Return a payload as a frame, ready to send."""
    return _LENGTH.pack(len(payload)) + payload


class Frames:
    """Cuts the bytes received from a socket into frames.

    most_bytes: the length of the longest payload that is accepted.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take received bytes, and yield the payload of every frame that is complete.

        Raises `GarbledFrameError` when the other end announces a payload longer than `most_bytes`.
        """
        held = self._held
        held += data
        start = 0
        try:
            while len(held) - start >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(held, start)
                if length > self._most_bytes:
                    raise GarbledFrameError(f"a message of {length} bytes")
                end = start + _LENGTH.size + length
                if end > len(held):
                    break
                payload = bytes(held[start + _LENGTH.size : end])
                start = end
                yield payload
        finally:
            del held[:start]


class FrameSocket:
    """Sends and receives frames over one end of a stream socket, on the running event loop.

    opened: the socket, which becomes non-blocking and belongs to this object.
    most_bytes: the length of the longest payload that is accepted.
    receive_bytes: how many bytes to read before other work gets its turn.
    take: gets every payload received.
    gone: called when the other end has closed, perhaps more than once.
    guard: runs each piece of work that the event loop starts here, and decides what its exceptions mean.
    drained: called when the socket has taken everything that waited to be sent.
    """

    def __init__(
        self,
        opened: socket.socket,
        *,
        most_bytes: int,
        receive_bytes: int,
        take: Callable[[bytes], None],
        gone: Callable[[], None],
        guard: Callable[[Callable[[], None]], None],
        drained: Callable[[], None] = lambda: None,
    ) -> None:
        opened.setblocking(False)
        self._socket = opened
        self._frames = Frames(most_bytes)
        self._receive_bytes = receive_bytes
        self._take = take
        self._gone = gone
        self._guard = guard
        self._drained = drained
        self._outgoing = bytearray()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(opened.fileno(), guard, self._receive)

    @property
    def is_stuck(self) -> bool:
        """Whether unsent bytes wait for the socket to take more."""
        return bool(self._outgoing)

    def send(self, payload: bytes) -> None:
        """Send a payload. What the socket cannot take now is sent as soon as it can."""
        was_stuck = self.is_stuck
        self._outgoing += frame(payload)
        if not was_stuck:
            self._send()

    def close(self) -> None:
        """Close the socket. May be called twice."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(self._receive_bytes)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._socket.fileno())
            self._gone()
            return
        for payload in self._frames.feed(data):
            self._take(payload)

    def _send(self) -> None:
        try:
            sent = self._socket.send(self._outgoing)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._gone()
            return
        del self._outgoing[:sent]
        if self._outgoing:
            self._loop.add_writer(self._socket.fileno(), self._guard, self._send_rest)

    def _send_rest(self) -> None:
        self._loop.remove_writer(self._socket.fileno())
        self._send()
        if not self._outgoing:
            self._drained()
