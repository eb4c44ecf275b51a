"""tftpd-hpa and atftpd."""

import contextlib
import grp
import os
import pwd
import socket
import threading
from pathlib import Path

import pytest

from tests.ready_made.checks import hasty, probe, ready_made, wait_until_up
from tests.ready_made.conftest import Tried
from tests.ready_made.servers import IN_PLACE, program, running
from tests.ready_made.syslog import logging_to, syslog

FILE = "lvs-healthd"
"""What the check asks for."""

_IN_PLACE = 'mount --bind "$0" /mnt; exec "$@"'
"""Lets a program find a directory of ours as /mnt, which every user may enter."""


def served(directory: Path) -> Path:
    """Return a directory with the file."""
    root = directory / "served"
    root.mkdir()
    root.chmod(0o755)
    (root / FILE).touch(0o644)
    return root


def hpa(port: int, root: Path, devices: Path) -> list[str | Path]:
    """Run tftpd-hpa with Debian's options. It needs root, because it changes its root directory."""
    options = ("--foreground", "--listen", "--user", "nobody", "--address", f"127.0.0.1:{port}", "--secure")
    return logging_to(devices, "sh", "-ec", _IN_PLACE, root, program("in.tftpd"), *options, IN_PLACE)


def atftpd(port: int, root: Path, log: Path, *options: str) -> list[str | Path]:
    """Run atftpd with Debian's options."""
    log.touch()
    alone = ("--daemon", "--no-fork", "--port", str(port), "--bind-address", "127.0.0.1")
    level = ("--verbose=5", "--tftpd-timeout", "300", "--retry-timeout", "5")
    user = ("--user", f"{pwd.getpwuid(os.geteuid()).pw_name}.{grp.getgrgid(os.getegid()).gr_name}")
    return ["atftpd", *alone, *user, *level, "--logfile", log, *options, root]


def test_tftpd_hpa(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("tftp", port)
    root = served(tmp_path)
    with syslog(tmp_path / "dev") as log, running(hpa(port, root, tmp_path / "dev"), tmp_path, logs=[log]) as server:
        wait_until_up(check)
        (root / FILE).unlink()
        tried.down(check, "tftpd-hpa", "has no such file", "File not found")
        (root / FILE).touch()
        tried.life(check, "tftpd-hpa", server)


def test_atftpd(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("tftp", port)
    root, log = served(tmp_path), tmp_path / "atftpd.log"
    with running(atftpd(port, root, log), tmp_path, logs=[log]) as server:
        wait_until_up(check)
        (root / FILE).unlink()
        tried.down(check, "atftpd", "has no such file", "File not found")
        (root / FILE).touch()
        tried.life(check, "atftpd", server)


def begin_transfer(client: socket.socket, port: int) -> None:
    """Ask for the file until the server sends its first block, which is never acknowledged.

    A server that is full passes over a request, and may still be busy with the end of an earlier transfer.
    """
    client.settimeout(1)
    for _ in range(20):
        client.sendto(b"\0\1" + FILE.encode() + b"\0octet\0", ("127.0.0.1", port))
        with contextlib.suppress(TimeoutError):
            client.recv(1500)
            return
    pytest.fail("the server does not begin a transfer")


def test_atftpd_that_is_full_is_down(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("tftp", port)
    root, log = served(tmp_path), tmp_path / "atftpd.log"
    with running(atftpd(port, root, log, "--maxthread", "1"), tmp_path, logs=[log]):
        wait_until_up(check)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            begin_transfer(client, port)
            tried.down(hasty(check), "atftpd", "has as many clients as `--maxthread` allows")


def test_probe_ends_the_transfer_so_that_the_server_does_not_send_its_block_again() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as known,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as transfer,
    ):
        for each in (known, transfer):
            each.bind(("127.0.0.1", 0))
            each.settimeout(20)

        def serve() -> None:
            asked, client = known.recvfrom(1500)
            assert asked == b"\0\1" + FILE.encode() + b"\0octet\0"
            transfer.sendto(b"\0\3\0\1", client)

        thread = threading.Thread(target=serve)
        thread.start()
        assert probe(ready_made("tftp", known.getsockname()[1]))
        thread.join()
        assert transfer.recv(1500) == b"\0\5\0\0enough\0"
