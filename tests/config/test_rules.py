from lvs_healthd.config.model import Family
from tests.config.reading import errors_of, read, service

OTHER = service().replace('"web"', '"web2"').replace(":80", ":81")
PORT_80 = '{ type = "tcp", port = 80 }'


def test_services_on_one_tuple() -> None:
    text = service() + OTHER.replace(":81", ":80")
    assert errors_of(text) == [
        'c.toml:9: service "web2": address: 192.0.2.100:80/tcp is service "web" already, on line 1'
    ]


def test_same_address_in_another_spelling_is_the_same() -> None:
    servers = '["[2001:db8::9]"]'
    first = service('address = "[2001:db8::1]:80"', servers=servers)
    second = service('address = "[2001:DB8:0::1]:80"', servers=servers).replace('"web"', '"b"')
    assert errors_of(first + second) == [
        'c.toml:12: service "b": address: [2001:db8::1]:80/tcp is service "web" already, on line 1'
    ]


def test_udp_and_tcp_on_one_port_are_two_services() -> None:
    assert len(read(service() + OTHER.replace(":81", ":80") + 'protocol = "udp"').services) == 2


def test_services_on_one_mark_unless_of_another_family() -> None:
    first = service("fwmark = 7", check=PORT_80)
    second = first.replace('"web"', '"web2"')
    assert errors_of(first + second) == [
        'c.toml:12: service "web2": fwmark: fwmark 7 is service "web" already, on line 1'
    ]
    six = second.replace("198.51.100.11", "[2001:db8::1]")
    assert [each.family for each in read(first + six).services] == [Family.IPV4, Family.IPV6]


def test_services_of_one_name() -> None:
    assert errors_of(service() + OTHER.replace("web2", "web")) == [
        'c.toml:8: service "web": name: the service on line 1 is called "web" too'
    ]


def test_name_that_another_service_has_by_default() -> None:
    text = service().replace('"web"', '"192.0.2.100:81/tcp"') + OTHER.replace('name = "web2"', "")
    assert errors_of(text) == [
        'c.toml:7: service "192.0.2.100:81/tcp": name: the service on line 1 is called "192.0.2.100:81/tcp" too'
    ]


def test_server_twice_in_a_service() -> None:
    servers = '["198.51.100.11", { address = "198.51.100.11:80" }, "198.51.100.11:81"]'
    assert errors_of(service(servers=servers)) == [
        'c.toml:5: service "web": real_server[1].address: 198.51.100.11:80 is there already, on line 5'
    ]


def test_fallback_that_is_a_real_server() -> None:
    assert errors_of(service('fallback = ["198.51.100.11"]')) == [
        'c.toml:6: service "web": fallback[0]: 198.51.100.11:80 is there already, on line 5'
    ]
    assert errors_of(service('fwmark = 7\nfallback = ["198.51.100.11"]', check=PORT_80)) == [
        'c.toml:7: service "web": fallback[0]: 198.51.100.11 is there already, on line 5'
    ]


def test_only_nat_maps_ports() -> None:
    for method in ("dr", "tun"):
        text = service(f'forward = "{method}"\nfallback = ["198.51.100.9:81"]', servers='["198.51.100.11:8080"]')
        tail = f'is not the service\'s 80, and {method} leaves ports as they are; only forward = "nat" can map them'
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


def test_unknown_forwarding_is_told_once() -> None:
    servers = '[{ address = "[2001:db8::1]:81", forward = "x" }]'
    assert errors_of(service(servers=servers)) == [
        'c.toml:5: service "web": real_server[0].forward: expected nat, dr or tun, got "x"'
    ]
    assert errors_of(service('forward = "x"', servers='["[2001:db8::1]:81"]')) == [
        'c.toml:6: service "web": forward: expected nat, dr or tun, got "x"'
    ]
