"""Takeovers of a pair of directors while a client asks all the time: with the daemon, and with keepalived alone.

It prints how long nobody answered and how many requests were lost (`-rP` shows it), for docs/pairs.md.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from lab.load import Load, Request
from lab.nginx import Nginx
from lab.topologies.wiring import set_sysctls
from lab.topology import Topology
from tests.kernel.pair_directors import PORTS, Connection, Director, WithDaemon, second_director

EVERY_S = 0.1
"""How often a request starts."""
PATIENCE_S = 10.0
"""How long a client waits. It sends its SYN again after 1, 3 and 7 s."""
LATE_S = 1.0
"""An answer that took longer has cost a SYN that was sent again."""
KEPT = 4
"""Connections that are open during each takeover."""
SYNCED_S = 8.0
"""How long is waited until the other director knows these."""
SETTLED_S = 1.5
"""How long after the address has moved each request is answered: gratuitous ARP must arrive, on a busy machine."""
POLL_S = 0.1
"""How often it is asked where the address is. The clients need the emulated processor too."""
QUIET_S = 2.0
"""How long requests run undisturbed between two changes."""
DEADLINE_S = 150.0
ADVERTISED_S = 1
"""keepalived's default. Less than that is no time for an emulated machine."""


class Step(NamedTuple):
    """One change of the pair, and what the client met from then until the next one."""

    name: str
    at: float
    """When it happened; this and `moved` as `time.monotonic()`."""
    moved: float
    """When the other director had the address."""
    kept: int
    """How many of the open connections were answered by their servers afterwards."""


class Pair:
    """Both directors, of which the first has the address unless something is wrong with it."""

    def __init__(self, topology: Topology, a: Director, b: Director) -> None:
        self.topology = topology
        self.a, self.b = a, b
        self.steps: list[Step] = []

    async def step(self, name: str, change: Callable[[], Awaitable[None] | None], to: Director) -> None:
        """Let something happen, and wait until `to` has the address and has answered.

        When the first director is back, the second one gives the address away. While the first one hangs or has been
        killed, both have it.
        """
        others = [each for each in (self.b,) if each is not to]
        with contextlib.ExitStack() as stack:
            connections = await asyncio.to_thread(self._opened, to, stack)
            names = [await asyncio.to_thread(each.ask) for each in connections]
            at = time.monotonic()
            await (_done() if (changing := change()) is None else changing)
            await self._until(lambda: to.has_address and not any(each.has_address for each in others), name)
            moved = time.monotonic()
            asking = (asyncio.to_thread(each.ask) for each in connections)
            answers = await asyncio.gather(*asking, return_exceptions=True)
        kept = sum(answer == expected for answer, expected in zip(answers, names, strict=True))
        self.steps.append(Step(name, at, moved, kept))
        await asyncio.sleep(SETTLED_S + QUIET_S)

    def _opened(self, other: Director, stack: contextlib.ExitStack) -> list[Connection]:
        """Open connections, and wait until the other director knows them: its kernel is told some seconds later.

        One that is cut off or hangs may not be told.
        """
        opened = []
        for _ in range(KEPT):
            opened.append(Connection(self.topology.client, self.topology.vip))
            stack.callback(opened[-1].close)
        deadline = time.monotonic() + SYNCED_S
        for each in opened:
            while not other.knows(each.port) and time.monotonic() < deadline:
                each.ask()
                time.sleep(0.2)
        return opened

    async def _until(self, is_done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not is_done():
            assert time.monotonic() < deadline, f"{what}: {self.a.logs}\n{self.b.logs}"
            await asyncio.sleep(POLL_S)


async def _done() -> None:
    pass


@contextlib.asynccontextmanager
async def pair(kind: type[Director], advertised_s: float, folder: Path) -> AsyncIterator[Pair]:
    """Run a pair whose first director has the address, and whose tables are right."""
    with Topology.dr() as topology, contextlib.ExitStack() as stack:
        machines = (topology.director, stack.enter_context(second_director(topology)))
        for machine in machines:
            set_sysctls(machine, {"net.ipv4.vs.expire_nodest_conn": 1})  # as the daemon and the doctor advise
        for server in topology.servers:
            stack.enter_context(Nginx.serving(server))
        a, b = (
            kind(topology, machine, port, folder / name, priority, advertised_s)
            for machine, port, name, priority in zip(machines, PORTS, "ab", (150, 100), strict=True)
        )
        both = Pair(topology, a, b)
        try:
            for each in (a, b):
                await each.start()
            await both._until(lambda: a.has_address and not b.has_address, "start")
            await both._until(lambda: all(each.table.count("-w 1") == 2 for each in (a, b)), "tables")
            yield both
        finally:
            for each in (a, b):
                await each.kill()


@pytest.mark.long
@pytest.mark.parametrize("happenings", [("stop", "cable"), ("hang", "kill"), ("power",)], ids=" and ".join)
@pytest.mark.parametrize("kind", [WithDaemon, Director], ids=["with the daemon", "keepalived alone"])
async def test_takeovers_under_traffic(kind: type[Director], happenings: tuple[str, ...], tmp_path: Path) -> None:
    async with pair(kind, ADVERTISED_S, tmp_path) as both:
        table = both.b.table
        with Load.steady(both.topology.client, both.topology.vip, every_s=EVERY_S, timeout_s=PATIENCE_S) as load:
            begun = time.monotonic()
            await asyncio.sleep(2 * QUIET_S)
            try:
                for each in happenings:
                    await play(both, each, table)
            finally:
                requests = await asyncio.to_thread(load.stop)
                sys.stdout.write(f"{kind.__name__}\n{figures(both.steps, requests, begun)}")
    for step in both.steps if kind is WithDaemon else ():
        after = [each for each in requests if step.moved + SETTLED_S <= each.started < step.moved + SETTLED_S + QUIET_S]
        assert after, step
        assert [each for each in after if not each.ok] == [], step


async def play(both: Pair, happening: str, table: str) -> None:
    """Let something happen to the first director, and undo it. Assert that the table is right on the new master."""
    a, b = both.a, both.b

    async def power_comes() -> None:
        a.mend()
        await a.start_after_end()

    name, change, back_name, back = {
        "stop": ("keepalived is stopped", a.stop, "started again", a.start_again),
        "cable": ("the cable is pulled", a.cut, "plugged in again", a.mend),
        "hang": ("all programs hang", a.freeze, "they go on", a.thaw),
        "kill": ("all programs are killed", a.kill, "started again", a.start_after_end),
        "power": ("it loses its power", a.lose_power, "it boots", power_comes),
    }[happening]
    await both.step(name, change, b)
    assert sorted(b.table.splitlines()) == sorted(table.splitlines()), name
    await both.step(f"  {back_name}", back, a)
    assert sorted(a.table.splitlines()) == sorted(table.splitlines()), back_name


def figures(steps: list[Step], requests: list[Request], begun: float) -> str:
    """Return a line for each step."""
    if not steps:
        return ""
    lines = [f"{'undisturbed':28} {met(requests, begun, steps[0].at)}\n"]
    for step, end in zip(steps, [*(each.at for each in steps[1:]), time.monotonic()], strict=True):
        lines.append(f"{step.name:28} {met(requests, step.at, end)}, {step.kept} of {KEPT} connections kept\n")
    return "".join(lines)


def met(requests: list[Request], since: float, until: float) -> str:
    """Return what clients met whose requests started in this time."""
    those = [each for each in requests if since <= each.started < until]
    answers = sorted(each.ended for each in requests if each.ok)
    before = [each for each in answers if each < since][-1:] or [since]
    gaps = zip([*before, *answers], [*answers, until], strict=False)
    longest = max(second - first for first, second in gaps if since <= second <= until)
    late = sum(each.ok and each.ended - each.started > LATE_S for each in those)
    lost = [each.outcome for each in those if not each.ok]
    return (
        f"no answer for {longest:5.2f} s, {len(those):3} requests, {late:3} late, {len(lost):3} lost {set(lost) or ''}"
    )
