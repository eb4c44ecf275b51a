"""Saved tables are imported and run by the daemon, one after the other. Each gives the same table again."""

import asyncio
import random
import signal
import time
from pathlib import Path

import pytest

from lab.ipvsadm import Ipvsadm
from lvs_healthd.importers.configuration import imported
from lvs_healthd.importers.ipvsadm import table_of
from lvs_healthd.ipvs.saved import saved
from tests.daemon_process import DaemonProcess, daemon
from tests.ipvs.random_tables import random_table
from tests.kernel.fresh_network import director, network

__all__ = ["director", "network"]

TABLES = 200
AT_ONCE = 20
"""To start ipvsadm costs more in an emulated guest than what it does; the tables have different services."""

DEADLINE_S = 60.0


def configuration(folder: Path, text: str) -> Path:
    """Import what ipvsadm saved. The interval is so long that no check notices that there are no real servers.

    The next configuration has none of its servers, which the reload guard would refuse.
    """
    file = folder / "config.toml"
    made = imported(table_of(text.splitlines(), "saved"), "ipvsadm -Sn").text
    head = f'[daemon]\nlisten = ""\ncontrol = "{folder}/control"\nstate = "{folder}/state"\nresync = "1h"\n'
    head += 'reload_guard = "100%"\n'
    file.write_text(f'{head}[defaults.check]\ninterval = "24h"\n{made}')
    return file


def fill(director: Ipvsadm, first: int) -> str:
    """Put the next tables into the kernel, and nothing else. Return what ipvsadm saves of them."""
    director.clear()
    tables = (random_table(random.Random(first + number), number) for number in range(AT_ONCE))
    director.restore("".join(line for table in tables for line in saved(table, thresholds=False)))
    text = director.saved()
    assert len(text.splitlines()) > 2 * AT_ONCE
    return text


@pytest.mark.long
async def test_saved_tables_imported_and_run_are_the_same(director: Ipvsadm, tmp_path: Path) -> None:
    text = fill(director, 0)
    async with daemon(configuration(tmp_path, text), namespace=director.director) as running:
        await running.until("daemon.started")
        for first in range(0, TABLES, AT_ONCE):
            if first:
                text = fill(director, first)
                configuration(tmp_path, text)
                position = len(running.lines)
                running.process.send_signal(signal.SIGHUP)
                await running.until("config.reloaded", after=position)
            # The table is taken over as it is. A service that the reload dropped may take a moment to disappear.
            await until_saved(director, text, running)
            # The table is emptied, and made again from the imported configuration.
            director.clear()
            running.process.send_signal(signal.SIGHUP)
            await until_saved(director, text, running)


async def until_saved(director: Ipvsadm, text: str, running: DaemonProcess) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while (found := director.saved()) != text:
        missing = sorted(set(text.splitlines()) - set(found.splitlines()))
        told = [line for line in running.lines if line["level"] != "info"][-20:]
        assert time.monotonic() < deadline, f"missing: {missing}, told: {told}"
        await asyncio.sleep(0.2)
