"""The soak: runs the daemon for a long time with 5 000 servers while everything around it keeps changing.

It is a separate program: `python -m bench.soak --minutes N`. 500 of the servers flap. Racks go dark and return, the
configuration is reloaded, broken files are offered, somebody else edits the kernel's table, and now and then a probe
worker is killed. With `--keep` the probes keep their connections; then half of the servers that go off hang instead of
being dead, servers restart, and a fifth of the racks close connections that are idle for as long as the interval. The
soak watches what may grow or go wrong over time: memory, descriptors, threads, lag and events.
Again and again, it compares the daemon's verdicts with the truth (which ports answer). At the end it also compares
every line of the recorded kernel's table with the truth. The exit status is 1 if they differ, or if memory, descriptors
or threads grow more than is allowed.
"""

import argparse
import functools
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bench.exposition import Scrape
from bench.figures import number, straight_line
from bench.healthd import Healthd, Load, configuration, folder, running_daemon
from bench.isolation import isolate
from bench.kept_servers import KeptServers
from bench.outcome import MeasurementError
from bench.processes import PEER_CPU, descriptors, end_in_good_order, resident_bytes, threads
from bench.real_servers import RealServers
from bench.recorded_kernel_run import DAEMON, KernelProcess, running_kernel
from bench.steady import LAG, SKIPPED
from bench.switchable import SwitchableServers
from bench.truth import Truth, table_of
from bench.vandal import FOREIGN, Vandal

SERVERS = 5000
INTERVAL_S = 2.0
RISE, FALL, TIMEOUT_S = 2, 3, 1.0
WORKERS = 2

GROUP = 25
"""How many servers share a port. They fail together, like the servers of a rack."""
GROUPS = 100
OFF = 10
"""How many groups are off at any time: 5 % of all servers."""
FILLING_FAILURES = 10
"""How often each of these groups fails during the warm-up, so that the histories of its servers are full afterwards: a
failure and a return are two of the 20 things that are kept by default. Before that they grow, at the pace of
`TOGGLE_EVERY_S` for nearly an hour."""
_FIRST_PORT = 21_000

FLAPPING_GROUPS = 20
"""How many more groups never come to rest: 500 servers. Neighbouring servers are in different groups, so each of five
services has some servers of every flapping group."""
FLAP_S = 8.0
"""The mean time for which a flapping group stays on or off, seconds. Often that is too short for a verdict."""
_FIRST_FLAPPING_PORT = _FIRST_PORT + GROUPS
_FLAP_TURN_S = 0.5

TOGGLE_EVERY_S = 3.0
RELOAD_EVERY_S = 10.0
BROKEN_RELOAD_EVERY_S = 47.0
EDIT_EVERY_S = 2.0
KILL_EVERY_S = 75.0
"""How often a worker is killed, seconds. A worker that has lived for a minute is replaced at once."""
RESTART_EVERY_S = 0.5
"""How often a group of servers whose clients keep connections closes them all, seconds."""
HANGING_SHARE = 0.5
IMPATIENT_SHARE = 5
"""One group of so many closes connections that are idle for as long as the interval."""
SAMPLE_EVERY_S = 10.0
INSPECT_EVERY_S = 31.0
SETTLE_S = 25.0
"""Verdicts and table must be right after this time without a change, seconds. It is long enough for `fall` probes, for
a killed worker's return, and for two resyncs, which mend lines that somebody else has edited."""

MEMORY_GROWTH_LIMIT = 4 * 1024 * 1024
"""Bytes per hour. Allocators fluctuate. If each of 360 reloads leaked a configuration, it would be hundreds of MiB."""
DESCRIPTOR_GROWTH_LIMIT = 30
"""Descriptors per hour."""
THREAD_GROWTH_LIMIT = 0.5
"""Threads per hour. Threads come and go with the work, and their number moves by one or two."""
JUDGED_FROM_S = 600.0
"""The shortest time for which growth counts, seconds. In less time, the allocator's fluctuation looks like a slope."""
_FLOOR_SAMPLES = 6
_LEAST_SAMPLES = 2 * _FLOOR_SAMPLES
_WARM_SHARE = 0.25
"""The share of the time, at the beginning, that the slopes leave out because caches and histories are still filling."""
_HOUR_S = 3600.0
_MEBI = 1024 * 1024
_SHOWN = 10
"""How many of the faults are printed."""


class Sample(NamedTuple):
    """What the daemon's main process and the worker that is never killed used together at one moment."""

    at: float
    """Monotonic time, seconds."""
    resident_bytes: int
    descriptors: int
    threads: int


class Soak:
    """One soak: servers that come and go, a daemon, and the samples taken from it."""

    def __init__(
        self, load: Load, healthd: Healthd, switch: SwitchableServers | KeptServers, kernel: KernelProcess
    ) -> None:
        self.samples: list[Sample] = []
        self.done: Counter[str] = Counter()
        """What has been done to the daemon, and how often."""
        self.lies: list[str] = []
        """What was wrong at an inspection: a server's verdict, or a line of the table."""
        self._load = load
        self._healthd = healthd
        self._switch = switch
        self._kernel = kernel
        self._chance = random.Random(1)  # noqa: S311  # repeatable, not secret
        self._truth = Truth(load, servers_of(load), always={FOREIGN.service.key: FOREIGN})
        self._vandal = Vandal(kernel, self._truth.table, self._chance)
        self._lasting = min(self._workers())
        self._flaps_at: dict[int, float] = {}
        self._failures: Counter[int] = Counter()
        """How often each group has been switched off, by its port."""
        self._hung: set[int] = set()
        """The ports of `KeptServers` that are off because they hang."""

    def run(self, seconds: float) -> None:
        """Make each kind of change at its own interval for `seconds`. Then wait, and inspect verdicts and table.

        Raises `MeasurementError` when the daemon ends or does not do what it is asked.
        """
        began, warm_s = time.monotonic(), seconds * _WARM_SHARE
        self._vandal.settle_in()
        turns: list[tuple[float, Callable[[], None]]] = [
            (_FLAP_TURN_S, self._flap),
            (TOGGLE_EVERY_S, self._toggle),
            (warm_s / (GROUPS * FILLING_FAILURES), functools.partial(self._fill, began + warm_s)),
            (EDIT_EVERY_S, self._edit),
            (RELOAD_EVERY_S, self._reload),
            (BROKEN_RELOAD_EVERY_S, self._reload_broken),
            (KILL_EVERY_S, self._kill),
            (SAMPLE_EVERY_S, self._sample),
            (INSPECT_EVERY_S, self._inspect_verdicts),
        ]
        if isinstance(self._switch, KeptServers):
            turns.append((RESTART_EVERY_S, functools.partial(self._restart, self._switch)))
        due = [began + period for period, _ in turns]
        while time.monotonic() < began + seconds:
            index = due.index(min(due))
            if (left := due[index] - time.monotonic()) > 0:
                time.sleep(left)
            self._healthd.check_alive()
            period, act = turns[index]
            act()
            due[index] += period
        time.sleep(SETTLE_S)
        self._inspect_verdicts()
        with self._kernel.conversation() as conversation:
            self.lies += self._truth.wrong_lines(table_of(conversation))

    def _inspect_verdicts(self) -> None:
        """Compare the daemon's verdicts with the truth. Servers that changed in the last `SETTLE_S` are left out."""
        verdicts = {
            server["server"]: server["verdict"]
            for service in self._healthd.status()["services"]
            for server in service["real_servers"]
        }
        self.done["verdicts inspected"] += self._truth.settled(SETTLE_S)
        self.lies += self._truth.wrong_verdicts(verdicts, unchanged_s=SETTLE_S)

    def _toggle(self) -> None:
        """Switch one group on and another off, so that the number of failing groups stays the same."""
        ports = range(_FIRST_PORT, _FIRST_PORT + GROUPS)
        off = [port for port in ports if port in self._truth.off]
        # The one that has failed least often, so that all histories are full at about the same time.
        self._turn(min(set(ports) - set(off), key=self._order), is_on=False)
        if len(off) >= OFF:
            self._turn(self._chance.choice(off), is_on=True)

    def _order(self, port: int) -> tuple[int, float]:
        return self._failures[port], self._chance.random()

    def _fill(self, until: float) -> None:
        """Do the same more often during the warm-up."""
        if time.monotonic() < until:
            self._toggle()

    def _flap(self) -> None:
        """Switch each flapping group whose time has come."""
        now = time.monotonic()
        for port in range(_FIRST_FLAPPING_PORT, _FIRST_FLAPPING_PORT + FLAPPING_GROUPS):
            if self._flaps_at.setdefault(port, now) <= now:
                self._flaps_at[port] = now + self._chance.expovariate(1 / FLAP_S)
                self._turn(port, is_on=port in self._truth.off)
                self.done["flaps of 25 servers"] += 1

    def _turn(self, port: int, *, is_on: bool) -> None:
        if is_on:
            self._wake_or_start(port)
        elif isinstance(self._switch, KeptServers) and self._chance.random() < HANGING_SHARE:
            self._switch.hang(port)
            self._hung.add(port)
            self.done["hangs of 25 servers"] += 1
        else:
            self._switch.off(port)
        self._failures[port] += not is_on
        self._truth.switched(port, is_on=is_on)

    def _wake_or_start(self, port: int) -> None:
        if isinstance(self._switch, KeptServers) and port in self._hung:
            self._hung.remove(port)
            self._switch.wake(port)
        else:
            self._switch.on(port)

    def _restart(self, servers: KeptServers) -> None:
        """Let one group close all connections while it goes on listening."""
        ports = [port for port in range(_FIRST_PORT, _FIRST_PORT + GROUPS) if port not in self._truth.off]
        servers.restart(self._chance.choice(ports))
        self.done["restarts of 25 servers"] += 1
        self.done["connections closed while idle"] = servers.idle_closed

    def _edit(self) -> None:
        """Let somebody else edit the daemon's part of the table."""
        self._vandal.edit()
        self.done["foreign edits"] = self._vandal.edits

    def _kill(self) -> None:
        """Kill the worker that is not `_lasting`."""
        victim = max(pid for pid in self._workers() if pid != self._lasting)
        os.kill(victim, signal.SIGKILL)
        self.done["workers killed"] += 1

    def _workers(self) -> list[int]:
        """Return the process ids of the probe workers."""
        found: list[int] = []

        def are_there() -> bool:
            found[:] = self._healthd.program.children()
            return len(found) == WORKERS

        self._healthd.wait_while_alive(are_there, timeout_s=30, what="workers")
        return found

    def _reload(self) -> None:
        """Give one server another address, as if its machine had moved, and reload."""
        index = self._chance.randrange(GROUP * (GROUPS + FLAPPING_GROUPS), SERVERS)
        address, _, port = self._truth.servers[index].rpartition(":")
        moved = self._load.address(index) if address != self._load.address(index) else _elsewhere(address)
        self._truth.move(index, f"{moved}:{port}")
        self._offer(self._configuration(), "config.reloaded")

    def _reload_broken(self) -> None:
        """Reload with a file that must be rejected. Then put a right file in its place, without a reload.

        The file is cut off somewhere, or has a forwarding method that does not exist.
        """
        text = self._configuration()
        cut = text[: self._chance.randrange(len(text) // 2, len(text) - len(_END))].rstrip()
        broken = self._chance.choice([cut + _CUT_OFF, text + 'forward = "pigeon"\n'])
        self._offer(broken, "config.rejected")
        self._healthd.file.write_text(text, encoding="ascii")

    def _offer(self, text: str, event: str) -> None:
        after = len(self._healthd.lines())
        self._healthd.reload(text)
        self._healthd.wait_for(event, after=after, timeout_s=30)
        self.done[event] += 1

    def _configuration(self) -> str:
        place = self._healthd.file.parent
        return configuration(self._load, place, servers=self._truth.servers, check=_CHECK, daemon=_DAEMON)

    def _sample(self) -> None:
        pids = [self._healthd.program.pid, self._lasting]
        sample = Sample(
            time.monotonic(),
            sum(map(resident_bytes, pids)),
            sum(map(descriptors, pids)),
            sum(map(threads, pids)),
        )
        self.samples.append(sample)
        down = sum(map(self._truth.is_down, self._truth.servers))
        print(
            f"  {sample.at - self.samples[0].at:6.0f} s: {sample.resident_bytes / _MEBI:.1f} MiB, "
            f"{sample.descriptors} descriptors, {sample.threads} threads, {down} servers off, "
            f"{self.done['config.reloaded']} reloads, {len(self.lies)} wrong",
            flush=True,
        )


_CHECK = f"rise = {RISE}\nfall = {FALL}"
_DAEMON = f"probe_workers = {WORKERS}"
_END = "]\n"
_CUT_OFF = '\nname = "cut'
"""The last line of a file that is cut off in the middle. It has no closing quote, so the file is not TOML."""


def main() -> int:
    """Run the soak, print the results, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--keep", action="store_true", help="keep connections from one probe to the next")
    options = parser.parse_args()
    minutes: float = options.minutes
    isolate("bench.soak")
    end_in_good_order()
    os.sched_setaffinity(0, {PEER_CPU})
    with (
        RealServers.serving() as servers,
        (KeptServers if options.keep else SwitchableServers).running() as switch,
        folder() as place,
        running_kernel(place) as kernel,
    ):
        load = Load("http-keep" if options.keep else "http", SERVERS, INTERVAL_S, servers.ca)
        ports = range(_FIRST_PORT, _FIRST_PORT + GROUPS + FLAPPING_GROUPS)
        for port in ports:
            switch.on(port)
        if isinstance(switch, KeptServers):
            switch.impatient.update(ports[::IMPATIENT_SHARE])
        text = configuration(load, place, servers=servers_of(load), check=_CHECK, daemon=_DAEMON)
        with running_daemon(text, place, command=[*DAEMON, kernel.path]) as healthd:
            healthd.wait_for("daemon.started")
            healthd.wait_until_up(SERVERS)
            soak = Soak(load, healthd, switch, kernel)
            soak.run(minutes * 60)
            return _judge(soak, healthd)


def servers_of(load: Load) -> list[str]:
    """Return the servers at the beginning. Servers in a group have the group's port, and the others have nginx's."""
    servers = [load.server(index) for index in range(load.count)]
    racks = GROUP * GROUPS
    for index in range(racks):
        servers[index] = f"{load.address(index)}:{_FIRST_PORT + index // GROUP}"
    for index in range(GROUP * FLAPPING_GROUPS):
        servers[racks + index] = f"{load.address(racks + index)}:{_FIRST_FLAPPING_PORT + index % FLAPPING_GROUPS}"
    return servers


def _elsewhere(address: str) -> str:
    """Return the other address of the same machine, in a network that no other server uses."""
    return address.replace("127.1.", "127.101.", 1)


def _judge(soak: Soak, healthd: Healthd) -> int:
    samples = soak.samples[int(len(soak.samples) * _WARM_SHARE) :]
    if len(samples) < _LEAST_SAMPLES:
        raise MeasurementError("too short for a slope: run it for at least three minutes")
    memory = straight_line([(sample.at, sample.resident_bytes) for sample in samples]).slope * _HOUR_S
    descriptors = straight_line(floors([(sample.at, sample.descriptors) for sample in samples])).slope * _HOUR_S
    threads = straight_line([(sample.at, sample.threads) for sample in samples]).slope * _HOUR_S
    _tell(healthd.metrics())
    print(f"done: {', '.join(f'{what} {count}' for what, count in soak.done.most_common())}")
    print(
        f"memory: {memory / _MEBI:+.2f} MiB an hour; descriptors: {descriptors:+.1f} an hour; "
        f"threads: {threads:+.2f} an hour"
    )
    print(f"wrong: {len(soak.lies)}")
    for lie in soak.lies[:_SHOWN]:
        print(f"  {lie}")
    is_long = samples[-1].at - samples[0].at >= JUDGED_FROM_S
    if not is_long:
        print(f"growth does not count in less than {JUDGED_FROM_S / 60:g} minutes")
    is_leaking = is_long and (
        memory > MEMORY_GROWTH_LIMIT or descriptors > DESCRIPTOR_GROWTH_LIMIT or threads > THREAD_GROWTH_LIMIT
    )
    print("soak: " + ("FAILED" if soak.lies or is_leaking else "passed"))
    return 1 if soak.lies or is_leaking else 0


def floors(points: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    """Return the lowest value of each minute, with its time.

    Probes that hang while the machine is busy use hundreds of descriptors, but only for a moment. A leak remains, so it
    shows in the lowest values too.

    points: times in seconds, each with its value, `SAMPLE_EVERY_S` apart.
    """
    minutes = [points[start : start + _FLOOR_SAMPLES] for start in range(0, len(points), _FLOOR_SAMPLES)]
    return [min(minute, key=lambda point: point[1]) for minute in minutes]


def _tell(scrape: Scrape) -> None:
    late = scrape.buckets(LAG)
    loud = Counter(
        {
            sample.labels["event"]: round(sample.value)
            for sample in scrape.samples
            if sample.name == "lvs_healthd_events_total" and sample.value
        }
    )
    print(f"events: {', '.join(f'{event} {count}' for event, count in loud.most_common())}")
    print(
        f"starts: {number(late.total)}, 99 % late by <= {late.bound(0.99) * 1000:g} ms, "
        f"{scrape.sum(SKIPPED):.0f} skipped"
    )


if __name__ == "__main__":
    sys.exit(main())
