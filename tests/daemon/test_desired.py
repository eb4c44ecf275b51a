"""What etcd says comes into force as by a reload, or not at all. Here, the test says what etcd says."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.reuse import LastReading
from lvs_healthd.config.stored import Stored
from lvs_healthd.daemon import daemon as daemon_module
from lvs_healthd.daemon import desired as desired_module
from lvs_healthd.daemon import store_asked
from lvs_healthd.daemon.parts import Parts, Settings, Surroundings, build
from lvs_healthd.daemon.reload import Reloads
from lvs_healthd.daemon.requests import ReloadRequests
from lvs_healthd.daemon.store_asked import beginning
from lvs_healthd.events.kinds import Event, StateError, StoreChanged, StoreFailed, StoreHeld, StoreRecovered
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.ipvs.records import DestinationRecord, ServiceEntry, ServiceRecord
from lvs_healthd.ipvs.words import ForwardingMethod
from lvs_healthd.log import configure
from lvs_healthd.plan.records import destination_key, service_key
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.store.errors import StoreError
from lvs_healthd.store.following import Snapshot
from lvs_healthd.view.reload_values import ReloadOutcome, ReloadRequest

PREFIX = "/lvs-healthd/"
FLEET = '[fleet]\nstore = "http://127.0.0.1:1"\n'
LOCAL = '[[service]]\nname = "local"\naddress = "192.0.2.200:80"\ncheck = "tcp"\nreal_server = ["198.51.100.99"]\n'
FORCE = ReloadRequest(force=True)
_Event = TypeVar("_Event", bound=Event)


def web(number: int = 100, servers: int = 1) -> str:
    listed = [f"198.51.100.{each}" for each in range(1, servers + 1)]
    return f'address = "192.0.2.{number}:80"\ncheck = "tcp"\nreal_server = {listed}\n'


class Site:
    """A daemon in this process. Nothing in it waits for time to pass, and nothing asks etcd."""

    def __init__(self, folder: Path, table: MemoryTable) -> None:
        self.folder = folder
        self.file = folder / "config.toml"
        self.table = table
        self.events: list[Event] = []
        self.now = 1000.0
        self.revision = 1
        self.parts: Parts
        self.reloads: Reloads

    def write(self, text: str) -> None:
        begin = f'[daemon]\nlisten = ""\ncontrol = "{self.folder}/c"\nstate = "{self.folder}/state.json"\n'
        self.file.write_text(begin + text)

    async def start(self) -> None:
        reading, requests = LastReading(), ReloadRequests()
        began = await beginning(self.file, reading)
        around = Surroundings(table=self.table, log=configure(), netns=Netns(), aspects=(), exclusive=False)
        self.parts = build(Settings(config_file=self.file), began.config, around, requests)
        self.parts.desired._clock = self.parts.desired.file._clock = lambda: self.now
        self.parts.bus.subscribe(self.events.append)
        assert await daemon_module._start(self.parts, began, reading)
        self.reloads = Reloads(self.parts, reading, requests)
        self._reconciling = asyncio.create_task(self.parts.reconciler.run())

    async def stop(self) -> None:
        await self.parts.desired.save()
        self.parts.saver.changed()
        await self.parts.save(float("inf"))
        await self.parts.flush()
        self._reconciling.cancel()
        self.parts.prober.close()
        await self.parts.api.stop()
        await self.parts.programs.stop()
        self.parts.state_lock.release()

    async def say(self, **keys: str) -> None:
        """Let etcd say this: services by their names, and other keys as pool__NAME."""
        self.revision += 1
        values = {}
        for name, value in keys.items():
            kind, _, rest = name.rpartition("__")
            values[f"{PREFIX}config/{kind or 'service'}/{rest}".encode()] = value.encode()
        self.parts.desired.take(Snapshot(values, self.revision))
        await self.turn()

    async def turn(self) -> None:
        await self.reloads._take_stored(self.parts.desired.ready())

    async def reload(self, text: str, request: ReloadRequest | None = None) -> ReloadOutcome:
        self.write(text)
        return await self.reloads._reload_or_reject(request or ReloadRequest())

    @property
    def names(self) -> list[str]:
        return sorted(service.name for service in self.parts.config.services)

    @property
    def present(self) -> list[str]:
        """The addresses of the services in the table, by their last numbers."""
        return sorted(key.address.rpartition(".")[2] for key in self.parts.reconciler.actual)

    async def until_present(self, *numbers: int) -> None:
        async with asyncio.timeout(30):
            while self.present != sorted(map(str, numbers)):
                await asyncio.sleep(0.002)

    def told(self, kind: type[_Event]) -> list[_Event]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def errors(self) -> list[str]:
        return self.told(StoreFailed)[-1].error.replace(f"etcd {PREFIX}config/", "@").split("; @")


class Etcd:
    """Says what the test wants to whoever asks once. It is away until then."""

    def __init__(self) -> None:
        self.says: Stored | None = None

    async def asked(self, *_: object) -> Stored:
        if self.says is None:
            raise StoreError("http://127.0.0.1:1: no connection")
        return self.says


@pytest.fixture
def etcd(monkeypatch: pytest.MonkeyPatch) -> Etcd:
    found = Etcd()
    for module in (store_asked, desired_module):
        monkeypatch.setattr(module, "asked", found.asked)
    return found


@contextlib.asynccontextmanager
async def site(folder: Path, text: str = FLEET, table: MemoryTable | None = None) -> AsyncIterator[Site]:
    found = Site(folder, table or MemoryTable())
    found.write(text)
    await found.start()
    try:
        yield found
    finally:
        await found.stop()


async def test_services_come_change_and_go(etcd: Etcd, tmp_path: Path) -> None:
    async with site(tmp_path, FLEET + LOCAL) as running:
        assert running.names == ["local"]
        await running.say(web=web(), mail=web(101))
        assert running.names == ["local", "mail", "web"]
        before = {each.name: each for each in running.parts.config.services}
        await running.say(web=web(servers=2), mail=web(101))
        after = {each.name: each for each in running.parts.config.services}
        assert (before["mail"] is after["mail"], before["local"] is after["local"]) == (True, True)
        await running.say(web=web(servers=2))
        assert running.names == ["local", "web"]
        await running.until_present(100, 200)
        told = [(each.written, each.deleted, each.services) for each in running.told(StoreChanged)]
        assert told == [(("service/mail", "service/web"), (), 2), (("service/web",), (), 2), ((), ("service/mail",), 1)]
        status = running.parts.desired.status
        assert status is not None
        assert (status.services, status.revision, status.error, status.held) == (1, 4, "", "")


async def test_wrong_key_changes_nothing_and_is_named(etcd: Etcd, tmp_path: Path) -> None:
    async with site(tmp_path) as running:
        await running.say(web=web())
        await running.say(web=web(servers=3), mail=web(101).replace("tcp", "tpc"))
        assert running.errors[0].startswith('@service/mail:2: service "mail": check: expected ')
        assert len(running.parts.config.services[0].real_servers) == 1
        await running.say(web=web(servers=3), mail=web(101).replace("tcp", "tpc"), other=web(103))
        assert len(running.told(StoreFailed)) == 1  # the same mistake
        await running.say(web=web(servers=3), mail=web(101))
        assert running.names == ["mail", "web"]
        assert len(running.told(StoreRecovered)) == 1


async def test_service_in_both_places_names_both_and_moves_with_a_reload(etcd: Etcd, tmp_path: Path) -> None:
    async with site(tmp_path, FLEET + LOCAL) as running:
        await running.until_present(200)
        moved = 'address = "192.0.2.200:80"\ncheck = "tcp"\nreal_server = ["198.51.100.99"]\n'
        await running.say(local=moved)
        assert "name: the service on line 7 of" in running.errors[0]
        operations = []
        running.parts.bus.subscribe(lambda event: operations.append(event.name))
        outcome = await running.reload(FLEET)
        assert not outcome.errors
        assert running.names == ["local"]
        await running.parts.reconciler.read_back(2.0)
        assert running.present == ["200"]
        assert "table.changed" not in operations
        assert running.parts.desired.key_of("local") == f"{PREFIX}config/service/local"


async def test_store_that_is_emptied_is_held_until_that_is_meant(etcd: Etcd, tmp_path: Path) -> None:
    async with site(tmp_path, FLEET + LOCAL) as running:
        await running.say(web=web())
        await running.say()
        (held,) = running.told(StoreHeld)
        assert (held.reason, held.todo) == ("it has no service any more, and 1 before", "lvs-healthd reload --force")
        assert not (await running.reload(FLEET + LOCAL)).errors
        await running.say(pool__x="real_server = ['198.51.100.1']")  # still no service
        assert len(running.told(StoreHeld)) == 1
        assert running.names == ["local", "web"]
        dry = await running.reloads._dry_run(ReloadRequest(dry_run=True, force=True))
        assert (dry.would_change[0].how, dry.would_change[0].service) == ("removed", "web")
        assert running.names == ["local", "web"]
        assert (await running.reload(FLEET + LOCAL, FORCE)).services_removed == 1
        assert running.names == ["local"]
        assert running.told(StoreChanged)[-1].accepted


async def test_hold_ends_when_the_services_are_back(etcd: Etcd, tmp_path: Path) -> None:
    async with site(tmp_path) as running:
        await running.say(web=web())
        await running.say()
        await running.say(web=web())
        assert (len(running.told(StoreHeld)), len(running.told(StoreRecovered))) == (1, 1)
        assert len(running.told(StoreChanged)) == 1


async def test_store_that_loses_half_of_the_serving_servers_is_held(etcd: Etcd, tmp_path: Path) -> None:
    table = MemoryTable()
    async with site(tmp_path, table=table) as running:
        await running.say(web=web(servers=12))
    async with site(tmp_path, table=table) as running:
        (service,) = running.parts.config.services
        servers = [DestinationRecord(destination_key(each), ForwardingMethod.MASQ, 1) for each in service.real_servers]
        key = service_key(service)
        table.entries = {key: ServiceEntry(ServiceRecord(key, "wlc"), {each.key: each for each in servers})}
    async with site(tmp_path, table=table) as running:
        await running.say(web=web(servers=5))
        (held,) = running.told(StoreHeld)
        assert held.reason.startswith(
            f"etcd {PREFIX}: 7 of the 12 servers that serve now would be taken out, more than"
        )
        assert len(running.parts.config.services[0].real_servers) == 12
        await running.say(web=web(servers=7))
        assert len(running.parts.config.services[0].real_servers) == 7


async def test_restart_without_etcd_starts_with_what_it_said_last(etcd: Etcd, tmp_path: Path) -> None:
    table = MemoryTable()
    async with site(tmp_path, FLEET + LOCAL, table) as running:
        await running.say(web=web(), mail=web(101))
        await running.until_present(100, 101, 200)
        changed = running.parts.desired.status
    async with site(tmp_path, FLEET + LOCAL, table) as running:
        assert running.names == ["local", "mail", "web"]
        assert not running.told(StoreChanged)
        status = running.parts.desired.status
        assert status is not None
        assert changed is not None
        assert (status.changed, status.revision, status.heard) == (changed.changed, changed.revision, None)
        await running.say(web=web())
        assert running.names == ["local", "web"]


async def test_first_start_without_etcd_leaves_alone_what_may_be_configured_there(etcd: Etcd, tmp_path: Path) -> None:
    table = MemoryTable()
    async with site(tmp_path, FLEET + LOCAL, table) as running:
        await running.say(web=web(), mail=web(101))
        await running.until_present(100, 101, 200)
    for _ in range(2):  # nor does the second start forget it
        (tmp_path / "store.json").unlink(missing_ok=True)
        async with site(tmp_path, FLEET + LOCAL, table) as running:
            assert running.names == ["local"]
            await running.parts.reconciler.read_back(2.0)
            assert not (await running.reload(FLEET + LOCAL)).errors
            assert running.present == ["100", "101", "200"]
            etcd.says = Stored(PREFIX, {}, 9)
            assert not (await running.reload(FLEET + LOCAL)).errors
            await running.parts.reconciler.read_back(2.0)
            assert running.present == ["100", "101", "200"]  # nor does the next start, at which etcd says the same
    (tmp_path / "store.json").unlink(missing_ok=True)
    async with site(tmp_path, FLEET + LOCAL, table) as running:
        await running.say()  # an etcd that has lost its data, perhaps
        assert running.told(StoreHeld)[0].reason == "it has no service any more, and 2 before"
        etcd.says = Stored(PREFIX, {}, 9)
        assert not (await running.reload(FLEET + LOCAL)).errors
        await running.parts.reconciler.read_back(2.0)
        assert running.present == ["100", "101", "200"]
        await running.say(web=web())
        await running.until_present(100, 200)


async def test_start_with_a_file_that_does_not_fit_asks_etcd_and_refuses_otherwise(etcd: Etcd, tmp_path: Path) -> None:
    async with site(tmp_path) as running:
        await running.say(local=web(200))
    with pytest.raises(ConfigError, match="what etcd says now is not known: http://127") as caught:
        async with site(tmp_path, FLEET + LOCAL):
            pass
    assert "name: the service on line 7 of" in caught.value.errors[0]
    etcd.says = Stored(PREFIX, {}, 9)
    async with site(tmp_path, FLEET + LOCAL) as running:
        assert running.names == ["local"]


async def test_first_start_with_a_wrong_key_serves_what_the_file_says(etcd: Etcd, tmp_path: Path) -> None:
    etcd.says = Stored(PREFIX, {f"{PREFIX}config/service/web": b"adress = 7"}, 9)
    async with site(tmp_path, FLEET + LOCAL) as running:
        assert running.names == ["local"]
        assert running.parts.desired.stored is None
        await running.say(web="adress = 7")
        assert running.errors


async def test_file_of_what_etcd_said_that_is_damaged_is_told(etcd: Etcd, tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text("{")
    async with site(tmp_path, FLEET + LOCAL) as running:
        (told,) = running.told(StateError)
        assert told.error.endswith("; etcd is asked again")


async def test_store_in_a_reload_must_answer_once(etcd: Etcd, tmp_path: Path) -> None:
    async with site(tmp_path, LOCAL) as running:
        outcome = await running.reload(FLEET + LOCAL)
        assert outcome.errors[0].endswith(
            ": fleet.store: nothing is known of what etcd says: http://127.0.0.1:1: no connection"
        )
        etcd.says = Stored(PREFIX, {f"{PREFIX}config/service/web": web().encode()}, 9)
        assert not (await running.reload(FLEET + LOCAL)).errors
        assert running.names == ["local", "web"]
        etcd.says = None
        assert not (await running.reload(FLEET + LOCAL)).errors  # it is known now
        outcome = await running.reload(FLEET.replace("[fleet]", '[fleet]\nprefix = "/other"') + LOCAL)
        assert "nothing is known" in outcome.errors[0]
        assert running.names == ["local", "web"]
        await running.reload(LOCAL, FORCE)
        assert running.names == ["local"]
        assert running.parts.desired.status is None


async def test_service_of_etcd_may_have_servers_from_a_source(etcd: Etcd, tmp_path: Path) -> None:
    (tmp_path / "web.list").write_text("198.51.100.7\n")
    async with site(tmp_path) as running:
        await running.say(
            web=f'address = "192.0.2.100:80"\ncheck = "tcp"\nsource = {{ file = "{tmp_path}/web.list" }}\n'
        )
        (service,) = running.parts.config.services
        assert [str(each.endpoint) for each in service.real_servers] == ["198.51.100.7:80"]
        assert [each.services for each in running.parts.discovery.statuses] == [("web",)]


async def test_away_is_told_once_every_server_has_failed_twice(etcd: Etcd, tmp_path: Path) -> None:
    async with site(tmp_path, '[fleet]\nstore = ["http://127.0.0.1:1", "http://127.0.0.1:2"]\n') as running:
        desired = running.parts.desired
        await running.say(web=web())
        for failures in range(1, 8):
            desired.lose(StoreError(f"no {failures}"), failures)
        assert [each.error for each in running.told(StoreFailed)] == ["no 4"]
        status = desired.status
        assert status is not None
        assert (status.error, status.services) == ("no 7", 1)
        desired.hear()
        assert len(running.told(StoreRecovered)) == 1


async def test_shadow_mode_reads_the_file_and_does_not_write_it(etcd: Etcd, tmp_path: Path) -> None:
    async with site(tmp_path) as running:
        await running.say(web=web())
    before = (tmp_path / "store.json").read_bytes()
    found = Site(tmp_path, MemoryTable())
    found.write('mode = "shadow"\n' + FLEET)
    await found.start()
    assert found.names == ["web"]
    await found.say(web=web(servers=3))
    await found.stop()
    assert (tmp_path / "store.json").read_bytes() == before


words = st.one_of(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(1, 3), max_size=3),
    st.just({"a": 0}),  # a mistake
    st.just("restart"),
    st.just("reload"),
)


@settings(max_examples=20, deadline=None)
@given(st.lists(words, max_size=10))
def test_what_is_in_force_is_what_etcd_said_last_that_was_right_and_not_empty(
    says: list[dict[str, int] | str],
) -> None:
    async def run(folder: Path) -> None:
        table, known = MemoryTable(), dict[str, int]()
        running = Site(folder, table)
        running.write(FLEET + LOCAL)
        await running.start()
        for word in says:
            if word == "restart":
                revision = running.revision
                await running.stop()
                running = Site(folder, table)
                running.revision = revision
                await running.start()
            elif word == "reload":
                assert not (await running.reload(FLEET + LOCAL)).errors
            elif isinstance(word, dict):
                numbers = {"a": 101, "b": 102, "c": 103}
                await running.say(**{name: web(numbers[name], servers) for name, servers in word.items()})
                if 0 not in word.values() and (word or not known):
                    known = word
            found = {each.name: len(each.real_servers) for each in running.parts.config.services}
            assert found == {**known, "local": 1}
        await running.until_present(200, *(100 + "abc".index(name) + 1 for name in known))
        await running.stop()

    async def away(*_: object) -> Stored:
        raise StoreError("http://127.0.0.1:1: no connection")

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for module in (store_asked, desired_module):
            patch.setattr(module, "asked", away)
        asyncio.run(run(Path(folder)))
