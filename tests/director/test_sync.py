"""When sync daemons are restarted, with a kernel in memory. tests/kernel/test_director.py uses the real kernel."""

import asyncio
from collections.abc import Iterable, Mapping

import pytest

from lvs_healthd.config.model import Config, Ipvs, Sync, SyncDaemon
from lvs_healthd.director import sync
from lvs_healthd.director.aspect import SettingError
from lvs_healthd.director.sync import SyncDaemons
from lvs_healthd.ipvs.kernel.settings import Role, SyncRecord
from lvs_healthd.runtime.netns import Netns


class Kernel:
    """Reads the number of ports when its first sync daemon starts, like the real kernel."""

    def __init__(self) -> None:
        self.sync_ports = 1
        self.ports_in_use = 0
        self.running: dict[Role, SyncRecord] = {}

    async def sync_daemons(self) -> dict[Role, SyncRecord]:
        return dict(self.running)

    async def start_sync(self, record: SyncRecord) -> None:
        if not self.running:
            self.ports_in_use = self.sync_ports
        self.running[record.role] = record

    async def stop_sync(self, role: Role) -> None:
        del self.running[role]


def configured(*, ports: int, backup: bool = True) -> Config:
    daemon = SyncDaemon(interface="lo")
    sync = Sync(master=daemon, backup=daemon if backup else None)
    return Config(ipvs=Ipvs(sync=sync, sysctl=(("sync_ports", str(ports)),)))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()

    async def read(_: Netns, names: Iterable[str]) -> Mapping[str, str]:
        return dict.fromkeys(names, str(made.sync_ports))

    monkeypatch.setattr(sync, "read", read)
    return made


@pytest.fixture
def kept(kernel: Kernel) -> SyncDaemons:
    return SyncDaemons(kernel, Netns())  # type: ignore[arg-type]  # it has every method that is called


async def keep(kept: SyncDaemons, kernel: Kernel, *, ports: int, backup: bool = True, writes: bool = True) -> list[str]:
    """Apply a configuration, and return the names of the settings that were set."""
    if writes:
        kernel.sync_ports = ports
    kept.want(configured(ports=ports, backup=backup))
    differing = await kept.differing()
    for setting in differing:
        await kept.mend(setting)
    return [f"{setting.name}: {setting.found}" for setting in differing]


async def test_another_number_of_ports_restarts_both_daemons(kept: SyncDaemons, kernel: Kernel) -> None:
    assert await keep(kept, kernel, ports=2) == ["ipvs.sync.master: off", "ipvs.sync.backup: off"]
    assert kernel.ports_in_use == 2
    told = await keep(kept, kernel, ports=4)
    assert [line.rpartition(", ")[2] for line in told] == ["other sync_ports", "other sync_ports"]
    assert (kernel.ports_in_use, set(kernel.running)) == (4, {Role.MASTER, Role.BACKUP})
    assert await keep(kept, kernel, ports=4) == []


async def test_no_daemon_is_restarted_before_a_new_number_of_ports_is_set(kept: SyncDaemons, kernel: Kernel) -> None:
    await keep(kept, kernel, ports=2)
    assert await keep(kept, kernel, ports=4, writes=False) == []
    assert len(await keep(kept, kernel, ports=4)) == 2
    assert kernel.ports_in_use == 4


async def test_no_daemon_is_restarted_when_the_number_of_ports_is_no_longer_configured(
    kept: SyncDaemons, kernel: Kernel
) -> None:
    await keep(kept, kernel, ports=2)
    daemon = SyncDaemon(interface="lo")
    kept.want(Config(ipvs=Ipvs(sync=Sync(master=daemon, backup=daemon))))
    kernel.sync_ports = 8
    assert await kept.differing() == []


async def test_somebody_elses_is_left_running(kept: SyncDaemons, kernel: Kernel) -> None:
    theirs = SyncRecord(Role.BACKUP, "eth7", 1, "224.0.0.81", 8848, 1, 1472)
    kernel.running[Role.BACKUP] = theirs
    for ports in (1, 2):
        await keep(kept, kernel, ports=ports, backup=False)
    assert kernel.running[Role.BACKUP] == theirs


async def test_a_reload_while_the_interface_is_looked_up_stops_the_write(kept: SyncDaemons, kernel: Kernel) -> None:
    kept.want(configured(ports=1))
    (master, _) = await kept.differing()
    mending = asyncio.create_task(kept.mend(master))
    await asyncio.sleep(0)
    kept.want(configured(ports=1))
    with pytest.raises(SettingError, match="a reload has changed it meanwhile"):
        await mending
    assert kernel.running == {}
