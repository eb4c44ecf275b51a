"""Checks with `through = "vip"`: what they probe, and what they cannot be combined with."""

import pytest

from lvs_healthd.config.basics import Endpoint, Family, Protocol
from lvs_healthd.config.check_model import data_path
from lvs_healthd.config.check_ways import DataPath, PathWay
from tests.config.reading import checks_of, errors_of, read, service

PATH = '{ type = "tcp", name = "path", through = "vip" }'
BOTH = f'["tcp", {PATH}]'


def path_of(text: str) -> DataPath:
    found = [data_path(check) for check in checks_of(text)]
    (path,) = [each for each in found if each is not None]
    return path


def test_it_probes_the_services_own_address_and_port() -> None:
    plain, path = checks_of(service(check=BOTH, servers='["198.51.100.11:8080"]'))
    assert (plain.address, plain.port, plain.way) == ("198.51.100.11", 8080, None)
    assert (path.address, path.port) == ("192.0.2.100", 80)


def test_nat_may_change_the_port() -> None:
    path = path_of(service(check=BOTH, servers='["198.51.100.11:8080"]'))
    assert path == DataPath(
        protocol=Protocol.TCP, family=Family.IPV4, server=Endpoint("198.51.100.11", 8080), forward="nat"
    )


def test_other_methods_keep_the_port() -> None:
    path = path_of(service('forward = "dr"', check=BOTH))
    assert path.server == Endpoint("198.51.100.11", 0)
    assert (path.method, path.tun_type) == ("dr", "")


def test_tunnel_is_part_of_the_way() -> None:
    path = path_of(service('forward = "tun"\ntun_type = "gue"\ntun_port = 6080\ntun_checksum = "on"', check=BOTH))
    assert (path.method, path.tun_port, path.tun_checksum) == ("gue", 6080, "on")
    assert str(path) == "tcp/ipv4 198.51.100.11 gue port 6080 checksum on"


def test_source_and_interface_are_those_of_the_check() -> None:
    keys = 'type = "tcp", name = "path", through = "vip", source = "192.0.2.9", interface = "eth1", dscp = 10'
    way = checks_of(service(check=f'["tcp", {{ {keys} }}]'))[1].way
    assert isinstance(way, PathWay)
    assert (way.source, way.interface, way.dscp, way.mark) == ("192.0.2.9", "eth1", 10, None)


def test_one_server_may_be_probed_plainly_all_the_same() -> None:
    servers = '[{ address = "198.51.100.11", check = { name = "path", through = "" } }]'
    assert [data_path(check) for check in checks_of(service(check=BOTH, servers=servers))] == [None, None]


def test_port_of_a_service_for_all_ports_is_the_checks_own() -> None:
    check = '["tcp", { type = "tcp", name = "path", through = "vip" }]'.replace(
        '"tcp",', '{ type = "tcp", port = 80 },', 1
    )
    text = service('persistence = "300s"', check=check.replace('through = "vip"', 'through = "vip", port = 80'))
    found = checks_of(text.replace('"192.0.2.100:80"', '"192.0.2.100:0"'))[1]
    assert (found.address, found.port) == ("192.0.2.100", 80)


UDP_PATH = '{ type = "udp", send = "?", expect = "!", name = "path", through = "vip" }'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (service(check=PATH), "needs a plain check over tcp of the same server beside it"),
        (service(check=f'["ping", {PATH}]'), "needs a plain check over tcp of the same server beside it"),
        (
            service(check='{ type = "ping", through = "vip" }'),
            "ping checks have no such key; it belongs to",
        ),
        (service(check='{ type = "sctp", through = "vip" }'), "sctp checks have no such key"),
        (service(check=f'["tcp", {UDP_PATH}]'), "this check uses udp, and the service is for tcp"),
        (
            service('protocol = "udp"', check='["udp", { type = "udp", name = "path", through = "vip" }]'),
            "needs an answer, because a datagram that is lost on the way looks like one that needs none",
        ),
        (service('forward = "fullnat"', check=BOTH), "is of no use with fullnat"),
        (service("fwmark = 7", check=f'[{{ type = "tcp", port = 80 }}, {PATH}]'), "a firewall mark has none"),
        (service(check=BOTH.replace("through", 'address = "192.0.2.1", through')), "so leave address out"),
        (service(check=BOTH.replace("through", "port = 81, through")), "so leave port out"),
        (service(check=BOTH.replace("through", "mark = 7, through")), "so leave mark out"),
        (service(check=BOTH.replace("through", 'source = "192.0.2.100", through')), 'is the address of service "web"'),
        (service(check=BOTH) + '[ipvs]\nnetns = "x"\n', "need the table of the daemon's own namespace"),
        (service(check=BOTH) + '[ipvs]\npath_marks = "5"\n', "expected a range of firewall marks"),
        (service(check=BOTH) + '[ipvs]\npath_marks = "9-5"\n', "the first one comes first"),
        (
            service(check=BOTH) + '[ipvs]\npath_marks = "1-16385"\n',
            'expected at most 16384 marks, got 16385; write "1-16384"',
        ),
        (
            service(check=BOTH, servers='["198.51.100.11-198.51.100.13"]') + '[ipvs]\npath_marks = "1-2"\n',
            "need 3 marks, and this range has only 2",
        ),
    ],
)
def test_combination_that_cannot_work(text: str, message: str) -> None:
    errors = errors_of(text)
    assert any(message in each for each in errors), errors
    assert all(each.startswith("c.toml:") for each in errors)


OTHER = """
[[service]]
fwmark = 65540
check = {{ type = "tcp", port = 80{} }}
real_server = ["198.51.100.11"]
"""


def test_services_and_checks_of_the_operator_have_other_marks() -> None:
    (error,) = errors_of(service(check=BOTH) + OTHER.format(""))
    assert "fwmark: 65540 is one of the marks 65536-81919 of path probes; choose another mark" in error
    (error,) = errors_of(service(check=BOTH) + OTHER.format(", mark = 65537").replace("65540", "7"))
    assert "mark 65537 is one of the marks 65536-81919" in error
    assert read(OTHER.format(", mark = 65537")).services
