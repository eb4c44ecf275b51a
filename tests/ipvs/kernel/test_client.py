import asyncio
import errno
import itertools
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.ipvs.interface import IpvsTable, TableUnavailableError
from lvs_healthd.ipvs.kernel.client import IpvsClient
from lvs_healthd.ipvs.kernel.statistics import Statistics
from lvs_healthd.ipvs.records import Operation, ServiceKey, Table, Verb
from lvs_healthd.ipvs.words import AF_INET
from lvs_healthd.runtime import pace
from tests.ipvs.kernel.fake_kernel import FakeKernel
from tests.ipvs.strategies import world_operations, world_tables
from tests.ipvs.tables import DNS, MARK, WEB, copy, entry, server, service, table

ONE = server("198.51.100.1")
COUNTED = Statistics(3, 5, 2, 1000, 12_000, 11_000, 1_300_000, 2**40, 10, 120, 110, 13_000, 99_000)


class Loader:
    """Stands in for modprobe."""

    def __init__(self, effect: Callable[[], bool] = lambda: False) -> None:
        self.asked: list[str] = []
        self.effect = effect

    async def __call__(self, name: str) -> bool:
        self.asked.append(name)
        return self.effect()


def client_of(kernel: FakeKernel, load: Callable[[str], Awaitable[bool]] | None = None) -> IpvsClient:
    client = IpvsClient(load=load or Loader())
    client._requests.channel = kernel
    return client


async def opened(kernel: FakeKernel, load: Callable[[str], Awaitable[bool]] | None = None) -> IpvsClient:
    client = client_of(kernel, load)
    await client.open()
    kernel.sends.clear()
    return client


def adds(count: int) -> list[Operation]:
    return [
        Operation(Verb.ADD_SERVER, service(), server(f"198.51.{number // 250}.{number % 250 + 1}"))
        for number in range(count)
    ]


async def test_open_describes_the_table() -> None:
    client: IpvsTable = client_of(FakeKernel())
    assert await client.open() == "IPVS 1.2.1"


async def test_open_loads_the_module_itself_where_the_kernel_could_not() -> None:
    kernel = FakeKernel()
    kernel.family = 0

    def modprobe() -> bool:
        kernel.family = 33
        return True

    loader = Loader(modprobe)
    assert await client_of(kernel, loader).open() == "IPVS 1.2.1"
    assert loader.asked == ["ip_vs"]


@pytest.mark.parametrize("loaded", [False, True])
async def test_without_the_module_the_error_says_how_to_get_it(loaded: bool) -> None:
    kernel = FakeKernel()
    kernel.family = 0
    with pytest.raises(TableUnavailableError, match=r'run "modprobe ip_vs" as root.*linux-image-amd64'):
        await client_of(kernel, Loader(lambda: loaded)).open()


async def test_without_permission_the_error_says_which() -> None:
    kernel = FakeKernel()
    client = await opened(kernel)
    kernel.refuse_all = errno.EPERM
    for attempt in (client.open(), client.read(), client.read_services([WEB])):
        with pytest.raises(TableUnavailableError, match="needs CAP_NET_ADMIN"):
            await attempt
    (result,) = await client.apply([Operation(Verb.ADD_SERVICE, service())])
    assert result.errno == errno.EPERM
    assert "AmbientCapabilities=CAP_NET_ADMIN" in result.message


async def test_nothing_is_sent_before_it_is_open() -> None:
    kernel = FakeKernel()
    client = client_of(kernel)
    for attempt in (client.read(), client.read_services([WEB]), client.apply([Operation(Verb.ADD_SERVICE, service())])):
        with pytest.raises(TableUnavailableError):
            await attempt
    assert kernel.sends == []


@given(world_tables)
@settings(deadline=None, max_examples=40)
def test_the_whole_table_is_read_as_it_is(contents: Table) -> None:
    async def read() -> Table:
        kernel = FakeKernel()
        kernel.table.entries = copy(contents)
        return await (await opened(kernel)).read()

    assert asyncio.run(read()) == contents


async def test_only_the_services_asked_for_are_read_and_missing_ones_are_absent() -> None:
    kernel = FakeKernel()
    kernel.table.entries = table(entry(service(WEB), ONE), entry(service(MARK), ONE))
    client = await opened(kernel)
    assert await client.read_services([MARK, DNS]) == table(entry(service(MARK), ONE))
    assert len(kernel.sends) == 3  # the mark, its servers, and a service that does not exist


async def test_statistics_come_with_each_reading_and_go_with_the_service() -> None:
    kernel = FakeKernel()
    kernel.table.entries = table(entry(service(WEB), ONE, server("198.51.100.2")), entry(service(MARK), ONE))
    kernel.table.counted = {(WEB, None): COUNTED, (WEB, ONE.key): COUNTED, (MARK, None): COUNTED}
    client = await opened(kernel)
    assert client.statistics(WEB) is None
    await client.read()
    found = client.statistics(WEB)
    assert found is not None
    assert found.service() == replace(COUNTED, active_connections=0, inactive_connections=0, persistent_connections=0)
    assert {key.address: Statistics(*row) for key, row in found.servers().items()} == {
        "198.51.100.1": COUNTED,
        "198.51.100.2": Statistics(*[0] * 13),
    }
    del kernel.table.entries[MARK]
    kernel.table.counted[WEB, ONE.key] = replace(COUNTED, connections=99)
    await client.read_services([WEB, MARK])
    again = client.statistics(WEB)
    assert again is not None
    assert Statistics(*again.servers()[ONE.key]).connections == 99
    assert client.statistics(MARK) is None
    del kernel.table.entries[WEB]
    await client.read()
    assert client.statistics(WEB) is None


@given(st.lists(world_operations, max_size=30))
@settings(deadline=None, max_examples=40)
def test_writes_do_through_the_wire_what_they_do_in_memory(operations: list[Operation]) -> None:
    async def both() -> None:
        kernel, memory = FakeKernel(), MemoryTable()
        client = await opened(kernel)
        assert await client.apply(operations) == await memory.apply(operations)
        assert await client.read() == await memory.read()

    asyncio.run(both())


async def test_many_writes_go_in_batches_of_128_each_with_its_own_result() -> None:
    kernel = FakeKernel()
    kernel.table.entries = table(entry(service()))
    kernel.table.fail_next(Verb.ADD_SERVER, errno.ENOMEM)
    client = await opened(kernel)
    results = await client.apply(adds(300))
    assert [len(batch) for batch in kernel.sends] == [128, 128, 44]
    assert [result.errno for result in results] == [errno.ENOMEM] + [0] * 299
    assert results[0].message == "the kernel is out of memory"
    assert client.writes_sent == 300


async def test_writes_that_the_kernel_may_wait_in_go_in_smaller_batches() -> None:
    kernel = FakeKernel()
    client = await opened(kernel)
    services = [Operation(Verb.ADD_SERVICE, service(ServiceKey(AF_INET, fwmark=mark))) for mark in range(1, 21)]
    servers = [Operation(Verb.ADD_SERVER, services[0].service, server(f"198.51.100.{last}")) for last in range(1, 101)]
    results = await client.apply([*services, *servers])
    assert [len(batch) for batch in kernel.sends] == [16, 4 + 96, 4]
    assert all(result.ok for result in results)


async def test_reading_is_no_writing() -> None:
    client = await opened(FakeKernel())
    await client.read()
    await client.read_services([WEB])
    assert client.writes_sent == 0


async def test_lost_acknowledgements_leave_those_outcomes_unknown_and_the_others_known() -> None:
    kernel = FakeKernel()
    kernel.table.entries = table(entry(service()))
    client = await opened(kernel)
    kernel.lose_answers_after = 3
    results = await client.apply(adds(5))
    assert [result.errno for result in results] == [0, 0, 0, None, None]
    assert results[3].message == "outcome unknown: the kernel's acknowledgement was lost"
    assert len(kernel.table.entries[WEB].destinations) == 5


async def test_a_kernel_that_does_not_answer_leaves_writes_unknown_and_reads_failed() -> None:
    kernel = FakeKernel()
    client = await opened(kernel)
    kernel.is_silent = True
    (result,) = await client.apply([Operation(Verb.ADD_SERVICE, service())])
    assert (result.errno, result.message) == (None, "outcome unknown: the kernel did not answer within 60s")
    with pytest.raises(TableUnavailableError, match=r"the kernel did not answer within 60s"):
        await client.read()
    assert kernel.closed == 2, "a socket left amid an answer must not be used again"


async def test_an_interrupted_dump_is_read_again() -> None:
    kernel = FakeKernel()
    kernel.table.entries = table(entry(service(), ONE))
    client = await opened(kernel)
    kernel.interrupted_dumps = 2
    assert await client.read() == kernel.table.entries


async def test_an_interrupted_list_among_several_is_read_again() -> None:
    kernel = FakeKernel()
    keys = [ServiceKey(AF_INET, fwmark=mark) for mark in range(100, 108)]
    kernel.table.entries = {key: entry(service(key), server(f"198.51.100.{key.fwmark}")) for key in keys}
    client = await opened(kernel)
    kernel.interrupted_after, kernel.interrupted_dumps = 3, 2
    assert await client.read() == kernel.table.entries
    assert kernel.interrupted_dumps == 0
    lists = [message for sent in kernel.sends for message in sent if message.flags & 0x300 == 0x300]
    assert len(lists) == 1 + len(keys) + 2, "only the interrupted list is read again"


async def test_a_dump_that_never_is_whole_is_given_up() -> None:
    kernel = FakeKernel()
    client = await opened(kernel)
    kernel.interrupted_dumps = 100
    with pytest.raises(TableUnavailableError, match="could not be read whole in 5 tries"):
        await client.read()


async def test_garbled_answers_are_an_unavailable_table() -> None:
    kernel = FakeKernel()
    client = await opened(kernel)
    kernel.is_garbled = True
    with pytest.raises(TableUnavailableError, match="cannot be read: IPVS service without attribute 1"):
        await client.read()


async def test_an_unknown_scheduler_is_loaded_once_and_the_writes_that_need_it_are_retried() -> None:
    kernel = FakeKernel()
    kernel.table.fail_next(Verb.ADD_SERVICE, errno.ENOENT)
    loader = Loader(lambda: True)
    client = await opened(kernel, loader)
    results = await client.apply([Operation(Verb.ADD_SERVICE, service()), *adds(2)])
    assert [result.errno for result in results] == [0, 0, 0]
    assert len(kernel.table.entries[WEB].destinations) == 2
    assert loader.asked == ["ip_vs_wrr"]

    kernel.table.fail_next(Verb.SET_SERVICE, errno.ENOENT)
    (result,) = await client.apply([Operation(Verb.SET_SERVICE, service())])
    assert result.errno == errno.ENOENT
    assert loader.asked == ["ip_vs_wrr"], "a second try would start a process at each retry"


async def test_a_scheduler_that_cannot_be_loaded_is_an_error_that_says_what_to_do() -> None:
    loader = Loader()
    client = await opened(FakeKernel(), loader)
    twice = [Operation(Verb.ADD_SERVICE, service(key, "no-such")) for key in (WEB, DNS)]
    results = await client.apply(twice)
    assert {result.message for result in results} == {
        'scheduler "no-such" is not known to this kernel: modprobe ip_vs_no-such'
    }
    assert loader.asked == ["ip_vs_no-such"]


async def test_a_reloaded_module_is_found_by_its_new_number() -> None:
    kernel = FakeKernel()
    client = await opened(kernel)
    kernel.family = 40
    assert [result.errno for result in await client.apply([Operation(Verb.ADD_SERVICE, service())])] == [0]
    kernel.family = 41
    assert await client.read() == table(entry(service()))


async def test_long_dumps_let_the_event_loop_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = itertools.count()
    # Every part of a dump takes more than a slice.
    monkeypatch.setattr(pace, "clock", lambda: next(readings) * 2 * pace.SLICE_S)
    kernel = FakeKernel()
    kernel.table.entries = {
        key: entry(service(key), *(server(f"198.51.100.{number + 1}") for number in range(200)))
        for key in (WEB, MARK, *(ServiceKey(AF_INET, fwmark=mark) for mark in range(100, 110)))
    }
    client = await opened(kernel)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counter = asyncio.create_task(count_turns())
    read = await client.read()
    counter.cancel()
    assert sum(len(one.destinations) for one in read.values()) == 2400
    assert turns >= len(kernel.table.entries)
