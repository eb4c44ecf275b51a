"""Reloads of a daemon in this process."""

import asyncio
import contextlib
import math
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from lvs_healthd.config.check_model import HttpsCheck
from lvs_healthd.config.load import load
from lvs_healthd.config.reuse import LastReading
from lvs_healthd.daemon import reload as reload_module
from lvs_healthd.daemon.parts import Parts, Settings, Surroundings, build
from lvs_healthd.daemon.reload import Reloads
from lvs_healthd.daemon.requests import ReloadRequests
from lvs_healthd.daemon.suspending import joined
from lvs_healthd.events.kinds import ConfigRejected, ConfigReloaded, Event
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.log import configure
from lvs_healthd.plan.precedence import State
from lvs_healthd.probes.credentials import secret
from lvs_healthd.probes.targets import targets
from lvs_healthd.probes.tls_trust import trust
from lvs_healthd.runtime.lock import AlreadyRunningError, TableLock, lock_state, lock_table
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.state.file import read_state
from lvs_healthd.state.overrides import Kind, Override, read_overrides, write_overrides


class Site:
    """A daemon without probes under way, its configuration file, and the events of its reloads."""

    def __init__(self, parts: Parts, file: Path) -> None:
        self.parts = parts
        self.file = file
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.requests = ReloadRequests()
        parts.bus.subscribe(self.events.put_nowait)

    async def reload(self, text: str) -> ConfigReloaded | ConfigRejected:
        """Reload another text, and return how it ended."""
        self.file.write_text(text)
        self.requests.ask()
        while True:
            event = await self.events.get()
            if isinstance(event, ConfigReloaded | ConfigRejected):
                return event


@contextlib.asynccontextmanager
async def site(folder: Path, text: str) -> AsyncIterator[Site]:
    file = folder / "config.toml"
    file.write_text(text)
    reading = LastReading()
    config = load(file, reading)
    around = Surroundings(table=MemoryTable(), log=configure(), netns=Netns(), aspects=(), exclusive=False)
    parts = build(Settings(config_file=file), config, around)
    await parts.reconciler.open()
    parts.adopt(config)
    await parts.api.start(config.daemon.listen, config.daemon.control)
    probes = parts.decisions.configure(config, await parts.reconciler.adopt(), {})
    parts.replans.now()
    parts.prober.update(joined(probes.added, targets(config.services)))
    made = Site(parts, file)
    tasks = [
        asyncio.create_task(parts.reconciler.run()),
        asyncio.create_task(Reloads(parts, reading, made.requests).run()),
    ]
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        parts.prober.close()
        await parts.api.stop()


def text(ca: Path, listen: str, *, mode: str = "enforce", state: str = "state.json", maintenance: str = "") -> str:
    return f"""
        [daemon]
        mode = "{mode}"
        listen = "{listen}"
        control = "{ca.parent / "control.sock"}"
        state = "{ca.parent / state}"
        maintenance_dir = "{maintenance}"

        [[service]]
        address = "192.0.2.100:443"
        check = {{ type = "https", ca = "{ca}" }}
        real_server = ["198.51.100.11"]
        """


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    return file


async def test_new_certificates_are_in_force_with_the_reload_and_not_without(ca: Path, tmp_path: Path) -> None:
    async with site(tmp_path, text(ca, "")) as running:
        (check,) = [probe.check for probe in running.parts.decisions.probes.values()]
        assert isinstance(check, HttpsCheck)
        before = trust(check).context
        trustme.CA().cert_pem.write_to_path(str(ca))
        with socket.create_server(("127.0.0.1", 0)) as taken:
            rejected = await running.reload(text(ca, f"127.0.0.1:{taken.getsockname()[1]}"))
        assert isinstance(rejected, ConfigRejected)
        assert trust(check).context is before
        assert isinstance(await running.reload(text(ca, "")), ConfigReloaded)
        assert trust(check).context is not before


async def test_new_secret_is_in_force_with_the_reload_and_a_missing_one_rejects_it(ca: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first-token")
    written = text(ca, "").replace("}\n        real", f', token_file = "{token}" }}\n        real')
    async with site(tmp_path, written) as running:
        (check,) = [probe.check for probe in running.parts.decisions.probes.values()]
        assert isinstance(check, HttpsCheck)
        held = secret(check)
        assert held is not None
        token.write_text("second-token")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listen = f'listen = "127.0.0.1:{taken.getsockname()[1]}"'
            assert isinstance(await running.reload(written.replace('listen = ""', listen)), ConfigRejected)
        assert held.value == "first-token"
        assert isinstance(await running.reload(written), ConfigReloaded)
        assert held.value == "second-token"
        token.unlink()
        rejected = await running.reload(written)
        assert isinstance(rejected, ConfigRejected)
        (error,) = rejected.errors
        assert error.endswith(f"{token}, a secret of http checks, cannot be used: No such file or directory")
        assert held.value == "second-token"


async def test_certificates_on_a_file_system_that_hangs_reject_the_reload_and_hold_nothing_up(
    ca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    async with site(tmp_path, text(ca, "")) as running:
        monkeypatch.setattr(reload_module, "read_certificates", lambda _: (lambda: None) if go_on.wait(20) else print)
        monkeypatch.setattr(reload_module, "READ_S", 0.05)
        rejected = await running.reload(text(ca, ""))
        go_on.set()
        assert isinstance(rejected, ConfigRejected)
        (error,) = rejected.errors
        assert error.startswith("reading the certificates and secrets of checks has taken more than 0.05s")


async def test_a_rejected_reload_gives_back_the_locks_that_it_took(ca: Path, tmp_path: Path) -> None:
    async with site(tmp_path, text(ca, "", mode="shadow")) as running:
        parts = running.parts
        parts.exclusive, parts.lock = True, TableLock(Netns(), folder=tmp_path)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
            assert isinstance(await running.reload(text(ca, listen)), ConfigRejected)
            lock_table(folder=tmp_path).close()
            lock_state(tmp_path / "state.json").release()
            assert isinstance(await running.reload(text(ca, "")), ConfigReloaded)
            assert isinstance(await running.reload(text(ca, listen, state="other.json")), ConfigRejected)
        lock_state(tmp_path / "other.json").release()
        with pytest.raises(AlreadyRunningError):
            lock_state(tmp_path / "state.json")
        with pytest.raises(AlreadyRunningError):
            lock_table(folder=tmp_path)
        parts.lock.release()
        parts.state_lock.release()


async def test_reload_that_ends_shadow_mode_puts_operators_orders_into_force(tmp_path: Path, ca: Path) -> None:
    order = Override(kind=Kind.DRAIN, service="*", server="127.0.0.1", uid=0, since=1.0)
    write_overrides(tmp_path / "overrides.json", [order])
    async with site(tmp_path, text(ca, "", mode="shadow")) as running:
        await running.parts.operators.load()
        assert list(running.parts.decisions.overrides) == []
        assert isinstance(await running.reload(text(ca, "")), ConfigReloaded)
        assert list(running.parts.decisions.overrides) == [order]
        assert isinstance(await running.reload(text(ca, "", state="there/state.json")), ConfigReloaded)
        assert read_overrides(tmp_path / "there" / "overrides.json") == (order,)


async def test_reload_reads_a_new_maintenance_folder_and_drops_it(tmp_path: Path, ca: Path) -> None:
    folder = tmp_path / "maintenance"
    folder.mkdir()
    (folder / "198.51.100.11").touch()
    async with site(tmp_path, text(ca, "")) as running:
        assert isinstance(await running.reload(text(ca, "", maintenance=str(folder))), ConfigReloaded)
        (server,) = running.parts.decisions.servers
        assert server.hand is not None
        assert server.hand.state is State.DRAINED
        # The state file keeps it for a restart while the folder cannot be read.
        await running.parts.save(math.inf)
        await running.parts.state_writer.flush()
        (saved,) = read_state(tmp_path / "state.json").maintenance
        assert saved.path == str(folder / "198.51.100.11")
        assert isinstance(await running.reload(text(ca, "")), ConfigReloaded)
        (server,) = running.parts.decisions.servers
        assert server.hand is None
