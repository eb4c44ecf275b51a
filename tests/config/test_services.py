import pytest

from lvs_healthd.config.basics import Endpoint, Family, Protocol
from lvs_healthd.config.check_model import HttpCheck
from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.model import FallbackServer, Forward, OnFailure
from tests.config.reading import errors_of, read, service

SCHEDULERS = "rr, wrr, lc, wlc, lblc, lblcr, sh, mh, dh, fo, ovf, sed, nq or twos"
NO_CHECK = 'no check; the simplest is check = { type = "tcp" }'


def test_defaults_of_a_service() -> None:
    web = read(service()).services[0]
    assert (web.protocol, web.scheduler, web.forward) == (Protocol.TCP, "wlc", Forward.NAT)
    assert (web.persistence, web.on_failure, web.fallback) == (0.0, OnFailure.REMOVE, ())
    assert web.real_servers[0].weight == 1


def test_real_server_tables_of_their_own() -> None:
    text = service().replace('real_server = ["198.51.100.11"]', "")
    text += '[[service.real_server]]\naddress = "198.51.100.11"\nweight = 0\n'
    text += '[[service.real_server]]\naddress = "198.51.100.12:8080"\n'
    assert [(str(server.endpoint), server.weight) for server in read(text).services[0].real_servers] == [
        ("198.51.100.11:80", 0),
        ("198.51.100.12:8080", 1),
    ]


def test_forwarding_is_the_services_unless_a_server_has_its_own() -> None:
    servers = '["198.51.100.11", { address = "198.51.100.12:8080", forward = "nat" }]'
    web = read(service('forward = "dr"', servers=servers)).services[0]
    assert [server.forward for server in web.real_servers] == [Forward.DR, Forward.NAT]


def test_fallback_does_not_inherit_the_checks_of_its_service() -> None:
    text = service('fallback = ["198.51.100.99", { address = "198.51.100.98:81", weight = 5, tier = 2 }]')
    given = read(text)
    assert given.services[0].fallback == (
        FallbackServer(endpoint=Endpoint("198.51.100.99", 80)),
        FallbackServer(endpoint=Endpoint("198.51.100.98", 81), weight=5, tier=2),
    )
    assert read(to_toml(given)).services == given.services


def test_fallback_has_checks_of_its_own() -> None:
    checks = '{ type = "http", path = "/sorry", port = 8080 }'
    given = read(service(f'fallback = [{{ address = "198.51.100.99", check = {checks} }}]'))
    ((check,),) = [spare.checks for spare in given.services[0].fallback]
    assert isinstance(check, HttpCheck)
    assert (check.address, check.port, check.path) == ("198.51.100.99", 8080, "/sorry")
    assert read(to_toml(given)).services == given.services


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        ('address = "192.0.2.100:80"', "192.0.2.100:80/tcp"),
        ('address = "192.0.2.100:80"\nprotocol = "udp"', "192.0.2.100:80/udp"),
        ("fwmark = 7", "fwmark 7"),
        ('fwmark = 7\nfamily = "ipv6"\nforward = "tun"', "fwmark 7 ipv6"),
    ],
)
def test_service_is_named_after_its_identity(identity: str, name: str) -> None:
    text = service(identity, check='{ type = "tcp", port = 80 }').replace('name = "web"', "")
    assert read(text).services[0].name == name
    [error] = errors_of(text + "colour = 1\n")
    assert f'service "{name.removesuffix(" ipv6")}": colour: unknown key' in error


def test_service_without_any_name_goes_by_its_place() -> None:
    text = service().replace('name = "web"\naddress = "192.0.2.100:80"', "name = 1")
    assert errors_of(text) == [
        'c.toml:1: service[0]: address is missing: "192.0.2.100:80", or a firewall mark: fwmark = 7',
        "c.toml:2: service[0]: name: expected a string, got 1",
    ]


def test_firewall_mark_has_its_servers_family_and_no_ports() -> None:
    check = '{ type = "tcp", port = 80 }'
    four = read(service("fwmark = 4294967295", check=check)).services[0]
    assert (four.fwmark, four.endpoint, four.family) == (2**32 - 1, None, Family.IPV4)
    assert four.real_servers[0].endpoint == Endpoint("198.51.100.11", 0)
    six = read(service("fwmark = 1", check=check, servers='["[2001:db8::1]"]')).services[0]
    assert (six.family, six.real_servers[0].checks[0].port) == (Family.IPV6, 80)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('forward = "nta"', 'forward: expected nat, fullnat, dr or tun, got "nta"; did you mean "nat"?'),
        ('protocol = "dccp"', 'protocol: expected tcp, udp or sctp, got "dccp"'),
        ('on_failure = "drain"', 'on_failure: expected remove or quiesce, got "drain"'),
        ('scheduler = "wwrr"', f'scheduler: expected {SCHEDULERS}, got "wwrr"; did you mean "wrr"?'),
        ('scheduler = "WRR"', f'scheduler: expected {SCHEDULERS}, got "WRR"; did you mean "wrr"?'),
        ("scheduler = 1", f"scheduler: expected {SCHEDULERS}, got 1"),
        ('persistence = "1500ms"', 'persistence: expected whole seconds from 0s to 744h, got "1500ms"'),
        ('persistence = "745h"', 'persistence: expected whole seconds from 0s to 744h, got "745h"'),
        ("persistence = 300", 'persistence: expected whole seconds from 0s to 744h, got 300; give it a unit: "300s"'),
        ("fwmark = 0", "fwmark: expected 1..4294967295, got 0"),
        ("fwmark = 4294967296", "fwmark: expected 1..4294967295, got 4294967296"),
        ('family = "ipv4"', "family: only for a fwmark: any other service shows it in its address"),
        ('fwmark = 7\nprotocol = "udp"', "protocol: not for a fwmark: a firewall mark matches any protocol"),
        ('address = "192.0.2.1:80"\nfwmark = 7', "fwmark: a service has an address or a fwmark, not both"),
        ("fallback = 7", 'fallback: expected a list such as ["198.51.100.11:80"], got 7'),
        ("fallback = [7]", "fallback[0]: expected an address, or a table with one, got 7"),
        (
            'fallback = [{ address = "198.51.100.9", weight = 0 }]',
            "fallback[0].weight: expected 1..65535, got 0",
        ),
        ('fallback = [{ address = "198.51.100.9", tier = 0 }]', "fallback[0].tier: expected 1..100, got 0"),
        (
            'fallback = [{ address = "198.51.100.9", check = { type = "tcp", through = "vip" } }]',
            "fallback[0].check: a fallback server has no way through the service until it serves",
        ),
        (
            'fallback = [{ address = "198.51.100.9", check = { type = "tcp", address = "192.0.2.100" } }]',
            (
                'fallback[0].check.address: check "tcp" probes 192.0.2.100:80, which is the virtual service "web": it '
                "would find whichever server answers there, and decide about itself; probe the real server"
            ),
        ),
        ('real_servers = ["198.51.100.12"]', 'real_servers: unknown key; did you mean "real_server"?'),
    ],
)
def test_wrong_service_setting(keys: str, message: str) -> None:
    line = 6 + keys.count("\n")
    text = service(keys, check='{ type = "tcp", port = 80 }')
    assert errors_of(text) == [f'c.toml:{line}: service "web": {message}']


@pytest.mark.parametrize(
    ("servers", "messages"),
    [
        ("[]", [": the list is empty: a service needs at least one"]),
        ("7", [': expected a list such as ["198.51.100.11:80"], got 7']),
        ('{ address = "198.51.100.11" }', [': expected a list such as ["198.51.100.11:80"], got a table']),
        ("[7]", ["[0]: expected an address, or a table with one, got 7"]),
        ("[{ weight = 1 }]", ['[0]: address is missing: address = "198.51.100.11:80"']),
        (
            '[{ address = "198.51.100.11", weight = -2 }, { address = "198.51.100.12", weight = 65536 }]',
            ["[0].weight: expected 0..65535, got -2", "[1].weight: expected 0..65535, got 65536"],
        ),
        (
            '["web1.example.org"]',
            [
                (
                    '[0]: expected an address and port, got "web1.example.org"; "web1.example.org" is a name; '
                    'write its address, or have DNS list the servers: source = { dns = "web1.example.org" }'
                )
            ],
        ),
        (
            '[{ address = "198.51.100.11", forward = "rd", wieght = 1 }]',
            [
                '[0].forward: expected nat, fullnat, dr or tun, got "rd"',
                '[0].wieght: unknown key; did you mean "weight"?',
            ],
        ),
    ],
)
def test_wrong_real_server(servers: str, messages: list[str]) -> None:
    expected = [f'c.toml:5: service "web": real_server{message}' for message in messages]
    assert errors_of(service(servers=servers)) == expected


def test_service_without_real_servers() -> None:
    text = service().replace('real_server = ["198.51.100.11"]', "")
    assert errors_of(text) == ['c.toml:1: service "web": real_server is missing: a service needs at least one']


def test_service_without_a_check() -> None:
    text = service().replace('check = "tcp"', "")
    assert errors_of(text) == [f'c.toml:1: service "web": {NO_CHECK}']


def test_only_servers_without_any_check_are_told_where_others_have_their_own() -> None:
    servers = '[{ address = "198.51.100.11", check = "tcp" }, "198.51.100.12"]'
    text = service(servers=servers).replace('check = "tcp"\n', "\n", 1)
    assert errors_of(text) == [f'c.toml:5: service "web": real_server[1]: {NO_CHECK}']


@pytest.mark.parametrize("keys", ['forward = "dr"', 'forward = "tun"', 'persistence = "5m"'])
def test_firewall_marks_server_has_no_port_where_none_is_mapped(keys: str) -> None:
    text = service("fwmark = 7\n" + keys, check='{ type = "tcp", port = 80 }', servers='["198.51.100.11:80"]')
    assert errors_of(text) == [
        (
            'c.toml:5: service "web": real_server[0]: behind a firewall mark packets keep the port they came with '
            "(nat and fullnat can change it, but only without persistence); write the address alone"
        )
    ]


def test_firewall_marks_server_may_have_a_port_that_is_mapped() -> None:
    servers = '["198.51.100.11:8080", { address = "198.51.100.12:8081", forward = "fullnat" }, "198.51.100.13"]'
    with_port, other, without = (
        read(service("fwmark = 7", check='{ type = "tcp", port = 80 }', servers=servers)).services[0].real_servers
    )
    assert [server.endpoint.port for server in (with_port, other, without)] == [8080, 8081, 0]
    own = service("fwmark = 7", servers='["198.51.100.11:8080"]')
    assert read(own).services[0].real_servers[0].checks[0].port == 8080


def test_firewall_mark_over_both_families_must_say_its_own() -> None:
    servers = '["198.51.100.11", "[2001:db8::1]"]'
    check = '{ type = "tcp", port = 80 }'
    assert errors_of(service('fwmark = 7\nforward = "tun"', check=check, servers=servers)) == [
        'c.toml:1: service "web": real servers of both families: say which the clients use: family = "ipv4" or "ipv6"'
    ]
    text = service('fwmark = 7\nforward = "tun"\nfamily = "ipv6"', check=check, servers=servers)
    assert read(text).services[0].family is Family.IPV6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[service]\naddress = "192.0.2.1:80"\n',
            "1: service: expected [[service]] tables, got a table; in double brackets, once for each service",
        ),
        ("service = 7\n", "1: service: expected [[service]] tables, got 7"),
        ("service = [7]\n", "1: service[0]: expected a table, got 7"),
        ("daemon = 7\n" + service(), "1: daemon: expected a table, got 7"),
        ("defaults = 7\n" + service(), "1: defaults: expected a table, got 7"),
        ("[defaults]\ncheck = 7\n" + service(), "2: defaults.check: expected a table, got 7"),
        ("[deamon]\n" + service(), '1: deamon: unknown key; did you mean "daemon"?'),
        ("[[servcie]]\n" + service(), '1: servcie: unknown key; did you mean "service"?'),
    ],
)
def test_wrong_shape_of_the_file(text: str, message: str) -> None:
    assert errors_of(text) == [f"c.toml:{message}"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "service = []\n", "[daemon]\n"])
def test_file_without_services_has_a_remark(text: str) -> None:
    config = read(text)
    assert config.services == ()
    assert config.remarks == (
        "c.toml: no [[service]]: nothing is probed, and the table stays as it is, until a reload brings one",
    )


BELOW = "a key of the service, and in TOML it belongs to"


def test_real_servers_below_a_checks_header_are_told_once_and_where_to_move_them() -> None:
    text = '[[service]]\nname = "web"\naddress = "192.0.2.1:80"\n[service.check]\ntype = "tcp"\n'
    text += 'real_server = ["198.51.100.1"]\nscheduler = "rr"\n'
    assert errors_of(text) == [
        f'c.toml:{line}: service "web": check.{key}: {BELOW} [service.check] above it: move it above line 4'
        for line, key in ((6, "real_server"), (7, "scheduler"))
    ]
    several = errors_of(text.replace("[service.check]", "[[service.check]]"))
    assert "check[0].real_server: a key of the service, and in TOML it belongs to [[service.check]]" in several[0]


def test_key_of_the_service_below_a_real_server() -> None:
    (error,) = errors_of(
        '[[service]]\nname = "web"\naddress = "192.0.2.1:80"\ncheck = "tcp"\n'
        '[[service.real_server]]\naddress = "198.51.100.1"\nscheduler = "rr"\n'
    )
    assert error.startswith('c.toml:7: service "web": real_server[0].scheduler: a key of the service, and in TOML')
    assert error.endswith("it belongs to [[service.real_server]] above it: move it above line 5")


def test_key_of_a_check_in_the_service() -> None:
    (error,) = errors_of(service('interval = "5s"'))
    place, _, message = error.partition(": a key of")
    assert place == 'c.toml:6: service "web": interval'
    assert message == " a check, not of a service: check = { type = …, interval = … }, or [defaults.check] for all"


@pytest.mark.parametrize(
    ("word", "meant"),
    [("masq", "nat"), ("NAT", "nat"), ("gate", "dr"), ("droute", "dr"), ("tunnel", "tun"), ("DR", "dr")],
)
def test_forwarding_method_by_another_program_s_name(word: str, meant: str) -> None:
    assert errors_of(service(f'forward = "{word}"')) == [
        f'c.toml:6: service "web": forward: expected nat, fullnat, dr or tun, got "{word}"; did you mean "{meant}"?'
    ]


@pytest.mark.parametrize("kind", ["ipip", "GRE", "gue"])
def test_type_of_a_tunnel_is_no_forwarding_method(kind: str) -> None:
    assert errors_of(service(f'forward = "{kind}"')) == [
        (
            f'c.toml:6: service "web": forward: expected nat, fullnat, dr or tun, got "{kind}"; '
            f'write forward = "tun" and tun_type = "{kind.lower()}"'
        )
    ]


@pytest.mark.parametrize(
    ("servers", "place", "without"),
    [
        (
            '["198.51.100.10-19", { address = "198.51.100.12", weight = 5 }]',
            "real_server[1].address: 198.51.100.12:80",
            '"198.51.100.10-198.51.100.11" and "198.51.100.13-198.51.100.19"',
        ),
        (
            '[{ address = "198.51.100.10", weight = 5 }, "198.51.100.10-11:80"]',
            "real_server[1]: 198.51.100.10:80",
            '"198.51.100.11"',
        ),
        ('["198.51.100.10-11", "198.51.100.11-12"]', "real_server[1]: 198.51.100.11:80", ""),
    ],
)
def test_one_of_a_range_with_settings_of_its_own(servers: str, place: str, without: str) -> None:
    message = f'c.toml:5: service "web": {place} is already listed, on line 5'
    message += f", in a range; write the range without it: {without}" if without else "; keep one of them"
    assert errors_of(service(servers=servers)) == [message]
