"""The ready-made checks: every one loads, and each is tried on the real server in states that are up and down."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lvs_healthd.config.model import StreamCheck, TcpCheck
from tests import ready_made
from tests.ready_made import accepts, ask, probe, redis_server, running, wait_for_answer

ROOT = Path(__file__).parents[1]
NAMES = sorted(path.stem for path in (ROOT / "checks").glob("*.toml"))


@pytest.mark.parametrize("program", ["redis-server", "ntpd"])
def test_real_server_is_here_to_be_tried(program: str) -> None:
    assert shutil.which(program), f"{program} is not in PATH: `make test` installs it and sets PATH"


def test_ready_made_checks_are_these() -> None:
    assert NAMES == ["ntp", "redis"]


@pytest.mark.parametrize("name", NAMES)
def test_every_ready_made_check_loads_and_is_documented(name: str) -> None:
    assert ready_made.ready_made(name, 1).name == name
    assert f"`{name}`" in (ROOT / "docs" / "checks.md").read_text()


# ---- redis -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


Start = Callable[..., StreamCheck]


@pytest.fixture
def start_redis(free_port: int, tmp_path: Path) -> Iterator[Start]:
    """Start a Redis on loopback, and return the check that probes it."""
    check = ready_made.ready_made("redis", free_port)
    with contextlib.ExitStack() as servers:

        def start(*options: str) -> StreamCheck:
            servers.enter_context(running(redis_server(free_port, "--bind", "127.0.0.1", *options), tmp_path))
            wait_for_answer(check)
            return check

        yield start


@contextlib.contextmanager
def background(function: Callable[..., None], *arguments: object) -> Iterator[None]:
    """Run a function on a thread for the length of the block."""
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def command(check: StreamCheck, line: str) -> None:
    """Send a command to a Redis, and wait for its effect."""
    with socket.create_connection((check.address, check.port), 30) as connection:
        connection.sendall(f"{line}\r\n".encode())
        assert connection.recv(100) == b"+OK\r\n"


def assert_answers(check: StreamCheck, start: bytes) -> None:
    """Assert that the server gives this answer after a while, and that the check then fails."""
    deadline = time.monotonic() + 10
    while not (answer := ask(check)).startswith(start):
        assert time.monotonic() < deadline, answer
        time.sleep(0.01)
    assert not accepts(check, answer)


def test_redis_that_serves_is_up(start_redis: Start) -> None:
    check = start_redis()
    assert isinstance(check, TcpCheck)
    assert ask(check).startswith(b"+PONG\r\n")
    assert probe(check)


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        (["--requirepass", "secret"], b"-NOAUTH "),
        (["--user", "default", "on", "nopass", "+@all", "-ping"], b"-NOPERM "),
    ],
)
def test_redis_that_wants_more_than_we_know_is_up(start_redis: Start, options: list[str], answer: bytes) -> None:
    check = start_redis(*options)
    assert ask(check).startswith(answer)
    assert probe(check)


def test_redis_that_reads_its_data_is_down(start_redis: Start) -> None:
    check = start_redis("--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024")
    command(check, "DEBUG POPULATE 1000")
    command(check, "CONFIG SET key-load-delay 1000")
    with background(command, check, "DEBUG RELOAD"):
        assert_answers(check, b"-LOADING ")


def test_redis_replica_without_data_is_down(start_redis: Start) -> None:
    check = start_redis("--replica-serve-stale-data", "no", "--replicaof", "127.0.0.1", "1")
    assert ask(check).startswith(b"-MASTERDOWN ")
    assert not probe(check)


def test_redis_that_is_full_is_down(start_redis: Start) -> None:
    check = start_redis("--maxclients", "1")
    with socket.create_connection((check.address, check.port), 5) as occupant:
        occupant.sendall(b"PING\r\n")
        assert occupant.recv(100) == b"+PONG\r\n"
        assert not probe(check)


def in_own_network(name: str, directory: Path) -> dict[str, bool]:
    """Try a check in a new network, in which all addresses and ports are free. Skip if this host allows none."""
    command = ["unshare", "--map-root-user", "--net", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("no network namespaces here")
    script = [*command, sys.executable, str(ROOT / "tests" / "ready_made.py"), name, str(directory)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, bool] = json.loads(done.stdout)
    return found


def test_redis_in_protected_mode_is_down(tmp_path: Path) -> None:
    assert in_own_network("redis", tmp_path) == {"protected yes": False, "protected no": True}


# ---- ntp -------------------------------------------------------------------------------------------------------------


def test_ntp_server_is_up_once_it_is_synchronised(tmp_path: Path) -> None:
    assert in_own_network("ntp", tmp_path) == {"unsynchronised": False, "synchronised": True}


HEADER = bytes.fromhex("24 05 00 e8") + bytes(44)


@pytest.mark.parametrize(
    ("answer", "up"),
    [
        (HEADER, True),
        (b"\x1c" + HEADER[1:], True),  # version 3
        (b"\x64" + HEADER[1:], True),  # a leap second is coming
        (b"\xe4" + HEADER[1:], False),  # leap 3: not synchronised
        (b"\x23" + HEADER[1:], False),  # our own question come back
        (b"\x14" + HEADER[1:], False),  # version 2
        (HEADER[:1] + b"\x00" + HEADER[2:], False),  # kiss of death
        (HEADER[:1] + b"\x0f" + HEADER[2:], True),
        (HEADER[:1] + b"\x10" + HEADER[2:], False),  # stratum 16
        (HEADER[:-1], False),
        (HEADER + b"\n", False),
        (b"\n" + HEADER, False),
        (HEADER.replace(b"\x00", b"\n"), True),  # any byte is fine in a timestamp
    ],
)
def test_ntp_answer(answer: bytes, up: bool) -> None:
    assert accepts(ready_made.ready_made("ntp", 123), answer) is up


def test_ntp_question_is_a_client_packet() -> None:
    check = ready_made.ready_made("ntp", 123)
    assert (len(check.send), check.send[0]) == (48, 0x23)
    assert check.interval >= 8  # what a server that limits its clients puts up with
