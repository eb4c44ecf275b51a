"""What clients meet while a router spreads them over two directors, and one of these fails or is taken out of service.

It prints a line for each change (`-rP` shows them). Hold times and BFD need a machine that does little else:
on one that is overloaded, sessions end by themselves, as the next hops show that are printed too.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from signal import Signals
from typing import Any, NamedTuple

import pytest

from lab.load import Load, Request
from tests.kernel.pair_directors import Connection
from tests.kernel.two_directors import DROP, REFUSE, SYNCED, VIP, Director, Fleet, Way, fleet

WAYS = (
    Way("hold time", 'scheduler = "rr"'),
    Way("BFD, sync daemons", 'scheduler = "rr"', settings=SYNCED, bfd=True),
    Way(
        "BFD, mh and sloppy_tcp",
        'scheduler = "mh"\nscheduler_flags = ["mh-port", "mh-fallback"]',
        sloppy=True,
        bfd=True,
    ),
)

EVERY_S = 0.1
"""How often a request starts."""
PATIENCE_S = 10.0
"""How long a client waits. It sends its SYN again after 1, 3 and 7 s."""
LATE_S = 1.0
"""An answer that took longer has cost a SYN that was sent again."""
OPEN = 8
"""Connections that are open during each change, half of them through each director."""
SYNCED_S = 8.0
"""How long is waited until both directors know these."""
SETTLED_S = 1.0
"""How long after the router's table has changed each request must be answered, on a busy machine."""
QUIET_S = 2.0
"""How long requests run undisturbed between two changes."""
ROOM_S = 10.0
"""What an emulated machine, which others use too, may add to what the timers say."""
IN_FLIGHT = 4
"""Requests that may be under way when the route changes. The other director does not know their connections."""
ROUTED_S = 2.0
"""How long it may take from the decision to the router's table, emulated. tests/daemon/test_bird.py measures it."""
CHECKED_S = 2 * 1.0 + 1.0 + 1.0
"""`fall` failures at the check's interval, the last one's timeout, and `withdraw_after`."""


class Happening(NamedTuple):
    """Something that happens to the first director."""

    name: str
    change: Callable[[Director], None]
    back_name: str
    undo: Callable[[Director], None]
    timer_s: tuple[float, float] = (0.0, 0.0)
    """How long clients may meet trouble, seconds: with the hold time of the examples alone, and with BFD."""
    leaves: bool = True
    """Whether the router takes its route away."""
    decided: bool = False
    """Whether the daemon decides about the route."""


HAPPENINGS = {
    "refused": Happening(
        "its servers refuse it", lambda a: a.shut_out(REFUSE), "they answer again", Director.let_in,
        (CHECKED_S, CHECKED_S), decided=True,
    ),
    "silent": Happening(
        "its servers fall silent for it", lambda a: a.shut_out(DROP), "they answer again", Director.let_in,
        (CHECKED_S + 2.0, CHECKED_S + 2.0), decided=True,
    ),
    "daemon": Happening(
        "its daemon is killed", lambda a: a.daemon.kill(),
        "it is started again", lambda a: a.daemon.start(), leaves=False,
    ),
    "bird": Happening(
        "its BIRD is killed", lambda a: a.bird.stop(Signals.SIGKILL), "it is started again", lambda a: a.bird.start()
    ),
    "hang": Happening("daemon and BIRD hang", Director.hang, "they go on", Director.resume),
    "cable": Happening("its cable is pulled", Director.cut, "it is plugged in again", Director.mend, (3.0, 0.9)),
    "power": Happening("it loses its power", Director.lose_power, "it boots", Director.boot, (3.0, 0.9)),
    "drain": Happening("it is taken out of service", Director.drain, "it is put back", Director.undrain),
}  # fmt: skip


class Step(NamedTuple):
    """One change, and what became of the connections that were open."""

    name: str
    at: float
    """When it happened; this and `moved` as `time.monotonic()`."""
    moved: float
    """When the router had changed its table."""
    routed: float
    """The same as Unix time."""
    flaps: int
    """How many times more than once its next hops changed."""
    through_other: int
    """How many of the open connections go through another director afterwards."""
    kept: int
    """How many of these were answered by their servers."""
    stayed: bool
    """Whether all others were answered by theirs."""


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: way.name)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(request.param, tmp_path_factory.mktemp("fleet")) as made:
        sys.stdout.write(f"{made.way.name}\n")
        yield made


@pytest.mark.long
@pytest.mark.parametrize("name", HAPPENINGS)
def test_what_clients_meet(both: Fleet, name: str) -> None:
    happening = HAPPENINGS[name]
    both.until(both.a, both.b)
    logged = len(both.a.daemon.lines())
    with Load.steady(both.topology.client, VIP, every_s=EVERY_S, timeout_s=PATIENCE_S) as load:
        time.sleep(QUIET_S)
        begun = time.monotonic()
        steps: list[Step] = []
        try:
            remain = [both.b] if happening.leaves else [both.a, both.b]
            steps.append(step(both, happening.name, happening.change, remain))
            steps.append(step(both, f"  {happening.back_name}", happening.undo, [both.a, both.b]))
        finally:
            if not steps:
                with contextlib.suppress(Exception):  # so that the next one begins with both
                    happening.undo(both.a)
            ended = time.monotonic()
            requests = load.stop()
            sys.stdout.write(figures(steps, [each for each in requests if each.started >= begun], ended))
            sys.stdout.write("".join(said(line) for line in both.a.daemon.lines()[logged:]))
            sys.stdout.write(f"next hops: {[(round(at, 1), sorted(hops)) for at, hops in both.routes.seen]}\n")
    if happening.decided:
        for event, each in zip(("announce.off", "announce.on"), steps, strict=True):
            line = both.a.daemon.wait_for(event, after=logged)
            decided = datetime.fromisoformat(line["timestamp"]).timestamp() - float(line["took_s"])
            sys.stdout.write(
                f"{event}: {1000 * (each.routed - decided):.0f} ms from the decision to the router's table\n"
            )
            assert each.routed - decided < ROUTED_S
    until = [each.at for each in steps[1:]] + [ended]
    for each, end in zip(steps, until, strict=True):
        assert each.stayed, "a connection of the director to which nothing happened"
        after = [r for r in requests if each.moved + SETTLED_S <= r.started < end - QUIET_S / 4]
        assert after, each
        assert [r for r in after if not r.ok] == [], each
    first = [r for r in requests if steps[0].at <= r.started < steps[1].at]
    allowed_s = happening.timer_s[both.way.bfd]
    assert trouble_s(first, steps[0].at) <= allowed_s + ROOM_S
    if not allowed_s:
        assert len([r for r in first if not r.ok]) <= IN_FLIGHT * happening.leaves


def step(both: Fleet, name: str, change: Callable[[Director], None], remain: list[Director]) -> Step:
    """Let something happen to the first director, and wait until only these directors are next hops."""
    with contextlib.ExitStack() as stack:
        connections = opened(both, stack)
        names = [each.ask() for each in connections]
        ports = [each.port for each in connections]
        ways = both.through(ports)
        changes = len(both.routes.seen)
        at = time.monotonic()
        change(both.a)
        routed = both.until(*remain)
        moved = time.monotonic()
        time.sleep(SETTLED_S)
        others = [before != after for before, after in zip(ways, both.through(ports), strict=True)]
        with ThreadPoolExecutor(OPEN) as threads:
            answers = list(threads.map(answered, connections, names))
    time.sleep(QUIET_S)
    kept = [answer for answer, other in zip(answers, others, strict=True) if other]
    stayed = [answer for answer, other in zip(answers, others, strict=True) if not other]
    flaps = max(len(both.routes.seen) - changes - 1, 0)
    return Step(name, at, moved, routed, flaps, len(kept), sum(kept), all(stayed))


def opened(both: Fleet, stack: contextlib.ExitStack) -> list[Connection]:
    """Open connections, half of them through each director if both are next hops, and wait until both know them."""
    found: dict[str, list[Connection]] = {each: [] for each in both.routes.now}
    while any(len(each) < OPEN // len(found) for each in found.values()):
        connection = Connection(both.topology.client, VIP)
        [way] = both.through([connection.port])
        stack.callback(connection.close)
        found[way].append(connection)
    connections = [each for those in found.values() for each in those[: OPEN // len(found)]]
    deadline = time.monotonic() + SYNCED_S
    while both.way.settings and time.monotonic() < deadline:
        unknown = [each for each in connections if not (both.a.knows(each.port) and both.b.knows(each.port))]
        if not unknown:
            break
        for each in unknown:
            each.ask()
        time.sleep(0.2)
    return connections


def answered(connection: Connection, name: str) -> bool:
    """Return whether a connection is still with its server."""
    try:
        return connection.ask() == name
    except OSError:
        return False


def said(line: dict[str, Any]) -> str:
    """Return what the daemon said in one short line."""
    return f"  {line['timestamp'][17:23]} {line['event']} {line.get('server', '')} {line.get('reason', '')}\n"


def trouble_s(requests: list[Request], since: float) -> float:
    """Return how long after a moment requests still started that were answered late or not at all, seconds."""
    hurt = [each.started for each in requests if not each.ok or each.ended - each.started > LATE_S]
    return max(hurt, default=since) - since


def figures(steps: list[Step], requests: list[Request], ended: float) -> str:
    """Return a line for each step."""
    if not steps:
        return ""
    lines = []
    for each, end in zip(steps, [*(later.at for later in steps[1:]), ended], strict=True):
        those = [request for request in requests if each.at <= request.started < end]
        late = sum(request.ok and request.ended - request.started > LATE_S for request in those)
        lost = [request.outcome for request in those if not request.ok]
        longest = max((request.ended - request.started for request in those if request.ok), default=0.0)
        lines.append(
            f"{each.name:30} {len(those):3} requests, {late:3} late, {len(lost):3} lost {set(lost) or ''},"
            f" trouble for {trouble_s(those, each.at):5.2f} s, slowest answer {longest:5.2f} s,"
            f" route after {each.moved - each.at:5.2f} s, {each.kept} of {each.through_other} moved connections kept"
            f"{f', {each.flaps} flaps' if each.flaps else ''}\n"
        )
    return "".join(lines)
