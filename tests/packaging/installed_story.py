"""The lab's main story with the installed package, on a real Debian that is the lab's director.

tests/packaging/test_installed.py has it run where there is IPVS. Upgrade, removal and purge happen under traffic.
"""

import contextlib
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.load import Load, by_server
from lab.nginx import Nginx
from lab.topology import Topology
from lab.wait import wait_until
from tests.packaging.root import Machine, from_image

IMAGE, LATER = "LVS_HEALTHD_TEST_IMAGE", "LVS_HEALTHD_TEST_LATER"
"""Variables that say where the disk image of a Debian with the package is, and the same package as a later version."""

FOREIGN = "-A -t 192.0.2.250:8080 -s sh -p 360 -b sh-port\n-a -t 192.0.2.250:8080 -r 198.51.100.77:8080 -m -w 7\n"
"""Somebody else's service, which must stay as it is."""

CONFIG = "/etc/lvs-healthd/config.toml"
RS1, RS2 = "198.51.100.11:80", "198.51.100.12:80"
INTERVAL_S, TIMEOUT_S, FALL, RESYNC_S = 1.0, 4.0, 3, 4.0
SERVICE = f"""
[[service]]
name = "web"
address = "192.0.2.100:80"
scheduler = "rr"
check = {{ type = "http", path = "/healthz", body = "ok", interval = "{INTERVAL_S:g}s", timeout = "{TIMEOUT_S:g}s" }}
real_server = ["{RS1}", "{RS2}"]
"""
DEADLINE_S = 240.0
"""How long anything may take on an emulated machine that unpacks a package at the same time, seconds."""

PATIENT = "[Service]\nTimeoutStartSec=20min\nWatchdogSec=10min\n"
"""A drop-in for an emulated machine, on which Python alone takes longer to start than systemd would wait."""

REQUESTS = 40
"""How many requests show that nobody is refused."""

Line = dict[str, Any]


class Story:
    """The acts. After each of them both servers serve, as the next one expects."""

    def __init__(self, lab: Topology, web: list[Nginx], machine: Machine, load: Load, journal: Path) -> None:
        """`journal` is where the daemon's log arrives."""
        self._lab, self._web, self._machine, self._load, self._journal = lab, web, machine, load, journal

    def is_killed(self) -> None:
        """A server dies, is out, and comes back."""
        position = len(self._lines())
        self._web[0].kill()
        out = self._until("table.changed", after=position, operation="delete_server", server=RS1)
        assert out["reason"] == "connection refused"
        self._all_served(by={1})
        self._web[0].start()
        self._until("real_server.up", after=position, server=RS1)
        self._until("table.changed", after=position, operation="add_server", server=RS1)
        self._all_served(by={0, 1})

    def hangs(self) -> None:
        """A server accepts connections and never answers."""
        position = len(self._lines())
        self._web[1].hang()
        out = self._until("table.changed", after=position, operation="delete_server", server=RS2)
        assert out["reason"].startswith("connected, but no answer"), out
        self._all_served(by={0})
        self._web[1].resume()
        self._until("table.changed", after=position, operation="add_server", server=RS2)
        self._all_served(by={0, 1})

    def is_deleted_by_hand(self) -> None:
        """Somebody deletes the service."""
        before, position = self._table(), len(self._lines())
        self._lab.ipvsadm("-D", "-t", "192.0.2.100:80")
        self._until("table.drift", after=position)
        wait_until(lambda: self._table() == before, timeout_s=DEADLINE_S, what="the repair")
        self._all_served(by={0, 1})

    def is_upgraded(self) -> None:
        """A later version of the package comes under traffic: nobody is refused, and nothing is written."""
        before, pid, position = self._table(), self._pid(), len(self._lines())
        counted, begun = self._connections(), time.monotonic()
        said = self._machine.run("apt-get install --yes --quiet=2 /packages/later.deb")
        assert "refuses" not in said.stdout + said.stderr
        assert "1000-1" in self._machine.run("dpkg-query --show lvs-healthd").stdout
        assert self._pid() not in {pid, "0"}
        # Until each server has as many verdicts as could take it out, and the table has been read twice.
        self._until("daemon.started", after=position)
        time.sleep(FALL * INTERVAL_S + TIMEOUT_S + 2 * RESYNC_S)
        status = self._machine.run("lvs-healthd status", check=False).stdout
        assert len(re.findall(r"198\.51\.100\.1[12]:80 +up", status)) == 2, status
        self._nothing_written_since(before, begun, counted, position)

    def is_removed(self) -> None:
        """Neither removal nor purge touches the table or asks anything; clients are served as before."""
        before, position = self._table(), len(self._lines())
        counted, begun = self._connections(), time.monotonic()
        removed = self._machine.run("apt-get remove --yes --quiet=2 lvs-healthd < /dev/null")
        assert "the IPVS table stays as it is" in removed.stdout + removed.stderr
        self._nothing_written_since(before, begun, counted, position)
        # Without DEBIAN_FRONTEND, so that a question would be asked, and nobody there to answer it.
        self._machine.run("env --unset=DEBIAN_FRONTEND dpkg --purge lvs-healthd < /dev/null")
        self._machine.run(f"test ! -e {CONFIG}; test ! -e /var/lib/lvs-healthd; test ! -e /usr/bin/lvs-healthd")
        self._nothing_written_since(before, begun, counted, position)

    def _nothing_written_since(self, table: list[str], begun: float, counted: int, position: int) -> None:
        """Assert that the table is the same, that nobody has written to it or was refused since."""
        self._all_served(by={0, 1}, since=begun)
        assert [line for line in self._lines(position) if line["event"] in ("table.changed", "table.drift")] == []
        assert self._table() == table
        # A service that is deleted and added again begins to count at 0.
        assert self._connections() >= counted + REQUESTS

    def _all_served(self, *, by: set[int], since: float | None = None) -> None:
        """Assert that no request fails from now on, or since a moment, and that these servers answer them all."""
        since = time.monotonic() if since is None else since
        self._load.wait_for(REQUESTS, since=time.monotonic(), timeout_s=DEADLINE_S)
        requests = self._load.started_since(since)
        assert [request for request in requests if not request.ok] == []
        assert by_server(requests).keys() == {self._lab.servers[index].name for index in by}

    def _table(self) -> list[str]:
        # The kernel lists services in the order of a hash.
        return sorted(self._lab.ipvsadm.saved().splitlines())

    def _connections(self) -> int:
        """Return how many connections the service has had, as the kernel counts them."""
        listed = self._lab.ipvsadm("-Ln", "--stats", "--exact", "-t", "192.0.2.100:80")
        return next(int(line.split()[2]) for line in listed.splitlines() if line.startswith("TCP "))

    def _pid(self) -> str:
        return self._machine.run("systemctl show --property MainPID --value lvs-healthd").stdout.strip()

    def _lines(self, after: int = 0) -> list[Line]:
        """Return the lines of the daemon's log so far, without the first ones."""
        whole, _, _ = self._journal.read_text(encoding="utf-8").rpartition("\n")
        lines = [line for line in whole.splitlines() if line.startswith("{")]
        return [json.loads(line) for line in lines[after:]]

    def _until(self, event: str, *, after: int, **fields: object) -> Line:
        """Wait for a line of the log after the first ones, and return it."""

        def found() -> list[Line]:
            return [line for line in self._lines(after) if line["event"] == event and fields.items() <= line.items()]

        wait_until(lambda: bool(found()), timeout_s=DEADLINE_S, what=f"{event} {fields}", poll_s=0.2)
        return found()[0]


def tell(what: str) -> None:
    """Tell how far the story is, for whoever waits for an emulated guest."""
    print(f"{time.strftime('%T')} {what}", flush=True)  # noqa: T201


@contextlib.contextmanager
def following(machine: Machine, file: Path) -> Iterator[None]:
    """Write the daemon's log into a file as it comes."""
    command = ["nsenter", "--target", str(machine.pid), "--all", "--root", "--wd", "journalctl", "--follow"]
    with file.open("wb") as output:
        words = ("--unit", "lvs-healthd", "--output", "cat", "--lines", "all")
        process = subprocess.Popen([*command, *words], stdin=subprocess.DEVNULL, stdout=output)
        try:
            yield
        finally:
            process.kill()
            process.wait()


def main() -> None:
    """Play it. Each act begins with what the one before has left."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="installed-")))
        lab = stack.enter_context(Topology.nat(servers=2))
        lab.ipvsadm.restore(FOREIGN)
        root = stack.enter_context(from_image(Path(os.environ[IMAGE]), folder))
        drop_in = root / "etc/systemd/system/lvs-healthd.service.d/patient.conf"
        drop_in.parent.mkdir(parents=True)
        drop_in.write_text(PATIENT, encoding="utf-8")
        tell("boots")
        network = f"--network-namespace-path={lab.director.path}"
        later = f"--bind-ro={os.environ[LATER]}:/packages/later.deb"
        machine = stack.enter_context(Machine.booted(root, network, later))
        machine.until("systemctl is-active lvs-healthd && echo it is", "it is", deadline_s=DEADLINE_S)
        assert lab.ipvsadm.saved() == FOREIGN  # it is in shadow mode, and has no services
        tell("booted, and the daemon runs, without having been touched")
        web = [stack.enter_context(Nginx.serving(server)) for server in lab.servers]
        edit = f'sed -i \'s/^mode = "shadow"$/mode = "enforce"\\nresync = "{RESYNC_S:g}s"/\' {CONFIG}'
        machine.run(f"{edit}; cat >> {CONFIG} <<'END'\n{SERVICE}END\nlvs-healthd reload")
        both = (f"-r {RS1} ", f"-r {RS2} ")
        wait_until(
            lambda: all(server in lab.ipvsadm.saved() for server in both), timeout_s=DEADLINE_S, what="both servers"
        )
        tell("has both servers in the table")
        journal = folder / "journal"
        stack.enter_context(following(machine, journal))
        load = stack.enter_context(Load.running(lab.client, lab.vip, pause_s=0.2, timeout_s=10.0))
        story = Story(lab, web, machine, load, journal)
        for act in (story.is_killed, story.hangs, story.is_deleted_by_hand, story.is_upgraded, story.is_removed):
            act()
            tell(str(act.__doc__))
        assert FOREIGN in lab.ipvsadm.saved()


if __name__ == "__main__":
    main()
