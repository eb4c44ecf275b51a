"""memcached, beanstalkd, NATS and etcd."""

import base64
import contextlib
import json
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ready_made.checks import PATIENCE_S, PAUSE_S, hasty, ready_made, wait_until_up
from tests.ready_made.conftest import Tried
from tests.ready_made.servers import free_port, running

MANY_RECORDS = 200
"""More than fit into the database of a test."""


@contextlib.contextmanager
def occupied(port: int, count: int, hello: bytes = b"", *, greeting: bytes = b"") -> Iterator[None]:
    """Hold connections to a server.

    hello: what each says, to wait for an answer.
    greeting: how the server begins to greet each, without being asked. One that it turns away, because it has not yet
        noticed the end of an earlier connection, is replaced.
    """
    deadline = time.monotonic() + PATIENCE_S
    with contextlib.ExitStack() as held:
        for _ in range(count):
            while True:
                connection = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
                connection.sendall(hello)
                answer = connection.recv(100) if hello or greeting else b""
                if answer.startswith(greeting) and bool(answer) is bool(hello or greeting):
                    break
                connection.close()
                assert time.monotonic() < deadline, answer
                time.sleep(PAUSE_S)
            held.enter_context(connection)
        yield


def test_memcached(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("memcached", port)
    user = ["-u", "nobody"]
    with running(["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-c", "64", *user], tmp_path) as server:
        tried.up(check, "memcached")
        with occupied(port, 64):
            tried.down(hasty(check), "memcached", "has as many connections as `-c` allows")
        tried.life(check, "memcached", server)


def test_beanstalkd(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("beanstalkd", port)
    with running(["beanstalkd", "-l", "127.0.0.1", "-p", str(port)], tmp_path) as server:
        tried.life(check, "beanstalkd", server)


def test_beanstalkd_that_drains_is_up(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("beanstalkd", port)
    with running(["beanstalkd", "-l", "127.0.0.1", "-p", str(port)], tmp_path) as server:
        wait_until_up(check)
        server.notify(signal.SIGUSR1)
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(b"put 0 0 60 1\r\nx\r\n")
            assert client.recv(100) == b"DRAINING\r\n"
        tried.up(check, "beanstalkd", "drains: it takes no jobs")


def test_nats(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("nats", port)
    with running(["nats-server", "-a", "127.0.0.1", "-p", str(port)], tmp_path) as server:
        tried.life(check, "nats-server", server)


def test_nats_that_is_full_is_down(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("nats", port)
    (tmp_path / "nats.conf").write_text(f"listen: 127.0.0.1:{port}\nmax_connections: 1\n")
    with running(["nats-server", "-c", tmp_path / "nats.conf"], tmp_path):
        wait_until_up(check)
        with occupied(port, 1, b"PING\r\n"):
            tried.down(hasty(check), "nats-server", "has as many clients as `max_connections` allows")


def test_nats_that_wants_a_password_is_up(tried: Tried, port: int, tmp_path: Path) -> None:
    command = ["nats-server", "-a", "127.0.0.1", "-p", str(port), "--auth", "secret"]
    with running(command, tmp_path) as server:
        tried.up(ready_made("nats", port), "nats-server", "wants a password", server)


def etcd(port: int, peer: int, tmp_path: Path, *members: str) -> list[str | Path]:
    here = f"http://127.0.0.1:{peer}"
    return [
        "etcd",
        *("--name", "one", "--data-dir", tmp_path / "data", "--log-outputs", "stderr"),
        *("--listen-client-urls", f"http://127.0.0.1:{port}", "--advertise-client-urls", f"http://127.0.0.1:{port}"),
        *("--listen-peer-urls", here, "--initial-advertise-peer-urls", here),
        *("--initial-cluster", ",".join([f"one={here}", *members])),
    ]


def test_etcd(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("etcd", port)
    with running(etcd(port, free_port(), tmp_path), tmp_path) as server:
        tried.life(check, "etcd-server", server)


def fill(url: str, record: bytes) -> None:
    """Put one record into etcd again and again. It keeps every version."""
    for _ in range(MANY_RECORDS):
        urllib.request.urlopen(url, record, PATIENCE_S).close()  # noqa: S310  # of our own making
        time.sleep(PAUSE_S)  # etcd knows its size only once it has written what it was given


def test_etcd_with_an_alarm_is_down(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("etcd", port)
    with running([*etcd(port, free_port(), tmp_path), "--quota-backend-bytes", "100000"], tmp_path):
        wait_until_up(check)
        record = json.dumps({"key": "eA==", "value": base64.b64encode(bytes(60_000)).decode()}).encode()
        with pytest.raises(urllib.error.HTTPError):  # the one that no longer fits
            fill(f"http://127.0.0.1:{port}/v3/kv/put", record)
        tried.down_at_last(check, "etcd-server", "has an alarm: its database is full")


def test_etcd_without_a_quorum_is_down(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("etcd", port)
    absent = [f"{name}=http://127.0.0.1:{free_port()}" for name in ("two", "three")]
    with running(etcd(port, free_port(), tmp_path, *absent), tmp_path):
        tried.down_soon(check, "etcd-server", "has no quorum")
