"""The demo: web servers fail and return while a client sends requests, and each claim about the director is measured.

Run it with `make demo`. It must run inside the lab, where `python -m lab demo` starts it. The exit status is 1 when a
claim does not hold.
"""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab import page
from lab.daemon import FALL, INTERVAL_S, RESYNC_S, RISE, TIMEOUT_S, WEIGHT, Daemon, moment
from lab.host import MODE
from lab.load import Load, by_server
from lab.narrator import Narrator
from lab.nginx import Nginx
from lab.topology import Topology
from lab.wait import wait_until

FOREIGN = """\
-A -t 192.0.2.200:8080 -s sh -p 360
-a -t 192.0.2.200:8080 -r 203.0.113.7:8080 -m -w 7
"""
"""Somebody else's service in the same table, which the daemon must leave alone."""

OWN_RULES = (
    "add table inet own",
    "add chain inet own output { type filter hook output priority 0 ; }",
    "add rule inet own output tcp dport 80 meta skuid 0 counter drop",
)
"""Rules by which the director drops its own probes. What it forwards for clients belongs to no user, and passes."""

REQUESTS_AFTER = 40
"""How many requests must be made before the demo may claim that none was lost."""

MARGIN_S = 2.0 if MODE == "inside" else 0.5
"""How many seconds the machine may add to the daemon's own times. An emulated machine may take a second to wake up a
process."""


def main() -> int:
    """Run the demo, and return the exit status."""
    tell = Narrator(colour="--colour" in sys.argv)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="demo-")))
        tell.step("Building the lab: a client, a director and two real servers, each with its own network stack")
        topology = stack.enter_context(Topology.nat(servers=2))
        web = [stack.enter_context(Nginx.serving(server)) for server in topology.servers]
        topology.ipvsadm.restore(FOREIGN)
        file, url = stack.enter_context(page.offered(topology, folder))
        story = Story(tell, topology, web, Daemon(topology.director, file))
        tell.say(f"kernel {os.uname().release}; nginx on {' and '.join(server.address for server in topology.servers)}")
        tell.say(f"(+{MARGIN_S:g} s) below is what this machine may add to the daemon's own times")
        story.begin()
        if url:
            tell.say(f"the status page, until the daemon stops: {url}")
        with Load.running(topology.client, topology.vip, pause_s=0.1) as load:
            story.server_killed(load)
            story.server_hung(load)
            story.server_drained(load)
            story.director_at_fault(load)
            story.daemon_killed(load)
            story.service_deleted(load)
            story.table_cleared(load)
            story.daemon_stopped(load)
    return tell.verdict()


class Story:
    """The acts of the demo. After each act, both servers serve and the daemon runs, as the next act expects."""

    def __init__(self, tell: Narrator, topology: Topology, web: list[Nginx], daemon: Daemon) -> None:
        self._tell = tell
        self._topology = topology
        self._web = web
        self._daemon = daemon
        self._dead = f"{topology.servers[0].address}:80"
        self._bound_s = FALL * INTERVAL_S + TIMEOUT_S

    def begin(self) -> None:
        """Start the daemon on a table that has only somebody else's service."""
        self._tell.step("Starting lvs-healthd; the table holds nothing but a service that is not ours")
        self._daemon.start()
        for server in self._topology.servers:
            self._added(f"{server.address}:80", after=0)
        self._tell.say(f"each server was added once it had passed its check {RISE} times; ipvsadm -Ln:")
        self._tell.quote(self._topology.ipvsadm.listing())

    def server_killed(self, load: Load) -> None:
        """Let nginx 1 die, and come back."""
        self._tell.step("Killing nginx 1: from now on its kernel refuses connections")
        self._failure_and_return("killed", load, fail=self._web[0].kill, mend=self._web[0].start, show=True)

    def server_hung(self, load: Load) -> None:
        """Let nginx 1 hang, and come back."""
        self._tell.step("Hanging nginx 1 (SIGSTOP): it still accepts connections and never answers")
        self._failure_and_return("hung", load, fail=self._web[0].hang, mend=self._web[0].resume, show=False)

    def _failure_and_return(
        self, how: str, load: Load, *, fail: Callable[[], None], mend: Callable[[], None], show: bool
    ) -> None:
        tell, daemon = self._tell, self._daemon
        position, failed_at = len(daemon.lines()), time.monotonic()
        fail()
        removed = daemon.wait_for("table.changed", after=position, operation="delete_server", server=self._dead)
        out = moment(removed)
        tell.log(daemon.select("real_server.down", after=position)[0])
        tell.log(removed)
        if show:
            tell.say("ipvsadm -Ln now:")
            tell.quote(self._topology.ipvsadm.listing())
        after = load.wait_for(REQUESTS_AFTER, since=out)
        tell.say(f"removed {out - failed_at:.1f} s after it was {how}")
        tell.say(f"requests lost until then: {len(load.failed_since(failed_at)) - len(load.failed_since(out))}")
        detection_s = removed["detection_s"]
        tell.claim(
            f"{how} server: out within fall x interval + timeout = {self._bound_s:g} s (+{MARGIN_S:g} s)",
            f"{detection_s:.1f} s",
            holds=detection_s <= self._bound_s + MARGIN_S,
        )
        if show:
            tell.say("lvs-healthd status says:")
            tell.quote(daemon.status())
        self._none_lost(f"{how} server: no request fails once it is out", load, since=out, servers={"rs2"})

        position, mended_at = len(daemon.lines()), time.monotonic()
        mend()
        back = moment(self._added(self._dead, after=position))
        up = daemon.select("real_server.up", after=position)[0]
        tell.log(up)
        after = load.wait_for(REQUESTS_AFTER, since=back)
        entry = f"-a -t {self._topology.vip}:80 -r {self._dead} -m -w {WEIGHT}"
        tell.say(f"nginx 1 is well again; back {back - mended_at:.1f} s later, answers so far: {by_server(after)}")
        tell.claim(
            f"{how} server: back after rise = {RISE} passes, with its own weight {WEIGHT}",
            f"{up['passes']} passes",
            holds=up["passes"] == RISE and entry in self._topology.ipvsadm.saved() and "rs1" in by_server(after),
        )
        self._foreign_untouched(f"{how} server")

    def server_drained(self, load: Load) -> None:
        """Drain nginx 1 for maintenance, and give it back."""
        tell, daemon = self._tell, self._daemon
        tell.step(f'An operator runs: lvs-healthd drain web {self._dead} --reason "kernel update"')
        position = len(daemon.lines())
        tell.quote(daemon.verb("drain", "web", self._dead, "--reason", "kernel update"))
        drained = daemon.wait_for("table.changed", after=position, operation="set_server", server=self._dead)
        tell.log(drained)
        self._none_lost(
            "drained server: gets no new request, and none fails", load, since=moment(drained), servers={"rs2"}
        )
        entry = f"-a -t {self._topology.vip}:80 -r {self._dead} -m -w "
        found = [line for line in self._table() if line.startswith(entry)]
        tell.claim(
            "drained server: weight 0, so that its connections live on",
            ", ".join(f"weight {line.removeprefix(entry)}" for line in found) or "not in the table",
            holds=found == [f"{entry}0"],
        )
        tell.say("lvs-healthd status --overrides says:")
        tell.quote(daemon.verb("status", "--overrides"))
        tell.say(f"The operator runs: lvs-healthd enable web {self._dead}")
        position = len(daemon.lines())
        daemon.verb("enable", "web", self._dead)
        enabled = daemon.wait_for("table.changed", after=position, server=self._dead)
        self._none_lost("enabled server: both serve again", load, since=moment(enabled))
        tell.claim(
            f"enabled server: its own weight {WEIGHT} again",
            enabled["fields"],
            holds=f"{entry}{WEIGHT}" in self._table(),
        )

    def director_at_fault(self, load: Load) -> None:
        """Let the director drop its own probes, so that all servers seem to be silent, though they serve."""
        tell, daemon, director = self._tell, self._daemon, self._topology.director
        tell.step("A rule of the director's own firewall drops its probes: all servers seem silent, and serve clients")
        before, position, began_at = self._table(), len(daemon.lines()), time.monotonic()
        for rule in OWN_RULES:
            director.run(["nft", rule])
        for server in self._topology.servers:
            daemon.wait_for("real_server.down", after=position, server=f"{server.address}:80")
        # Twice the time in which they would have been taken out.
        kept_until = time.monotonic() + 2 * self._bound_s
        wait_until(lambda: time.monotonic() > kept_until, timeout_s=60, what="the brake to be needed")
        brakes = daemon.select("brake.on", after=position)
        for line in brakes:
            tell.log(line)
        is_named = any("our own firewall drops packets" in line["cause"] for line in brakes)
        writes = len(daemon.select("table.changed", after=position))
        tell.claim(
            "director at fault: the brake keeps all servers in the table",
            f"{writes} writes",
            holds=bool(brakes) and writes == 0 and before == self._table(),
        )
        tell.claim(
            "director at fault: what is wrong is found and named",
            "named" if is_named else "not named",
            holds=is_named,
        )
        self._none_lost("director at fault: no request fails", load, since=began_at)
        position, mended_at = len(daemon.lines()), time.monotonic()
        director.run(["nft", "delete table inet own"])
        off = daemon.wait_for("brake.off", after=position)
        tell.log(off)
        for server in self._topology.servers:
            daemon.wait_for("real_server.up", after=position, server=f"{server.address}:80")
        tell.claim(
            f"brake: let go within interval + timeout = {INTERVAL_S + TIMEOUT_S:g} s (+{MARGIN_S:g} s), all up again",
            f"{moment(off) - mended_at:.1f} s",
            holds=moment(off) - mended_at <= INTERVAL_S + TIMEOUT_S + MARGIN_S and before == self._table(),
        )

    def daemon_killed(self, load: Load) -> None:
        """Crash the daemon and start it again."""
        tell, daemon = self._tell, self._daemon
        tell.step("Killing lvs-healthd with -9, and starting it again")
        before, position, killed_at = self._table(), len(daemon.lines()), time.monotonic()
        daemon.kill()
        orphaned = self._table()
        daemon.start()
        tell.say(f"it was gone for {time.monotonic() - killed_at:.1f} s")
        # Wait for a whole resync and for a verdict of every check.
        settled_at = time.monotonic() + RESYNC_S + self._bound_s
        wait_until(lambda: time.monotonic() > settled_at, timeout_s=60, what="the restarted daemon to settle")
        writes = len(daemon.select("table.changed", after=position))
        tell.claim(
            "daemon killed -9 and restarted: not one write to the table",
            f"{writes} writes",
            holds=writes == 0 and before == orphaned == self._table(),
        )
        self._none_lost("daemon killed -9 and restarted: no request fails", load, since=killed_at)
        self._foreign_untouched("daemon killed -9")

    def service_deleted(self, load: Load) -> None:
        """Delete our service by hand."""
        service = f"{self._topology.vip}:80"
        self._tell.step(f"Somebody runs: ipvsadm -D -t {service}")
        self._vandalised("ipvsadm -D", load, "-D", "-t", service)
        self._foreign_untouched("ipvsadm -D")

    def table_cleared(self, load: Load) -> None:
        """Empty the table by hand."""
        self._tell.step("Somebody runs: ipvsadm -C")
        self._vandalised("ipvsadm -C", load, "-C")
        self._tell.say("the other service is gone too, and stays gone, because it is not ours")

    def _vandalised(self, name: str, load: Load, *command: str) -> None:
        tell, daemon = self._tell, self._daemon
        ours, position, done_at = _own(self._table()), len(daemon.lines()), time.monotonic()
        self._topology.ipvsadm(*command)
        wait_until(lambda: _own(self._table()) == ours, timeout_s=60, what="the table to be repaired")
        tell.log(daemon.wait_for("table.drift", after=position))
        # The last write is in the kernel's table a moment before it is in the log.
        last = max(moment(self._added(f"{server.address}:80", after=position)) for server in self._topology.servers)
        tell.say(f"requests lost meanwhile: {len(load.failed_since(done_at)) - len(load.failed_since(last))}")
        tell.claim(
            f"{name}: repaired within resync = {RESYNC_S:g} s (+{MARGIN_S:g} s)",
            f"{last - done_at:.1f} s",
            holds=last - done_at <= RESYNC_S + MARGIN_S,
        )
        self._none_lost(f"{name}: no request fails after the repair", load, since=last)

    def daemon_stopped(self, load: Load) -> None:
        """Stop the daemon in good order."""
        tell = self._tell
        tell.step("Stopping lvs-healthd (SIGTERM)")
        before, stopped_at = self._table(), time.monotonic()
        status = self._daemon.stop()
        tell.claim(
            "daemon stopped: ends in order and leaves the table as it is",
            f"exit status {status}",
            holds=status == 0 and self._table() == before,
        )
        self._none_lost("daemon stopped: no request fails", load, since=stopped_at)

    def _added(self, server: str, *, after: int) -> dict[str, Any]:
        return self._daemon.wait_for("table.changed", after=after, operation="add_server", server=server)

    def _none_lost(self, claim: str, load: Load, *, since: float, servers: set[str] | None = None) -> None:
        requests = load.wait_for(REQUESTS_AFTER, since=since)
        failed = [request for request in requests if not request.ok]
        for request in failed[:5]:
            self._tell.say(f"failed: {request}")
        self._tell.claim(
            claim,
            f"{len(failed)} of {len(requests)}",
            holds=not failed and by_server(requests).keys() == (servers or {"rs1", "rs2"}),
        )

    def _foreign_untouched(self, act: str) -> None:
        found = _foreign(self._topology.ipvsadm.saved())
        self._tell.claim(
            f"{act}: the service that is not ours is untouched, byte for byte",
            "identical" if found == FOREIGN else found,
            holds=found == FOREIGN,
        )

    def _table(self) -> list[str]:
        # The kernel lists services in the order of a hash.
        return sorted(self._topology.ipvsadm.saved().splitlines())


def _foreign(saved: str) -> str:
    return "".join(line for line in saved.splitlines(keepends=True) if "192.0.2.200:8080" in line)


def _own(table: list[str]) -> list[str]:
    return [line for line in table if "192.0.2.200:8080" not in line]


if __name__ == "__main__":
    sys.exit(main())
