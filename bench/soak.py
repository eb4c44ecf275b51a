"""The soak: `python -m bench.soak --minutes N`. 5 000 servers, 5 % failing at random, a reload every ten seconds.

It watches what may grow or go wrong over time: memory, descriptors, threads, lag and events. At the end it compares the
truth (which ports answer) with the daemon's verdicts and with the recorded kernel's table. The exit status is 1 if they
differ, or if memory or descriptors grow more than is allowed.
"""

import argparse
import os
import random
import sys
import time
from collections import Counter
from typing import NamedTuple

from bench.exposition import Scrape
from bench.figures import number, straight_line
from bench.healthd import SERVERS_PER_SERVICE, Healthd, Load, configuration, folder, running_daemon
from bench.isolation import isolate
from bench.outcome import MeasurementError
from bench.processes import PEER_CPU, end_in_good_order
from bench.real_servers import RealServers
from bench.recorded_kernel_run import DAEMON, KernelProcess, running_kernel
from bench.steady import LAG, SKIPPED
from bench.switchable import SwitchableServers
from lvs_healthd.ipvs.kernel import codec, genetlink
from lvs_healthd.ipvs.kernel.genetlink import NLMSG_DONE
from lvs_healthd.ipvs.words import AF_INET

SERVERS = 5000
INTERVAL_S = 2.0
RISE, FALL, TIMEOUT_S = 2, 3, 1.0

GROUP = 25
"""How many servers share a port and so fail together, like a rack."""
GROUPS = 100
OFF = 10
"""How many groups are off at any time: 5 % of all servers."""
_FIRST_PORT = 21_000

TOGGLE_EVERY_S = 3.0
RELOAD_EVERY_S = 10.0
SAMPLE_EVERY_S = 10.0
SETTLE_S = FALL * INTERVAL_S + TIMEOUT_S + 3.0

MEMORY_GROWTH_LIMIT = 4 * 1024 * 1024
"""Bytes per hour. Allocators fluctuate; 360 reloads that leak a configuration each would make hundreds of MiB."""
DESCRIPTOR_GROWTH_LIMIT = 30
"""Descriptors per hour."""
JUDGED_FROM_S = 600.0
"""The shortest run for which growth counts. In less time, the allocator's fluctuation looks like a slope."""
_LEAST_SAMPLES = 3
_WARM_SHARE = 0.25
"""The share of the samples, at the beginning, that the slopes leave out because caches are still filling."""
_HOUR_S = 3600.0
_MEBI = 1024 * 1024


class Sample(NamedTuple):
    """What the process used at one moment."""

    at: float
    resident_bytes: int
    descriptors: int
    """The number of open descriptors that do not belong to probes in flight."""
    threads: int


class Soak:
    """One soak: servers that come and go, a daemon, and the samples taken from it."""

    def __init__(self, load: Load, healthd: Healthd, switch: SwitchableServers, kernel: KernelProcess) -> None:
        self.samples: list[Sample] = []
        self.reloads = 0
        self._load = load
        self._healthd = healthd
        self._switch = switch
        self._kernel = kernel
        self._chance = random.Random(1)  # noqa: S311  # repeatable, not secret
        self._off: list[int] = []
        self._servers = servers_of(load)

    def run(self, seconds: float) -> None:
        """Switch servers, reload and take samples for this long."""
        began = time.monotonic()
        turns = [(TOGGLE_EVERY_S, self._toggle), (RELOAD_EVERY_S, self._reload), (SAMPLE_EVERY_S, self._sample)]
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

    def lies(self) -> list[str]:
        """Return a line for every server about which the daemon or the table is wrong."""
        down = {server for server in self._servers if int(server.rpartition(":")[2]) in self._off}
        verdicts = {
            server["server"]: server["verdict"]
            for service in self._healthd.status()["services"]
            for server in service["real_servers"]
        }
        table = _table(self._kernel, self._load)
        found = []
        for server in self._servers:
            expected = "down" if server in down else "up"
            if verdicts.get(server) != expected:
                found.append(f"{server} is {expected}, the daemon says {verdicts.get(server)}")
            if (server in table) == (server in down):
                found.append(f"{server} is {expected}, and it is {'' if server in table else 'not '}in the table")
        found += [f"{server} is in the table and not configured" for server in sorted(table - set(self._servers))]
        return found

    def _toggle(self) -> None:
        """Switch one group on and another off, so that the number of failing groups stays the same."""
        ports = range(_FIRST_PORT, _FIRST_PORT + GROUPS)
        port = self._chance.choice([port for port in ports if port not in self._off])
        self._switch.off(port)
        self._off.append(port)
        if len(self._off) > OFF:
            back = self._off.pop(self._chance.randrange(OFF))
            self._switch.on(back)

    def _reload(self) -> None:
        """Give one server another address, as when a machine moves."""
        index = self._chance.randrange(GROUP * GROUPS, SERVERS)
        address, _, port = self._servers[index].rpartition(":")
        moved = self._load.address(index) if address != self._load.address(index) else _elsewhere(address)
        self._servers[index] = f"{moved}:{port}"
        text = configuration(self._load, self._healthd.file.parent, servers=self._servers, check=_CHECK)
        after = len(self._healthd.lines())
        self._healthd.reload(text)
        self._healthd.wait_for("config.reloaded", after=after, timeout_s=30)
        self.reloads += 1

    def _sample(self) -> None:
        program, scrape = self._healthd.program, self._healthd.metrics()
        descriptors = round(scrape.sum("process_open_fds") - scrape.sum("lvs_healthd_probes_in_flight"))
        sample = Sample(time.monotonic(), program.resident_bytes(), descriptors, program.threads())
        self.samples.append(sample)
        print(
            f"  {sample.at - self.samples[0].at:6.0f} s: {sample.resident_bytes / _MEBI:.1f} MiB, "
            f"{sample.descriptors} descriptors, {sample.threads} threads, {len(self._off) * GROUP} servers off, "
            f"{self.reloads} reloads",
            flush=True,
        )


_CHECK = f"rise = {RISE}\nfall = {FALL}"


def main() -> int:
    """Run the soak, print the results, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    minutes: float = parser.parse_args().minutes
    isolate("bench.soak")
    end_in_good_order()
    os.sched_setaffinity(0, {PEER_CPU})
    with (
        RealServers.serving() as servers,
        SwitchableServers.running() as switch,
        folder() as place,
        running_kernel(place) as kernel,
    ):
        load = Load("http", SERVERS, INTERVAL_S, servers.ca)
        for port in range(_FIRST_PORT, _FIRST_PORT + GROUPS):
            switch.on(port)
        text = configuration(load, place, servers=servers_of(load), check=_CHECK)
        with running_daemon(text, place, command=[*DAEMON, kernel.path]) as healthd:
            healthd.wait_for("daemon.started")
            healthd.wait_until_up(SERVERS)
            soak = Soak(load, healthd, switch, kernel)
            soak.run(minutes * 60)
            return _judge(soak, healthd)


def servers_of(load: Load) -> list[str]:
    """Return the servers at the beginning. Those in groups have their group's port, the others nginx's."""
    servers = [load.server(index) for index in range(load.count)]
    for index in range(GROUP * GROUPS):
        servers[index] = f"{load.address(index)}:{_FIRST_PORT + index // GROUP}"
    return servers


def _elsewhere(address: str) -> str:
    """Return the other address of the same machine, in a network that no other server uses."""
    return address.replace("127.1.", "127.101.", 1)


def _table(kernel: KernelProcess, load: Load) -> set[str]:
    """Return the servers in the kernel's table, read without the daemon's client."""
    found = set()
    with kernel.conversation() as conversation:
        services = conversation.dump(codec.CMD_GET_SERVICE)
        for service in genetlink.messages(services):
            if service.type == NLMSG_DONE:
                break
            key = codec.decode_service(service.payload).key
            for message in genetlink.messages(conversation.dump(codec.CMD_GET_DEST, codec.encode_service_key(key))):
                if message.type != NLMSG_DONE:
                    found.add(str(codec.decode_destination(message.payload, AF_INET).key))
    if not found:
        raise MeasurementError(f"the table is empty, with {load.count // SERVERS_PER_SERVICE} services configured")
    return found


def _judge(soak: Soak, healthd: Healthd) -> int:
    samples = soak.samples[int(len(soak.samples) * _WARM_SHARE) :]
    if len(samples) < _LEAST_SAMPLES:
        raise MeasurementError("too short for a slope: run it for at least two minutes")
    memory = straight_line([(sample.at, sample.resident_bytes) for sample in samples]).slope * _HOUR_S
    descriptors = straight_line([(sample.at, sample.descriptors) for sample in samples]).slope * _HOUR_S
    threads = max(sample.threads for sample in samples) - min(sample.threads for sample in samples)
    scrape = healthd.metrics()
    lies = soak.lies()
    _tell(scrape)
    print(f"memory: {memory / _MEBI:+.2f} MiB an hour; descriptors: {descriptors:+.1f} an hour; threads: +{threads}")
    print(f"wrong after {soak.reloads} reloads: {len(lies)} of {SERVERS}")
    for lie in lies[:10]:
        print(f"  {lie}")
    is_long = samples[-1].at - samples[0].at >= JUDGED_FROM_S
    if not is_long:
        print(f"growth does not count in less than {JUDGED_FROM_S / 60:g} minutes")
    is_leaking = is_long and (memory > MEMORY_GROWTH_LIMIT or descriptors > DESCRIPTOR_GROWTH_LIMIT)
    print("soak: " + ("FAILED" if lies or is_leaking else "passed"))
    return 1 if lies or is_leaking else 0


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
