import asyncio
import errno

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.ipvs.interface import IpvsTable, TableUnavailableError
from lvs_healthd.ipvs.kernel.statistics import Statistics
from lvs_healthd.ipvs.records import (
    DestinationKey,
    DestinationRecord,
    Operation,
    ServiceKey,
    ServiceRecord,
    Table,
    Verb,
)
from lvs_healthd.ipvs.words import ForwardingMethod
from tests.ipvs.strategies import world_operations
from tests.ipvs.tables import DNS, WEB, entry, server, service, table

ONE = server("198.51.100.1")


async def codes(memory: MemoryTable, *operations: Operation) -> list[int | None]:
    return [result.errno for result in await memory.apply(operations)]


async def test_it_is_a_table() -> None:
    memory: IpvsTable = MemoryTable()
    assert await memory.open() == "memory"
    assert await memory.read() == {}
    memory.close()


async def test_duplicates_and_missing_things_are_refused_as_the_kernel_refuses_them() -> None:
    memory = MemoryTable()
    web = service()
    assert await codes(
        memory,
        Operation(Verb.SET_SERVICE, web),
        Operation(Verb.DELETE_SERVICE, web),
        Operation(Verb.ADD_SERVER, web, ONE),
        Operation(Verb.ADD_SERVICE, web),
        Operation(Verb.ADD_SERVICE, web),
        Operation(Verb.SET_SERVER, web, ONE),
        Operation(Verb.DELETE_SERVER, web, ONE),
        Operation(Verb.ADD_SERVER, web, ONE),
        Operation(Verb.ADD_SERVER, web, ONE),
    ) == [
        errno.ESRCH,
        errno.ESRCH,
        errno.ESRCH,
        0,
        errno.EEXIST,
        errno.ENOENT,
        errno.ENOENT,
        0,
        errno.EEXIST,
    ]
    assert await memory.read() == table(entry(web, ONE))
    assert [operation.verb for operation in memory.writes] == [Verb.ADD_SERVICE, Verb.ADD_SERVER]


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (service(WEB, "no-such"), errno.ENOENT),
        (service(WEB, persistence_engine="no-such"), errno.ENOENT),
        (service(DNS, netmask=0), errno.EINVAL),
        (service(DNS, netmask=129), errno.EINVAL),
        (service(DNS, netmask=64), 0),
        (service(WEB, netmask=0), 0),
    ],
)
async def test_a_service_the_kernel_would_not_take(record: ServiceRecord, code: int) -> None:
    assert await codes(MemoryTable(), Operation(Verb.ADD_SERVICE, record)) == [code]


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (server("2001:db8::1"), errno.EINVAL),
        (server("2001:db8::1", forward=ForwardingMethod.TUNNEL), 0),
        (server("198.51.100.1", 2**31), errno.ERANGE),
        (server("198.51.100.1", upper_threshold=1, lower_threshold=2), errno.ERANGE),
        (server("198.51.100.1", forward=ForwardingMethod.TUNNEL, tunnel_type=1), errno.EINVAL),
        (server("198.51.100.1", forward=ForwardingMethod.TUNNEL, tunnel_type=1, tunnel_port=6080), 0),
        (server("0.0.0.0"), errno.EINVAL),
        (server("224.0.0.1"), errno.EINVAL),
        (server("255.255.255.255"), errno.EINVAL),
        (server("fe80::1", forward=ForwardingMethod.TUNNEL), errno.EINVAL),
        (server("::ffff:198.51.100.1", forward=ForwardingMethod.TUNNEL), errno.EINVAL),
    ],
)
async def test_a_server_the_kernel_would_not_take(record: DestinationRecord, code: int) -> None:
    operations = Operation(Verb.ADD_SERVICE, service()), Operation(Verb.ADD_SERVER, service(), record)
    assert await codes(MemoryTable(), *operations) == [0, code]


async def test_an_edit_replaces_every_field() -> None:
    memory = MemoryTable()
    full = server("198.51.100.1", 5, upper_threshold=10, lower_threshold=5)
    memory.entries = table(entry(service(flags=1, timeout=300, netmask=24), full))
    await memory.apply([Operation(Verb.SET_SERVICE, service(WEB, "rr")), Operation(Verb.SET_SERVER, service(), ONE)])
    assert memory.entries == table(entry(service(WEB, "rr"), ONE))


async def test_what_is_read_is_a_copy() -> None:
    memory = MemoryTable()
    memory.entries = table(entry(service(), ONE))
    (await memory.read())[WEB].destinations.clear()
    (await memory.read_services([WEB]))[WEB].destinations.clear()
    assert memory.entries == table(entry(service(), ONE))


async def test_reading_some_services_leaves_out_the_missing_and_the_others() -> None:
    memory = MemoryTable()
    memory.entries = table(entry(service(), ONE))
    assert await memory.read_services([DNS]) == {}
    assert await memory.read_services([WEB, DNS]) == memory.entries


async def test_a_fault_hits_the_next_operation_of_its_kind_only() -> None:
    memory = MemoryTable()
    memory.fail_next(Verb.ADD_SERVER, errno.EPERM)
    two = server("198.51.100.2")
    results = await memory.apply(
        [
            Operation(Verb.ADD_SERVICE, service()),
            Operation(Verb.ADD_SERVER, service(), ONE),
            Operation(Verb.ADD_SERVER, service(), two),
        ]
    )
    assert [result.errno for result in results] == [0, errno.EPERM, 0]
    assert "CAP_NET_ADMIN" in results[1].message
    assert memory.entries == table(entry(service(), two))


async def test_a_lost_acknowledgement_leaves_the_write_done() -> None:
    memory = MemoryTable()
    memory.fail_next(Verb.ADD_SERVICE, None, executed=True)
    assert await codes(memory, Operation(Verb.ADD_SERVICE, service())) == [None]
    assert memory.entries == table(entry(service()))


async def test_it_can_be_unavailable_for_a_while() -> None:
    memory = MemoryTable()
    memory.be_unavailable("no module", times=2)
    with pytest.raises(TableUnavailableError, match="no module"):
        await memory.read()
    with pytest.raises(TableUnavailableError, match="no module"):
        await memory.apply([])
    assert await memory.read() == {}


async def test_a_server_write_without_a_server_is_a_programming_error() -> None:
    memory = MemoryTable()
    memory.entries = table(entry(service()))
    with pytest.raises(ValueError, match="without a destination"):
        await memory.apply([Operation(Verb.ADD_SERVER, service())])


class MemoryMachine(RuleBasedStateMachine):
    """Compares random writes to a model: two dictionaries of the services and servers that exist."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = MemoryTable()
        self.services: dict[ServiceKey, ServiceRecord] = {}
        self.servers: dict[tuple[ServiceKey, DestinationKey], DestinationRecord] = {}
        self.done: list[Operation] = []

    @rule(operation=world_operations)
    def write(self, operation: Operation) -> None:
        (result,) = asyncio.run(self.memory.apply([operation]))
        key = operation.service.key
        is_known = key in self.services
        server_key = (key, operation.destination.key) if operation.destination else None
        if operation.verb is Verb.ADD_SERVICE and is_known:
            assert result.errno == errno.EEXIST
        elif operation.verb is not Verb.ADD_SERVICE and not is_known:
            assert result.errno == errno.ESRCH
        elif operation.verb is Verb.DELETE_SERVICE:
            assert result.errno == 0
        elif operation.verb is Verb.DELETE_SERVER:
            assert result.errno == (0 if server_key in self.servers else errno.ENOENT)
        elif operation.verb is Verb.SET_SERVER and server_key not in self.servers:
            assert result.errno in (errno.ENOENT, errno.EINVAL, errno.ERANGE)
        elif operation.verb is Verb.ADD_SERVER and server_key in self.servers:
            assert result.errno in (errno.EEXIST, errno.EINVAL, errno.ERANGE)
        assert bool(result.message) == (result.errno != 0)
        if result.ok:
            self.done.append(operation)
            self.model(operation)

    def model(self, operation: Operation) -> None:
        key = operation.service.key
        match operation.verb:
            case Verb.ADD_SERVICE | Verb.SET_SERVICE:
                self.services[key] = operation.service
            case Verb.DELETE_SERVICE:
                del self.services[key]
                self.servers = {pair: one for pair, one in self.servers.items() if pair[0] != key}
            case Verb.DELETE_SERVER:
                assert operation.destination
                del self.servers[key, operation.destination.key]
            case _:
                assert operation.destination
                self.servers[key, operation.destination.key] = operation.destination

    @invariant()
    def the_table_is_the_models(self) -> None:
        expected: Table = {
            key: entry(record, *(one for (of, _), one in self.servers.items() if of == key))
            for key, record in self.services.items()
        }
        assert asyncio.run(self.memory.read()) == expected
        assert self.memory.writes == self.done


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)


def test_memory_forwards_nothing_and_counts_nothing_but_what_a_test_says() -> None:
    memory = MemoryTable()
    assert memory.statistics(WEB) is None
    one, two = server("198.51.100.1"), server("198.51.100.2")
    memory.entries = table(entry(service(WEB), one, two))
    nothing, some = (0,) * 13, tuple(range(13))
    found = memory.statistics(WEB)
    assert found is not None
    assert found.service() == Statistics(*nothing)
    assert found.servers() == {one.key: nothing, two.key: nothing}
    memory.counted[WEB, two.key] = Statistics(*some)
    found = memory.statistics(WEB)
    assert found is not None
    assert found.service() == Statistics(*nothing)
    assert found.servers() == {one.key: nothing, two.key: some}
