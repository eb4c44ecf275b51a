"""Seconds from one `fleet put` to the tables of several directors, which follow one etcd on this machine.

`python -m bench.fleet.put [SERVERS [DIRECTORS]]`. All servers are checked by one probe, because identical probes run
once, so the figures are of etcd, of reading the services, and of the table in memory, not of probing.
"""

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.etcd import Etcd, etcd

PATIENCE_S = 180.0
POLL_S = 0.1
HEALTHD = (sys.executable, "-c", "from lvs_healthd.cli import main; main()")


class Director:
    """A daemon with a table in memory.

    folder: its own.
    url: where etcd is.
    """

    def __init__(self, folder: Path, url: str) -> None:
        folder.mkdir()
        self.control = folder / "control.sock"
        self.config = folder / "config.toml"
        self.config.write_text(
            f'[daemon]\nlisten = ""\ncontrol = "{self.control}"\nstate = "{folder}/state.json"\n'
            f'[fleet]\nstore = "{url}"\n'
        )
        self.log = folder / "log"
        with self.log.open("wb") as log:
            command = [*HEALTHD, "run", "--table", "memory", "--config", str(self.config)]
            self.process = subprocess.Popen(command, stderr=log)

    def has_started(self) -> bool:
        """Return whether it runs."""
        return b'"daemon.started"' in self.log.read_bytes()

    def in_force_at(self) -> float | None:
        """Return when what was put came into force, Unix time; None if it has not yet."""
        for line in self.log.read_bytes().splitlines():
            event = json.loads(line) if line.endswith(b"}") else {}
            if event.get("event") == "store.changed" and event["services"]:
                return _unix(event["timestamp"])
        return None

    def servers(self) -> int:
        """Return how many real servers are in the table."""
        connection = http.client.HTTPConnection("control", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        with contextlib.closing(connection):
            connection.sock.connect(str(self.control))
            connection.request("GET", "/api/v1/ipvsadm/actual")
            return connection.getresponse().read().count(b"\n-a ")


def _has(director: Director, servers: int) -> bool:
    return director.servers() == servers


def _unix(timestamp: str) -> float:
    seconds, _, rest = timestamp.removesuffix("Z").partition(".")
    whole = time.strptime(f"{seconds} +0000", "%Y-%m-%dT%H:%M:%S %z")
    return float(int(time.mktime(whole)) - time.timezone) + float(f"0.{rest}")


@contextlib.contextmanager
def directors(count: int, folder: Path, url: str) -> Iterator[list[Director]]:
    """Run directors for the block."""
    found: list[Director] = []
    try:
        found += [Director(folder / f"director{number}", url) for number in range(count)]
        _wait(lambda: all(each.has_started() for each in found), "all have started")
        yield found
    finally:
        for each in found:
            each.process.terminate()
        for each in found:
            each.process.wait(30)


def _wait(condition: Callable[[], bool], what: str) -> float:
    """Wait for a condition. Return when it was seen first, Unix time."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"not in {PATIENCE_S:g}s: {what}")
        time.sleep(POLL_S)
    return time.time()


def services(servers: int, port: int) -> str:
    """Return a file of one service with so many servers."""
    listed = [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in range(1, servers + 1)]
    check = f'{{ type = "tcp", address = "127.0.0.1", port = {port}, interval = "1s", rise = 1 }}'
    return f'[[service]]\nname = "web"\naddress = "192.0.2.100:80"\ncheck = {check}\nreal_server = {listed}\n'


def measured(store: Etcd, found: list[Director], file: Path, servers: int) -> None:
    """Put the services, and print how long it took until each director had them."""
    began = time.time()
    subprocess.run([*HEALTHD, "fleet", "put", str(file), "--config", str(found[0].config)], check=True)
    put = time.time()
    print(f"{servers} servers in {file.stat().st_size} bytes, by one put of {put - began:.1f} s (validated first)")
    for number, each in enumerate(found):
        full = _wait(partial(_has, each, servers), "all servers are in the table")
        in_force = each.in_force_at() or full
        print(f"director {number}: in force {in_force - put:+.1f} s, in the table {full - put:+.1f} s after the put")
    print(f"etcd is at revision {store.post('kv/range', key=b'x')['header']['revision']}")


def main() -> None:
    """Measure, and print what was found."""
    servers, count = [*map(int, sys.argv[1:]), *(10_000, 3)[len(sys.argv) - 1 :]]
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        folder = Path(name)
        file = folder / "services.toml"
        file.write_text(services(servers, listener.getsockname()[1]))
        with etcd(folder / "etcd") as store, directors(count, folder, store.url) as found:
            measured(store, found, file, servers)


if __name__ == "__main__":
    main()
