from hypothesis import given

from lvs_healthd.ipvs.drift import Drift, Kind, compare
from lvs_healthd.ipvs.records import Table
from tests.ipvs.strategies import world_tables
from tests.ipvs.tables import DNS, MARK, WEB, copy, entry, server, service, table

ONE = server("198.51.100.1")
TWO = server("198.51.100.2")
LEFT = table(entry(service(WEB), ONE, TWO), entry(service(DNS), server("2001:db8::1")))


@given(world_tables)
def test_a_table_as_we_left_it_has_no_drift(left: Table) -> None:
    assert list(compare(left, copy(left), left)) == []


def test_a_missing_service_is_one_difference_whatever_servers_it_had() -> None:
    assert list(compare(LEFT, table(LEFT[DNS]), LEFT)) == [Drift(Kind.MISSING_SERVICE, WEB, None, "missing")]


def test_each_kind_of_edit_is_named() -> None:
    found = table(entry(service(WEB, "rr"), server("198.51.100.1", 7), server("198.51.100.9")), LEFT[DNS])
    assert list(compare(LEFT, found, [WEB, DNS])) == [
        Drift(Kind.CHANGED_SERVICE, WEB, None, "scheduler rr, expected wrr"),
        Drift(Kind.CHANGED_SERVER, WEB, ONE.key, "weight 7, expected 1", 7),
        Drift(Kind.MISSING_SERVER, WEB, TWO.key, "missing"),
        Drift(Kind.EXTRA_SERVER, WEB, server("198.51.100.9").key, "not configured"),
    ]


def test_services_not_asked_about_are_not_looked_at() -> None:
    assert list(compare(LEFT, {}, [DNS])) == [Drift(Kind.MISSING_SERVICE, DNS, None, "missing")]


def test_a_service_we_never_put_there_is_not_missed() -> None:
    assert list(compare({}, table(entry(service(MARK))), [MARK])) == []
