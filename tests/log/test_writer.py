"""Lines reach their reader whole. A reader that is gone or stuck costs lines, but never time."""

import io
import itertools
import os
import pty
import select
import socket
import time

import pytest

from lvs_healthd.log.writer import LineWriter


def test_lines_reach_a_pipe_whole_even_when_longer_than_its_atomic_size() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "w") as stream:
        writer = LineWriter(stream)
        writer.write("a" * 20_000)
        writer.write("second")
        stream.close()
        assert reader.read() == b"a" * 20_000 + b"\nsecond\n"
    assert writer.dropped == 0


def test_closed_reader_drops_and_counts() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        writer = LineWriter(stream)
        writer.write("one")
        writer.write("two")
    assert (writer.dropped, writer.working) == (2, False)


def test_stuck_reader_delays_once_and_then_drops_at_once() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"), os.fdopen(writing, "w") as stream:
        writer = LineWriter(stream)
        start = time.monotonic()
        for _ in range(1000):  # ten times what the pipe holds
            writer.write("x" * 700)
        assert time.monotonic() - start < 1.0
    assert writer.dropped > 800


def test_process_that_was_not_run_for_a_while_loses_no_line_to_a_healthy_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moments = itertools.count()
    # Whatever the writer does, a second has passed since it last looked.
    monkeypatch.setattr(time, "monotonic", lambda: float(next(moments)))
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "w") as stream:
        writer = LineWriter(stream)
        for letter in "abc":
            writer.write(letter * 20_000)
        stream.close()
        assert reader.read() == b"".join(letter * 20_000 + b"\n" for letter in (b"a", b"b", b"c"))
    assert (writer.dropped, writer.working) == (0, True)


def test_descriptor_that_promises_room_and_has_none_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    leader, follower = pty.openpty()
    with os.fdopen(leader, "rb", buffering=0), os.fdopen(follower, "w") as stream:
        writer = LineWriter(stream)

        def no_room(_descriptor: int, _data: bytes) -> int:
            raise BlockingIOError

        monkeypatch.setattr(os, "write", no_room)
        writer.write("never taken")
        assert (writer.dropped, writer.working) == (1, False)
        monkeypatch.undo()
        writer.close()


def test_terminal_that_nobody_reads_costs_lines_and_no_time() -> None:
    leader, follower = pty.openpty()
    with os.fdopen(leader, "rb", buffering=0) as reader, os.fdopen(follower, "w") as stream:
        writer = LineWriter(stream)
        start = time.monotonic()
        for _ in range(1000):
            writer.write("x" * 200)
        assert time.monotonic() - start < 20  # a plain write would never return
        assert writer.dropped > 800
        dropped = writer.dropped
        while select.select([reader], [], [], 1)[0]:
            reader.read(4096)
        writer.write("read again")
        assert writer.dropped == dropped
        writer.close()


def test_line_cut_short_is_finished_before_the_next_one() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("w") as stream:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        writer = LineWriter(stream)
        while writer.working:
            writer.write("x" * 3000)
        written = dropped = b""
        theirs.setblocking(False)
        for _ in range(3):  # read what is there, then write more: every line that gets through must be whole
            dropped = b""
            while True:
                try:
                    dropped += theirs.recv(65536)
                except BlockingIOError:
                    break
            written += dropped
            writer.write("y" * 3000)
        written += theirs.recv(65536)
    assert {line for line in written.splitlines() if line} == {b"x" * 3000, b"y" * 3000}


def test_stream_in_memory_is_written_to() -> None:
    stream = io.StringIO()
    LineWriter(stream).write("é")
    assert stream.getvalue() == "é\n"


def test_undecodable_name_is_written_as_an_escape() -> None:
    stream = io.StringIO()
    LineWriter(stream).write('"\udc80"')
    assert stream.getvalue() == '"\\udc80"\n'


def test_no_stream_and_closed_stream_drop_and_count() -> None:
    closed = io.StringIO()
    writers = [LineWriter(None), LineWriter(closed)]
    closed.close()
    for writer in writers:
        writer.write("lost")
        assert writer.dropped == 1


def test_full_disk_drops_and_counts() -> None:
    with open("/dev/full", "w", encoding="utf-8") as stream:  # noqa: PTH123  # a device, not a path to manage
        writer = LineWriter(stream)
        writer.write("lost")
    assert writer.dropped == 1
