"""The daemon with one web service on a NAT director, for tests of its main job: taking out dead servers."""

import contextlib
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

from lab.host import MODE
from lab.topology import Topology
from tests.daemon_process import DaemonProcess, Line, daemon

INTERVAL_S, TIMEOUT_S, FALL = 1.0, 1.0, 3
RESYNC_S = 2.0
SLACK_S = 5.0 if MODE == "inside" else 1.5
"""For an emulated machine, on which a wake-up takes tenths of a second, and more while all processors are busy."""

FOREIGN = """-A -t 192.0.2.250:8080 -s sh -p 360 -b sh-port
-a -t 192.0.2.250:8080 -r 198.51.100.77:8080 -m -w 7
"""

RS1, RS2 = "198.51.100.11:80", "198.51.100.12:80"


def configuration(folder: Path, *, service: str = "", address: str = "192.0.2.100:80", servers: str = "") -> Path:
    file = folder / "config.toml"
    servers = servers or f'{{ address = "{RS1}", weight = 3 }}, {{ address = "{RS2}", weight = 3 }}'
    file.write_text(f"""
[daemon]
listen = ""
control = "{folder}/control.sock"
state = "{folder}/state.json"
resync = "{RESYNC_S:g}s"

[defaults.check]
interval = "{INTERVAL_S * 1000:g}ms"
timeout = "{TIMEOUT_S:g}s"
rise = 2
fall = {FALL}

[[service]]
name = "web"
address = "{address}"
scheduler = "rr"
check = {{ type = "http", path = "/healthz", body = "ok" }}
real_server = [{servers}]
{service}
""")
    return file


@contextlib.asynccontextmanager
async def on_director(nat: Topology, file: Path, *options: str) -> AsyncIterator[DaemonProcess]:
    async with daemon(file, *options, namespace=nat.director) as running:
        yield running


async def both_in(running: DaemonProcess) -> None:
    for server in (RS1, RS2):
        await running.until("table.changed", operation="add_server", server=server)


def ports_towards_servers(nat: Topology, state: str) -> list[str]:
    """Return the commands that set the director's ports towards the servers "up" or "down".

    While all are down, the bridge of which they are ports, "servers", has no carrier. The servers keep their addresses.
    """
    shown = nat.director.run(["ip", "-o", "link", "show", "master", "servers"]).stdout
    return [f"ip link set {line.split()[1].partition('@')[0]} {state}" for line in shown.splitlines()]


def moment(line: Line) -> float:
    """Return when a log line was written, on the monotonic clock that the load client uses, seconds."""
    wall = datetime.fromisoformat(line["timestamp"]).timestamp()
    return wall - (time.time() - time.monotonic())


def wait_for_table(nat: Topology, wanted: str) -> None:
    deadline = time.monotonic() + 20
    while sorted(nat.ipvsadm.saved().splitlines()) != sorted(wanted.splitlines()):
        assert time.monotonic() < deadline, nat.ipvsadm.saved()
        time.sleep(0.1)
