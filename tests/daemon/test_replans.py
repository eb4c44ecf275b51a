"""When the table is decided again."""

import asyncio
import contextlib

import pytest

from lvs_healthd.daemon.replans import SHARE, Replans
from lvs_healthd.ipvs.records import ServiceKey, Table, TableLine, Wanted
from lvs_healthd.reconcile.gate import Braked, Gate


class NothingKept:
    def planned(self) -> None:
        pass

    def kept(self) -> dict[ServiceKey, Braked]:
        return {}


class Deciding:
    """Decisions that take their time, on a clock of their own."""

    def __init__(self, cost_s: float) -> None:
        self.cost_s = cost_s
        self.spent_s = 0.0
        self.times = 0
        self.braking = self.vetoing = NothingKept()

    def clock(self) -> float:
        return self.spent_s

    def wanted(self, actual: Table, moved: set[TableLine]) -> Wanted:
        self.times += 1
        self.spent_s += self.cost_s
        return Wanted({}, {}, {})

    def take_touched(self) -> set[TableLine]:
        return set()


class Reconciling:
    """A reconciler that is told of what is wanted."""

    actual: Table = {}  # noqa: RUF012  # nobody changes it

    def __init__(self) -> None:
        self.told = 0
        self.gate = Gate()

    def take_moved(self) -> set[TableLine]:
        return set()

    def want(self, wanted: Wanted, touched: set[TableLine]) -> None:
        self.told += 1


async def test_a_verdict_is_decided_at_once_and_the_next_ones_wait_ten_times_what_that_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deciding, reconciling = Deciding(cost_s=0.004), Reconciling()
    pauses: list[float] = []
    replans = Replans(deciding, reconciling)  # type: ignore[arg-type]  # all that is asked of them
    monkeypatch.setattr("lvs_healthd.daemon.replans.time.perf_counter", deciding.clock)

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise asyncio.CancelledError
        replans.ask()

    monkeypatch.setattr("lvs_healthd.daemon.replans.asyncio.sleep", sleep)
    replans.ask()
    replans.ask()
    with contextlib.suppress(asyncio.CancelledError):
        await replans.run()
    assert deciding.times == reconciling.told == 3
    assert pauses == pytest.approx([0.004 / SHARE - 0.004] * 3)
