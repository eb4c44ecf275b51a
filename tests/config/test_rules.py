import pytest

from lvs_healthd.config.basics import Family
from tests.config.reading import errors_of, read, service

OTHER = service().replace('"web"', '"web2"').replace(":80", ":81")
PORT_80 = '{ type = "tcp", port = 80 }'


def test_services_on_one_tuple() -> None:
    text = service() + OTHER.replace(":81", ":80")
    assert errors_of(text) == [
        'c.toml:9: service "web2": address: 192.0.2.100:80/tcp is already service "web", on line 1; keep one of them'
    ]


def test_same_address_in_another_spelling_is_the_same() -> None:
    servers = '["[2001:db8::9]"]'
    first = service('address = "[2001:db8::1]:80"', servers=servers)
    second = service('address = "[2001:DB8:0::1]:80"', servers=servers).replace('"web"', '"b"')
    assert errors_of(first + second) == [
        'c.toml:12: service "b": address: [2001:db8::1]:80/tcp is already service "web", on line 1; keep one of them'
    ]


def test_udp_and_tcp_on_one_port_are_two_services() -> None:
    assert len(read(service() + OTHER.replace(":81", ":80") + 'protocol = "udp"').services) == 2


def test_services_on_one_mark_unless_of_another_family() -> None:
    first = service("fwmark = 7", check=PORT_80)
    second = first.replace('"web"', '"web2"')
    assert errors_of(first + second) == [
        'c.toml:12: service "web2": fwmark: fwmark 7 is already service "web", on line 1; keep one of them'
    ]
    six = second.replace("198.51.100.11", "[2001:db8::1]")
    assert [each.family for each in read(first + six).services] == [Family.IPV4, Family.IPV6]


def test_services_of_one_name() -> None:
    assert errors_of(service() + OTHER.replace("web2", "web")) == [
        'c.toml:8: service "web": name: the service on line 1 is called "web" too; give one of them another name'
    ]


def test_name_that_another_service_has_by_default() -> None:
    text = service().replace('"web"', '"192.0.2.100:81/tcp"') + OTHER.replace('name = "web2"', "")
    assert errors_of(text) == [
        (
            'c.toml:7: service "192.0.2.100:81/tcp": name: the service on line 1 is called "192.0.2.100:81/tcp" too; '
            "give one of them another name"
        )
    ]


def test_server_twice_in_a_service() -> None:
    servers = '["198.51.100.11", { address = "198.51.100.11:80" }, "198.51.100.11:81"]'
    assert errors_of(service(servers=servers)) == [
        (
            'c.toml:5: service "web": real_server[1].address: 198.51.100.11:80 is already listed, on line 5; '
            "keep one of them"
        )
    ]


def test_fallback_that_is_a_real_server() -> None:
    assert errors_of(service('fallback = ["198.51.100.11"]')) == [
        'c.toml:6: service "web": fallback[0]: 198.51.100.11:80 is already listed, on line 5; keep one of them'
    ]
    assert errors_of(service('fwmark = 7\nfallback = ["198.51.100.11"]', check=PORT_80)) == [
        'c.toml:7: service "web": fallback[0]: 198.51.100.11 is already listed, on line 5; keep one of them'
    ]


def test_only_nat_maps_ports() -> None:
    for method in ("dr", "tun"):
        text = service(f'forward = "{method}"\nfallback = ["198.51.100.9:81"]', servers='["198.51.100.11:8080"]')
        tail = (
            f"is not the service's 80, and {method} leaves ports as they are; "
            'only forward = "nat" or "fullnat" can map them'
        )
        assert errors_of(text) == [
            f'c.toml:5: service "web": real_server[0]: port 8080 {tail}',
            f'c.toml:7: service "web": fallback[0]: port 81 {tail}',
        ]
    assert read(service(servers='["198.51.100.11:8080"]')).services


def test_only_tun_crosses_families() -> None:
    text = service(servers='["[2001:db8::1]"]')
    assert errors_of(text) == [
        (
            'c.toml:5: service "web": real_server[0]: 2001:db8::1 is not ipv4 like its service, and nat cannot cross '
            'families; only forward = "tun" can'
        )
    ]
    assert read(text + 'forward = "tun"').services
    assert errors_of(service('fwmark = 7\nfamily = "ipv6"', check=PORT_80)) == [
        (
            'c.toml:5: service "web": real_server[0]: 198.51.100.11 is not ipv6 like its service, and nat cannot cross '
            'families; only forward = "tun" can'
        )
    ]


@pytest.mark.parametrize("forward", ["nat", "fullnat"])
@pytest.mark.parametrize(
    ("identity", "server"),
    [
        ('address = "192.0.2.100:80"', "127.0.0.1"),
        ('address = "192.0.2.100:80"', "127.255.0.9"),
        ('address = "[2001:db8::100]:80"', "[::1]"),
        ("fwmark = 7", "127.0.0.1"),
        ("fwmark = 7", "[::1]"),
    ],
)
def test_nat_to_a_loopback_address_reaches_nobody_from_outside(forward: str, identity: str, server: str) -> None:
    text = service(f'{identity}\nforward = "{forward}"', check=PORT_80, servers=f'["{server}"]')
    (error,) = errors_of(text)
    assert f"real_server[0]: the kernel drops what {forward} would send to a loopback address" in error
    assert 'write another address of this director, or forward = "dr"' in error
    for method in ("dr", "tun"):
        assert read(text.replace(f'"{forward}"', f'"{method}"')).services


def test_nat_to_a_loopback_address_is_no_good_for_a_fallback_either() -> None:
    (error,) = errors_of(service('fallback = ["127.0.0.1"]'))
    assert "fallback[0]: the kernel drops what nat would send" in error


@pytest.mark.parametrize(("vip", "server"), [("127.0.0.100", "127.0.0.1"), ("[::1]", "[::1]")])
def test_a_service_for_this_director_alone_may_have_loopback_servers(vip: str, server: str) -> None:
    assert read(service(f'address = "{vip}:80"', servers=f'["{server}:8080"]')).services


def test_unknown_forwarding_is_told_once() -> None:
    servers = '[{ address = "[2001:db8::1]:81", forward = "x" }]'
    assert errors_of(service(servers=servers)) == [
        'c.toml:5: service "web": real_server[0].forward: expected nat, fullnat, dr or tun, got "x"'
    ]
    assert errors_of(service('forward = "x"', servers='["[2001:db8::1]:81"]')) == [
        'c.toml:6: service "web": forward: expected nat, fullnat, dr or tun, got "x"'
    ]


def test_list_of_protocols_makes_a_service_of_each() -> None:
    services = read(service('protocol = ["udp", "tcp"]')).services
    assert [(each.name, str(each.protocol)) for each in services] == [("web/udp", "udp"), ("web/tcp", "tcp")]
    ranged = read(service('address = "192.0.2.1-2:53"\nprotocol = ["udp", "tcp"]')).services
    assert [each.name for each in ranged] == [
        *("web 192.0.2.1/udp", "web 192.0.2.1/tcp"),
        *("web 192.0.2.2/udp", "web 192.0.2.2/tcp"),
    ]
    nameless = service('protocol = ["udp", "tcp"]').replace('name = "web"\n', "")
    assert [each.name for each in read(nameless).services] == ["192.0.2.100:80/udp", "192.0.2.100:80/tcp"]
    assert read(service('protocol = ["udp"]')).services[0].name == "web"


ONLY_TUN = 'only for forward = "tun", and '
WITHOUT = 'without persistence it does nothing; add persistence = "300s"'


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('protocol = ["tcp", "tcp"]', 'protocol[1]: "tcp" is already listed; keep one of them'),
        ("protocol = []", "protocol: expected tcp, udp or sctp, got an empty array"),
        (
            'scheduler_flags = ["sh-port"]',
            'scheduler_flags: sh-port is a flag of scheduler = "sh", and the scheduler is "wlc"; leave it out',
        ),
        (
            'scheduler = "mh"\nscheduler_flags = ["flag-3"]',
            "scheduler_flags: mh has only two flags, and flag-3 is neither",
        ),
        (
            'scheduler_flags = ["port"]',
            (
                "scheduler_flags[0]: expected sh-port, sh-fallback, mh-port, mh-fallback, flag-1, flag-2 or flag-3, "
                'got "port"; did you mean "sh-port"?'
            ),
        ),
        ("one_packet = true", "one_packet: only for udp and firewall marks: tcp has connections; leave it out"),
        ("persistence_mask = 24", f"persistence_mask: {WITHOUT}"),
        ('protocol = "udp"\npersistence_engine = "sip"', f"persistence_engine: {WITHOUT}"),
        (
            'persistence = "1m"\npersistence_engine = "sip"',
            "persistence_engine: the kernel's sip engine reads udp only, not tcp",
        ),
        (
            'persistence = "1m"\npersistence_mask = 33',
            "persistence_mask: for an ipv4 service it must be a number of bits of 0..32, or a mask",
        ),
        (
            'persistence = "1m"\npersistence_mask = "24"',
            'persistence_mask: expected a number of bits of 0..128, or an IPv4 mask such as "255.255.255.0", got "24"',
        ),
        ('tun_type = "gre"', f"tun_type: {ONLY_TUN}no server here has that; leave it out"),
        (
            'forward = "tun"\ntun_type = "gue"',
            "real_server[0]: a gue tunnel goes to a UDP port; say which: tun_port = 6080",
        ),
        ('forward = "tun"\ntun_port = 6080', "tun_port: only for gue tunnels, and this one is ipip"),
        (
            'forward = "tun"\ntun_checksum = "on"',
            "tun_checksum: only for gue and gre tunnels: ipip has no checksum",
        ),
        (
            'forward = "tun"\ntun_type = "gre"\ntun_checksum = "remote"',
            "tun_checksum: remote checksum offload is gue's; gre takes off or on",
        ),
        ("lower_threshold = 5", "lower_threshold: without an upper_threshold it does nothing"),
        (
            "lower_threshold = 5\nupper_threshold = 4",
            "lower_threshold: 5 is above the upper one, 4; it has to be that or less",
        ),
    ],
)
def test_combination_that_the_kernel_refuses_or_does_not_do(keys: str, message: str) -> None:
    (error,) = errors_of(service(keys))
    assert error.partition('service "web": ')[2] == message


def test_masks_of_ipv6_are_bits() -> None:
    keys = 'address = "[2001:db8::1]:80"\npersistence = "1m"\npersistence_mask = '
    for mask in ('"255.255.255.0"', "0"):
        (error,) = errors_of(service(keys + mask, servers='["[2001:db8::2]"]'))
        assert error.endswith("persistence_mask: for an ipv6 service it must be a number of bits of 1..128")
    assert read(service(keys + "64", servers='["[2001:db8::2]"]')).services[0].persistence_mask == 64


def test_mask_with_holes_is_taken() -> None:
    made = read(service('persistence = "1m"\npersistence_mask = "255.0.255.0"')).services[0]
    assert made.persistence_mask == -0xFF00FF00


def test_all_ports_need_persistence_and_servers_without_ports() -> None:
    everything = service('address = "192.0.2.1:0"\npersistence = "1m"', check=PORT_80)
    made = read(everything).services[0]
    assert [(server.endpoint.port, server.checks[0].port) for server in made.real_servers] == [(0, 80)]
    (error,) = errors_of(everything.replace('persistence = "1m"', ""))
    assert "port 0 is all ports, which the kernel forwards only with persistence" in error
    (error,) = errors_of(everything.replace("198.51.100.11", "198.51.100.11:81"))
    assert error.endswith("real_server[0]: behind port 0 packets keep the port they came with; write the address alone")
    (error,) = errors_of(everything.replace(", port = 80", ""))
    assert "port is missing; port 0 has none that could be probed, so name one: port = 80" in error


def test_server_takes_from_its_service_what_belongs_together() -> None:
    keys = 'forward = "tun"\ntun_type = "gue"\ntun_port = 6080\ntun_checksum = "on"\n'
    keys += "upper_threshold = 9\nlower_threshold = 5"
    servers = """[
        "198.51.100.1",
        { address = "198.51.100.2", forward = "nat" },
        { address = "198.51.100.3", tun_type = "ipip", upper_threshold = 3 },
        { address = "198.51.100.4", tun_port = 7 },
    ]"""
    made = read(service(keys, servers=servers)).services[0].real_servers
    assert [
        (each.tun_type, each.tun_port, each.tun_checksum, each.upper_threshold, each.lower_threshold) for each in made
    ] == [
        ("gue", 6080, "on", 9, 5),
        ("ipip", 0, "off", 9, 5),
        ("ipip", 0, "off", 3, 0),
        ("gue", 7, "on", 9, 5),
    ]


def test_tunnel_keys_of_a_server_that_has_none() -> None:
    (error,) = errors_of(service(servers='[{ address = "198.51.100.1", tun_port = 7 }]'))
    assert error.endswith(f'real_server[0].tun_port: {ONLY_TUN}this server has "nat"; leave it out')


def test_wrong_values_are_reported_once() -> None:
    keys = 'forward = "tun"\ntun_type = "x"\ntun_port = 0\nupper_threshold = -1\nlower_threshold = 5'
    assert len(errors_of(service(keys))) == 3


ITSELF = "it would find whichever server answers there, and decide about itself; probe the real server"


@pytest.mark.parametrize(
    ("check", "place", "name", "probes"),
    [
        (
            '{ type = "http", address = "192.0.2.100" }',
            "check.address",
            "http",
            '192.0.2.100:80, which is the virtual service "web"',
        ),
        (
            '["tcp", { type = "tcp", name = "b", address = "192.0.2.100", port = 53 }]',
            "check[1].address",
            "b",
            '192.0.2.100:53, which is the virtual service "dns"',
        ),
    ],
)
def test_check_of_a_virtual_service_decides_about_itself(check: str, place: str, name: str, probes: str) -> None:
    other = '[[service]]\nname = "dns"\naddress = "192.0.2.100:53"\ncheck = "tcp"\nreal_server = ["198.51.100.1"]\n'
    assert errors_of(service(check=check) + other) == [
        f'c.toml:4: service "web": {place}: check "{name}" probes {probes}: {ITSELF}'
    ]


def test_real_server_that_is_a_virtual_service_decides_about_itself() -> None:
    (error,) = errors_of(service(servers='["198.51.100.11", { address = "192.0.2.100", weight = 2 }]'))
    assert error.startswith(
        'c.toml:5: service "web": real_server[1].address: check "tcp" probes 192.0.2.100:80, which is'
    )


def test_other_port_or_protocol_of_a_virtual_address_is_no_virtual_service() -> None:
    read(service(check='{ type = "tcp", address = "192.0.2.100", port = 81 }'))
    read(service('protocol = "udp"', check='{ type = "tcp", address = "192.0.2.100" }'))


def test_port_0_is_every_port() -> None:
    text = service(
        'address = "192.0.2.100:0"\npersistence = "5m"', check='{ type = "tcp", address = "192.0.2.100", port = 7 }'
    )
    (error,) = errors_of(text)
    assert "probes 192.0.2.100:7, which is the virtual service" in error
