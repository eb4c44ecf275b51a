"""Which services are active, by the addresses of the host."""

import msgspec

from lvs_healthd.config.model import ActiveWhen, Pair, Service
from lvs_healthd.decide.roles import Role, Roles
from lvs_healthd.plan.records import service_key
from tests.configs import server, service

PAIR = Pair(active_when=ActiveWhen.VIP_PRESENT)
WEB = service(server("198.51.100.11"), name="web", address="192.0.2.1")
TLS = service(server("198.51.100.11"), name="tls", address="192.0.2.1", port=443)
DNS = service(server("198.51.100.11"), name="dns", address="192.0.2.2")
MARK = service(server("198.51.100.11"), name="mark", fwmark=7)


def roles(*services: Service, pair: Pair = PAIR) -> Roles:
    made = Roles()
    made.configured(services, pair)
    return made


def standing(made: Roles, of: Service) -> Role | None:
    found = made.of(service_key(of))[1]
    return None if found is None else found.role


def test_each_address_is_told_once_with_all_its_services() -> None:
    made = roles(WEB, DNS, TLS)
    first = made.see({"192.0.2.1"}, 10.0)
    assert [(turn.vip, turn.services, turn.now.role, turn.after_s) for turn in first] == [
        ("192.0.2.1", ("web", "tls"), Role.ACTIVE, None),
        ("192.0.2.2", ("dns",), Role.STANDBY, None),
    ]
    assert made.see({"192.0.2.1"}, 11.0) == []
    (turn,) = made.see(set(), 14.5)
    assert (turn.vip, turn.now.role, turn.after_s) == ("192.0.2.1", Role.STANDBY, 4.5)
    assert [standing(made, each) for each in (WEB, TLS, DNS)] == [Role.STANDBY] * 3


def test_without_a_pair_no_service_has_a_role() -> None:
    made = roles(WEB, MARK, pair=Pair())
    assert made.see(set(), 1.0) == []
    assert standing(made, WEB) is None
    assert not made.is_standby(service_key(WEB))


def test_unknown_addresses_make_everything_active_and_a_known_one_is_not_told_again() -> None:
    made = roles(WEB, DNS)
    made.see({"192.0.2.1"}, 1.0)
    (turn,) = made.see(None, 3.0)
    assert (turn.vip, turn.now.role, turn.now.is_known, turn.after_s) == ("192.0.2.2", Role.ACTIVE, False, 2.0)
    (turn,) = made.see({"192.0.2.1"}, 8.0)
    assert (turn.vip, turn.now.role, turn.now.is_known) == ("192.0.2.2", Role.STANDBY, True)
    assert turn.after_s is None, "for how long it was really active nobody knows"
    assert standing(made, WEB) is Role.ACTIVE


def test_reload_keeps_the_standing_of_an_address_and_forgets_it_with_its_last_service() -> None:
    made = roles(WEB, DNS)
    made.see({"192.0.2.1"}, 1.0)
    made.configured([TLS], PAIR)
    assert made.see({"192.0.2.1"}, 5.0) == []
    assert standing(made, TLS) is Role.ACTIVE
    assert standing(made, WEB) is None
    made.configured([WEB, DNS], PAIR)
    assert [turn.vip for turn in made.see({"192.0.2.1"}, 6.0)] == ["192.0.2.2"]


def test_service_that_is_announced_has_no_role() -> None:
    """Whether its address is here follows from its servers, so its absence must not make their loss harmless."""
    made = roles(msgspec.structs.replace(WEB, announce="lvs0"), DNS)
    made.see({"192.0.2.2"}, 1.0)
    assert standing(made, WEB) is None
    assert not made.is_standby(service_key(WEB))
    assert standing(made, DNS) is not None


def test_service_that_no_address_decides_about_is_always_active() -> None:
    made = roles(MARK)
    assert made.see(set(), 1.0) == []
    assert standing(made, MARK) is None
