"""sd_notify against a real datagram socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvs_healthd.runtime.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(1)
        yield receiver


def notifier(manager: socket.socket) -> Notifier:
    return Notifier.from_environment({"NOTIFY_SOCKET": manager.getsockname()})


def test_ready_carries_its_status_in_the_same_message(manager: socket.socket) -> None:
    notifier(manager).ready("2 services, 4 real servers")
    assert manager.recv(4096) == b"READY=1\nSTATUS=2 services, 4 real servers"


def test_reloading_carries_the_monotonic_time_in_microseconds(manager: socket.socket) -> None:
    Notifier(manager.getsockname(), clock=lambda: 12.5).reloading()
    assert manager.recv(4096) == b"RELOADING=1\nMONOTONIC_USEC=12500000"


def test_stopping_status_and_watchdog_are_one_message_each(manager: socket.socket) -> None:
    sender = notifier(manager)
    sender.stopping()
    sender.status("in order")
    sender.watchdog()
    assert [manager.recv(4096) for _ in range(3)] == [b"STOPPING=1", b"STATUS=in order", b"WATCHDOG=1"]


def test_status_is_one_bounded_line_whatever_the_text(manager: socket.socket) -> None:
    notifier(manager).status("rejected:\nREADY=1\n" + "x" * 5000 + "\udc80")
    message = manager.recv(65536)
    assert b"\n" not in message
    assert len(message) == len("STATUS=") + 1024


def test_abstract_socket_is_reached() -> None:
    name = f"lvs-healthd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + name)
        receiver.settimeout(1)
        Notifier.from_environment({"NOTIFY_SOCKET": "@" + name}).watchdog()
        assert receiver.recv(4096) == b"WATCHDOG=1"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:9999"}])
def test_without_a_usable_socket_nothing_is_sent(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise AssertionError("a socket was opened")

    sender = Notifier.from_environment(environment)
    monkeypatch.setattr(socket, "socket", refuse)
    sender.ready("ok")


def test_a_manager_that_is_gone_or_deaf_does_not_raise_or_block(tmp_path: Path, manager: socket.socket) -> None:
    Notifier(str(tmp_path / "nobody")).ready("ok")
    Notifier("/" + "x" * 300).ready("the path is too long")
    sender = notifier(manager)
    for _ in range(5000):  # far beyond net.unix.max_dgram_qlen: a blocking send would hang here
        sender.watchdog()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog_interval_is_read_only_when_meant_for_this_process(
    environment: dict[str, str], expected: float | None
) -> None:
    assert Notifier.from_environment(environment).watchdog_s == expected


def test_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch, manager: socket.socket) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
    Notifier.from_environment().stopping()
    assert manager.recv(4096) == b"STOPPING=1"
