"""A worker: an engine and a scheduler in a process of their own, told what to probe, telling what they find.

It judges nothing and writes nowhere. It ends when its socket does, so it cannot outlive the daemon, however that ended;
and should it hang so that it cannot see that, the kernel ends it. It imports what probes need and no more, for it is
started again whenever it fails.
"""

import asyncio
import contextlib
import functools
import random
import signal
import socket
import sys
import time
from collections.abc import Callable

from lvs_healthd import __version__
from lvs_healthd.config.model import AnyCheck, HttpsCheck
from lvs_healthd.probes.outcome import Outcome, Reason, unsure
from lvs_healthd.probes.targets import Conversations, target
from lvs_healthd.probes.tls import read_again
from lvs_healthd.probing.engine import TICK_S, Engine
from lvs_healthd.probing.scheduler import Probe, Scheduler
from lvs_healthd.probing.workers.framing import FrameSocket
from lvs_healthd.probing.workers.protocol import Assigned, Change, Fault, Hello, Said, change, encoded
from lvs_healthd.probing.workers.reporter import Reporter
from lvs_healthd.runtime.garbage import spare_long_lived

SIGN_OF_LIFE_S = 0.5
"""How often a worker says something at least."""

RETRY_S = 2.0
"""How often a file that could not be read is tried again."""

HUNG_S = 10.0
"""A worker whose loop stands still so long is ended by the kernel. The daemon gives up on it sooner, if it is there."""

_RECEIVE_BYTES = 65536
_NO_LIMIT = 2**32
"""The daemon is believed: a change is as long as the checks in it."""


def main() -> None:
    """Run until the daemon has gone. The one argument is the descriptor of the socket to it."""
    # Service managers and terminals signal every process of a daemon. When this one goes is the daemon's to say.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with socket.socket(fileno=int(sys.argv[1])) as opened:
        opened.setblocking(False)
        asyncio.run(work(opened))


async def work(opened: socket.socket) -> None:
    """Probe until the socket ends.

    Raises what escapes a probe or a message of the daemon's: a fault of this program, told to the daemon before.
    """
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    worker = _Worker(opened, loop, ended)
    probing = asyncio.create_task(worker.scheduler.run())
    worker.begin()
    try:
        await asyncio.wait((probing, ended), return_when=asyncio.FIRST_COMPLETED)
        for each in (probing, ended):
            if each.done():
                each.result()
    except Exception as error:
        worker.say(Fault(repr(error)))
        raise
    finally:
        probing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await probing


class _Sink:
    """Who is told what one probe found: the reporter, by the probe's number."""

    __slots__ = ("outcome",)

    def __init__(self, outcome: Callable[[Outcome, float], None]) -> None:
        self.outcome = outcome


class _Worker:
    """The parts of a worker and the socket between them and the daemon. `ended` is done when that has gone."""

    def __init__(self, opened: socket.socket, loop: asyncio.AbstractEventLoop, ended: "asyncio.Future[None]") -> None:
        self._loop = loop
        self._ended = ended
        self._reporter = Reporter(time.monotonic, self._report_soon)
        self._engine = Engine(clock=time.monotonic, max_in_flight=1)
        self.scheduler: Scheduler[AnyCheck] = Scheduler(
            self._engine, clock=time.monotonic, random=random.random, observer=self._reporter
        )
        self._frames = FrameSocket(
            opened,
            most_bytes=_NO_LIMIT,
            receive_bytes=_RECEIVE_BYTES,
            take=lambda payload: self._take(change(payload)),
            gone=self._gone,
            guard=self._guarded,
            drained=self._report,
        )
        self._checks: dict[int, AnyCheck] = {}
        self._added: list[Probe[AnyCheck]] = []
        self._dropped: list[AnyCheck] = []
        """What a change that is not complete yet brings, and takes."""
        self._unready: dict[int, Assigned] = {}
        """Probes that lack a file."""
        self._next_try = 0.0

    def begin(self) -> None:
        """Greet the daemon, and show signs of life from now on."""
        self.say(Hello(__version__))
        self._show_life()

    def say(self, message: Said) -> None:
        """Send a message: now what the socket takes, the rest when it takes more."""
        self._frames.send(encoded(message))

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  # handed on to `work`
            if not self._ended.done():
                self._ended.set_exception(error)

    def _gone(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    # To the daemon

    def _report_soon(self) -> None:
        self._loop.call_later(TICK_S, self._guarded, self._report)

    def _show_life(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, HUNG_S)
        if not self._frames.is_stuck:
            self._say_report()
        self._report()
        self._try_unready()
        self._loop.call_later(SIGN_OF_LIFE_S, self._guarded, self._show_life)

    def _try_unready(self) -> None:
        """Try probes again that lack a file, but for amid a change, whose end does so too."""
        now = self._loop.time()
        if not self._unready or now < self._next_try or self._added or self._dropped:
            return
        self._next_try = now + RETRY_S
        shared = Conversations()
        unreadable: set[str] = set()  # thousands may have the same one
        for assigned in tuple(self._unready.values()):
            ca = assigned.check.ca if isinstance(assigned.check, HttpsCheck) else ""
            if ca not in unreadable and not self._add(assigned, shared):
                unreadable.add(ca)
        self.scheduler.update(self._added)
        self._added = []

    def _report(self) -> None:
        """Report until nothing waits or the socket is full; then the rest goes when it has room again."""
        while self._reporter.pending and not self._frames.is_stuck and not self._ended.done():
            self._say_report()

    def _say_report(self) -> None:
        self.say(self._reporter.report(in_flight=self._engine.in_flight, waiting=self._engine.waiting))

    # From the daemon

    def _take(self, told: Change) -> None:
        """Take one part of a change, and with the last one put it into effect."""
        self._engine.max_in_flight = told.max_in_flight
        for probe in told.dropped:
            if self._unready.pop(probe, None) is None:
                self._dropped.append(self._checks.pop(probe))
        shared = Conversations()
        for assigned in told.added:
            self._add(assigned, shared)
        if told.more:
            return
        for assigned in tuple(self._unready.values()):
            self._add(assigned, shared)
        # The certificates' files may have changed; one that cannot be read any more goes on with what was in it.
        with contextlib.suppress(OSError):
            read_again(check for check in self._checks.values() if isinstance(check, HttpsCheck))
        self.scheduler.update(self._added, self._dropped)
        self._added, self._dropped = [], []
        spare_long_lived()

    def _add(self, assigned: Assigned, shared: Conversations) -> bool:
        """Have a probe run from the next update on; say whether it can."""
        probe, check = assigned.probe, assigned.check
        outcome = functools.partial(self._reporter.found, probe)
        try:
            ready = target(check, shared)
        except OSError as error:
            # The daemon could read it, so this is a fault on our side. It is tried again soon.
            self._unready[probe] = assigned
            outcome(unsure(Reason.LOCAL_LIMIT, f"its probe worker cannot read the ca: {error.strerror or error}"), 0.0)
            return False
        self._unready.pop(probe, None)
        self._checks[probe] = check
        self._added.append(Probe(check, ready, check.interval, _Sink(outcome)))
        return True
