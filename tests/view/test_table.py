"""The table line by line: each line's state, its differences, and what the kernel has counted."""

import asyncio

import pytest

from lvs_healthd.decide.held import ServerState, ServiceState
from lvs_healthd.health.machine import Health, Verdict
from lvs_healthd.ipvs.diff import Servers
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.ipvs.kernel.statistics import Statistics
from lvs_healthd.ipvs.records import ServiceKey, Table, Wanted, Why
from lvs_healthd.ipvs.words import AF_INET, IPPROTO_TCP
from lvs_healthd.reconcile.ownership import Ownership
from lvs_healthd.view.naming import UnknownNameError
from lvs_healthd.view.table import listed, meant
from lvs_healthd.view.table_values import Difference, ListedServer, ListedService, State
from tests import configs
from tests.ipvs.tables import DNS, MARK, WEB, entry, server, service, table
from tests.pacing import READINGS_PER_SLICE

ONE, TWO, THREE, SPARE = (server(f"198.51.100.{number}") for number in (1, 2, 3, 99))
COUNTED = Statistics(3, 5, 2, 1000, 12_000, 11_000, 1_300_000, 2**40, 10, 120, 110, 13_000, 99_000)


def state(*healths: Health, fallback: tuple[str, ...] = ()) -> ServiceState:
    """A service "web" whose servers .1, .2, … have these states of health."""
    config = configs.service(*(configs.server(f"198.51.100.{n}") for n, _ in enumerate(healths, 1)), fallback=fallback)
    made = ServiceState(config)
    for number, health in enumerate(healths):
        one = ServerState(made, config.real_servers[number], made.planned.servers[number].key)
        one.health = health
        made.servers.append(one)
    for spare, line in zip(config.fallback, made.planned.fallback, strict=True):
        one = ServerState(made, spare, line.key)
        one.health = Health(Verdict.UP, 0.0)
        made.spares.append(one)
    return made


UP = Health(Verdict.UP, 0.0, detail="connected", passes=2)
DOWN = Health(Verdict.DOWN, 0.0, detail="connection refused", failures=3)


def listing(
    actual: Table,
    wanted: Table | None,
    *states: ServiceState,
    owned: frozenset[ServiceKey] = frozenset(),
    why: dict[ServiceKey, str] | None = None,
    memory: MemoryTable | None = None,
    ours: Servers | None = None,
) -> list[ListedService]:
    memory = memory or MemoryTable()
    memory.entries = actual
    whole = (
        None if wanted is None else Wanted(wanted, {WEB: "web"}, {(WEB, SPARE.key): Why("no real server may serve")})
    )

    ownership = Ownership()
    ownership.services.update(owned)
    ownership.servers.update({key: set(servers) for key, servers in (ours or {}).items()})

    async def gather() -> list[ListedService]:
        found = listed(
            meant("", states, [wanted or {}, actual]),
            service={each.key: each for each in states}.get,
            wanted=lambda: whole,
            actual=lambda: actual,
            ownership=ownership,
            statistics=memory.statistics,
        )
        return [each async for each in found]

    return asyncio.run(gather())


def by_address(found: ListedService) -> dict[str, ListedServer]:
    return {each.server.removesuffix(":80"): each for each in found.servers}


def test_line_that_is_as_wanted_is_ok_with_verdict_and_counters() -> None:
    memory = MemoryTable()
    memory.counted = {(WEB, ONE.key): COUNTED, (WEB, None): COUNTED}
    both = table(entry(service(), ONE, TWO))
    (found,) = listing(both, table(entry(service(), ONE, TWO)), state(UP, UP), memory=memory)
    assert (found.service, found.address, found.state) == ("web", "192.0.2.100:80/tcp", State.OK)
    assert [each.state for each in found.servers] == [State.OK, State.OK]
    one = found.servers[0]
    assert (one.verdict, one.reason, one.statistics) == ("up", "connected", COUNTED)
    assert one.actual is not None
    assert one.actual == one.wanted
    assert (one.actual.forward, one.actual.weight) == ("nat", 1)
    assert found.statistics is not None
    assert (found.statistics.connections, found.statistics.active_connections) == (1000, 3)


def test_every_difference_is_found() -> None:
    actual = table(entry(service(scheduler="wlc"), server("198.51.100.1", 7), THREE))
    wanted = table(entry(service(), ONE, TWO))
    (found,) = listing(actual, wanted, state(UP, UP))
    assert (found.state, found.differences) == (
        State.DIFFERS,
        (Difference(field="scheduler", actual="wlc", wanted="wrr"),),
    )
    servers = by_address(found)
    one, two, three = (servers[f"198.51.100.{number}"] for number in (1, 2, 3))
    assert (one.state, one.differences) == (State.DIFFERS, (Difference(field="weight", actual="7", wanted="1"),))
    assert (two.state, two.actual, two.statistics) == (State.MISSING, None, None)
    assert two.wanted is not None
    assert (three.state, three.verdict, three.wanted) == (State.EXTRA, "", None)


def test_server_that_is_down_is_out_with_its_reason_and_an_idle_fallback_is_not_listed() -> None:
    wanted = table(entry(service(), ONE))
    (found,) = listing(wanted, wanted, state(UP, DOWN, fallback=("198.51.100.99",)))
    assert list(by_address(found)) == ["198.51.100.1", "198.51.100.2"]
    out = found.servers[1]
    assert (out.state, out.verdict, out.reason) == (State.OUT, "down", "connection refused")


def test_fallback_in_use_is_unchecked_and_says_why() -> None:
    wanted = table(entry(service(), SPARE))
    (found,) = listing(wanted, wanted, state(DOWN, fallback=("198.51.100.99",)))
    spare = by_address(found)["198.51.100.99"]
    assert (spare.state, spare.verdict, spare.reason) == (State.OK, "unchecked", "no real server may serve")


def test_service_of_somebody_else_is_foreign_and_one_of_ours_that_left_is_extra() -> None:
    actual = table(entry(service(MARK), ONE), entry(service(DNS), server("2001:db8::1")))
    found = {each.address: each for each in listing(actual, {}, owned=frozenset({DNS}))}
    assert (found["fwmark 7"].state, found["fwmark 7"].servers[0].state) == (State.FOREIGN, State.FOREIGN)
    assert found["[2001:db8::53]:53/udp"].state is State.EXTRA


def test_server_of_somebody_else_in_a_service_that_is_shared_is_foreign() -> None:
    wanted, actual = table(entry(service(WEB), ONE)), table(entry(service(WEB), ONE, TWO, THREE))
    (web,) = listing(actual, wanted, state(UP), ours={WEB: {ONE.key, TWO.key}})
    assert [each.state for each in web.servers] == [State.OK, State.EXTRA, State.FOREIGN]


def test_service_that_is_not_there_is_missing_with_its_servers() -> None:
    (found,) = listing({}, table(entry(service(), ONE)), state(UP))
    assert (found.state, found.actual, found.statistics) == (State.MISSING, None, None)
    assert found.servers[0].state is State.MISSING


def test_services_and_servers_are_in_ipvsadms_order() -> None:
    actual = table(entry(service(MARK)), entry(service(DNS)), entry(service(), TWO, server("198.51.100.10"), ONE))
    found = listing(actual, None)
    assert [each.address for each in found] == ["192.0.2.100:80/tcp", "[2001:db8::53]:53/udp", "fwmark 7"]
    assert list(by_address(found[0])) == ["198.51.100.1", "198.51.100.2", "198.51.100.10"]


@pytest.mark.parametrize(
    ("which", "keys"),
    [
        ("", [WEB, DNS, MARK]),
        ("web", [WEB]),
        ("192.0.2.100:80/tcp", [WEB]),
        ("192.0.2.100:80", [WEB]),
        ("192.0.2.100", [WEB]),
        ("[2001:db8::53]:53", [DNS]),
        ("2001:db8::53", [DNS]),
        ("[2001:DB8:0::53]", [DNS]),
        ("[2001:DB8:0::53]:53/udp", [DNS]),
        ("fwmark 7", [MARK]),
    ],
)
def test_service_is_found_by_name_or_address(which: str, keys: list[ServiceKey]) -> None:
    tables = [table(entry(service(DNS))), table(entry(service(MARK)))]
    assert meant(which, [state(UP)], tables) == keys


@pytest.mark.parametrize("which", ["we", "192.0.2.10", "80", "7", "tcp", " "])
def test_service_that_nobody_knows_is_an_error(which: str) -> None:
    with pytest.raises(UnknownNameError, match="no service is called"):
        meant(which, [state(UP)], [table(entry(service(MARK)))])


ADDRESSES = [f"198.51.{number >> 8}.{number & 255}" for number in range(2000)]


@pytest.mark.usefixtures("counted_pace")
@pytest.mark.parametrize("per_service", [1, 100, 2000])
def test_many_servers_let_the_event_loop_turn(per_service: int) -> None:
    many = table(
        *(
            entry(
                service(ServiceKey(AF_INET, IPPROTO_TCP, "192.0.2.100", 1 + start)),
                *map(server, ADDRESSES[start : start + per_service]),
            )
            for start in range(0, 2000, per_service)
        )
    )
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def run() -> None:
        counting = asyncio.create_task(count())
        statistics = MemoryTable().statistics
        found = listed(
            list(many),
            service=lambda _: None,
            wanted=lambda: None,
            actual=lambda: many,
            ownership=Ownership(),
            statistics=statistics,
        )
        assert sum([len(each.servers) async for each in found]) == 2000
        counting.cancel()

    asyncio.run(run())
    assert turns >= 2000 / READINGS_PER_SLICE - 1
