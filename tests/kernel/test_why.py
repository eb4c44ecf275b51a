"""`why` on the real kernel: a death, a drain, an edit by hand and a restart, told in the order in which they came."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from lab.nginx import Nginx
from lab.topology import Topology
from tests.kernel.main_job import RS1, both_in, configuration, on_director
from tests.kernel.verbs import run_here


@pytest.fixture(autouse=True)
def clean_table(nat: Topology) -> Any:
    nat.ipvsadm.clear()
    yield
    nat.ipvsadm.clear()


async def cli(*words: str, file: Path) -> str:
    code, out, err = await asyncio.to_thread(run_here, *words, "--config", str(file))
    assert code == 0, err
    return out


async def why(file: Path) -> dict[str, Any]:
    (found,) = json.loads(await cli("why", "web", RS1, "--json", file=file))["servers"]
    return dict(found)


@pytest.mark.long
async def test_death_drain_and_edit_by_hand_are_told_in_order_over_a_restart(
    nat: Topology, web: tuple[Nginx, ...], tmp_path: Path
) -> None:
    file = configuration(tmp_path)
    async with on_director(nat, file) as running:
        await both_in(running)
        web[0].kill()
        await running.until("table.changed", operation="delete_server", server=RS1)
        position = len(running.lines)
        web[0].start()
        await running.until("table.changed", operation="add_server", server=RS1, after=position)
        await cli("drain", "web", RS1, "--reason", "kernel update", file=file)
        await running.until("table.changed", operation="set_server", server=RS1, after=position)
        await running.until("table.changed", operation="delete_server", server=RS1, after=position)
        position = len(running.lines)
        await cli("enable", "web", RS1, file=file)
        await running.until("table.changed", operation="add_server", server=RS1, after=position)
        nat.ipvsadm("-e", "-t", "192.0.2.100:80", "-r", RS1, "-m", "-w", "9")
        await running.until("table.changed", operation="set_server", server=RS1, after=position)
        before = await why(file)
        kernel = before["layers"]["kernel"]
        assert (kernel["weight"], kernel["is_as_planned"], before["layers"]["plan"]["weight"]) == (3, True, 3)
        told = [each["text"] for each in before["history"]]
        began = [
            "down, was up: http: ",
            "removed: ",
            "up, was down: http: ",
            "added (weight 3, forward nat): ",
            "drained by uid 0: kernel update",
            "weight 3 -> 0: drained by uid 0: kernel update",
            "drained: no connections left; it leaves the table",
            "removed: drained by uid 0: kernel update",
            "no longer drained: enable by uid 0",
            "added (weight 3, forward nat): ",
            "somebody else has changed the kernel's table: weight 9, expected 3; what lasts: lvs-healthd weight web",
            "weight 9 -> 3: repair: ",
        ]
        assert len(told) == len(began), told
        assert [text for text, start in zip(told, began, strict=True) if not text.startswith(start)] == []
        await running.stop()
    async with on_director(nat, file) as again:
        await again.until("daemon.started")
        found = await why(file)
        assert (found["history"], found["layers"]["kernel"]["is_as_planned"]) == (before["history"], True)
        assert again.of("table.changed") == []
        await again.stop()
