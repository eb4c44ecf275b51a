"""A director with the real daemon on it: its clock, its disk, its kernel's table, and whatever may go wrong."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import msgspec

from lvs_healthd.config import load
from lvs_healthd.config.errors import ConfigError
from lvs_healthd.daemon import agreeing, brakes, daemon, holding, parts, reload, remembering, replans, saving
from lvs_healthd.daemon.daemon import Daemon
from lvs_healthd.daemon.parts import Parts, Settings
from lvs_healthd.daemon.requests import Requests
from lvs_healthd.events.kinds import Event
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.ipvs.kernel.statistics import Statistics
from lvs_healthd.ipvs.records import DestinationKey, Operation, ServiceKey, Table, TableLine
from lvs_healthd.runtime import pace
from lvs_healthd.state import file as state_file
from lvs_healthd.state import history as history_file
from lvs_healthd.state import holds as holds_file
from lvs_healthd.state import overrides as overrides_file
from lvs_healthd.state import safe_file
from lvs_healthd.view import view
from tests.simulation.disk import Disk
from tests.simulation.outside import (
    Diagnosis,
    Director,
    Door,
    Faults,
    FixedWays,
    Handed,
    Log,
    LoopWriter,
    NoMetrics,
    NoPrograms,
    NoSettings,
    Unlocked,
    app,
)
from tests.simulation.peers import Peers, Runs
from tests.simulation.virtual_loop import Clock, Running, VirtualLoop

CONFIG = "/etc/lvs-healthd/config.toml"
STATE = "/var/lib/lvs-healthd/state.json"
OVERRIDES = "/var/lib/lvs-healthd/overrides.json"
HOLDS = "/var/lib/lvs-healthd/holds.json"

START_S = 60.0
"""How long a start, a stop or a request may take, seconds."""

DYING_S = 10.0
"""How long the tasks of a killed process may take to end, seconds of a time that does not count."""

NO_COUNTS = Statistics(*[0] * 13)


class KernelTable(MemoryTable):
    """The kernel's table as one process sees it.

    wrote: called before each write that will take effect.
    """

    def __init__(
        self, entries: Table, wrote: Callable[[Operation], None], read: Callable[[Sequence[ServiceKey]], None]
    ) -> None:
        super().__init__()
        self.entries = entries
        self.missed: ServiceKey | None = None
        """A service that the next reading of the whole table misses, as a dump that races a write may."""
        self._wrote = wrote
        self._was_read = read

    async def read(self) -> Table:
        found = await super().read()
        if self.missed is not None:
            found.pop(self.missed, None)
            self.missed = None
        self._was_read(tuple(found))
        return found

    async def read_services(self, keys: Sequence[ServiceKey]) -> Table:
        found = await super().read_services(keys)
        self._was_read(tuple(keys))
        return found

    def _write(self, operation: Operation) -> int:
        code = self._errno_of(operation)
        if code == 0:
            self._wrote(operation)
        code = super()._write(operation)
        self.writes.clear()
        return code

    def mend(self) -> None:
        """Let everything succeed from now on."""
        self._faults.clear()
        self._unavailable.clear()
        self.missed = None


class Site:
    """A director. The daemon on it is started, stopped and killed; everything else stays.

    heard: takes every event.
    wrote: called before each write to the table that will take effect.
    was_read: called with the services that the daemon has read.
    """

    def __init__(
        self,
        heard: Callable[[Event], None],
        wrote: Callable[[Operation], None],
        was_read: Callable[[Sequence[ServiceKey]], None],
    ) -> None:
        self.clock = Clock()
        self.loop = VirtualLoop(self.clock)
        self.disk = Disk()
        self.director = Director()
        self.peers = Peers()
        self.text = ""
        """The configuration file."""
        self.entries: Table = {}
        self.counted: dict[TableLine, Statistics] = {}
        """The connections of servers."""
        self._heard = heard
        self._wrote = wrote
        self._was_read = was_read
        self.table = KernelTable(self.entries, wrote, was_read)
        self.parts: Parts | None = None
        self.requests: Requests
        self.probes: Handed
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def running(self) -> Parts:
        assert self.parts is not None
        return self.parts

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Put this site under the daemon's code while the block lasts."""
        Runs.exchange = self.peers
        Handed.director = Faults.director = Diagnosis.director = self.director
        clock, built = self.clock, parts.build
        times = SimpleNamespace(monotonic=clock.monotonic, time=clock.time, perf_counter=clock.perf_counter)

        def build(*arguments: Any) -> Parts:
            self.parts = built(*arguments)
            return self.parts

        replaced: list[tuple[ModuleType, dict[str, Any]]] = [
            (parts, {"time": times, "Metrics": NoMetrics, "OwnFaults": Faults, "prober": self._prober}),
            (parts, {"Ways": FixedWays, "Keeper": NoSettings, "StateLock": Unlocked}),
            (saving, {"Writer": LoopWriter}),
            (parts, {"AgreementRuns": Runs}),
            (agreeing, {"time": times}),
            (parts, {"TableLock": Unlocked, "Child": NoPrograms, "ApiServer": Door, "create_app": app}),
            (parts, {"suspects": lambda *_: ()}),
            (daemon, {"time": times, "build": build, "spare_long_lived": _nothing, "raise_descriptor_limit": _nothing}),
            (reload, {"time": times, "spare_long_lived": _nothing}),
            (remembering, {"time": times, "Writer": LoopWriter}),
            (history_file, {"replace_file": self._replace, "read_regular": self._read, "put_aside": self._aside}),
            (brakes, {"time": times, "Diagnosis": Diagnosis}),
            (replans, {"time": times}),
            (view, {"time": times}),
            (pace, {"clock": clock.pace}),
            (load, {"read_text": self._read_text}),
            (state_file, {"replace_file": self._replace, "read_regular": self._read}),
            (overrides_file, {"replace_file": self._replace, "read_regular": self._read, "put_aside": self._aside}),
            (holds_file, {"replace_file": self._replace, "read_regular": self._read, "sync_folder": _nothing}),
            (holds_file, {"os": SimpleNamespace(path=SimpleNamespace(lexists=self._has))}),
            (holding, {"holds_beside": lambda _: self.disk.path(HOLDS)}),
            (safe_file, {"put_aside": self._aside}),
        ]
        with contextlib.ExitStack() as stack:
            for module, names in replaced:
                stack.enter_context(mock.patch.multiple(module, **names))
            stack.enter_context(Running(self.loop))
            try:
                yield
            finally:
                self.kill()

    # The disk of now; a killed process keeps its own

    def _replace(self, path: object, content: Any, lost: str) -> None:
        self.disk.replace_file(path, content, lost)

    def _read(self, path: object) -> tuple[bytes, float]:
        return self.disk.read_regular(path)

    def _aside(self, path: object) -> str:
        return self.disk.put_aside(path)

    def _has(self, path: object) -> bool:
        return str(path) in self.disk.files

    def _read_text(self, path: object) -> str:
        if not self.text:
            raise ConfigError((f"{path}: cannot be read",))
        return self.text

    def _pass_on(self, event: Event) -> None:
        self._heard(event)

    def _prober(self, workers: int, **_: object) -> Handed:
        self.probes = Handed(self.clock.monotonic)
        return self.probes

    # The daemon's life

    def start(self) -> bool:
        """Start the daemon. Return whether it runs."""
        self.table = KernelTable(self.entries, self._wrote, self._was_read)
        self.table.counted = self.counted
        run = Daemon(Settings(config_file=Path(CONFIG)), self.table, Log(self._pass_on), exclusive=False)  # type: ignore[arg-type]
        self._started = False
        self._task = self.loop.create_task(run.run())
        until = self.clock.now + START_S
        self.loop.settle()
        while not self._task.done() and not self._started and self.clock.now < until:
            self.loop.advance(0.05)
        if self._task.done():
            error = self._task.exception()
            if not isinstance(error, ConfigError):
                raise error or RuntimeError("the daemon has ended")
            return False
        self.requests = self.running.api.requests  # type: ignore[attr-defined]
        return True

    @property
    def has_doubtful_orders(self) -> bool:
        """Whether the file of orders may hold one that was refused."""
        disk = self.running.operators._disk
        return disk.is_doubtful or disk.is_busy

    def has_started(self) -> None:
        """Note that the daemon says that it runs."""
        self._started = True

    def stop(self) -> None:
        """Stop the daemon as SIGTERM does."""
        if self._task is None:
            return
        self.loop.handlers[signal.SIGTERM]()
        until = self.clock.now + START_S
        self.loop.settle()
        while not self._task.done() and self.clock.now < until:
            self.loop.advance(0.05)
        self._task.result()
        self.disk.gone, self.disk = True, self.disk.copy()
        self.loop.drop_timers()
        self._forget()

    def kill(self) -> None:
        """Kill the daemon: whatever it has not written or sent by now is lost."""
        if self._task is None:
            return
        kept = self.disk.copy()
        self.disk.gone = True
        entries = dict(self.entries)
        self.table._wrote = self.table._was_read = _nothing
        self.table.entries = {}
        heard, self._heard = self._heard, _nothing
        now = self.clock.now
        self._task.cancel()
        self.loop.advance(DYING_S)  # nothing that it still does has any effect
        self.loop.drop_timers()
        self.loop.failed.clear()
        self.clock.now = now
        self.disk, self._heard = kept, heard
        self.entries = entries
        self._forget()

    def _forget(self) -> None:
        self._task = self.parts = None

    def count(self, service: ServiceKey, server: DestinationKey, number: int) -> None:
        """Let a server have so many connections."""
        self.counted[service, server] = msgspec.structs.replace(NO_COUNTS, active_connections=number)
        self.table.counted = self.counted

    def check_alive(self) -> None:
        """Raise whatever has ended the daemon, or gone wrong on the loop."""
        if self.loop.failed:
            raise self.loop.failed[0]
        if self._task is not None and self._task.done():
            error = self._task.exception()
            raise error if error is not None else RuntimeError("the daemon has ended")


def _nothing(*_: object, **__: object) -> None:
    """Do nothing."""
