"""What the daemon shows of the kernel's table: the metrics, the listing, and the list of connections."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from lvs_healthd.config.basics import Endpoint, Family, Protocol
from lvs_healthd.config.check_ways import DataPath
from lvs_healthd.config.model import Config
from lvs_healthd.daemon.parts import Settings, Surroundings, build
from lvs_healthd.director import keeper
from lvs_healthd.director.advice import READ
from lvs_healthd.director.aspect import Setting
from lvs_healthd.director.keeper import Keeper
from lvs_healthd.events.kinds import Event
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.ipvs.kernel.statistics import Statistics
from lvs_healthd.log import configure
from lvs_healthd.plan.mark_services import mark_service
from lvs_healthd.probes.outcome import Course, up
from lvs_healthd.runtime import pace
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.view.naming import UnknownNameError
from lvs_healthd.view.table_values import Listing, State
from lvs_healthd.view.view import View
from tests import configs
from tests.ipvs.tables import MARK, WEB, entry, server, service, table

ONE, TWO, SPARE, ALIEN = (server(f"198.51.100.{number}") for number in (1, 2, 99, 77))
SOME = Statistics(3, 5, 2, 1000, 12_000, 11_000, 1_300_000, 2**40, 10, 120, 110, 13_000, 99_000)
TO_WEB = b"TCP C0000202 D1F2 C0000264 0050 C6336401 0050 FIN_WAIT        117\n"
TO_MARK = b"TCP C0000202 D1F3 C00002FA 0050 C633644D 0050 ESTABLISHED     899\n"


class ConnectedTable(MemoryTable):
    """A table that also has connections, read in blocks."""

    def connections(self) -> Iterator[bytes]:
        return iter([TO_WEB + TO_MARK, TO_WEB])


@contextlib.asynccontextmanager
async def viewed(
    *servers: str, fallback: tuple[str, ...] = ("198.51.100.99",), persistence: float = 0.0
) -> AsyncIterator[tuple[View, ConnectedTable]]:
    """Make the view of a daemon that has just adopted a table with .1, the fallback server and a foreign service."""
    kernel = ConnectedTable()
    kernel.entries = table(entry(service(scheduler="rr"), ONE, SPARE), entry(service(MARK), ALIEN))
    around = Surroundings(table=kernel, log=configure(), netns=Netns(), aspects=(), exclusive=False)
    parts = build(Settings(config_file=Path("config.toml")), Config(), around)
    await parts.reconciler.adopt()
    members = (configs.server(each) for each in servers or ("198.51.100.1", "198.51.100.2"))
    config = configs.config(configs.service(*members, fallback=fallback, persistence=persistence))
    parts.decisions.configure(config, parts.reconciler.actual, {})
    parts.replans.now()
    yield parts.view, kernel
    parts.prober.close()


HOSTS = tuple(f"198.51.100.{number}" for number in range(1, 5))


def _reloaded(weight: int, replaced: int) -> Config:
    """Three services of four servers each, of which the one with number `replaced` has servers of this weight."""
    return configs.config(
        *(
            configs.service(
                *(configs.server(host, weight=weight if number == replaced else 1) for host in HOSTS),
                name=f"service {number}",
                address=f"192.0.2.{number}",
            )
            for number in range(3)
        )
    )


@pytest.mark.parametrize("replaced", range(3))
@pytest.mark.parametrize("what", ["status", "samples", "listing"])
async def test_a_reload_meanwhile_leaves_no_service_without_its_servers(
    what: str, replaced: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = itertools.count()
    # Every item is a slice of its own.
    monkeypatch.setattr(pace, "clock", lambda: next(readings) * pace.SLICE_S)
    around = Surroundings(table=MemoryTable(), log=configure(), netns=Netns(), aspects=(), exclusive=False)
    parts = build(Settings(config_file=Path("config.toml")), Config(), around)

    def reload(config: Config) -> None:
        parts.decisions.configure(config, {}, {})
        parts.replans.now()

    async def look() -> list[tuple[int, int]]:
        """Return how many servers each service has, and how many checks these have."""
        match what:
            case "status":
                services = (await parts.view.status()).services
                return [
                    (len(each.real_servers), sum(len(one.checks) for one in each.real_servers)) for each in services
                ]
            case "samples":
                samples = (await parts.view.samples()).services
                return [(len(each.servers), len(each.latencies)) for each in samples]
            case _:
                found = (await listing(parts.view)).services
                return [(len(each.servers), sum(one.verdict == "unknown" for one in each.servers)) for each in found]

    reload(_reloaded(1, replaced))
    for probe in parts.decisions.probes.values():
        probe.outcome(up("connected"), Course(0.001))
    for moment in range(20):
        looking = asyncio.create_task(look())
        for _ in range(moment):
            await asyncio.sleep(0)
        reload(_reloaded(moment + 2, replaced))
        assert await looking == [(4, 4)] * 3
    parts.prober.close()


async def test_servers_that_a_reload_has_replaced_and_that_serve_on_are_no_fallback() -> None:
    async def shown(view: View) -> tuple[bool, bool]:
        return (await view.status()).services[0].in_fallback, (await view.samples()).services[0].in_fallback

    async with viewed("198.51.100.1", fallback=()) as (view, kernel):
        assert await shown(view) == (False, False)
        view._decisions.configure(configs.config(configs.service(configs.server("198.51.100.2"))), kernel.entries, {})
        view._reconciler.want(view._decisions.wanted(kernel.entries), None)
        assert ONE.key in view.wanted()[WEB].destinations
        assert await shown(view) == (False, False)
        kernel.entries[WEB].destinations.clear()
        view._reconciler.want(view._decisions.wanted(kernel.entries), None)
        assert view.wanted()[WEB].destinations == {}
        assert await shown(view) == (True, True)


async def listing(view: View, which: str = "") -> Listing:
    return msgspec.json.decode(b"".join([piece async for piece in view.listing(which)]), type=Listing)


async def lines(view: View, which: str = "") -> list[bytes]:
    return b"".join([block async for block in view.connections(which)]).splitlines(keepends=True)


async def test_metrics_are_of_what_is_in_the_kernels_table_and_configured_fallback_too() -> None:
    async with viewed() as (view, kernel):
        kernel.counted = {(WEB, None): SOME, (WEB, SPARE.key): SOME}
        (web,) = (await view.samples()).services
    assert web.counted == ["198.51.100.1:80", "198.51.100.99:80"]
    assert web.statistics is not None
    assert web.statistics.service() == SOME
    assert web.statistics.column("connections") == [0, SOME.connections]
    assert not web.is_persistent


async def test_server_that_is_also_the_fallback_is_counted_once_and_one_that_is_not_configured_never() -> None:
    async with viewed("198.51.100.1", fallback=("198.51.100.1",), persistence=300.0) as (view, _):
        (web,) = (await view.samples()).services
    assert web.counted == ["198.51.100.1:80", None]
    assert web.is_persistent


async def test_service_that_is_not_in_the_kernels_table_counts_nothing() -> None:
    async with viewed() as (view, kernel):
        del kernel.entries[WEB]
        (web,) = (await view.samples()).services
    assert (web.statistics, web.counted) == (None, [])


async def test_status_shows_advice_for_as_long_as_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"net.ipv4.ip_forward": "0", "net.ipv4.vs.conn_max": "1"}

    async def read(*_: object) -> dict[str, str | None]:
        return {**dict.fromkeys(READ), **values}

    monkeypatch.setattr(keeper, "read", read)
    events: list[Event] = []
    kept = Keeper([Nothing()], Netns(), events.append)
    kept.want(configs.config(configs.service(configs.server("198.51.100.1"))), shadow=False)
    async with viewed() as (view, _):
        view._keeper = kept
        await kept.turn()
        forward, connections = (await view.status()).daemon.setting_advice
        assert forward.startswith("net.ipv4.ip_forward is 0: answers of nat and fullnat servers have to be forwarded")
        assert connections.startswith("net.ipv4.vs.conn_max is 1: ")
        assert len(events) == 2
        del values["net.ipv4.ip_forward"]
        await kept.turn()
        assert (await view.status()).daemon.setting_advice == (connections,)


class Nothing:
    """An aspect that is always as wanted."""

    def want(self, config: Config) -> None:
        pass

    async def differing(self) -> list[Setting]:
        return []

    async def mend(self, setting: Setting) -> None:
        raise AssertionError(setting)


async def test_listing_is_whole_or_of_one_service() -> None:
    async with viewed() as (view, _):
        everything = await listing(view)
        assert [(each.service, each.state) for each in everything.services] == [("web", State.OK), ("", State.FOREIGN)]
        states = {each.server: each.state for each in everything.services[0].servers}
        assert states == {"198.51.100.1:80": State.OK, "198.51.100.2:80": State.OUT, "198.51.100.99:80": State.EXTRA}
        assert (await listing(view, "fwmark 7")).services == everything.services[1:]
        with pytest.raises(UnknownNameError):
            await listing(view, "wbe")


async def test_connections_are_all_or_those_of_one_service() -> None:
    async with viewed() as (view, _):
        assert await lines(view) == [TO_WEB, TO_MARK, TO_WEB]
        assert await lines(view, "web") == [TO_WEB, TO_WEB]
        assert await lines(view, "fwmark 7") == [TO_MARK]
        with pytest.raises(UnknownNameError):
            await lines(view, "wbe")


async def test_times_do_not_jitter_between_two_answers_and_follow_a_clock_that_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def times(view: View) -> tuple[float, float]:
        samples = await view.samples()
        assert samples.daemon.last_resync is not None
        return samples.services[0].since[0], samples.daemon.last_resync

    async with viewed() as (view, _):
        real = time.time
        jitter = itertools.cycle((0.0, 0.003, 0.001))
        monkeypatch.setattr(time, "time", lambda: real() + next(jitter))
        first = await times(view)
        assert [await times(view) for _ in range(5)] == [first] * 5
        monkeypatch.setattr(time, "time", lambda: real() + 3600.0)
        assert await times(view) == pytest.approx((first[0] + 3600.0, first[1] + 3600.0), abs=60)


async def test_mark_services_of_path_probes_are_shown_only_when_asked_for() -> None:
    async with viewed("198.51.100.1", fallback=()) as (view, kernel):
        path = DataPath(protocol=Protocol.TCP, family=Family.IPV4, server=Endpoint("198.51.100.1", 0), forward="dr")
        entry = mark_service(path, 65536)
        mark = entry.service.key
        kernel.entries[mark] = entry
        view._is_mark_service = mark.__eq__
        await view._reconciler.adopt()
        assert mark not in view.actual()
        assert WEB in view.actual()
        assert mark in view.actual(whole=True)
        assert str(mark) not in [each.address for each in (await listing(view)).services]
        shown = msgspec.json.decode(b"".join([piece async for piece in view.listing("", whole=True)]), type=Listing)
        assert str(mark) in [each.address for each in shown.services]
        assert [each.address for each in (await listing(view, "fwmark 65536")).services] == [str(mark)]
