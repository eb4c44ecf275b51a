"""Tries ready-made checks on real servers in a network of their own.

`unshare --map-root-user --net python tests/ready_made/own_network.py NAME DIRECTORY` prints what the check makes of the
server in every state it goes through, as JSON. In there a server may have any port and any address, and no right to set
a clock.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lvs_healthd.config.check_model import TcpCheck, UdpCheck
from tests.ready_made.checks import PATIENCE_S, accepts, probe, ready_made, stream
from tests.ready_made.servers import running

ROOT = Path(__file__).parents[2]


def in_own_network(name: str, directory: Path) -> dict[str, bool]:
    """Try a check in a new network, in which all addresses and ports are free. Skip if this host allows none."""
    command = ["unshare", "--map-root-user", "--net", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("no network namespaces here")
    script = [*command, sys.executable, __file__, name, str(directory)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, bool] = json.loads(done.stdout)
    return found


def ask(check: TcpCheck | UdpCheck) -> bytes:
    """Send what the check sends, and return the answer. Over TCP, read until it passes or the server closes."""
    kind = socket.SOCK_STREAM if isinstance(check, TcpCheck) else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as connection:
        connection.settimeout(check.timeout)
        connection.connect((check.address, check.port))
        connection.sendall(check.send)
        answer = connection.recv(65536)
        while kind is socket.SOCK_STREAM and not accepts(check, answer):
            try:
                more = connection.recv(65536)
            except ConnectionResetError:  # it has closed without reading all that was sent
                more = b""
            if not more:
                break
            answer += more
        return answer


def wait_for_answer(check: TcpCheck | UdpCheck) -> bytes:
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
    check = stream(ready_made("ntp", 123))
    with running(["ntpd", "-n", "-c", configuration, "-l", directory / "log"], directory):
        unsynchronised = accepts(check, wait_for_answer(check))
        deadline = time.monotonic() + PATIENCE_S
        while not (synchronised := probe(check)) and time.monotonic() < deadline:
            time.sleep(0.5)  # asked much more often it answers no more
        return {"unsynchronised": unsynchronised, "synchronised": synchronised}


def try_redis(directory: Path) -> dict[str, bool]:
    """Try a Redis from another address, with and without protected mode."""
    subprocess.run(["ip", "address", "add", "192.0.2.1/32", "dev", "lo"], check=True)
    check = stream(ready_made("redis", 6379, "192.0.2.1"))
    found = {}
    for mode in ("yes", "no"):
        with running(redis_server(6379, "--bind", "192.0.2.1", "--protected-mode", mode), directory):
            found[f"protected {mode}"] = accepts(check, wait_for_answer(check))
    return found


if __name__ == "__main__":
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    trial = {"ntp": try_ntp, "redis": try_redis}[sys.argv[1]]
    print(json.dumps(trial(Path(sys.argv[2]))))  # noqa: T201  # its result is its output
