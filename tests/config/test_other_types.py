"""The keys of grpc, sctp and ping checks."""

import pytest

from lvs_healthd.config.check_model import Carrier, GrpcCheck, PingCheck, SctpCheck, Tls
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
        ('{ type = "ping", port = 80 }', "check.port: ping checks have no port: ICMP knows none; leave it out"),
        (
            '{ type = "ping", send = "a" }',
            "check.send: ping checks have no such key; it belongs to tcp, udp and agent checks; leave it out",
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


def grpc(keys: str, more: str = "") -> GrpcCheck:
    [found] = checks_of(service(more, check=f'{{ type = "grpc" {keys} }}'))
    assert isinstance(found, GrpcCheck)
    return found


def test_grpc_check_asks_about_the_server_by_the_address_that_clients_use() -> None:
    found = grpc("")
    assert (found.service, found.authority, found.over, found.tls) == ("", "192.0.2.100:80", Carrier.TCP, Tls())
    assert grpc(', authority = "a.example:9", service = "shop.Cart"').authority == "a.example:9"
    assert grpc(", port = 9", "fwmark = 7").authority == "198.51.100.11:9"


def test_grpc_check_over_tls_verifies_the_name_in_authority() -> None:
    assert grpc(', over = "tls", authority = "a.example:9"').tls == Tls(sni="a.example")
    assert grpc(', over = "tls"').tls.sni == ""
    text = service(check='{ type = "grpc", over = "tls", sni = "b.example", authority = "a.example", service = "s" }')
    assert tls_name(text) == "b.example"
    assert read(to_toml(read(text))).services == read(text).services


def tls_name(text: str) -> str:
    [found] = checks_of(text)
    assert isinstance(found, GrpcCheck)
    return found.tls.sni


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('over = "udp"', 'over: gRPC needs a connection; write over = "tcp" or "tls"'),
        ('sni = "a"', 'sni: this check uses no TLS; write over = "tls"'),
        ('authority = "a b"', "authority: expected a host name or address, with or without a port"),
        (r'service = "a\n"', "service: expected the name of a service, of at most 1024 printable characters"),
        (f'service = "{"x" * 1025}"', "service: expected the name of a service, of at most 1024 printable characters"),
        (
            'over = "tls", alpn = "http/1.1"',
            "alpn: HTTP/2 is selected by the name h2 alone, which the check offers by itself; leave alpn out",
        ),
    ],
)
def test_wrong_grpc_check_is_explained(keys: str, message: str) -> None:
    assert errors_of(service(check=f'{{ type = "grpc", {keys} }}'))[0].startswith(
        f'c.toml:4: service "web": check.{message}'
    )
