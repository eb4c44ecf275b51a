import pytest

from lvs_healthd.config.basics import Endpoint
from tests.config.reading import checks_of, errors_of, read, service

WHAT = "expected an address and port"
BRACKETS = "write an IPv6 address in brackets:"
NAMES = "names would make health depend on DNS; write its address"
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
        ("2001:db8::1:80", f'{WHAT}, got "2001:db8::1:80"; {BRACKETS} "[2001:db8::1]:80" or "[2001:db8::1:80]:80"'),
        (
            "www.example.org:80",
            f'{WHAT}, got "www.example.org:80"; "www.example.org" is a name, and {NAMES}',
        ),
        ("192.0.2.256:80", f'{WHAT}, got "192.0.2.256:80"; "192.0.2.256" is not an IP address'),
        ("192.0.2.01:80", f'{WHAT}, got "192.0.2.01:80"; "192.0.2.01" is not an IP address'),
        ("192.0.2.1:65536", 'expected a port of 0..65535 after the address, got "192.0.2.1:65536"'),
        ("192.0.2.1:http", 'expected a port of 0..65535 after the address, got "192.0.2.1:http"'),
        ("192.0.2.1:", 'expected a port of 0..65535 after the address, got "192.0.2.1:"'),
        ("192.0.2.1:٨٠", 'expected a port of 0..65535 after the address, got "192.0.2.1:٨٠"'),
        ("", f'{WHAT}, got ""; "" is not an IP address'),
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
            'write an IPv6 address in brackets: "[2001:db8::12]:80"'
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
        (
            "localhost",
            'got "localhost"; "localhost" is a name, and names would make health depend on DNS; write its address',
        ),
        ("203.0.113.1:x", 'got "203.0.113.1:x"'),
        ("::1::", 'got "::1::"; "::1::" is not an IP address'),
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
            (
                f'{LISTEN}, got "localhost:9880"; "localhost" is a name, and names would make health depend on DNS; '
                "write its address"
            ),
        ),
        ("127.0.0.1:0", 'expected a port of 1..65535 after the address, got "127.0.0.1:0"'),
    ],
)
def test_wrong_listen(written: str, message: str) -> None:
    assert errors_of(f'[daemon]\nlisten = "{written}"\n{service()}') == [f"c.toml:2: daemon.listen: {message}"]


@pytest.mark.parametrize(
    ("written", "first", "last", "count"),
    [
        ("192.0.2.10-192.0.2.19:80", "192.0.2.10", "192.0.2.19", 10),
        ("192.0.2.10-19:80", "192.0.2.10", "192.0.2.19", 10),
        ("192.0.2.250-192.0.3.1:80", "192.0.2.250", "192.0.3.1", 8),
        ("192.0.2.7-7:80", "192.0.2.7", "192.0.2.7", 1),
        ("[2001:db8::a-1f]:80", "2001:db8::a", "2001:db8::1f", 22),
    ],
)
def test_range_makes_a_service_of_each_address(written: str, first: str, last: str, count: int) -> None:
    servers = '["[2001:db8:1::2]"]' if "[" in written else '["198.51.100.1"]'
    services = read(service(f'address = "{written}"', servers=servers)).services
    assert (len(services), services[0].endpoint, services[-1].endpoint) == (
        count,
        Endpoint(first, 80),
        Endpoint(last, 80),
    )
    assert [each.name for each in services] == (
        ["web"] if count == 1 else [f"web {each.endpoint.address}" for each in services if each.endpoint]
    )


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            "192.0.2.19-10:80",
            (
                f'{WHAT}, got "192.0.2.19-10:80"; the range ends before it begins; '
                'write the lower end first: "192.0.2.10-192.0.2.19"'
            ),
        ),
        ("192.0.2.1-300:80", f'{WHAT}, got "192.0.2.1-300:80"; "192.0.2.300" is not an IP address'),
        ("192.0.2.1-:80", f'{WHAT}, got "192.0.2.1-:80"; "192.0.2." is not an IP address'),
        (
            "10.0.0.1-10.1.0.0:80",
            f'{WHAT}, got "10.0.0.1-10.1.0.0:80"; the range holds 65536 addresses, and at most 1024 are allowed',
        ),
        (
            "[2001:db8::1-192.0.2.1]:80",
            f'{WHAT}, got "[2001:db8::1-192.0.2.1]:80"; the range begins in one address family and ends in another',
        ),
        (
            "a-1.example:80",
            (
                f'{WHAT}, got "a-1.example:80"; "a-1.example" is a name, and names would make health depend on DNS; '
                "write its address"
            ),
        ),
        (
            "223.255.255.255-224.0.0.1:80",
            f'{WHAT}, got "223.255.255.255-224.0.0.1:80"; it must be the address of one host',
        ),
    ],
)
def test_wrong_range(written: str, message: str) -> None:
    assert errors_of(service(f'address = "{written}"')) == [f'c.toml:6: service "web": address: {message}']


def test_range_of_real_servers_are_servers_that_are_alike() -> None:
    servers = '["198.51.100.1-2", { address = "198.51.100.11-12:8080", weight = 3 }]'
    made = read(service(servers=servers)).services[0].real_servers
    assert [(str(server.endpoint), server.weight) for server in made] == [
        ("198.51.100.1:80", 1),
        ("198.51.100.2:80", 1),
        ("198.51.100.11:8080", 3),
        ("198.51.100.12:8080", 3),
    ]
    assert [check.address for server in made for check in server.checks][:2] == ["198.51.100.1", "198.51.100.2"]


def test_ranges_that_overlap_are_reported() -> None:
    assert errors_of(service(servers='["198.51.100.1-3", "198.51.100.3"]')) == [
        'c.toml:5: service "web": real_server[1]: 198.51.100.3:80 is already listed, on line 5; keep one of them'
    ]


def test_listen_is_one_address() -> None:
    text = f'[daemon]\nlisten = "127.0.0.1-127.0.0.2:80"\n{service()}'
    assert errors_of(text) == [
        f'c.toml:2: daemon.listen: {LISTEN}, got "127.0.0.1-127.0.0.2:80"; one address, not a range'
    ]
