"""Sources of servers in a daemon of this process: what comes into force, what is held, and what is told."""

import asyncio
import contextlib
import math
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvs_healthd.config.basics import Endpoint
from lvs_healthd.config.load import load
from lvs_healthd.config.reuse import LastReading
from lvs_healthd.config.sources import Entry
from lvs_healthd.daemon import daemon as daemon_module
from lvs_healthd.daemon.parts import Parts, Settings, Surroundings, build
from lvs_healthd.daemon.reload import Reloads
from lvs_healthd.daemon.requests import ReloadRequests
from lvs_healthd.daemon.store_asked import Beginning
from lvs_healthd.discovery.listing import ListError
from lvs_healthd.events.kinds import (
    ConfigReloaded,
    DiscoveryChanged,
    DiscoveryFailed,
    DiscoveryHeld,
    DiscoveryRecovered,
    Event,
)
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.ipvs.records import DestinationRecord, ServiceEntry, ServiceRecord
from lvs_healthd.ipvs.words import ForwardingMethod
from lvs_healthd.log import configure
from lvs_healthd.plan.records import destination_key, service_key
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.state.listed import read_lists
from lvs_healthd.view.reload_values import ReloadRequest

WEB = """
[[service]]
name = "web"
address = "192.0.2.100:80"
check = {{ type = "tcp", interval = "1h" }}
source = {source}
"""


_Event = TypeVar("_Event", bound=Event)


class Told:
    """A source that says what the test wants."""

    def __init__(self, says: tuple[Entry, ...] | ListError) -> None:
        self.says: tuple[Entry, ...] | ListError | None = says
        self.now = says

    def tell(self, says: tuple[Entry, ...] | ListError) -> None:
        self.says = self.now = says

    async def first(self) -> tuple[Entry, ...]:
        if isinstance(self.now, ListError):
            raise self.now
        return self.now

    async def look(self) -> tuple[Entry, ...] | None:
        says, self.says = self.says, None
        if isinstance(says, ListError):
            raise says
        return says


def entries(*numbers: int, weight: int = 1) -> tuple[Entry, ...]:
    return tuple(Entry(f"198.51.100.{number}", weight, f"/web:{number}") for number in numbers)


class Site:
    """A daemon whose sources say what the test wants. Nothing in it waits for time to pass."""

    def __init__(
        self, folder: Path, text: str, sources: dict[str, Told], table: MemoryTable, options: dict[str, bool]
    ) -> None:
        self.file = folder / "config.toml"
        self.file.write_text(f'[daemon]\nlisten = ""\ncontrol = "{folder}/c"\nstate = "{folder}/state.json"\n{text}')
        self.table = table
        self.events: list[Event] = []
        self._sources, self._options = sources, options
        self.now = 1000.0
        self.parts: Parts
        self.reloads: Reloads

    async def start(self) -> None:
        reading, requests = LastReading(), ReloadRequests()
        config = load(self.file, reading, {})
        around = Surroundings(table=self.table, log=configure(), netns=Netns(), aspects=(), exclusive=False)
        self.parts = build(Settings(config_file=self.file, **self._options), config, around, requests)
        self.parts.discovery._read_with = lambda source: self._sources[source.file]
        self.parts.discovery._clock = self.parts.discovery.file._clock = lambda: self.now
        self.parts.bus.subscribe(self.events.append)
        assert await daemon_module._start(self.parts, Beginning(config), reading)
        self.reloads = Reloads(self.parts, reading, requests)
        self._reconciling = asyncio.create_task(self.parts.reconciler.run())

    async def stop(self) -> None:
        await self.parts.discovery.save()
        self._reconciling.cancel()
        self.parts.prober.close()
        await self.parts.api.stop()
        await self.parts.programs.stop()

    async def turn(self) -> None:
        """Look at the sources, and put into force what may be."""
        await self.parts.discovery.turn()
        await self.reloads._take(self.parts.discovery.ready())
        await self.parts.discovery.turn()

    @property
    def servers(self) -> list[int]:
        """The last number of the address of each configured server."""
        (web, *_) = self.parts.config.services
        return sorted(int(server.endpoint.address.rpartition(".")[2]) for server in web.real_servers)

    def told(self, kind: type[_Event]) -> list[_Event]:
        return [event for event in self.events if isinstance(event, kind)]


@contextlib.asynccontextmanager
async def site(
    folder: Path, sources: dict[str, Told], text: str = "", table: MemoryTable | None = None, **options: bool
) -> AsyncIterator[Site]:
    files = ", ".join(f'{{ file = "{file}" }}' for file in sources)
    made = Site(folder, text or WEB.format(source=f"[{files}]"), sources, table or MemoryTable(), options)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def test_first_list_is_in_force_from_the_start(tmp_path: Path) -> None:
    async with site(tmp_path, {"/web": Told(entries(11, 12))}) as running:
        assert running.servers == [11, 12]
        (changed,) = running.told(DiscoveryChanged)
        assert (changed.source, changed.services, changed.servers) == ("file /web", ("web",), 2)
        assert (changed.added, changed.removed_count) == (("198.51.100.11", "198.51.100.12"), 0)
        await running.turn()
        (status,) = running.parts.discovery.statuses
        assert (status.servers, status.held, status.error, status.since) == (2, "", "", None)
        assert len(running.told(DiscoveryChanged)) == 1


async def test_change_comes_by_the_door_of_a_reload_and_leaves_other_servers_alone(tmp_path: Path) -> None:
    source = Told(entries(11, 12, 13))
    async with site(tmp_path, {"/web": source}) as running:
        loaded = running.parts.facts.config_loaded
        running.parts.facts.config_error = "a reload that was rejected"
        before = {str(each.key): each.watches[0].probe for each in running.parts.decisions.services[0].members}
        source.tell(entries(11, 12, 14))
        await running.turn()
        assert running.servers == [11, 12, 14]
        after = {str(each.key): each.watches[0].probe for each in running.parts.decisions.services[0].members}
        for server in ("198.51.100.11:80", "198.51.100.12:80"):
            assert after[server] is before[server]
        changed = running.told(DiscoveryChanged)[-1]
        assert (changed.added, changed.removed) == (("198.51.100.14",), ("198.51.100.13",))
        assert not running.told(ConfigReloaded)
        assert (running.parts.facts.config_loaded, running.parts.facts.config_error) == (
            loaded,
            "a reload that was rejected",
        )


async def test_edited_file_of_the_configuration_does_not_come_into_force_with_a_list(tmp_path: Path) -> None:
    source = Told(entries(11, 12, 13))
    async with site(tmp_path, {"/web": source}) as running:
        running.file.write_text(running.file.read_text().replace("80", "8080"))
        source.tell(entries(11, 12, 13, 14))
        await running.turn()
        assert running.servers == [11, 12, 13, 14]
        assert running.parts.config.services[0].endpoint == Endpoint("192.0.2.100", 80)


async def test_list_that_empties_or_halves_is_held_told_once_and_taken_if_it_is_meant(tmp_path: Path) -> None:
    source = Told(entries(11, 12, 13, 14))
    async with site(tmp_path, {"/web": source}) as running:
        for says in ((), entries(11), (), entries(11, weight=0)):
            source.tell(says)
            await running.turn()
            assert running.servers == [11, 12, 13, 14]
        (held,) = running.told(DiscoveryHeld)
        assert (held.servers, held.reason[:31], held.todo) == (
            4,
            "it lists no server any more, an",
            "lvs-healthd reload --force",
        )
        (status,) = running.parts.discovery.statuses
        assert status.held.startswith("it lists no server any more")
        assert (status.servers, status.todo) == (4, "lvs-healthd reload --force")
        assert not (await running.reloads._reload_or_reject(ReloadRequest())).errors
        assert running.servers == [11, 12, 13, 14]
        assert len(running.told(DiscoveryHeld)) == 1
        source.tell(entries(11))
        await running.turn()
        foreseen = await running.reloads._dry_run(ReloadRequest(dry_run=True, force=True))
        assert (foreseen.errors, foreseen.servers_removed) == ((), 3)
        assert running.servers == [11, 12, 13, 14]
        assert not (await running.reloads._reload_or_reject(ReloadRequest(force=True))).errors
        assert running.servers == [11]
        assert running.told(DiscoveryChanged)[-1].accepted
        assert len(running.told(DiscoveryRecovered)) == 1


async def test_list_that_is_as_before_again_ends_the_hold(tmp_path: Path) -> None:
    source = Told(entries(11, 12))
    async with site(tmp_path, {"/web": source}) as running:
        source.tell(())
        await running.turn()
        source.tell(entries(12, 11))
        await running.turn()
        (status,) = running.parts.discovery.statuses
        assert (status.held, status.since) == ("", None)
        assert len(running.told(DiscoveryRecovered)) == 1
        assert len(running.told(DiscoveryChanged)) == 1


async def test_failures_and_garbage_change_nothing_and_are_told_once(tmp_path: Path) -> None:
    source = Told(entries(11, 12))
    async with site(tmp_path, {"/web": source}) as running:
        for _ in range(3):
            source.tell(ListError("/web: cannot read: No such file or directory"))
            await running.turn()
        assert running.servers == [11, 12]
        (failed,) = running.told(DiscoveryFailed)
        assert (failed.error, failed.servers) == ("/web: cannot read: No such file or directory", 2)
        (status,) = running.parts.discovery.statuses
        assert status.error == failed.error
        source.tell(entries(11, 12, 13))
        await running.turn()
        assert running.servers == [11, 12, 13]
        assert len(running.told(DiscoveryRecovered)) == 1


async def test_entry_that_does_not_fit_the_configuration_refuses_its_list_and_no_other(tmp_path: Path) -> None:
    one, other = Told(entries(11, 12)), Told(entries(21, 22))
    async with site(tmp_path, {"/web": one, "/other": other}) as running:
        one.tell((*entries(11, 12, 13), Entry("[2001:db8::1]:80", 1, "/web:4")))
        other.tell(entries(21, 22, 23))
        await running.turn()
        assert running.servers == [11, 12, 21, 22, 23]
        (failed,) = running.told(DiscoveryFailed)
        assert failed.source == "file /web"
        assert failed.error.startswith('/web:4: service "web": address: ')
        await running.turn()
        assert len(running.told(DiscoveryFailed)) == 1
        assert running.parts.discovery.ready() == {}
        one.tell(entries(11, 12, 13))
        await running.turn()
        assert running.servers == [11, 12, 13, 21, 22, 23]


async def test_lists_survive_a_restart_whatever_has_become_of_the_source(tmp_path: Path) -> None:
    source = Told(entries(11, 12))
    async with site(tmp_path, {"/web": source}) as running:
        changed = running.told(DiscoveryChanged)
        assert len(changed) == 1
    for says in (ListError("/web: cannot read: No such file or directory"), ()):
        async with site(tmp_path, {"/web": Told(says)}) as running:
            assert running.servers == [11, 12]
            assert not running.told(DiscoveryChanged)
            await running.turn()
            assert running.servers == [11, 12]
            assert len(running.told(DiscoveryFailed if says else DiscoveryHeld)) == 1


async def test_accepted_empty_list_is_not_held_again_after_a_restart(tmp_path: Path) -> None:
    source = Told(entries(11, 12))
    async with site(tmp_path, {"/web": source}) as running:
        source.tell(())
        await running.turn()
        assert not (await running.reloads._reload_or_reject(ReloadRequest(force=True))).errors
        assert running.servers == []
    async with site(tmp_path, {"/web": source}) as running:
        source.tell(())
        await running.turn()
        assert running.servers == []
        assert not running.told(DiscoveryHeld)


async def test_source_that_is_empty_or_fails_from_the_start_is_told(tmp_path: Path) -> None:
    source = Told(())
    async with site(tmp_path, {"/web": source}) as running:
        await running.turn()
        assert running.servers == []
        (held,) = running.told(DiscoveryHeld)
        assert held.reason == "it lists no server, and nothing was known of it before"
        (status,) = running.parts.discovery.statuses
        assert (status.servers, status.changed) == (None, None)
        source.tell(entries(11))
        await running.turn()
        assert running.servers == [11]


async def test_shadow_mode_saves_nothing(tmp_path: Path) -> None:
    source = Told(entries(11, 12))
    async with site(tmp_path, {"/web": source}, shadow=True) as running:
        source.tell(entries(11, 12, 13))
        await running.turn()
        assert running.servers == [11, 12, 13]
    assert not (tmp_path / "sources.json").exists()


async def test_daemon_without_sources_saves_nothing_and_looks_at_nothing(tmp_path: Path) -> None:
    text = WEB.format(source='[]\nreal_server = ["198.51.100.11"]').replace("source = []\n", "")
    async with site(tmp_path, {}, text) as running:
        await running.turn()
        assert running.servers == [11]
    assert not (tmp_path / "sources.json").exists()


async def test_list_that_cannot_be_saved_is_in_force_and_told(tmp_path: Path) -> None:
    source = Told(entries(11, 12))
    async with site(tmp_path, {"/web": source}) as running:
        (tmp_path / "sources.json").unlink(missing_ok=True)
        (tmp_path / "sources.json").mkdir()
        source.tell(entries(11, 12, 13))
        await running.turn()
        assert running.servers == [11, 12, 13]
        assert "sources.json: cannot write" in running.parts.discovery.file.error
        assert "sources.json" in (await running.parts.view.status()).daemon.state_error
        (tmp_path / "sources.json").rmdir()
        running.now += 60
        await running.turn()
        assert running.parts.discovery.file.error == ""
    (saved,) = read_lists(tmp_path / "sources.json").values()
    assert [each.address for each in saved.entries] == [f"198.51.100.{number}" for number in (11, 12, 13)]


async def test_reload_brings_new_sources_with_what_they_list_and_drops_old_ones(tmp_path: Path) -> None:
    sources = {"/web": Told(entries(11, 12))}
    async with site(tmp_path, sources) as running:
        sources["/other"] = Told(entries(21))
        running.file.write_text(running.file.read_text().replace('"/web"', '"/other"'))
        assert not (await running.reloads._reload_or_reject(ReloadRequest())).errors
        assert running.servers == [21]
        assert [each.source for each in running.parts.discovery.statuses] == ["file /other"]
        sources["/other"].tell(entries(21, 22))
        await running.turn()
        assert running.servers == [21, 22]


async def test_why_names_the_source_of_a_server(tmp_path: Path) -> None:
    async with site(tmp_path, {"/web": Told((*entries(11), Entry("198.51.100.12:81", 1, "/web:2")))}) as running:
        (web,) = running.parts.config.services
        discovery = running.parts.discovery
        for endpoint in (Endpoint("198.51.100.11", 80), Endpoint("198.51.100.12", 81)):
            found = discovery.of(web, endpoint)
            assert found is not None
            assert found.source == "file /web"
        assert discovery.of(web, Endpoint("198.51.100.12", 80)) is None
        (server,) = running.parts.view.why("web", "198.51.100.11").servers
        assert server.layers is not None
        assert server.layers.source is not None
        assert server.layers.source.services == ("web",)


def in_table(running: Site) -> list[str]:
    """Return the addresses of the servers in the table that get clients."""
    (entry,) = running.table.entries.values()
    return sorted(key.address for key, record in entry.destinations.items() if record.weight)


async def reconciled(running: Site) -> None:
    for _ in range(3):
        await running.parts.reconciler.read_back(2.0)


@pytest.mark.parametrize("lost", [(), ("sources.json",), ("sources.json", "state.json")])
async def test_servers_in_the_table_stay_while_a_source_fails_whatever_else_is_lost(
    tmp_path: Path, lost: tuple[str, ...]
) -> None:
    source, table = Told(entries(11, 12)), MemoryTable()
    async with site(tmp_path, {"/web": source}) as running:
        (web,) = running.parts.config.services
        servers = [DestinationRecord(destination_key(each), ForwardingMethod.MASQ, 1) for each in web.real_servers]
        key = service_key(web)
        table.entries = {key: ServiceEntry(ServiceRecord(key, "wlc"), {each.key: each for each in servers})}
    async with site(tmp_path, {"/web": source}, table=table) as running:
        await reconciled(running)
        running.parts.saver.changed()
        await running.parts.save(math.inf)
        await running.parts.flush()
        assert in_table(running) == ["198.51.100.11", "198.51.100.12"]
    for name in lost:
        (tmp_path / name).unlink()
    source.tell(ListError("it cannot be read"))
    async with site(tmp_path, {"/web": source}, table=table) as running:
        await running.turn()
        await reconciled(running)
        assert in_table(running) == ["198.51.100.11", "198.51.100.12"]
        source.tell(entries(11, 13, 14))
        await running.turn()
        await reconciled(running)
        # Only the first list, of which nothing was known, may take out one of two.
        assert in_table(running) == (["198.51.100.11"] if lost else ["198.51.100.11", "198.51.100.12"])


async def test_list_that_takes_out_too_much_of_all_services_is_held_and_asked_for_once(tmp_path: Path) -> None:
    source, table = Told(entries(*range(11, 31))), MemoryTable()
    text = WEB.format(source='{ file = "/web" }')
    async with site(tmp_path, {"/web": source}, text) as running:
        (web,) = running.parts.config.services
        # Of the twenty listed servers, ten serve, and the list drops six of those.
        servers = [DestinationRecord(destination_key(each), ForwardingMethod.MASQ, 1) for each in web.real_servers[:10]]
        key = service_key(web)
        table.entries = {key: ServiceEntry(ServiceRecord(key, "wlc"), {each.key: each for each in servers})}
    async with site(tmp_path, {"/web": source}, text, table=table) as running:
        await reconciled(running)
        source.tell(entries(*range(17, 31)))
        for _ in range(3):
            await running.turn()
        assert running.servers == [*range(11, 31)]
        (held,) = running.told(DiscoveryHeld)
        assert held.reason.startswith("file /web: 6 of the 10 servers that serve now would be taken out")
        assert running.parts.discovery.ready() == {}
        assert not (await running.reloads._reload_or_reject(ReloadRequest(force=True))).errors
        assert running.servers == [*range(17, 31)]


answers = st.one_of(
    st.lists(st.integers(11, 16), max_size=6, unique=True).map(lambda numbers: entries(*numbers)),
    st.just(ListError("it cannot be read")),
    st.lists(st.integers(11, 13), max_size=3, unique=True).map(lambda numbers: entries(*numbers, weight=0)),
    st.just((*entries(11, 12, 13), Entry("[2001:db8::1]", 1, "/web:4"))),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(answers, max_size=8), st.lists(st.booleans(), min_size=8, max_size=8))
def test_no_sequence_of_answers_and_restarts_empties_or_halves_a_service(
    says: list[tuple[Entry, ...] | ListError], restarts: list[bool]
) -> None:
    async def run(folder: Path) -> None:
        source, before = Told(entries(11, 12, 13, 14)), {11, 12, 13, 14}
        async with contextlib.AsyncExitStack() as stack:
            running = await stack.enter_async_context(site(folder, {"/web": source}))
            for each, again in zip(says, restarts, strict=False):
                source.tell(each)
                if again:
                    await stack.aclose()
                    running = await stack.enter_async_context(site(folder, {"/web": source}))
                await running.turn()
                (web,) = running.parts.config.services
                now = {int(str(s.endpoint.address).rpartition(".")[2]) for s in web.real_servers if s.weight}
                assert now
                assert 2 * len(before - now) < len(before) or before <= now
                before = now

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))
