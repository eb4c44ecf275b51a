import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.ipvs.diff import Phase, diff, is_in_effect, phase, takes_capacity, update
from lvs_healthd.ipvs.records import Operation, ServiceKey, Table, Verb
from tests.ipvs.strategies import world_tables
from tests.ipvs.tables import DNS, MARK, WEB, copy, entry, server, service, table

ONE = server("198.51.100.1")
TWO = server("198.51.100.2")
ONE_QUIET = server("198.51.100.1", 0)
TWO_QUIET = server("198.51.100.2", 0)


def serves(source: Table, key: ServiceKey) -> bool:
    return key in source and any(one.weight > 0 for one in source[key].destinations.values())


owned_services = st.sets(st.sampled_from([WEB, DNS, MARK]))


@given(world_tables, world_tables, owned_services)
def test_the_difference_makes_our_services_as_wanted_and_leaves_foreign_ones(
    wanted: Table, actual: Table, owned: set[ServiceKey]
) -> None:
    foreign = {key: one for key, one in copy(actual).items() if key not in wanted and key not in owned}
    operations = diff(wanted, actual, owned)
    for operation in operations:
        update(actual, operation)
    assert actual == wanted | foreign
    assert not {operation.service.key for operation in operations} & foreign.keys()
    assert diff(wanted, actual, owned) == []


@given(world_tables, owned_services)
def test_equal_tables_have_no_difference(wanted: Table, owned: set[ServiceKey]) -> None:
    assert diff(wanted, copy(wanted), owned) == []


@given(world_tables, world_tables, owned_services)
def test_no_step_on_the_way_leaves_a_service_without_a_server_that_has_one_before_and_after(
    wanted: Table, actual: Table, owned: set[ServiceKey]
) -> None:
    always_served = [key for key in wanted if serves(actual, key) and serves(wanted, key)]
    for operation in diff(wanted, actual, owned):
        update(actual, operation)
        for key in always_served:
            assert serves(actual, key), operation


@given(world_tables, world_tables)
def test_the_tables_compared_stay_as_they_are(wanted: Table, actual: Table) -> None:
    before = copy(wanted), copy(actual)
    diff(wanted, actual, actual)
    assert (wanted, actual) == before


def test_the_order_is_add_raise_edit_quiesce_delete() -> None:
    three = server("198.51.100.3", 3)
    actual = table(
        entry(service(WEB, "rr"), ONE, TWO_QUIET, three, server("198.51.100.4")),
        entry(service(MARK)),
    )
    wanted = table(
        entry(service(WEB, "wrr"), ONE_QUIET, TWO, server("198.51.100.3", 4), server("198.51.100.5")),
        entry(service(DNS), server("2001:db8::1")),
    )
    assert [(operation.verb, str((operation.destination or operation.service).key)) for operation in
            diff(wanted, actual, [MARK])] == [
        (Verb.ADD_SERVICE, "[2001:db8::53]:53/udp"),
        (Verb.ADD_SERVER, "198.51.100.5:80"),
        (Verb.ADD_SERVER, "[2001:db8::1]:80"),
        (Verb.SET_SERVER, "198.51.100.2:80"),
        (Verb.SET_SERVICE, "192.0.2.100:80/tcp"),
        (Verb.SET_SERVER, "198.51.100.3:80"),
        (Verb.SET_SERVER, "198.51.100.1:80"),
        (Verb.DELETE_SERVER, "198.51.100.4:80"),
        (Verb.DELETE_SERVICE, "fwmark 7"),
    ]  # fmt: skip


def test_a_service_that_is_not_ours_is_left_alone_even_when_it_is_like_ours() -> None:
    assert diff({}, table(entry(service(WEB), ONE)), []) == []


def test_a_service_that_was_ours_is_deleted_with_one_write() -> None:
    gone = service(WEB)
    assert diff({}, table(entry(gone, ONE, TWO)), [WEB, DNS]) == [Operation(Verb.DELETE_SERVICE, gone, was=gone)]


def test_edits_carry_the_record_they_replace() -> None:
    actual = table(entry(service(WEB, "rr"), ONE))
    wanted = table(entry(service(WEB, "wrr"), ONE_QUIET))
    assert diff(wanted, actual, []) == [
        Operation(Verb.SET_SERVICE, service(WEB, "wrr"), was=service(WEB, "rr")),
        Operation(Verb.SET_SERVER, service(WEB, "wrr"), ONE_QUIET, ONE),
    ]


@pytest.mark.parametrize(
    ("was", "now", "expected", "is_loss"),
    [
        (ONE_QUIET, ONE, Phase.RAISE, False),
        (ONE, ONE_QUIET, Phase.QUIESCE, True),
        (ONE, server("198.51.100.1", 2), Phase.EDIT, False),
        (ONE_QUIET, server("198.51.100.1", 0, upper_threshold=5), Phase.EDIT, False),
    ],
)
def test_an_edits_place_follows_its_weights(was: object, now: object, expected: Phase, is_loss: bool) -> None:
    operation = Operation(Verb.SET_SERVER, service(), now, was)  # type: ignore[arg-type]  # the table above
    assert phase(operation) is expected
    assert takes_capacity(operation) is is_loss


def test_deleting_takes_capacity_only_from_a_server_that_serves() -> None:
    assert takes_capacity(Operation(Verb.DELETE_SERVER, service(), ONE, ONE))
    assert not takes_capacity(Operation(Verb.DELETE_SERVER, service(), ONE_QUIET, ONE_QUIET))
    assert not takes_capacity(Operation(Verb.ADD_SERVER, service(), ONE_QUIET))


@given(world_tables, world_tables, owned_services)
def test_an_operation_is_in_effect_after_and_only_after_it_is_done(
    wanted: Table, actual: Table, owned: set[ServiceKey]
) -> None:
    for operation in diff(wanted, actual, owned):
        assert not is_in_effect(operation, actual)
        update(actual, operation)
        assert is_in_effect(operation, actual)


def test_a_servers_deletion_is_not_in_effect_where_the_whole_service_is_gone() -> None:
    assert is_in_effect(Operation(Verb.DELETE_SERVER, service(), ONE, ONE), {})


def test_a_server_write_without_a_server_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="set_server without a destination"):
        update(table(entry(service())), Operation(Verb.SET_SERVER, service()))
