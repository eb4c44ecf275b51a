import pytest

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import SILENT_INTERVAL, SILENT_TIMEOUT, HttpCheck, TcpCheck, UdpCheck
from tests.config.reading import checks_of, errors_of, read, service

TYPES = (
    "expected http, https, tcp, udp, dns, grpc, sctp, ping, exec, agent or a ready-made check (see: lvs-healthd checks)"
)
NO_TYPE = "a new check needs a type: " + TYPES.removeprefix("expected ")


def test_values_are_inherited_from_defaults_to_real_server() -> None:
    defaults = '[defaults.check]\ninterval = "9s"\ntimeout = "8s"\nrise = 7\nexpect = "x"\nmethod = "POST"\n'
    check = '{ type = "tcp", timeout = "5s", rise = 6, expect = "y" }'
    servers = '[{ address = "198.51.100.11", check = { rise = 4, port = 8080 } }, "198.51.100.12"]'
    first, second = read(defaults + service(check=check, servers=servers)).services[0].real_servers
    assert first.checks == (
        TcpCheck(
            name="tcp",
            interval=9.0,  # type: ignore[arg-type]
            fast_interval=0.5,  # type: ignore[arg-type]
            down_interval=9.0,  # type: ignore[arg-type]
            timeout=5.0,  # type: ignore[arg-type]
            rise=4,
            fall=3,
            address="198.51.100.11",
            port=8080,
            expect=b"y",
        ),
    )
    assert (second.checks[0].rise, second.checks[0].address, second.checks[0].port) == (6, "198.51.100.12", 80)


@pytest.mark.parametrize("check", ['"tcp"', '{ type = "tcp" }', '["tcp"]', '[{ type = "tcp" }]'])
def test_check_may_be_a_type_a_table_or_a_list(check: str) -> None:
    fast, slow = Seconds(0.5), Seconds(2.0)
    expected = TcpCheck(name="tcp", address="198.51.100.11", port=80, fast_interval=fast, down_interval=slow)
    assert checks_of(service(check=check)) == (expected,)


def test_check_tables_of_their_own() -> None:
    text = (
        service().replace('check = "tcp"', "") + '[[service.check]]\ntype = "tcp"\n[[service.check]]\ntype = "http"\n'
    )
    assert [check.name for check in checks_of(text)] == ["tcp", "http"]


def test_ready_made_check_is_named_after_its_file() -> None:
    [check] = checks_of(service(check='"redis"'))
    assert isinstance(check, TcpCheck)
    assert (check.name, check.send[:4], check.port) == ("redis", b"PING", 80)


def test_ready_made_check_comes_between_defaults_and_the_services_own() -> None:
    defaults = '[defaults.check]\nsend = "x"\nfall = 9\ninterval = "1s"\n'
    [check] = checks_of(defaults + service(check='{ type = "ntp", fall = 5 }'))
    assert isinstance(check, UdpCheck)
    assert (check.fall, check.interval, len(check.send)) == (5, 10.0, 48)


def test_keys_that_exclude_each_other_replace_each_other() -> None:
    defaults = '[defaults.check]\nexpect_regex = "x"\nsend_hex = "ff"\nbody = "a"\n'
    check = '[{ type = "tcp", expect_hex = "00 01", send = "é" }, { type = "http", body_regex = "b" }]'
    tcp, http = checks_of(defaults + service(check=check))
    assert isinstance(tcp, TcpCheck)
    assert (tcp.expect, tcp.expect_regex, tcp.send) == (b"\x00\x01", "", "é".encode())
    assert isinstance(http, HttpCheck)
    assert (http.body, http.body_regex) == ("", "b")


def test_inherited_expectation_can_be_taken_away() -> None:
    defaults = '[defaults.check]\nexpect = "x"\nsend = "y"\n'
    [check] = checks_of(defaults + service(check='{ type = "udp", expect = "", send_hex = "" }'))
    assert isinstance(check, UdpCheck)
    assert (check.expect, check.send) == (b"", b"")


SEVERAL = '["tcp", { type = "http", name = "page" }, { type = "http", name = "api", port = 81 }]'


@pytest.mark.parametrize(
    ("override", "ports"),
    [
        ("{ port = 9 }", {"tcp": 9, "page": 9, "api": 9}),
        ('{ name = "page", port = 9 }', {"tcp": 80, "page": 9, "api": 81}),
        ('{ type = "tcp", port = 9 }', {"tcp": 9, "page": 80, "api": 81}),
        ('{ type = "http", name = "api", port = 9 }', {"tcp": 80, "page": 80, "api": 9}),
        ('[{ port = 9 }, { name = "api", port = 10 }]', {"tcp": 9, "page": 9, "api": 10}),
        ('{ type = "udp", port = 9 }', {"tcp": 80, "page": 80, "api": 81, "udp": 9}),
        ('{ type = "tcp", name = "other", port = 9 }', {"tcp": 80, "page": 80, "api": 81, "other": 9}),
    ],
)
def test_real_server_changes_the_check_it_names_or_all_or_adds_one(override: str, ports: dict[str, int]) -> None:
    servers = f'[{{ address = "198.51.100.11", check = {override} }}]'
    assert {check.name: check.port for check in checks_of(service(check=SEVERAL, servers=servers))} == ports


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('{ type = "http", port = 9 }', '.type: this could mean "page" or "api"; say which by its name'),
        (
            '{ name = "pgae", port = 9 }',
            f'.name: no check "pgae" to change here, only "tcp", "page" or "api"; {NO_TYPE}',
        ),
        ('{ name = "page", type = "tcp" }', '.type: check "page" of the service has type "http"'),
        (
            '{ path = "/x" }',
            ".path: tcp checks have no such key; it belongs to http, https and agent checks; leave it out",
        ),
        ('["tcp", "tcp"]', '[1]: two entries are for the check "tcp"; keep one, or name them differently'),
        ('["udp", "udp"]', '[1]: two entries are for the check "udp"; keep one, or name them differently'),
        ('{ type = "udp", name = "tcp" }', '.type: check "tcp" of the service has type "tcp"'),
        ("[]", ": an empty list of checks; leave the key out or put a check in"),
        ("7", ": expected a table, or the type of a check, got 7"),
        ("[[]]", "[0]: expected a table, or the type of a check, got an empty array"),
    ],
)
def test_real_servers_check_that_makes_no_sense(override: str, message: str) -> None:
    servers = f'[{{ address = "198.51.100.11", check = {override} }}]'
    assert errors_of(service(check=SEVERAL, servers=servers)) == [
        f'c.toml:5: service "web": real_server[0].check{message}'
    ]


TOO_SHORT = (
    "too short a timeout ({}) for a udp check that expects nothing: the kernel takes 3s to notice that a host is gone, "
    "and silence until then looks like health; make it 4s or more, or expect an answer"
)


@pytest.mark.parametrize(
    "check", ['"udp"', '{ type = "udp", send = "?" }', '{ type = "udp", send = "?", expect = "" }']
)
def test_udp_check_that_expects_nothing_has_defaults_of_its_own(check: str) -> None:
    """The kernel takes three seconds to notice that a host is gone."""
    [found] = checks_of(service(check=check))
    assert (found.timeout, found.interval) == (SILENT_TIMEOUT, SILENT_INTERVAL) == (4.0, 5.0)


def test_udp_check_that_expects_something_has_the_usual_defaults() -> None:
    [found] = checks_of(service(check='{ type = "udp", send = "?", expect = "!" }'))
    assert (found.timeout, found.interval) == (1.0, 2.0)


def test_udp_check_takes_longer_times_and_any_interval() -> None:
    [found] = checks_of(service(check='{ type = "udp", timeout = "9s", interval = "1s" }'))
    assert (found.timeout, found.interval) == (9.0, 1.0)


def test_inherited_timeout_that_is_too_short_for_silence_is_an_error_of_the_check() -> None:
    text = '[defaults.check]\ntimeout = "2s"\n' + service(check='["tcp", "udp"]')
    assert errors_of(text) == [f'c.toml:6: service "web": check[1]: {TOO_SHORT.format("2s")}']


def test_expectation_that_a_real_server_takes_away_makes_its_timeout_too_short() -> None:
    servers = '[{ address = "198.51.100.11", check = { expect = "" } }]'
    check = '{ type = "udp", send = "?", expect = "!", timeout = "500ms" }'
    assert errors_of(service(check=check, servers=servers)) == [
        f'c.toml:5: service "web": real_server[0].check: {TOO_SHORT.format("0.5s")}'
    ]


@pytest.mark.parametrize(
    ("check", "messages"),
    [
        ('{ type = "udp", timeout = "3.9s" }', [f"check.timeout: {TOO_SHORT.format('3.9s')}"]),
        ("{ port = 1 }", [f"check: type is missing; {NO_TYPE}"]),
        ('{ name = "x" }', [f"check.name: type is missing; {NO_TYPE}"]),
        ("[]", ["check: an empty list of checks; leave the key out or put a check in"]),
        ('"reddis"', [f'check: {TYPES}, got "reddis"; did you mean "redis"?']),
        ('{ type = "https " }', [f'check.type: {TYPES}, got "https "; did you mean "https"?']),
        ('"../../etc/passwd"', [f'check: {TYPES}, got "../../etc/passwd"']),
        ("{ type = 1 }", ["check.type: expected a string, got 1"]),
        ('["tcp", "tcp"]', ['check[1]: two entries are for the check "tcp"; keep one, or name them differently']),
        ('[{ type = "udp", name = "a" }, { type = "tcp", name = "a" }]', [
            'check[1].name: two entries are for the check "a"; keep one, or name them differently',
        ]),
        ('["tcp", { port = 81 }]', [f"check[1]: type is missing; {NO_TYPE}"]),
        ('[{ type = "http", name = "tcp" }, "tcp"]', [
            'check[1]: two entries are for the check "tcp"; keep one, or name them differently',
        ]),
        ('{ type = "tcp", intervall = "2s" }', ['check.intervall: unknown key; did you mean "interval"?']),
        ('{ type = "udp", expect = "x" }', [
            "check.expect: a UDP server answers only what it is sent; add send or send_hex",
        ]),
        ('{ type = "udp", expect_regex = "x" }', [
            "check.expect_regex: a UDP server answers only what it is sent; add send or send_hex",
        ]),
        ('{ type = "udp", expect_hex = "00", rise = 0 }', [
            "check.rise: expected 1..1000, got 0",
            "check.expect_hex: a UDP server answers only what it is sent; add send or send_hex",
        ]),
        ('{ type = "udp", expect_hex = "00", send = 1 }', ["check.send: expected a string, got 1"]),
        ('{ type = "tcp", send = "a", send_hex = "61" }', [("check.send_hex: send and send_hex exclude each other; "
            "keep one of them")]),
        ('{ type = "tcp", expect = "a", expect_regex = "a" }', [
            "check.expect_regex: expect and expect_regex exclude each other; keep one of them",
        ]),
        ('{ type = "tcp", verify = false }', [
            "check.verify: this check never begins TLS; add the step { starttls = true }",
        ]),
        ('{ type = "https", verify = "no" }', [('check.verify: expected true or false, got "no"; '
            'write false, without quotes')]),
    ],
)  # fmt: skip
def test_check_that_cannot_be(check: str, messages: list[str]) -> None:
    assert errors_of(service(check=check)) == [f'c.toml:4: service "web": {message}' for message in messages]


def test_inherited_expectation_without_anything_to_send_is_reported_at_the_check() -> None:
    text = '[defaults.check]\nexpect = "x"\n' + service(check='"udp"')
    assert errors_of(text) == [
        'c.toml:6: service "web": check: a UDP server answers only what it is sent; add send or send_hex'
    ]


@pytest.mark.parametrize("key", ["type", "name"])
def test_defaults_have_no_identity(key: str) -> None:
    assert errors_of(f'[defaults.check]\n{key} = "tcp"\n{service()}') == [
        f"c.toml:2: defaults.check.{key}: {key} cannot be inherited; write it in each check"
    ]


def test_wrong_default_is_reported_once_where_it_is_written() -> None:
    servers = str([f"198.51.100.{host}" for host in range(1, 50)])
    assert errors_of("[defaults.check]\nrise = 0\n[defaults.chekc]\n" + service(servers=servers)) == [
        "c.toml:2: defaults.check.rise: expected 1..1000, got 0",
        'c.toml:3: defaults.chekc: unknown key; did you mean "check"?',
    ]


def test_wrong_check_of_the_service_hides_no_error_of_a_servers_check_and_makes_none_up() -> None:
    servers = (
        '[{ address = "198.51.100.11", check = { port = 0 } }, { address = "198.51.100.12", check = [{ rise = 3 }] }]'
    )
    assert errors_of(service(check='"tpc"', servers=servers)) == [
        f'c.toml:4: service "web": check: {TYPES}, got "tpc"; did you mean "tcp"?',
        'c.toml:5: service "web": real_server[0].check.port: expected 1..65535, got 0',
    ]


def test_firewall_mark_needs_a_port_to_probe() -> None:
    servers = '["198.51.100.11", { address = "198.51.100.12", check = { port = 81 } }, "198.51.100.13"]'
    message = "port is missing; a firewall mark has none that could be probed, so name one: port = 80"
    assert errors_of(service("fwmark = 7", check='["tcp"]', servers=servers)) == [
        f'c.toml:4: service "web": check[0]: {message}'
    ]
    assert errors_of(service("fwmark = 7", check='{ type = "tcp", port = 0 }')) == [
        'c.toml:4: service "web": check.port: expected 1..65535, got 0'
    ]
