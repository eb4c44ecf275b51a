import asyncio
import errno
import socket
import struct
import threading
import time

import pytest

from lvs_healthd.ipvs.interface import TableUnavailableError
from lvs_healthd.ipvs.kernel import channel as channel_module
from lvs_healthd.ipvs.kernel.channel import Channel, LostError
from lvs_healthd.ipvs.kernel.genetlink import (
    GENL_ID_CTRL,
    NLM_F_ACK,
    NLM_F_DUMP,
    GarbledMessageError,
    Listed,
    Message,
    answer,
    family_id,
    family_name,
    messages,
    request,
)


def ask(name: str, sequence: int) -> bytes:
    return request(GENL_ID_CTRL, 3, family_name(name), flags=NLM_F_ACK, sequence=sequence, version=2)


async def test_the_real_kernel_answers_each_request_of_one_send() -> None:
    channel = Channel(5.0)
    received: list[Message] = []
    try:
        async with channel.exchange():
            await channel.send(ask("nlctrl", 1) + ask("no such family", 2))
            while len(received) < 3:
                received += await channel.receive()
    finally:
        channel.close()
    reply, done, missing = received
    assert family_id(reply.payload) == GENL_ID_CTRL
    assert (done.sequence, answer(done).errno) == (1, 0)
    assert (missing.sequence, answer(missing).errno) == (2, errno.ENOENT)


async def test_a_request_sent_from_a_thread_is_answered_the_same() -> None:
    channel = Channel(5.0)
    try:
        async with channel.exchange():
            await channel.send(ask("nlctrl", 1))
            assert (await channel.receive())[0].sequence == 1
    finally:
        channel.close()


async def test_what_is_held_is_received_without_waiting() -> None:
    channel = Channel(5.0)
    try:
        await channel.send(ask("nlctrl", 1) + ask("nlctrl", 2))
        assert [message.sequence for message in channel.receive_held()] == [1, 1, 2, 2]
        assert channel.receive_held() == []
    finally:
        channel.close()


async def test_silence_ends_at_the_deadline_and_costs_the_socket() -> None:
    channel = Channel(0.001)
    first = channel.connect()
    with pytest.raises(TableUnavailableError, match=r"the kernel did not answer within 0\.001s"):
        async with channel.exchange():
            await channel.receive()
    assert first.fileno() == -1
    assert channel.connect() is not first
    channel.close()


async def test_a_cancelled_exchange_costs_the_socket() -> None:
    channel = Channel(5.0)
    first = channel.connect()

    async def wait_forever() -> None:
        async with channel.exchange():
            await channel.receive()

    task = asyncio.create_task(wait_forever())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert first.fileno() == -1


@pytest.mark.parametrize(
    ("trouble", "kind", "words"),
    [
        (OSError(errno.ENOBUFS, "No buffer space available"), LostError, "overflowed the receive buffer"),
        (OSError(errno.EBADF, "Bad file descriptor"), TableUnavailableError, "netlink: Bad file descriptor"),
        (GarbledMessageError("nonsense"), TableUnavailableError, "the kernel's answer cannot be read: nonsense"),
    ],
)
async def test_what_breaks_an_exchange_is_an_unavailable_table(
    trouble: Exception, kind: type[Exception], words: str
) -> None:
    channel = Channel(5.0)
    with pytest.raises(kind, match=words):
        async with channel.exchange():
            raise trouble


async def test_the_receive_buffer_is_enlarged() -> None:
    channel = Channel(5.0)
    default = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
    try:
        size = channel.connect().getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert size >= default.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    finally:
        default.close()
        channel.close()


async def test_a_socket_that_cannot_be_opened_is_an_unavailable_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(TableUnavailableError, match="cannot open a netlink socket: Address family not supported"):
        Channel(5.0).connect()


async def test_another_process_cannot_answer_for_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine, forged = (struct.pack("=IHHII", 16, 2, 0, sequence, 0) for sequence in (1, 2))
    arriving = iter([(forged, (4711, 0)), (genuine, (0, 0))])

    async def arrive(*_: object) -> tuple[bytes, tuple[int, int]]:
        return next(arriving)

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_recvfrom", arrive)
    channel = Channel(5.0)
    try:
        assert await channel.receive() == list(messages(genuine))
    finally:
        channel.close()


class WaitingSocket:
    """A netlink socket that waits inside the kernel, as for a mutex that another program holds."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.go_on = threading.Event()
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def fileno(self) -> int:
        return self._ours.fileno()

    def send(self, data: bytes) -> int:
        self._wait()
        _, _, _, sequence = struct.unpack_from("=IHHI", data)
        done = struct.pack("=IHHIIi", 20, 3, 2, sequence, 0, 0)
        self._theirs.send(struct.pack("=IHHII", 16, 31, 2, sequence - 1, 0) + done)
        return len(data)

    def recvfrom(self, size: int) -> tuple[bytes, tuple[int, int]]:
        self._wait()
        return self._ours.recv(size), (0, 0)

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()

    def _wait(self) -> None:
        self.threads.add(threading.get_ident())
        assert self.go_on.wait(20)


async def test_what_the_kernel_waits_in_holds_up_no_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPVS takes one mutex for each request and each part of a list; modprobe may run while another program has it."""
    waiting = WaitingSocket()
    monkeypatch.setattr(channel_module, "_opened", lambda: waiting)
    channel = Channel(30.0)
    asking = asyncio.create_task(channel.dumps([(ask("nlctrl", 7), 7)]))
    await asyncio.sleep(0.05)  # the loop turns meanwhile
    assert not asking.done()
    waiting.go_on.set()
    (listed,) = await asking
    assert (listed.payloads, listed.end.sequence, answer(listed.end).errno) == ([], 7, 0)
    assert waiting.threads
    assert threading.get_ident() not in waiting.threads
    channel.close()


async def test_a_write_that_the_kernel_waits_in_holds_up_no_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = WaitingSocket()
    monkeypatch.setattr(channel_module, "_opened", lambda: waiting)
    channel = Channel(30.0)
    writing = asyncio.create_task(channel.send(ask("nlctrl", 7)))
    await asyncio.sleep(0.05)  # the loop turns meanwhile
    assert not writing.done()
    waiting.go_on.set()
    await writing
    assert waiting.threads
    assert threading.get_ident() not in waiting.threads
    channel.close()


async def test_a_list_that_does_not_come_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = WaitingSocket()
    monkeypatch.setattr(channel_module, "_opened", lambda: waiting)
    channel = Channel(0.05)
    with pytest.raises(TableUnavailableError, match="did not answer"):
        async with channel.exchange():
            await channel.dumps([(ask("nlctrl", 7), 7)])
    waiting.go_on.set()


class Canned:
    """A socket on which these datagrams have come, and what says that they have."""

    def __init__(self, *datagrams: bytes) -> None:
        self._left = list(datagrams)

    def poll(self, _timeout_ms: float) -> bool:
        return bool(self._left)

    def recvfrom(self, _size: int) -> tuple[bytes, tuple[int, int]]:
        return self._left.pop(0), (0, 0)


def list_of(*datagrams: bytes) -> Listed:
    canned = Canned(*datagrams)
    return channel_module._list_received(canned, canned, 9, time.monotonic() + 5)  # type: ignore[arg-type]


def part(payload: bytes, *, sequence: int = 9, flags: int = 2, kind: int = 30) -> bytes:
    return struct.pack("=IHHII", 16 + len(payload), kind, flags, sequence, 0) + payload


END = part(bytes(4), kind=3)


def test_parts_of_a_list_are_gathered() -> None:
    one, two, three = (bytes([number] * 8) for number in range(3))
    found = list_of(part(one) + part(two), part(three) + END)
    assert (found.payloads, found.is_interrupted) == ([one, two, three], False)
    assert found.end.type == 3


def test_what_belongs_to_another_list_is_left_out() -> None:
    stale = part(bytes(8), sequence=8)
    assert list_of(stale + stale, stale + part(b"ours") + stale, part(bytes(4), sequence=8, kind=3), END).payloads == [
        b"ours"
    ]


@pytest.mark.parametrize("count", [1, 3])
def test_list_that_changed_while_it_was_made_is_marked(count: int) -> None:
    assert list_of(part(bytes(8)) * 3, part(bytes(8), flags=0x12) * count, END).is_interrupted
    assert list_of(part(bytes(8)) * 3, part(bytes(4), flags=0x12, kind=3)).is_interrupted


async def test_the_real_kernel_lists_its_families() -> None:
    channel = Channel(5.0)
    try:
        async with channel.exchange():
            listing = request(GENL_ID_CTRL, 3, b"", flags=NLM_F_DUMP, sequence=9, version=2)
            (listed,) = await channel.dumps([(listing, 9)])
    finally:
        channel.close()
    assert len(listed.payloads) > 1
    assert (listed.end.sequence, listed.is_interrupted) == (9, False)
    assert answer(listed.end).errno == 0


@pytest.mark.parametrize(("dumps_s", "answered"), [(60.0, 3), (0.0, 1)])
async def test_several_lists_come_in_their_order_as_far_as_time_allows(
    monkeypatch: pytest.MonkeyPatch, dumps_s: float, answered: int
) -> None:
    monkeypatch.setattr(channel_module, "_DUMPS_S", dumps_s)
    channel = Channel(5.0)
    sequences = (9, 4, 7)
    requests = [(request(GENL_ID_CTRL, 3, b"", flags=NLM_F_DUMP, sequence=each, version=2), each) for each in sequences]
    try:
        async with channel.exchange():
            answers = await channel.dumps(requests)
    finally:
        channel.close()
    assert [each.end.sequence for each in answers] == list(sequences[:answered])
    assert {len(each.payloads) for each in answers} == {len(answers[0].payloads)}
    assert answers[0].payloads
