"""What reaches the journal, read from a real datagram socket, and what becomes of entries that it does not take."""

import contextlib
import fcntl
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from lvs_healthd import log
from lvs_healthd.events.kinds import DaemonStopping, PairActive, RealServerDown, TableError
from lvs_healthd.log import EventLog
from lvs_healthd.log.journal import JournalWriter
from lvs_healthd.log.writer import LineWriter

DOWN = RealServerDown(
    service="web",
    server="198.51.100.11:80",
    check="http",
    reason="connection refused",
    failures=3,
    fall=3,
    was="up",
    after_s=62.1,
)
TABLE_ERROR = TableError(operation="add_server", service="web", server="198.51.100.11:80", error="EPERM", retry_s=1.0)
ENTRY = {"timestamp": "2023-11-14T22:13:20.123Z", "level": "info", "event": "daemon.stopping", "signal": "SIGTERM"}

Fields = dict[str, list[str]]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Journal:
    """A socket that stands in for journald's, and reads only when it is asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open()

    def open(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(str(self.path))

    def close(self) -> None:
        self.socket.close()
        self.path.unlink()

    def read(self) -> list[Fields]:
        """Return what waits, and fail as journald does if a file is not sealed."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                data, descriptors, *_ = socket.recv_fds(self.socket, 1 << 20, 4)
                for descriptor in descriptors:
                    assert data == b""
                    with os.fdopen(descriptor, "rb") as file:
                        sealed = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
                        assert fcntl.fcntl(file, fcntl.F_GET_SEALS) == sealed
                        file.seek(0)
                        data = file.read()
                found.append(parsed(data))
        return found


def parsed(data: bytes) -> Fields:
    """Parse an entry as https://systemd.io/JOURNAL_NATIVE_PROTOCOL describes it."""
    fields: Fields = {}
    while data:
        head, _, data = data.partition(b"\n")
        name, equals, value = head.partition(b"=")
        if not equals:
            (length,) = struct.unpack("<Q", data[:8])
            value, data = data[8 : 8 + length], data[8 + length :]
            assert data[:1] == b"\n"
            data = data[1:]
        fields.setdefault(name.decode(), []).append(value.decode())
    return fields


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "socket")
    yield journal
    journal.close()


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[TextIO]:
    """A stream of which JOURNAL_STREAM says that it leads to the journal."""
    reading, writing = os.pipe()
    status = os.fstat(writing)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    os.set_blocking(reading, False)
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 1 << 20)  # systemd gives the real one 8 MiB
    with os.fdopen(writing, "w") as stream, os.fdopen(reading, "rb", buffering=0) as reader:
        stream.reader = reader  # type: ignore[attr-defined]
        yield stream


def lines_of(stream: TextIO) -> list[str]:
    text = b""
    while part := stream.reader.read(1 << 20):  # type: ignore[attr-defined]
        text += part
    return text.decode().splitlines()


@pytest.fixture
def written(journal: Journal, stderr: TextIO) -> Iterator[EventLog]:
    written = log.configure(stderr, journal_socket=str(journal.path))
    yield written
    written.close()


def test_each_entry_has_its_service_server_event_and_priority_beside_the_same_json(
    written: EventLog, journal: Journal, stderr: TextIO
) -> None:
    for event in (DOWN, TABLE_ERROR, DaemonStopping(signal="SIGTERM")):
        written(event)
    down, error, stopping = journal.read()
    message = json.loads(down.pop("MESSAGE")[0])
    assert list(message) == ["timestamp", "level", "event", *DOWN.__struct_fields__]
    assert down == {
        "PRIORITY": ["4"],
        "SYSLOG_IDENTIFIER": ["lvs-healthd"],
        "LVS_EVENT": ["real_server.down"],
        "LVS_SERVICE": ["web"],
        "LVS_SERVER": ["198.51.100.11:80"],
    }
    assert (error["PRIORITY"], stopping["PRIORITY"]) == (["3"], ["6"])
    assert "LVS_SERVICE" not in stopping
    assert lines_of(stderr) == []


def test_event_about_several_services_is_found_by_each(written: EventLog, journal: Journal) -> None:
    written(PairActive(vip="192.0.2.100", services=("web", "odd\nMESSAGE=forged\n", "dns"), count=3))
    (entry,) = journal.read()
    assert entry["LVS_SERVICE"] == ["web", "odd\nMESSAGE=forged\n", "dns"]
    assert len(entry["MESSAGE"]) == 1


def test_name_that_is_no_valid_text_is_sent_all_the_same(journal: Journal, stderr: TextIO) -> None:
    writer = JournalWriter(LineWriter(stderr), str(journal.path))
    writer.write({**ENTRY, "service": "a\udc80"})
    writer.close()
    assert journal.read()[0]["LVS_SERVICE"] == ["a\\udc80"]


def test_entry_that_is_too_large_for_a_datagram_goes_through_a_sealed_file(journal: Journal, stderr: TextIO) -> None:
    writer = JournalWriter(LineWriter(stderr), str(journal.path))
    writer.write({**ENTRY, "exception": "x" * 1_000_000})
    writer.close()
    (entry,) = journal.read()
    assert len(json.loads(entry["MESSAGE"][0])["exception"]) == 1_000_000
    assert entry["LVS_EVENT"] == ["daemon.stopping"]
    assert (writer.unlabelled, lines_of(stderr)) == (0, [])


def test_journal_that_does_not_read_holds_nothing_up_and_costs_no_line(
    written: EventLog, journal: Journal, stderr: TextIO
) -> None:
    start = time.monotonic()
    for _ in range(1000):
        written(TABLE_ERROR)
    assert time.monotonic() - start < 1.0
    labelled, plain = journal.read(), lines_of(stderr)
    assert labelled
    assert plain
    assert len(labelled) + len(plain) == 1000 + 1  # and the line that tells of it
    assert {line[:3] for line in plain} == {"<3>", "<4>"}
    (told,) = [json.loads(line[3:]) for line in plain if "log.unlabelled" in line]
    assert (told["lines"], told["error"]) == (1, "Resource temporarily unavailable")
    assert written.dropped == 0


def test_rest_of_unlabelled_lines_is_told_a_minute_later_and_then_no_more(journal: Journal, stderr: TextIO) -> None:
    clock = Clock()
    written = log.configure(stderr, journal_socket=str(journal.path), clock=clock)
    journal.close()
    for _ in range(5):
        written(DOWN)
    journal.open()
    for clock.now in (59.0, 61.0, 200.0):
        written.flush()
    told = [json.loads(entry["MESSAGE"][0]) for entry in journal.read()]
    assert [(line["event"], line["lines"]) for line in told] == [("log.unlabelled", 4)]
    assert "No such file or directory" in told[0]["error"]
    written.close()


def test_journal_that_never_comes_is_told_once_and_not_every_minute_about_itself(stderr: TextIO) -> None:
    clock = Clock()
    written = log.configure(stderr, journal_socket="/nonexistent", clock=clock)
    written(DOWN)
    for clock.now in (1.0, 70.0, 140.0):
        written.flush()
    events = [json.loads(line[3:])["event"] for line in lines_of(stderr)]
    assert events == ["real_server.down", "log.unlabelled"]
    written.close()


def test_line_is_lost_and_counted_only_if_neither_way_is_left(journal: Journal) -> None:
    writer = JournalWriter(LineWriter(None), "/nonexistent")
    writer.write(ENTRY)
    assert (writer.dropped, writer.working) == (1, False)
    writer.close()
    writer = JournalWriter(LineWriter(None), str(journal.path))
    writer.write(ENTRY)
    assert (writer.dropped, writer.working) == (0, True)
    writer.close()


def test_end_waits_until_the_journal_has_read_the_last_entry(journal: Journal, stderr: TextIO) -> None:
    writer = JournalWriter(LineWriter(stderr), str(journal.path))
    writer.write(ENTRY)
    read: list[Fields] = []
    late = threading.Timer(0.01, lambda: read.extend(journal.read()))
    late.start()
    writer.close()
    assert read
    late.join()


def test_end_does_not_wait_long_for_a_journal_that_does_not_read(journal: Journal, stderr: TextIO) -> None:
    writer = JournalWriter(LineWriter(stderr), str(journal.path))
    writer.write(ENTRY)
    start = time.monotonic()
    writer.close()
    assert 0.04 < time.monotonic() - start < 1.0


def test_entry_after_the_end_is_still_sent(journal: Journal, stderr: TextIO) -> None:
    writer = JournalWriter(LineWriter(stderr), str(journal.path))
    writer.close()
    writer.write(ENTRY)
    assert len(journal.read()) == 1
    writer.close()


def test_threads_may_write_at_the_same_time(journal: Journal, stderr: TextIO) -> None:
    writer = JournalWriter(LineWriter(stderr), str(journal.path))

    def write() -> None:
        for _ in range(20):
            writer.write(ENTRY)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    plain = lines_of(stderr)
    assert len(journal.read()) + len(plain) == 20 * len(threads)
    assert writer.unlabelled == len(plain)
    writer.close()
