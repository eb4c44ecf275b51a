"""The maintenance folder: whom its files drain, what is told, and what holds while it cannot be read."""

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lvs_healthd.config.model import Config
from lvs_healthd.daemon import maintenance, maintenance_folder
from lvs_healthd.daemon.maintenance import KEEP_S, RETRY_S, MaintenanceRuns
from lvs_healthd.daemon.maintenance_folder import look, resolve, resolve_all
from lvs_healthd.decide.maintenance import NOTHING, Resolved
from lvs_healthd.decide.roles import Roles
from lvs_healthd.events.kinds import (
    CheckFailing,
    Event,
    MaintenanceBegan,
    MaintenanceEnded,
    MaintenanceError,
    MaintenanceRecovered,
    MaintenanceUnused,
    RealServerDown,
    RealServerDrained,
    ServiceFallback,
)
from lvs_healthd.plan.precedence import State
from lvs_healthd.state.file import SavedDrain
from lvs_healthd.view.overrides import listed_overrides
from lvs_healthd.view.samples import service_samples
from tests.configs import config, server, service, tcp_check
from tests.daemon.test_operators import WALL, A, B, C, Site, given
from tests.decide.test_decisions import FAIL

SIX = "2001:db8::1"


class Resolver:
    """A resolver that knows what the test tells it."""

    def __init__(self) -> None:
        self.hosts: dict[str, Resolved] = {}
        self.asked: list[str] = []
        self.hangs: dict[str, threading.Event] = {}

    def __call__(self, host: str) -> Resolved:
        self.asked.append(host)
        if host in self.hangs:
            self.hangs[host].wait(60)
        return self.hosts.get(host, Resolved(problem="its name cannot be resolved: not known"))


class Director(Site):
    """A site with a maintenance folder."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.folder = directory / "maintenance"
        self.resolver = Resolver()
        self.runs = MaintenanceRuns(
            self.bench.decisions,
            self.bench.events.append,
            replan=lambda: None,
            clock=lambda: self.bench.now,
            wall=lambda: self.bench.now + WALL,
            ask=self.resolver,
        )

    @property
    def state(self) -> Any:
        return self.bench.decisions.overrides.maintenance

    async def start_with(self, configured: Config, saved: tuple[SavedDrain, ...] = ()) -> None:
        await self.runs.start(str(self.folder), saved)
        await self.start(configured)
        await self.runs.turn()

    async def put(self, *names: str) -> None:
        for name in names:
            (self.folder / name).touch()
        await self.look()

    async def remove(self, *names: str) -> None:
        for name in names:
            (self.folder / name).unlink()
        await self.look()

    async def look(self) -> None:
        """Let the daemon look into the folder and at the drained servers, and write what follows."""
        await self.runs.turn()
        await self.settle()
        await self.hand.turn()
        await self.settle()

    async def resolve(self) -> None:
        await self.runs.resolve_turn()
        await self.look()

    def told(self, kind: type[Event], *fields: str) -> list[tuple[Any, ...]]:
        return [tuple(getattr(each, field) for field in fields) for each in self.bench.of(kind)]

    def states(self) -> list[str]:
        return [
            f"{each.service.config.name} {each.key}"
            for each in self.bench.decisions.servers
            if each.special is not None and each.special.state is State.DRAINED
        ]

    def path(self, name: str) -> str:
        return str(self.folder / name)


@pytest.fixture
async def site(tmp_path: Path) -> Director:
    made = Director(tmp_path)
    made.folder.mkdir()
    await made.start_with(given())
    assert made.in_kernel() == {A: 2, B: 1}
    return made


async def test_file_drains_like_an_operator_and_its_removal_puts_the_server_back(site: Director) -> None:
    site.connect(A, 2)
    await site.put(f"{A}:80")
    assert site.in_kernel() == {A: 0, B: 1}
    assert site.told(MaintenanceBegan, "file", "servers", "count") == [(site.path(f"{A}:80"), (f"{A}:80",), 1)]
    site.connect(A, 0)
    await site.look()
    assert site.in_kernel() == {B: 1}
    assert site.told(RealServerDrained, "server", "reason") == [(f"{A}:80", "no connections left")]
    # Its failures alarm nobody.
    site.bench.feed(tcp_check(A, 80), FAIL, FAIL, FAIL)
    assert not [each for each in site.told(CheckFailing, "server") if each == (f"{A}:80",)]
    assert [each.level for each in site.bench.of(RealServerDown)] == ["info"]
    await site.remove(f"{A}:80")
    assert site.states() == []
    assert site.told(MaintenanceEnded, "file", "servers", "why") == [
        (site.path(f"{A}:80"), (f"{A}:80",), "the file was removed")
    ]
    await site.look()
    assert len(site.bench.of(MaintenanceBegan)) == len(site.bench.of(MaintenanceEnded)) == 1


async def test_server_comes_back_with_its_weight_and_its_next_drain_waits_for_its_connections(site: Director) -> None:
    await site.put(A)
    assert site.in_kernel() == {B: 1}
    await site.remove(A)
    assert site.in_kernel() == {A: 2, B: 1}
    site.connect(A, 1)
    await site.put(A)
    assert site.in_kernel() == {A: 0, B: 1}


async def test_count_from_before_the_file_is_not_believed(site: Director) -> None:
    (site.folder / A).touch()
    await site.runs.turn()
    await site.hand.turn()  # the table was read before, when the server had no connections
    assert not site.bench.of(RealServerDrained)


async def test_address_alone_means_all_services_also_later_ones_and_fallback_servers(tmp_path: Path) -> None:
    site = Director(tmp_path)
    site.folder.mkdir()
    (site.folder / A).touch()
    six = service(server(SIX, 80), server(B, 80), name="six", address="2001:db8::100")
    await site.start_with(config(*given().services, six))
    assert site.states() == [f"web {A}:80", f"other {A}:81"]
    third = service(server(A, 82), server(B, 82), name="third", address="192.0.2.102", port=82)
    spare_one = service(server(C), name="spare", fallback=(A,), address="192.0.2.103")
    site.bench.configure(config(*given().services, six, third, spare_one))
    assert site.states() == [f"web {A}:80", f"other {A}:81", f"third {A}:82"]
    spare = site.bench.decisions.services[-1].spares[0]
    assert spare.hand is not None
    assert spare.hand.state is State.DRAINED
    await site.put(f"[{SIX}]:80")
    assert f"six [{SIX}]:80" in site.states()
    await site.remove(f"[{SIX}]:80", A)
    assert site.states() == []
    await site.put(SIX)
    assert site.states() == [f"six [{SIX}]:80"]


async def test_hidden_files_leftovers_and_folders_are_passed_over(site: Director) -> None:
    (site.folder / C).mkdir()
    await site.put(f".{A}", f"{A}~", f".{A}.swp", f"{B}.swp", "#b#")
    assert site.states() == []
    assert not site.bench.of(MaintenanceUnused)
    os.mkfifo(site.folder / A)
    (site.folder / B).symlink_to("nowhere")
    await site.look()
    assert site.states() == [f"web {A}:80", f"web {B}:80", f"other {A}:81"]


async def test_files_that_mean_nobody_are_told_once(site: Director) -> None:
    await site.put("198.51.100.99", f"{A}:9", "not a name", "nohost")
    await site.resolve()
    await site.look()
    nobody = {
        site.path("198.51.100.99"): "no configured server is 198.51.100.99",
        site.path(f"{A}:9"): f"no configured server is {A}:9",
        site.path("not a name"): "it is named neither after an address nor after a host, perhaps with a port",
        site.path("nohost"): "its name cannot be resolved: not known",
    }
    assert dict(site.told(MaintenanceUnused, "file", "why")) == nobody
    assert len(site.bench.of(MaintenanceUnused)) == len(nobody)
    assert site.state.unused == nobody
    listed = {each.file: each for each in listed_overrides(site.bench.decisions, lambda _: False)}
    assert listed[site.path("nohost")].server == "nohost"
    assert listed[site.path("not a name")].server == "not a name"
    assert not any(each.is_configured for each in listed.values())
    assert {each.file: each.reason for each in listed.values()} == nobody
    # A reload that brings the server makes the file count.
    site.bench.configure(config(*given().services, service(server("198.51.100.99"), name="new", address="192.0.2.9")))
    await site.look()
    assert site.told(MaintenanceBegan, "file") == [(site.path("198.51.100.99"),)]
    assert site.path("198.51.100.99") not in site.state.unused
    site.bench.configure(given())
    await site.look()
    assert site.told(MaintenanceEnded, "why") == [("no configured server is 198.51.100.99",)]


async def test_host_is_resolved_and_the_answer_kept_for_a_while(site: Director) -> None:
    site.resolver.hosts["db1"] = Resolved((A,))
    await site.put("DB1:80")
    assert site.states() == []
    assert not site.bench.of(MaintenanceUnused)  # it has not been looked up yet
    await site.runs.resolve_turn()
    await site.resolve()
    assert site.states() == [f"web {A}:80"]
    assert site.told(MaintenanceBegan, "file", "servers") == [(site.path("DB1:80"), (f"{A}:80",))]
    await site.resolve()
    assert site.resolver.asked == ["db1"]
    # A resolver that fails later changes nothing, and is told.
    del site.resolver.hosts["db1"]
    site.bench.now += KEEP_S
    await site.resolve()
    assert site.resolver.asked == ["db1", "db1"]
    assert site.states() == [f"web {A}:80"]
    assert "it goes on draining" in site.state.unused[site.path("DB1:80")]
    assert not site.bench.of(MaintenanceEnded)
    # Another answer counts.
    site.resolver.hosts["db1"] = Resolved((B,))
    site.bench.now += RETRY_S
    await site.resolve()
    assert site.states() == [f"web {B}:80"]
    assert site.told(MaintenanceEnded, "why") == [("the name of the host means other addresses now",)]
    assert site.told(MaintenanceBegan, "servers")[-1] == ((f"{B}:80",),)
    assert site.state.unused == {}


async def test_resolver_that_hangs_delays_neither_the_folder_nor_other_hosts(
    site: Director, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "RESOLVE_S", 0.05)
    release = site.resolver.hangs["db1"] = threading.Event()
    site.resolver.hosts |= {"db1": Resolved((A,)), "db2": Resolved((B,))}
    await site.put("db1", "db2")
    await site.runs.resolve_turn()  # its thread hangs with db1
    await site.put(C)
    assert site.states() == [f"other {C}:81"]
    assert "has not answered in 0.1s" in site.state.unused[site.path("db1")]
    await site.runs.resolve_turn()
    assert site.resolver.asked == ["db1"]  # no second thread is kept
    del site.resolver.hangs["db1"]
    release.set()
    while site.states() != [f"web {A}:80", f"web {B}:80", f"other {A}:81", f"other {C}:81"]:
        await site.resolve()
        await asyncio.sleep(0)
    assert site.state.unused == {}


@pytest.mark.parametrize("how", ["missing", "no folder", "crowded"])
async def test_folder_that_cannot_be_read_puts_nobody_back(
    site: Director, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    await site.put(A)
    aside = site.folder.with_name("aside")
    if how == "crowded":
        monkeypatch.setattr(maintenance_folder, "MOST_FILES", 0)
        why = "it has more than 0 entries"
    else:
        site.folder.rename(aside)
        if how == "no folder":
            site.folder.touch()
        why = "No such file or directory" if how == "missing" else "Not a directory"
    await site.look()
    await site.look()
    error = f"{site.folder} cannot be read: {why}; what is known of 1 file stays in force"
    assert site.told(MaintenanceError, "folder", "error", "files") == [(str(site.folder), error, 1)]
    assert site.state.error == error
    assert site.states() == [f"web {A}:80", f"other {A}:81"]
    # It holds for servers that a reload adds, too.
    third = service(server(A, 82), server(B, 82), name="third", address="192.0.2.102", port=82)
    site.bench.configure(config(*given().services, third))
    await site.look()
    assert site.states() == [f"web {A}:80", f"other {A}:81", f"third {A}:82"]
    enabled = await site.order("enable", everywhere=A)
    assert "the folder cannot be read now" in enabled.advice[0]
    monkeypatch.undo()
    if how == "no folder":
        site.folder.unlink()
    if aside.exists():
        aside.rename(site.folder)
    await site.remove(A)
    assert site.states() == []
    assert site.told(MaintenanceRecovered, "files") == [(0,)]
    assert site.state.error == ""


async def test_folder_that_hangs_puts_nobody_back_and_keeps_one_thread(
    site: Director, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.put(A)
    release, calls = threading.Event(), list[int]()

    def hang(*_: object) -> Any:
        calls.append(1)
        release.wait(60)
        return NOTHING, frozenset({A})  # what comes too late is dropped

    monkeypatch.setattr(maintenance, "look", hang)
    monkeypatch.setattr(maintenance, "READ_S", 0.05)
    for _ in range(3):
        await site.look()
    assert len(calls) == 1
    assert len(site.bench.of(MaintenanceError)) == 1
    assert "has taken more than 0.05s: a file system hangs" in site.state.error
    assert site.states() == [f"web {A}:80", f"other {A}:81"]
    monkeypatch.undo()
    # Another folder does not wait for the one that hangs.
    other = site.folder.with_name("other")
    other.mkdir()
    (other / B).touch()
    await site.runs.move(str(other))
    assert site.states() == [f"web {B}:80"]
    release.set()


async def test_restart_reads_the_folder_before_it_decides(site: Director, tmp_path: Path) -> None:
    site.resolver.hosts["db1"] = Resolved((C,))
    await site.put(A, "db1")
    await site.resolve()
    after = Director(tmp_path)
    after.resolver.hosts["db1"] = Resolved((C,))
    after.table.entries = site.table.entries
    await after.start_with(given())
    assert after.states() == [f"web {A}:80", f"other {A}:81", f"other {C}:81"]
    assert after.in_kernel() == {B: 1}
    assert len(after.bench.of(MaintenanceBegan)) == 2


async def test_restart_while_the_folder_is_missing_goes_by_what_was_saved(site: Director, tmp_path: Path) -> None:
    site.resolver.hosts["db1"] = Resolved((C,))
    await site.put(A, "db1")
    await site.resolve()
    site.folder.rename(tmp_path / "aside")
    after = Director(tmp_path)
    after.bench.now += 9000.0
    after.table.entries = site.table.entries
    await after.start_with(given(), site.state.folder.saved)
    assert after.states() == [f"web {A}:80", f"other {A}:81", f"other {C}:81"]
    assert after.in_kernel() == {B: 1}
    assert len(after.bench.of(MaintenanceError)) == 1
    assert after.state.folder.files[site.path(A)].since == site.state.folder.files[site.path(A)].since
    (tmp_path / "aside").rename(site.folder)
    await after.remove(A)
    assert after.states() == [f"other {C}:81"]


async def test_start_waits_a_moment_for_the_resolver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "START_S", 0.05)
    site = Director(tmp_path)
    site.folder.mkdir()
    (site.folder / "db1").touch()
    release = site.resolver.hangs["db1"] = threading.Event()
    await site.runs.start(str(site.folder), ())
    assert site.state.folder.files[site.path("db1")].addresses == ()
    release.set()


async def test_reload_changes_and_drops_the_folder(site: Director) -> None:
    await site.put(A)
    other = site.folder.with_name("other")
    await site.runs.move(str(other))
    # The new one cannot be read: a slip in the path puts nobody back.
    assert site.states() == [f"web {A}:80", f"other {A}:81"]
    assert site.told(MaintenanceError, "folder") == [(str(other),)]
    other.mkdir()
    (other / B).touch()
    await site.look()
    assert site.states() == [f"web {B}:80"]
    assert site.told(MaintenanceEnded, "file", "why") == [(site.path(A), f"maintenance_dir is {other} now")]
    await site.runs.move("")
    assert site.states() == []
    assert site.told(MaintenanceEnded, "why")[-1] == ("maintenance_dir is not configured any more",)
    await site.look()
    assert site.in_kernel() == {A: 2, B: 1}
    await site.runs.move(str(site.folder))
    assert site.states() == [f"web {A}:80", f"other {A}:81"]


async def test_disable_counts_before_a_file_and_enable_says_what_ends_it(site: Director) -> None:
    await site.put(A)
    await site.order("disable", "web", A, reason="broken disk")
    (first, *_) = site.bench.decisions.servers
    assert first.hand is not None
    assert first.hand.state is State.DISABLED
    assert first.hand.state_reason.startswith("disabled by uid 0: broken disk; drained by the file ")
    outcome = await site.order("enable", "web", A)
    assert [each.state for each in outcome.servers] == ["drained"]
    ends = f"is still drained by the file {site.path(A)}: remove that file to end that"
    assert outcome.advice == (f"{A}:80 {ends}",)
    outcome = await site.order("enable", everywhere=A)
    assert outcome.advice == (f"{A}:80 {ends}", f"{A}:81 {ends}")
    assert (await site.order("enable", "web", B)).advice == ()
    await site.remove(A)
    assert (await site.order("enable", "web", A)).advice == ()


async def test_operator_s_drain_stays_when_the_file_goes_and_the_reverse(site: Director) -> None:
    await site.put(A)
    await site.order("drain", "web", A, reason="update")
    await site.remove(A)
    assert site.states() == [f"web {A}:80"]
    await site.put(A)
    await site.order("enable", "web", A)
    assert site.states() == [f"web {A}:80", f"other {A}:81"]
    await site.settle()
    assert site.in_kernel() == {B: 1}


async def test_order_that_would_leave_nobody_beside_a_file_needs_force(site: Director) -> None:
    await site.put(A)
    refused = (await site.order("drain", "web", B)).refused
    assert refused == 'this would leave "web" without a real server that may serve; --force if that is meant'


async def test_files_that_leave_a_service_with_nobody_are_loud(tmp_path: Path) -> None:
    site = Director(tmp_path)
    site.folder.mkdir()
    await site.start_with(
        config(msgspec.structs.replace(given().services[0], fallback=service(fallback=(C,)).fallback))
    )
    await site.put(A, B)
    assert site.told(ServiceFallback, "service", "level") == [("web", "error")]
    assert site.in_kernel() == {C: 1}
    await site.remove(B)
    assert site.in_kernel() == {B: 1}


async def test_in_shadow_mode_the_files_count_and_nothing_is_written(site: Director) -> None:
    site.shadow = site.reconciler.shadow = True
    await site.put(A)
    assert site.states() == [f"web {A}:80", f"other {A}:81"]
    wanted = site.bench.decisions.wanted(site.reconciler.actual).table[site.bench.decisions.services[0].key]
    assert {each.address: record.weight for each, record in wanted.destinations.items()} == {A: 0, B: 1}
    assert site.in_kernel() == {A: 2, B: 1}
    assert "shadow mode" in (await site.order("drain", "web", A)).refused


async def test_status_and_metrics_show_the_file_and_since_when(site: Director) -> None:
    await site.put(A, f"{A}:80")
    since = site.state.folder.files[site.path(A)].since
    listed = [
        (each.kind, each.service, each.server, each.file)
        for each in listed_overrides(site.bench.decisions, lambda _: False)
    ]
    assert listed == [
        ("maintenance", "*", A, site.path(A)),
        ("maintenance", "*", f"{A}:80", site.path(f"{A}:80")),
    ]
    decisions = site.bench.decisions
    samples = service_samples(
        decisions.services[0], decisions.overrides, site.reconciler, site.table, Roles(), shift_s=0.0, wall=0.0
    )
    assert samples.overrides == [(f"{A}:80", "maintenance", since)]


def test_folder_of_thousands_of_files_is_described_once(tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"10.0.{number // 250}.{number % 250 + 1}").touch()
    first, touched = look(str(tmp_path), NOTHING, {}, 1e12)
    assert len(first.files) == len(touched) == 3000
    assert first.files[f"{tmp_path}/10.0.0.2"].since == (tmp_path / "10.0.0.2").stat().st_ctime
    assert look(str(tmp_path), first, {}, 1e12) == (first, frozenset())
    (tmp_path / "10.0.0.1").unlink()
    second, touched = look(str(tmp_path), first, {}, 1e12)
    assert touched == {"10.0.0.1"}
    assert second.files[f"{tmp_path}/10.0.0.2"] is first.files[f"{tmp_path}/10.0.0.2"]


def test_name_that_is_no_text_is_shown_in_printable_characters(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"db\xff\n")).touch()
    (file,) = look(str(tmp_path), NOTHING, {}, 1e12)[0].files.values()
    assert file.path == f"{tmp_path}/db\\udcff\\n"
    assert msgspec.json.encode(file)


def test_system_s_resolver_is_asked() -> None:
    assert set(resolve("localhost").addresses) <= {"127.0.0.1", "::1"}
    assert resolve("localhost").addresses
    assert resolve("no-such-host.invalid").problem.startswith("its name cannot be resolved: ")
    assert resolve("a" * 64).problem.startswith("its name cannot be resolved: ")


def test_resolver_is_asked_no_longer_than_for_a_while() -> None:
    answers: dict[str, Resolved] = {}
    resolve_all(["a", "b"], answers, lambda _: Resolved((A,)), 0.0)
    assert answers == {"a": Resolved((A,))}
    resolve_all(["a", "b"], answers, lambda _: Resolved((B,)), 60.0)
    assert answers == {"a": Resolved((B,)), "b": Resolved((B,))}
