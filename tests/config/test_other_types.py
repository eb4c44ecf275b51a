"""The keys of sctp and ping checks."""

import pytest

from lvs_healthd.config.check_model import PingCheck, SctpCheck
from lvs_healthd.config.effective import to_toml
from tests.config.reading import checks_of, errors_of, read, service

BEHIND_A_MARK = '[[service]]\nfwmark = 7\ncheck = {check}\nreal_server = ["198.51.100.11"]\n'


def test_ping_needs_no_port_and_shares_one_probe_between_ports() -> None:
    (behind,) = checks_of(BEHIND_A_MARK.format(check='"ping"'))
    (plain,) = checks_of(service(check='"ping"'))
    assert isinstance(plain, PingCheck)
    assert behind == plain
    assert plain.port == 0


def test_sctp_probes_the_server_s_port_and_needs_one() -> None:
    (found,) = checks_of(service(check='"sctp"'))
    assert isinstance(found, SctpCheck)
    assert found.port == 80
    assert "port is missing" in errors_of(BEHIND_A_MARK.format(check='"sctp"'))[0]


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ('{ type = "ping", port = 80 }', "check.port: ping checks have no port: ICMP knows none"),
        (
            '{ type = "ping", send = "a" }',
            "check.send: ping checks have no such key; it belongs to tcp, udp and agent checks",
        ),
    ],
)
def test_check_that_cannot_be(check: str, message: str) -> None:
    assert errors_of(service(check=check)) == [f'c.toml:4: service "web": {message}']


def test_port_for_all_checks_is_no_mistake_in_a_ping() -> None:
    assert checks_of("[defaults.check]\nport = 80\n" + service(check='"ping"'))[0].port == 0


@pytest.mark.parametrize("kind", ["sctp", "ping"])
def test_effective_configuration_loads_to_the_same(kind: str) -> None:
    config = read(service(check=f'"{kind}"'))
    assert read(to_toml(config)).services == config.services


def test_ping_of_a_virtual_address_is_allowed_and_sctp_of_a_virtual_service_is_not() -> None:
    text = service('protocol = "sctp"', check='{{ type = "{kind}", address = "192.0.2.100" }}')
    assert checks_of(text.format(kind="ping"))
    assert "decide about itself" in errors_of(text.format(kind="sctp"))[0]
