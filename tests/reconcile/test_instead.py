"""Which verb would have done to last what somebody did with ipvsadm."""

import msgspec
import pytest

from lvs_healthd.ipvs.drift import compare
from lvs_healthd.ipvs.records import DestinationRecord, Why
from lvs_healthd.reconcile.instead import instead
from tests.ipvs.tables import WEB, entry, server, service, table
from tests.reconciling import ONE, TWO

CONFIGURED = Why("status 200")


def said(found: tuple[DestinationRecord, ...], why: Why | None = CONFIGURED, name: str = "web") -> list[str]:
    before = table(entry(service(WEB), ONE, TWO))
    return [instead(each, name, why) for each in compare(before, table(entry(service(WEB), *found)), [WEB])]


def changed(**fields: object) -> tuple[DestinationRecord, ...]:
    return (ONE, msgspec.structs.replace(TWO, **fields))


@pytest.mark.parametrize(
    ("found", "command"),
    [
        ((ONE,), f"lvs-healthd disable web {TWO.key}"),
        (changed(weight=0), f"lvs-healthd drain web {TWO.key}"),
        (changed(weight=7), f"lvs-healthd weight web {TWO.key} 7"),
        (changed(weight=7, upper_threshold=9), ""),
    ],
)
def test_edit_of_a_configured_server_has_a_verb(found: tuple[DestinationRecord, ...], command: str) -> None:
    assert said(found) == [command]


def test_weight_for_a_server_that_had_none_has_no_verb_because_the_checks_or_an_order_decide() -> None:
    before = table(entry(service(WEB), ONE, server("198.51.100.2", 0)))
    now = table(entry(service(WEB), ONE, server("198.51.100.2", 5)))
    assert [instead(each, "web", CONFIGURED) for each in compare(before, now, [WEB])] == [""]


@pytest.mark.parametrize("why", [None, Why("fallback", takes_orders=False)])
def test_server_that_takes_no_orders_has_no_verb(why: Why | None) -> None:
    assert said((ONE,), why) == [""]


def test_missing_service_and_server_of_somebody_else_have_no_verb() -> None:
    before = table(entry(service(WEB), ONE))
    assert [instead(each, "web", CONFIGURED) for each in compare(before, {}, [WEB])] == [""]
    assert said((ONE, TWO, server("198.51.100.3", 1))) == [""]


def test_command_can_be_typed_as_it_is() -> None:
    assert said((ONE,), name="my web; x") == [f"lvs-healthd disable 'my web; x' {TWO.key}"]
