"""Tries ready-made checks on real servers; run as a script it does so in a network of its own.

`unshare --map-root-user --net python tests/ready_made.py NAME DIRECTORY` prints what the check makes of the server in
every state it goes through, as JSON. In there a server may have any port and any address, and no right to set a clock.
"""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from lvs_healthd.config.load import parse
from lvs_healthd.config.model import StreamCheck, TcpCheck
from lvs_healthd.config.patterns import answer_pattern
from lvs_healthd.probes.outcome import OutcomeKind
from lvs_healthd.probing.once import run_once

PATIENCE_S = 20.0


def ready_made(name: str, port: int, address: str = "127.0.0.1") -> StreamCheck:
    """Load the packaged check of that name, aimed at a server."""
    service = f'[[service]]\naddress = "127.0.0.100:{port}"\ncheck = "{name}"\nreal_server = ["{address}"]\n'
    [check] = parse(service, "/none/config.toml").services[0].real_servers[0].checks
    assert isinstance(check, StreamCheck)
    return check


def accepts(check: StreamCheck, answer: bytes) -> bool:
    """Return whether an answer passes, by the rules of a probe."""
    return answer_pattern(check.expect_regex).is_in(answer)


def ask(check: StreamCheck) -> bytes:
    """Send what the check sends, and return the answer. Over TCP, read until it passes or the server closes."""
    kind = socket.SOCK_STREAM if isinstance(check, TcpCheck) else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as connection:
        connection.settimeout(check.timeout)
        connection.connect((check.address, check.port))
        connection.sendall(check.send)
        answer = connection.recv(65536)
        while kind is socket.SOCK_STREAM and not accepts(check, answer):
            more = connection.recv(65536)
            if not more:
                break
            answer += more
        return answer


def probe(check: StreamCheck) -> bool:
    """Return whether the check passes when the daemon's own engine runs it."""
    (found,) = asyncio.run(run_once([check])).values()  # type: ignore[list-item]
    return found.outcome.kind is OutcomeKind.UP


@contextlib.contextmanager
def running(command: Sequence[str], directory: Path) -> Iterator[None]:
    """Run a server until the block is left."""
    with subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


def wait_for_answer(check: StreamCheck) -> bytes:
    """Ask again and again until the server, which is still starting, answers at all."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return ask(check)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def redis_server(port: int, *options: str) -> list[str]:
    """Return the command of a Redis that saves nothing to disk."""
    return ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no", "--loglevel", "warning", *options]


def try_ntp(directory: Path) -> dict[str, bool]:
    """Try an NTP server right after its start, and after it trusts its clock. Orphan mode needs no other server."""
    configuration = directory / "ntp.conf"
    configuration.write_text("disable ntp\ntos orphan 5 orphanwait 1\n")
    check = ready_made("ntp", 123)
    with running(["ntpd", "-n", "-c", str(configuration), "-l", str(directory / "log")], directory):
        unsynchronised = accepts(check, wait_for_answer(check))
        deadline = time.monotonic() + PATIENCE_S
        while not (synchronised := probe(check)) and time.monotonic() < deadline:
            time.sleep(0.5)  # asked much more often it answers no more
        return {"unsynchronised": unsynchronised, "synchronised": synchronised}


def try_redis(directory: Path) -> dict[str, bool]:
    """Try a Redis from another address, with and without protected mode."""
    subprocess.run(["ip", "address", "add", "192.0.2.1/32", "dev", "lo"], check=True)
    check = ready_made("redis", 6379, "192.0.2.1")
    found = {}
    for mode in ("yes", "no"):
        with running(redis_server(6379, "--bind", "192.0.2.1", "--protected-mode", mode), directory):
            found[f"protected {mode}"] = accepts(check, wait_for_answer(check))
    return found


if __name__ == "__main__":
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    trial = {"ntp": try_ntp, "redis": try_redis}[sys.argv[1]]
    print(json.dumps(trial(Path(sys.argv[2]))))  # noqa: T201  # its result is its output
