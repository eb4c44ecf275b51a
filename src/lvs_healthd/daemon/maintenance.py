"""Drains the servers that the files of the maintenance folder name, as long as the files are there.

The folder is read about once a second on a thread, and so is the resolver asked. While the folder cannot be read, what
it said before stays in force: a file system that hangs must not put a server back to which somebody has the cover off.
"""

import asyncio
import contextlib
import math
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

from lvs_healthd.daemon.maintenance_folder import CrowdedError, look, path_in, resolve, resolve_all
from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.decide.held import ServerState, ServiceState
from lvs_healthd.decide.maintenance import NOTHING, PENDING, MaintenanceFile, Resolved, restored
from lvs_healthd.events.kinds import (
    Event,
    MaintenanceBegan,
    MaintenanceEnded,
    MaintenanceError,
    MaintenanceRecovered,
    MaintenanceUnused,
)
from lvs_healthd.plan.precedence import State
from lvs_healthd.runtime.moments import until_next_moment
from lvs_healthd.runtime.pace import paced
from lvs_healthd.runtime.threads import HungError, LoneCall
from lvs_healthd.state.file import SavedDrain

TURN_S = 1.0
"""How often the folder is read, seconds: nobody who makes a file there waits for longer."""

READ_S = 5.0
"""How long reading it may take, seconds. A network file system that takes longer hangs."""

RESOLVE_S = 5.0
"""After how long of asking the resolver the hosts that are left have to wait for the next turn, seconds. By default it
waits as long for one server of the DNS, and twice for each."""

START_S = 3.0
"""How long a start waits for the resolver, seconds. Meanwhile nothing is probed."""

KEEP_S = 300.0
"""How long an answer of the resolver holds, seconds."""

RETRY_S = 30.0
"""After how long a name that could not be resolved is tried again, seconds."""


class _Known(NamedTuple):
    """An answer of the resolver, and when it came, by the monotonic clock, seconds."""

    resolved: Resolved
    at: float


class _Told(NamedTuple):
    """What was told of a file that drains servers."""

    places: tuple[str, ...]
    since: float


class MaintenanceRuns:
    """Keeps `decisions.overrides.maintenance` as the folder says.

    replan: brings the wanted table up to date.
    clock: monotonic, seconds.
    wall: Unix time, seconds.
    ask: asks the resolver about a host. It may block.
    """

    def __init__(
        self,
        decisions: Decisions,
        emit: Callable[[Event], None],
        *,
        replan: Callable[[], None],
        clock: Callable[[], float],
        wall: Callable[[], float],
        ask: Callable[[str], Resolved] = resolve,
    ) -> None:
        self._decisions = decisions
        self._state = decisions.overrides.maintenance
        self._emit = emit
        self._replan = replan
        self._clock = clock
        self._wall = wall
        self._ask = ask
        self._folder = ""
        self._reading = LoneCall()
        self._resolving = LoneCall()
        self._turn = asyncio.Lock()
        """Whoever reads the folder has it, because that takes a while."""
        self._services: list[ServiceState] = []
        """The services to which the files were applied last."""
        self._answers: dict[str, Resolved] = {}
        """Takes the answers of the resolver from its thread."""
        self._known: dict[str, _Known] = {}
        self._told: dict[str, _Told] = {}
        """The files that drain servers, by their paths."""

    async def start(self, folder: str, saved: Iterable[SavedDrain]) -> None:
        """Read the folder before anything is decided.

        folder: its path; "" for none.
        saved: what it said before a restart, which is in force until it can be read.
        """
        self._folder = folder
        if not folder:
            return
        self._state.folder = restored(saved, self._wall())
        await self._read()
        if any(file.problem == PENDING for file in self._state.folder.files.values()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(START_S):
                    await self.resolve_turn()
            await self._read()

    async def move(self, folder: str) -> None:
        """Read another folder from now on. Until it can be read, what the other one said is in force.

        folder: its path; "" for none, which ends what the files said.
        """
        async with self._turn:
            if folder == self._folder:
                return
            self._folder = folder
            self._reading = LoneCall()  # a call that hangs in the other folder is nothing to this one
            await self._look()

    async def run(self) -> None:
        """Follow the folder until cancelled."""
        async with asyncio.TaskGroup() as group:
            for turn in (self.turn, self.resolve_turn):
                group.create_task(_again_and_again(turn))

    async def turn(self) -> None:
        """Read the folder once, and let what has changed take effect."""
        async with self._turn:
            await self._look()

    async def _look(self) -> None:
        before = self._state.folder
        touched = await self._read()
        is_same = before is self._state.folder
        if is_same and (not before.files or self._decisions.services is self._services):
            return
        await self._apply(touched)

    async def _read(self) -> frozenset[str]:
        """Read the folder. Return the addresses about which it says something else than before."""
        state, before = self._state, self._state.folder
        if not self._folder:
            state.error = ""
            state.folder = NOTHING
            return NOTHING.touched(before)
        self._take_answers()
        resolved = {host: known.resolved for host, known in self._known.items()}
        try:
            state.folder, touched = await self._reading(
                look, self._folder, before, resolved, self._wall(), timeout_s=READ_S, what=f"reading {self._folder}"
            )
        except (OSError, CrowdedError, HungError) as error:
            self._failed(f"cannot be read: {error.strerror if isinstance(error, OSError) else error}")
            return frozenset()
        if state.error:
            state.error = ""
            self._emit(MaintenanceRecovered(folder=self._folder, files=len(state.folder.files)))
        return touched

    def _failed(self, why: str) -> None:
        kept = len(self._state.folder.saved)
        error = f"{self._folder} {why}; what is known of {kept} file{'' if kept == 1 else 's'} stays in force"
        if error != self._state.error:
            self._state.error = error
            self._emit(MaintenanceError(folder=self._folder, error=error, files=kept))

    async def _apply(self, touched: frozenset[str]) -> None:
        """Let what the files say take effect, and tell which of them drain servers.

        touched: the addresses about which they say something else than before.
        """
        decisions, folder, services = self._decisions, self._state.folder, self._decisions.services
        drains: Counter[str] = Counter()
        async for server in paced(server for service in tuple(services) for server in service.members):
            if server.key.address in touched and decisions.service(server.service.key) is server.service:
                self._reconsider(server)
            for file in folder.of(server.key):
                drains[file.path] += 1
        self._services = services
        if touched:
            self._replan()
        await self._tell(drains)

    def _reconsider(self, server: ServerState) -> None:
        overrides = self._decisions.overrides
        hand = overrides.hand_of(server.service.key, server.key)
        if hand is None or hand.state is not State.DRAINED:
            overrides.filled(server.service.key, server.key)
        self._decisions.reconsider([server])

    async def _tell(self, drains: Mapping[str, int]) -> None:
        """Tell what is new about the files.

        drains: how many configured servers each file drains, by its path.
        """
        folder = self._state.folder
        unused: dict[str, str] = {}
        async for path in paced([path for path in self._told if not drains.get(path)]):
            self._ended(path, self._why_ended(path))
        async for file in paced(list(folder.files.values())):
            if drains.get(file.path):
                self._in_force(file, drains[file.path])
            problem = file.problem or ("" if drains.get(file.path) else _nobody(file))
            if problem:
                unused[file.path] = problem
                if problem not in {PENDING, self._state.unused.get(file.path)}:
                    self._emit(MaintenanceUnused(file=file.path, why=problem))
        self._state.drains = dict(drains)
        self._state.unused = unused

    def _in_force(self, file: MaintenanceFile, servers: int) -> None:
        """Tell that a file drains servers, unless it was told."""
        told, places = self._told.get(file.path), file.places
        if told is not None and told.places != places:
            self._ended(file.path, "the name of the host means other addresses now")
            told = None
        if told is None:
            self._told[file.path] = _Told(places, file.since)
            self._emit(MaintenanceBegan(file=file.path, servers=places, count=servers))

    def _ended(self, path: str, why: str) -> None:
        told = self._told.pop(path)
        after_s = round(max(0.0, self._wall() - told.since), 1)
        self._emit(MaintenanceEnded(file=path, servers=told.places, why=why, after_s=after_s))

    def _why_ended(self, path: str) -> str:
        file = self._state.folder.files.get(path)
        if file is not None:
            return file.problem or _nobody(file)
        if not self._folder:
            return "maintenance_dir is not configured any more"
        if path_in(self._folder, os.path.basename(path)) != path:  # noqa: PTH119  # `Path` takes too long for thousands
            return f"maintenance_dir is {self._folder} now"
        return "the file was removed"

    async def resolve_turn(self) -> None:
        """Ask the resolver about the hosts that it has not been asked about, or not for long."""
        due = self._due()
        if not due:
            return
        is_hung = False
        try:
            await self._resolving(
                resolve_all, due, self._answers, self._ask, RESOLVE_S, timeout_s=2 * RESOLVE_S, what="resolving names"
            )
        except HungError:
            is_hung = True
        self._take_answers()
        left = self._due()
        if is_hung and left and left[0] == due[0]:
            # The first one hangs. It is asked about last in the next turns, so that the others have theirs.
            problem = f"its name cannot be resolved: the resolver has not answered in {2 * RESOLVE_S:g}s"
            self._known[due[0]] = _Known(Resolved(problem=problem), self._clock())

    def _take_answers(self) -> None:
        """Take what the resolver's thread has found."""
        for host in list(self._answers):
            self._known[host] = _Known(self._answers.pop(host), self._clock())

    def _due(self) -> list[str]:
        """Return the hosts to ask about: first those that were never asked about, then by the age of the answer."""
        now = self._clock()
        hosts = {file.host for file in self._state.folder.files.values() if file.host}
        self._known = {host: known for host, known in self._known.items() if host in hosts}
        due = {host: known.at for host, known in self._known.items() if now - known.at >= _holds_s(known.resolved)}
        due |= dict.fromkeys(hosts - self._known.keys(), -math.inf)
        return sorted(due, key=lambda host: (due[host], host))


def _holds_s(resolved: Resolved) -> float:
    """Return how long an answer of the resolver holds, seconds."""
    return RETRY_S if resolved.problem else KEEP_S


def _nobody(file: MaintenanceFile) -> str:
    return f"no configured server is {' or '.join(file.places)}"


async def _again_and_again(turn: Callable[[], Awaitable[None]]) -> None:
    while True:
        await turn()
        await until_next_moment(TURN_S)
