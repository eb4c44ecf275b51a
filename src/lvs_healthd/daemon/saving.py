"""Says what the state file holds besides verdicts, and writes it."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from lvs_healthd.daemon.announcing import AnnounceRuns
from lvs_healthd.daemon.desired import Desired
from lvs_healthd.daemon.paths import PathRuns
from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.events.bus import Bus
from lvs_healthd.events.kinds import StateError, StateRecovered
from lvs_healthd.reconcile.reconciler import Reconciler
from lvs_healthd.state.file import Ours, SavedVerdict, write_state
from lvs_healthd.state.safe_file import StateFileError
from lvs_healthd.state.writer import Writer

StateWriter = Writer[[Ours, Iterable[SavedVerdict], float]]


def ours_of(
    paths: PathRuns, announcing: AnnounceRuns, decisions: Decisions, reconciler: Reconciler, desired: Desired
) -> Callable[[], Ours]:
    """Return what says, for the state file, what in the kernel is the daemon's own."""

    def ours() -> Ours:
        marks, ports = paths.saved()
        drained = decisions.overrides.maintenance.folder.saved
        owned = desired.with_aside(reconciler.ownership.saved())
        return msgspec.structs.replace(
            owned, path_marks=marks, path_ports=ports, maintenance=drained, announced=announcing.saved()
        )

    return ours


def state_writer(bus: Bus) -> StateWriter:
    """Return what writes the state file on a thread, and tells of errors."""

    def write(path: Path, ours: Ours, verdicts: Iterable[SavedVerdict], written: float, /) -> None:
        write_state(path, ours, verdicts, written)

    return Writer(asyncio.get_running_loop(), write, lambda path, error: _state_told(bus, path, error))


def _state_told(bus: Bus, path: Path, error: StateFileError | None) -> None:
    file = str(path)
    bus.emit(StateRecovered(file=file) if error is None else StateError(file=file, error=str(error)))
