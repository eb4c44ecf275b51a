"""A worker process, which runs probes for the daemon with its own engine and scheduler, and reports what they find.

It decides no verdicts and writes no table. It ends when its socket closes, so it cannot outlive the daemon, however the
daemon ended. If it hangs, so that it cannot notice the closed socket, the kernel kills it. It imports only what probes
need, because it is started again whenever it fails.
"""

import asyncio
import contextlib
import functools
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable

from lvs_healthd import __version__
from lvs_healthd.config.check_model import AnyCheck, HttpCheck, uses_tls
from lvs_healthd.probes.credentials import read_secrets_again, secret_file
from lvs_healthd.probes.outcome import NO_COURSE, Course, Outcome, Reason, unsure
from lvs_healthd.probes.targets import Conversations, target
from lvs_healthd.probes.tls_trust import read_again
from lvs_healthd.probing.deadlines import TICK_S
from lvs_healthd.probing.engine import Engine
from lvs_healthd.probing.probe import Probe
from lvs_healthd.probing.scheduler import Scheduler
from lvs_healthd.probing.workers.framing import FrameSocket
from lvs_healthd.probing.workers.protocol import Assigned, Change, Fault, Hello, Paces, Said, Told, encoded, told
from lvs_healthd.probing.workers.reporter import Reporter
from lvs_healthd.runtime.capabilities import CAP_DAC_READ_SEARCH, CAP_NET_RAW, give_up_capabilities
from lvs_healthd.runtime.garbage import spare_long_lived

SIGN_OF_LIFE_S = 0.5
"""A worker sends a message at least this often, seconds."""

RETRY_S = 2.0
"""How many seconds a worker waits before it tries again to read a file that could not be read."""

HUNG_S = 10.0
"""How many seconds a worker's event loop may be blocked before the kernel kills the worker. If the daemon is still
running, it gives up on such a worker sooner."""

_RECEIVE_BYTES = 65536
_NO_LIMIT = 2**32
"""The daemon's messages may have any length: a change is as long as the checks in it."""


def main() -> None:
    """Run until the daemon has gone. The only command-line argument is the descriptor of the socket to the daemon."""
    # Service managers and terminals signal every process of a daemon, but only the daemon decides when this one ends.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _give_up_privileges()
    with socket.socket(fileno=int(sys.argv[1])) as opened:
        opened.setblocking(False)
        asyncio.run(work(opened))


def _give_up_privileges() -> None:
    """Give up what only the daemon needs. This process takes whatever servers and networks send.

    Its sockets are ordinary ones, except those for pings. It reads the certificates and secrets of checks, and must be
    able to read all that the daemon can read: a daemon that root starts by hand may be given files of another user.
    """
    try:
        give_up_capabilities(CAP_DAC_READ_SEARCH, CAP_NET_RAW)
    except OSError as error:
        # A probe worker with too many privileges is better than none.
        text = f"lvs-healthd: a probe worker keeps its capabilities: {error.strerror}: SystemCallFilter= lacks capset\n"
        with contextlib.suppress(OSError):
            os.write(2, text.encode())


async def work(opened: socket.socket) -> None:
    """Probe until the socket closes.

    Raises every exception that escapes a probe or the handling of a message. It is a fault of this program, which the
    worker reports to the daemon first.
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
    """Passes what one probe found to the reporter, with the probe's number."""

    __slots__ = ("outcome",)

    def __init__(self, outcome: Callable[[Outcome, Course], None]) -> None:
        self.outcome = outcome


class _Worker:
    """The parts of a worker, and the socket to the daemon. `ended` becomes done when the daemon has gone."""

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
            take=lambda payload: self._take(told(payload)),
            gone=self._gone,
            guard=self._guarded,
            drained=self._report,
        )
        self._checks: dict[int, AnyCheck] = {}
        self._added: list[Probe[AnyCheck]] = []
        self._dropped: list[AnyCheck] = []
        """`_added` and `_dropped` collect what a change adds and drops, until its last message has arrived."""
        self._unready: dict[int, Assigned] = {}
        """Probes that cannot run because a file of theirs could not be read, by number."""
        self._next_try = 0.0

    def begin(self) -> None:
        """Greet the daemon, and show signs of life from now on."""
        self.say(Hello(__version__))
        self._show_life()

    def say(self, message: Said) -> None:
        """Send a message. What the socket cannot take now is sent as soon as it can."""
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
        """Try again to read the files of probes that cannot run. A change that is arriving does this at its end."""
        now = self._loop.time()
        if not self._unready or now < self._next_try or self._added or self._dropped:
            return
        self._next_try = now + RETRY_S
        shared = Conversations()
        unreadable: set[tuple[str, ...]] = set()  # thousands of probes may have the same files
        for assigned in tuple(self._unready.values()):
            files = _files(assigned.check)
            if files not in unreadable and not self._add(assigned, shared):
                unreadable.add(files)
        self.scheduler.update(self._added)
        self._added = []

    def _report(self) -> None:
        """Report until nothing waits or the socket is full. The rest is sent when the socket has room again."""
        while self._reporter.pending and not self._frames.is_stuck and not self._ended.done():
            self._say_report()

    def _say_report(self) -> None:
        engine = self._engine
        self.say(self._reporter.report(in_flight=engine.in_flight, waiting=engine.waiting, kept=engine.kept))

    # From the daemon

    def _take(self, told: Told) -> None:
        match told:
            case Paces(paces=paces):
                for probe, pace_s in paces:
                    if probe in self._checks:
                        self.scheduler.pace(self._checks[probe], pace_s)
            case Change():
                self._take_change(told)

    def _take_change(self, told: Change) -> None:
        """Take one part of a change. The last part puts the change into effect."""
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
        # The files of checks may have changed. If one can no longer be read, all checks keep what was read before.
        with contextlib.suppress(OSError):
            read_again(check for check in self._checks.values() if uses_tls(check))()
        with contextlib.suppress(OSError):
            read_secrets_again(check for check in self._checks.values() if isinstance(check, HttpCheck))()
        self.scheduler.update(self._added, self._dropped)
        self._added, self._dropped = [], []
        spare_long_lived()

    def _add(self, assigned: Assigned, shared: Conversations) -> bool:
        """Make a probe ready to run from the next update on. Return whether that worked."""
        probe, check = assigned.probe, assigned.check
        outcome = functools.partial(self._reporter.found, probe)
        try:
            ready = target(check, shared)
        except OSError as error:
            # The daemon could read the file, so this is a fault on our side. The worker soon tries again.
            self._unready[probe] = assigned
            what = f"its probe worker cannot read {error.filename or 'its certificates'}: {error.strerror or error}"
            outcome(unsure(Reason.LOCAL_LIMIT, what), NO_COURSE)
            return False
        self._unready.pop(probe, None)
        self._checks[probe] = check
        self._added.append(Probe(check, ready, check.interval, _Sink(outcome)))
        return True


def _files(check: AnyCheck) -> tuple[str, ...]:
    """Return the paths of the files that a check needs."""
    files = (check.tls.ca, check.tls.client_cert, check.tls.client_key) if uses_tls(check) else ()
    return (*files, secret_file(check)) if isinstance(check, HttpCheck) else files
