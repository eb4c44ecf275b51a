"""Where probes leave: what is read, what is refused, and what checks share."""

import pytest

from lvs_healthd.config.check_ways import Way
from tests.config.reading import checks_of, errors_of, read, service


def test_keys_make_one_record_that_all_checks_share() -> None:
    keys = 'source = "192.0.2.9", interface = "eth1.7", mark = 4294967295, dscp = 46'
    config = read(service(check=f'{{ type = "tcp", {keys} }}', servers='["198.51.100.11", "198.51.100.12"]'))
    first, second = (server.checks[0].way for server in config.services[0].real_servers)
    assert first == Way(source="192.0.2.9", interface="eth1.7", mark=4294967295, dscp=46)
    assert first is second


def test_without_keys_the_routing_table_decides() -> None:
    assert checks_of(service())[0].way is None


def test_one_server_may_be_probed_another_way() -> None:
    servers = '[{ address = "198.51.100.11", check = { source = "192.0.2.8" } }]'
    (found,) = checks_of(service(check='{ type = "http", source = "192.0.2.9", mark = 7 }', servers=servers))
    assert found.way == Way(source="192.0.2.8", mark=7)


OTHERS = "http, https, tcp, udp, dns, grpc, sctp, ping and agent"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            'type = "tcp", source = "1.2.3"',
            'check.source: expected an IP address, got "1.2.3"; "1.2.3" is not an IP address',
        ),
        ('type = "tcp", source = "::1"', "check: source ::1 is of another family than 198.51.100.11, which is probed"),
        ('type = "tcp", interface = "a/b"', 'check.interface: expected the name of an interface, got "a/b"'),
        ('type = "tcp", mark = 0', "check.mark: expected 1..4294967295, got 0"),
        ('type = "tcp", dscp = 64', "check.dscp: expected 0..63, got 64"),
        (
            'type = "exec", command = ["/bin/true"], convention = "mon", mark = 1',
            f"check.mark: exec checks have no such key; it belongs to {OTHERS} checks; leave it out",
        ),
    ],
)
def test_way_that_cannot_be(keys: str, message: str) -> None:
    assert errors_of(service(check=f"{{ {keys} }}")) == [f'c.toml:4: service "web": {message}']
