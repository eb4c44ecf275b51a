"""Redis."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lvs_healthd.config.check_model import TcpCheck, UdpCheck
from tests.ready_made.checks import accepts, probe, ready_made, stream
from tests.ready_made.conftest import Tried
from tests.ready_made.own_network import ask, in_own_network, redis_server, wait_for_answer
from tests.ready_made.servers import running

Exchange = TcpCheck | UdpCheck
Start = Callable[..., Exchange]


@pytest.fixture
def start_redis(port: int, tmp_path: Path) -> Iterator[Start]:
    """Start a Redis on loopback, and return the check that probes it."""
    check = stream(ready_made("redis", port))
    with contextlib.ExitStack() as servers:

        def start(*options: str) -> Exchange:
            servers.enter_context(running(redis_server(port, "--bind", "127.0.0.1", *options), tmp_path))
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


def command(check: Exchange, line: str) -> None:
    """Send a command to a Redis, and wait for its effect."""
    with socket.create_connection((check.address, check.port), 30) as connection:
        connection.sendall(f"{line}\r\n".encode())
        assert connection.recv(100) == b"+OK\r\n"


def assert_answers(check: Exchange, start: bytes) -> None:
    """Assert that the server gives this answer after a while, and that the check then fails."""
    deadline = time.monotonic() + 10
    while not (answer := ask(check)).startswith(start):
        assert time.monotonic() < deadline, answer
        time.sleep(0.01)
    assert not accepts(check, answer)


def test_redis_that_serves_is_up(start_redis: Start) -> None:
    check = start_redis()
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


def test_redis_replica_without_data_is_down(tried: Tried, start_redis: Start) -> None:
    check = start_redis("--replica-serve-stale-data", "no", "--replicaof", "127.0.0.1", "1")
    assert ask(check).startswith(b"-MASTERDOWN ")
    tried.down(check, "redis-server", "is a replica without data")


def test_redis_that_is_full_is_down(tried: Tried, start_redis: Start) -> None:
    check = start_redis("--maxclients", "1")
    with socket.create_connection((check.address, check.port), 5) as occupant:
        occupant.sendall(b"PING\r\n")
        assert occupant.recv(100) == b"+PONG\r\n"
        tried.down(check, "redis-server", "has as many clients as `maxclients` allows")


def test_redis_in_protected_mode_is_down(tmp_path: Path) -> None:
    assert in_own_network("redis", tmp_path) == {"protected yes": False, "protected no": True}


def test_redis_that_could_not_save_is_down(tried: Tried, start_redis: Start, tmp_path: Path) -> None:
    check = start_redis("--save", "3600 1", "--dbfilename", "taken")
    (tmp_path / "taken").mkdir()  # it cannot be replaced by a file
    command(check, "SET key value")
    with socket.create_connection((check.address, check.port), 5) as connection:
        connection.sendall(b"BGSAVE\r\n")
        assert connection.recv(100).startswith(b"+Background saving started")
    assert_answers(check, b"-MISCONF ")
    tried.down(check, "redis-server", "could not save, and refuses writes")


def test_redis_with_too_few_replicas_to_write_is_up(tried: Tried, start_redis: Start) -> None:
    check = start_redis("--min-replicas-to-write", "1")
    with socket.create_connection((check.address, check.port), 5) as connection:
        connection.sendall(b"SET key value\r\n")
        assert connection.recv(100).startswith(b"-NOREPLICAS")
    tried.up(check, "redis-server", "has too few replicas and refuses writes")


def test_redis(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("redis", port)
    with running(redis_server(port, "--bind", "127.0.0.1"), tmp_path) as server:
        tried.life(check, "redis-server", server)
