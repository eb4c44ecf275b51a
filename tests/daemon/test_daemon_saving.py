"""When the daemon saves its state: verdicts in batches, ownership at once, all at a stop, nothing in shadow mode."""

import math
import time
from pathlib import Path

import pytest

from lvs_healthd.config.model import Config
from lvs_healthd.daemon.parts import Parts, Settings, Surroundings, build
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.ipvs.records import ServiceKey
from lvs_healthd.log import configure
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.state.file import Ours, SavedVerdict
from lvs_healthd.state.saver import STATE_S
from tests.configs import config, server, service
from tests.ipvs.tables import WEB


class Writes:
    """Stands in for the writer of the state file."""

    def __init__(self) -> None:
        self.owned: list[set[ServiceKey]] = []
        self.times: list[float] = []
        self.error = ""

    def write(self, path: Path, ours: Ours, verdicts: tuple[SavedVerdict, ...], written: float) -> None:
        self.owned.append(set(ours.services))
        self.times.append(written)


def prepared(*, shadow: bool = False) -> tuple[Parts, Writes]:
    around = Surroundings(table=MemoryTable(), log=configure(), netns=Netns(), aspects=(), exclusive=False)
    parts = build(Settings(config_file=Path("x"), shadow=shadow), Config(), around)
    writes = Writes()
    parts.saver._writer = writes
    return parts, writes


async def test_changed_verdicts_are_saved_at_most_every_five_seconds() -> None:
    parts, writes = prepared()
    for tenth in range(200):
        parts.saver.changed()
        await parts.save(tenth / 10)
    assert STATE_S == 5.0
    assert len(writes.owned) == 4


async def test_a_verdict_that_waited_is_saved_when_its_time_has_come() -> None:
    parts, writes = prepared()
    await parts.save(0.0)
    parts.saver.changed()
    for second in range(1, 20):
        await parts.save(float(second))
    assert len(writes.owned) == 2


async def test_a_write_that_failed_is_tried_again() -> None:
    parts, writes = prepared()
    await parts.save(0.0)
    writes.error = "disk full"
    for second in range(1, 20):
        await parts.save(float(second))
    writes.error = ""
    await parts.save(40.0)
    assert len(writes.owned) == 4


async def test_which_services_are_ours_is_saved_at_once() -> None:
    parts, writes = prepared()
    await parts.save(0.0)
    parts.reconciler.ownership.services.add(WEB)
    await parts.save(0.1)
    assert writes.owned == [set(), {WEB}]


@pytest.mark.parametrize(("shadow", "expected"), [(False, 2), (True, 0)])
async def test_a_stop_saves_at_once_and_shadow_never(*, shadow: bool, expected: int) -> None:
    parts, writes = prepared(shadow=shadow)
    await parts.save(0.0)
    parts.saver.changed()
    await parts.save(math.inf)
    assert len(writes.owned) == expected


async def test_a_reload_while_verdicts_are_collected_does_no_harm() -> None:
    parts, _ = prepared()
    hosts = [f"198.51.100.{number}" for number in range(1, 6)]
    parts.decisions.configure(config(service(*(server(host) for host in hosts))), {}, {})
    collecting = parts.decisions.saved_verdicts()
    assert next(collecting).server == f"{hosts[0]}:80"
    parts.decisions.configure(config(service(server(hosts[4]), server("198.51.100.9"))), {}, {})
    assert [each.server for each in collecting] == [f"{hosts[4]}:80"]


async def test_each_save_says_when_it_was_and_never_less_than_the_file_did() -> None:
    parts, writes = prepared()
    begun = time.time()
    await parts.save(0.0)
    assert begun <= writes.times[0] <= time.time()
    parts.decisions.remember(time.time() + 86400.0)
    parts.saver.changed()
    await parts.save(math.inf)
    assert writes.times[1] > time.time() + 86000.0
