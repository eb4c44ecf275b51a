"""A generic netlink socket on the event loop. Every exchange has a deadline."""

import asyncio
import contextlib
import errno
import select
import socket
import time
from collections.abc import AsyncIterator, Sequence

from lvs_healthd.ipvs.interface import TableUnavailableError
from lvs_healthd.ipvs.kernel.genetlink import (
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    GarbledMessageError,
    Listed,
    Message,
    alike,
    messages,
)
from lvs_healthd.runtime.netns import Netns, NetnsError

_NETLINK_GENERIC = 16
_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_SO_RCVBUFFORCE = 33
_ENDS = (NLMSG_DONE, NLMSG_ERROR)
"""The types of the message that ends a list."""
_KERNEL = 0
"""The kernel's netlink port number. A message from any other port is not the kernel's answer."""

_BUFFER_BYTES = 4 * 1024 * 1024
"""Size of the receive buffer, which has room for the acknowledgements of far more than one batch of writes. The default
buffer has room for 256."""
_RECEIVE_BYTES = 65536
"""The maximum number of bytes to receive at a time. A dump arrives in parts of up to 32 KiB."""

_DUMPS_S = 0.002
"""How long a thread goes on to further lists, seconds. They are all in memory before the first is decoded."""

DEADLINE_S = 5.0
"""Default deadline of one exchange, seconds. A request takes microseconds, so a kernel that needs five seconds is in
trouble. Five seconds are well below the watchdog's timeout."""


class LostError(TableUnavailableError):
    """Raised when part of the answer was lost, or the table changed during a dump. Another try may succeed."""


class Channel:
    """One netlink socket, opened when it is first needed.

    deadline_s: the longest that one exchange may take, seconds.
    netns: network namespace in which to open the socket; default: the process's own.
    """

    def __init__(self, deadline_s: float, netns: Netns | None = None) -> None:
        self._deadline_s = deadline_s
        self._netns = netns or Netns()
        self._identity = 0
        self._open: socket.socket | None = None

    def connect(self) -> socket.socket:
        """Open the socket if it is not open yet, and return it. Raises `TableUnavailableError`."""
        if self._open is None:
            try:
                self._identity = self._netns.identity()
                with self._netns.entered():
                    self._open = _opened()
            except NetnsError as error:
                raise TableUnavailableError(str(error)) from error
            except OSError as error:
                raise TableUnavailableError(f"cannot open a netlink socket: {error.strerror}") from error
        return self._open

    def follow_netns(self) -> None:
        """Close the socket if its network namespace was deleted, or replaced by another of the same name.

        The socket would keep the old namespace alive, and would write to a table that no longer sees any packets.
        """
        if self._open is None or not self._netns.name:
            return
        try:
            is_same = self._netns.identity() == self._identity
        except NetnsError:
            is_same = False
        if not is_same:
            self.close()

    def close(self) -> None:
        """Close the socket. The next exchange opens another one."""
        if self._open is not None:
            self._open.close()
            self._open = None

    @contextlib.asynccontextmanager
    async def exchange(self) -> AsyncIterator[None]:
        """Apply the deadline to the body of an `async with`, which sends a request and receives the answer.

        Raises `TableUnavailableError` when the exchange fails. A failed exchange closes the socket, because an
        unfinished dump would make the next dump fail with EBUSY.
        """
        self.connect()
        is_complete = False
        try:
            async with asyncio.timeout(self._deadline_s):
                yield
            is_complete = True
        except TimeoutError as error:
            raise TableUnavailableError(f"the kernel did not answer within {self._deadline_s:g}s") from error
        except GarbledMessageError as error:
            raise TableUnavailableError(f"the kernel's answer cannot be read: {error}") from error
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise LostError("the kernel's answer overflowed the receive buffer") from error
            raise TableUnavailableError(f"netlink: {error.strerror}") from error
        finally:
            if not is_complete:
                self.close()

    async def send(self, data: bytes) -> None:
        """Send messages to the kernel, which acts on them before this call returns.

        A thread sends the messages, because the kernel may run modprobe, wait for an RCU grace period, or wait for
        IPVS's mutex, which another program may hold. Raises `OSError`.
        """
        await asyncio.get_running_loop().run_in_executor(None, self.connect().send, data)

    async def dumps(self, requests: Sequence[tuple[bytes, int]]) -> list[Listed]:
        """Ask for lists, one after another, and return the first answers: at least one, and as many as take `_DUMPS_S`.

        requests: each request for a list, with its sequence number. Those without an answer were not sent.

        A thread sends and receives, because the kernel builds each part of a list during the call that receives it, and
        needs IPVS's mutex to do so. To hand over to a thread takes as long as to read twenty servers, so one thread
        reads several lists. Raises `OSError`, `TimeoutError` and `GarbledMessageError`.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, _dumped, self.connect(), requests, self._deadline_s)

    async def receive(self) -> list[Message]:
        """Wait for the kernel's next messages. Raises `OSError` and `GarbledMessageError`."""
        loop = asyncio.get_running_loop()
        while True:
            data, (port, _groups) = await loop.sock_recvfrom(self.connect(), _RECEIVE_BYTES)
            if port == _KERNEL:
                return list(messages(data))

    def receive_held(self) -> list[Message]:
        """Return the messages already in the receive buffer. Raises `OSError` and `GarbledMessageError`."""
        held: list[Message] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                data, (port, _groups) = self.connect().recvfrom(_RECEIVE_BYTES)
                if port == _KERNEL:
                    held += messages(data)
        return held


def _dumped(sock: socket.socket, requests: Sequence[tuple[bytes, int]], deadline_s: float) -> list[Listed]:
    """Do the work of `Channel.dumps`, and block until it is done."""
    ready = select.poll()
    ready.register(sock, select.POLLIN)
    now = time.monotonic()
    deadline, end = now + deadline_s, now + _DUMPS_S
    answers = []
    for request, sequence in requests:
        sock.send(request)
        answers.append(_list_received(sock, ready, sequence, deadline))
        if time.monotonic() >= end:
            break
    return answers


def _list_received(sock: socket.socket, ready: select.poll, sequence: int, deadline: float) -> Listed:
    payloads: list[bytes] = []
    is_interrupted = False
    while True:
        if not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError
        data, (port, _groups) = sock.recvfrom(_RECEIVE_BYTES)
        if port != _KERNEL:
            continue
        # Nearly all of a list is in messages that are alike, which are split a hundred at a time.
        split = alike(data)
        if split is not None and split[0].sequence == sequence and split[0].type not in _ENDS:
            first, held, data = split
            payloads += held
            is_interrupted |= bool(first.flags & NLM_F_DUMP_INTR)
        for message in messages(data):
            if message.sequence == sequence:
                is_interrupted |= bool(message.flags & NLM_F_DUMP_INTR)
                if message.type in _ENDS:
                    return Listed(payloads, message, is_interrupted)
                payloads.append(message.payload)


def _opened() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_GENERIC)
    try:
        sock.setblocking(False)
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
            with contextlib.suppress(OSError):  # Linux before 4.12 sends no texts and echoes the request
                sock.setsockopt(_SOL_NETLINK, option, 1)
        sock.bind((0, 0))
    except OSError:
        sock.close()
        raise
    return sock
