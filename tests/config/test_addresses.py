import pytest

from lvs_healthd.config.model import Endpoint
from tests.config.reading import checks_of, errors_of, read, service

WHAT = "expected an address and port"
LISTEN = 'expected an address and port such as "127.0.0.1:9880", or "" for none'


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("192.0.2.100:80", Endpoint("192.0.2.100", 80)),
        ("[2001:DB8:0::1]:65535", Endpoint("2001:db8::1", 65535)),
    ],
)
def test_service_address_is_spelled_canonically(text: str, endpoint: Endpoint) -> None:
    servers = '["[2001:db8::2]"]' if "[" in text else '["198.51.100.1"]'
    assert read(service(f'address = "{text}"', servers=servers)).services[0].endpoint == endpoint


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("192.0.2.100", f'{WHAT}, got "192.0.2.100"; add the port, such as "192.0.2.100:80"'),
        ("[2001:db8::1]", f'{WHAT}, got "[2001:db8::1]"; add the port, such as "[2001:db8::1]:80"'),
        ("2001:db8::1:80", f'{WHAT}, got "2001:db8::1:80"; an IPv6 address stands in brackets: "[2001:db8::1:80]:80"'),
        (
            "www.example.org:80",
            f'{WHAT}, got "www.example.org:80"; "www.example.org" is a name, and names would make health depend on DNS',
        ),
        ("192.0.2.256:80", f'{WHAT}, got "192.0.2.256:80"; "192.0.2.256" is no IP address'),
        ("192.0.2.01:80", f'{WHAT}, got "192.0.2.01:80"; "192.0.2.01" is no IP address'),
        ("192.0.2.1:0", 'expected a port of 1..65535 after the address, got "192.0.2.1:0"'),
        ("192.0.2.1:65536", 'expected a port of 1..65535 after the address, got "192.0.2.1:65536"'),
        ("192.0.2.1:http", 'expected a port of 1..65535 after the address, got "192.0.2.1:http"'),
        ("192.0.2.1:", 'expected a port of 1..65535 after the address, got "192.0.2.1:"'),
        ("192.0.2.1:٨٠", 'expected a port of 1..65535 after the address, got "192.0.2.1:٨٠"'),
        ("", f'{WHAT}, got ""; "" is no IP address'),
        ("[fe80::1%eth0]:80", f'{WHAT}, got "[fe80::1%eth0]:80"; without an interface (%…): IPVS has no place for one'),
        (
            "[fe80::1]:80",
            f'{WHAT}, got "[fe80::1]:80"; a link-local address needs an interface, and IPVS has no place for one',
        ),
        ("[::ffff:192.0.2.1]:80", f'{WHAT}, got "[::ffff:192.0.2.1]:80"; write the IPv4 address itself: 192.0.2.1'),
        ("0.0.0.0:80", f'{WHAT}, got "0.0.0.0:80"; it must be the address of one host'),
        ("[::]:80", f'{WHAT}, got "[::]:80"; it must be the address of one host'),
        ("224.0.0.1:80", f'{WHAT}, got "224.0.0.1:80"; it must be the address of one host'),
        ("255.255.255.255:80", f'{WHAT}, got "255.255.255.255:80"; it must be the address of one host'),
    ],
)
def test_wrong_service_address(written: str, message: str) -> None:
    assert errors_of(service(f'address = "{written}"')) == [f'c.toml:6: service "web": address: {message}']


def test_address_must_be_a_string() -> None:
    assert errors_of(service("address = 80")) == ['c.toml:6: service "web": address: expected a string, got 80']


def test_real_server_has_the_services_port_by_default() -> None:
    servers = read(service(servers='["198.51.100.11", "198.51.100.12:8080"]')).services[0].real_servers
    assert [str(server.endpoint) for server in servers] == ["198.51.100.11:80", "198.51.100.12:8080"]


def test_ipv6_real_server_stands_in_brackets_even_without_a_port() -> None:
    servers = '["[2001:db8::11]", "2001:db8::12"]'
    assert errors_of(service('address = "[2001:db8::1]:80"', servers=servers)) == [
        (
            f'c.toml:5: service "web": real_server[1]: {WHAT}, got "2001:db8::12"; '
            'an IPv6 address stands in brackets: "[2001:db8::12]:80"'
        )
    ]


@pytest.mark.parametrize(
    ("written", "address"),
    [("203.0.113.1", "203.0.113.1"), ("2001:db8:0::1", "2001:db8::1"), ("[2001:db8::1]", "2001:db8::1")],
)
def test_check_may_go_elsewhere(written: str, address: str) -> None:
    assert checks_of(service(check=f'{{ type = "tcp", address = "{written}" }}'))[0].address == address


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("203.0.113.1:80", 'got "203.0.113.1:80"; the port has a key of its own: port = 80'),
        ("[2001:db8::1]:80", 'got "[2001:db8::1]:80"; the port has a key of its own: port = 80'),
        ("localhost", 'got "localhost"; "localhost" is a name, and names would make health depend on DNS'),
        ("203.0.113.1:x", 'got "203.0.113.1:x"'),
        ("::1::", 'got "::1::"; "::1::" is no IP address'),
    ],
)
def test_wrong_check_address(written: str, message: str) -> None:
    assert errors_of(service(check=f'{{ type = "tcp", address = "{written}" }}')) == [
        f'c.toml:4: service "web": check.address: expected an IP address, {message}'
    ]


@pytest.mark.parametrize("written", ["", "127.0.0.1:9880", "0.0.0.0:80", "[::]:80", "[::1]:1"])
def test_listen_takes_any_address_or_none(written: str) -> None:
    assert read(f'[daemon]\nlisten = "{written}"\n{service()}').daemon.listen == written


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (":9880", f'{LISTEN}, got ":9880"; to listen on every address write "0.0.0.0:9880" or "[::]:9880"'),
        ("*:9880", f'{LISTEN}, got "*:9880"; to listen on every address write "0.0.0.0:9880" or "[::]:9880"'),
        ("127.0.0.1", f'{LISTEN}, got "127.0.0.1"; add the port'),
        (
            "localhost:9880",
            f'{LISTEN}, got "localhost:9880"; "localhost" is a name, and names would make health depend on DNS',
        ),
        ("127.0.0.1:0", 'expected a port of 1..65535 after the address, got "127.0.0.1:0"'),
    ],
)
def test_wrong_listen(written: str, message: str) -> None:
    assert errors_of(f'[daemon]\nlisten = "{written}"\n{service()}') == [f"c.toml:2: daemon.listen: {message}"]
