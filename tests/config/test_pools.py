"""`[pool.NAME]`: servers that several services share, and where what is wrong with them is told."""

import pytest

from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.load import parse
from lvs_healthd.config.model import Config, Service
from lvs_healthd.config.reuse import LastReading
from tests.config.reading import errors_of, read

WEB = '[[service]]\nname = "web"\naddress = "192.0.2.100:80"\ncheck = "tcp"\npool = "web"\n'
TLS = '[[service]]\nname = "tls"\naddress = "192.0.2.100:443"\ncheck = "http"\npool = ["web", "spare"]\n'
POOLS = """\
[pool.web]
real_server = ["198.51.100.11-12", { address = "198.51.100.13", weight = 2, check = { timeout = "2s" } }]
[[pool.spare.real_server]]
address = "198.51.100.21:8443"
"""


def servers(service: Service) -> list[tuple[str, int]]:
    return [(str(server.endpoint), server.weight) for server in service.real_servers]


def test_services_share_servers_and_each_gives_them_its_port_and_checks() -> None:
    web, tls = read(POOLS + WEB + TLS).services
    assert servers(web) == [("198.51.100.11:80", 1), ("198.51.100.12:80", 1), ("198.51.100.13:80", 2)]
    assert servers(tls) == [
        *(("198.51.100.11:443", 1), ("198.51.100.12:443", 1), ("198.51.100.13:443", 2)),
        ("198.51.100.21:8443", 1),
    ]
    assert [check.timeout for server in tls.real_servers for check in server.checks] == [1.0, 1.0, 2.0, 1.0]
    assert {check.port for server in web.real_servers for check in server.checks} == {80}


def test_pool_beside_servers_of_its_own() -> None:
    (web,) = read(POOLS + WEB + 'real_server = ["198.51.100.14"]\n').services
    assert [address for address, _ in servers(web)][-2:] == ["198.51.100.13:80", "198.51.100.14:80"]


def test_pool_by_default() -> None:
    text = POOLS + '[defaults.service]\npool = "spare"\n' + WEB + WEB.replace('pool = "web"\n', "").replace("80", "81")
    one, other = read(text.replace('"web"\naddress = "192.0.2.100:81', '"b"\naddress = "192.0.2.100:81')).services
    assert len(one.real_servers) == 3
    assert servers(other) == [("198.51.100.21:8443", 1)]


def test_written_out_it_means_the_same() -> None:
    config = read(POOLS + WEB + TLS)
    assert "pool" not in to_toml(config)
    assert parse(to_toml(config), "c.toml").services == config.services


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (
            POOLS + WEB.replace('pool = "web"', 'pool = "wbe"'),
            [
                'c.toml:9: service "web": pool: expected the name of a [pool.NAME], got "wbe"; did you mean "web"?',
            ],
        ),
        (
            '[pool.web1]\nreal_server = ["198.51.100.11"]\n[pool.web2]\nreal_server = ["198.51.100.11"]\n' + WEB,
            [
                (
                    'c.toml:9: service "web": pool: expected the name of a [pool.NAME], got "web"; did you mean "web2" '
                    'or "web1"?'
                ),
            ],
        ),
        (
            POOLS + TLS.replace('"spare"]', '"mail"]'),
            [
                'c.toml:9: service "tls": pool[1]: expected the name of a [pool.NAME], got "mail"; there is web, spare',
            ],
        ),
        (
            WEB,
            [
                (
                    'c.toml:5: service "web": pool: expected the name of a [pool.NAME], got "web"; there is none; '
                    "write one, with its real_server"
                )
            ],
        ),
        ("[pool.web]\n", ["c.toml:1: pool.web: real_server is missing: a pool needs at least one"]),
        (
            "[pool.web]\nreal_server = []\n",
            ["c.toml:2: pool.web.real_server: the list is empty: a pool needs at least one"],
        ),
        (
            '[pool.web]\nreal_servers = ["198.51.100.11"]\n',
            [
                "c.toml:1: pool.web: real_server is missing: a pool needs at least one",
                'c.toml:2: pool.web.real_servers: unknown key; did you mean "real_server"?',
            ],
        ),
        ('pool = "web"\n', ['c.toml:1: pool: expected [pool.NAME] tables, got "web"']),
    ],
)
def test_pool_that_cannot_be(text: str, messages: list[str]) -> None:
    assert errors_of(text) == messages


def test_wrong_server_of_a_pool_is_told_once_with_its_line() -> None:
    text = POOLS.replace("weight = 2", "weight = -2")
    message = "pool.web.real_server[1].weight: expected 0..65535, got -2"
    assert errors_of(text + WEB + TLS) == [f'c.toml:2: service "web" and 1 more: {message}']
    assert errors_of(text + TLS.replace('["web", "spare"]', '"spare"')) == [f"c.toml:2: {message}"]


def test_server_that_does_not_fit_one_of_the_services_is_told_with_its_name() -> None:
    text = POOLS + WEB + TLS + 'forward = "dr"\n'
    (error,) = errors_of(text)
    assert error.startswith(
        'c.toml:4: service "tls": pool.spare.real_server[0].address: port 8443 is not the service\'s'
    )


def test_server_of_two_lists_is_told() -> None:
    (error,) = errors_of(POOLS + WEB + 'real_server = ["198.51.100.12"]\n')
    assert (
        error
        == 'c.toml:10: service "web": real_server[0]: 198.51.100.12:80 is already listed, on line 2; keep one of them'
    )


def test_unknown_pool_makes_up_no_other_error() -> None:
    text = WEB.replace('"web"\n', '"web"\nmin_up = 2\nreal_server = ["198.51.100.11"]\n', 1)
    assert len(errors_of(text)) == 1


class Again:
    def __init__(self) -> None:
        self._memory = LastReading()

    def read(self, text: str) -> Config:
        config = parse(text, "c.toml", memory=self._memory)
        assert config == parse(text, "c.toml")
        return config


def test_reload_reads_the_services_of_a_changed_pool_and_no_others() -> None:
    reader = Again()
    other = WEB.replace('"web"', '"b"', 1).replace("80", "81").replace('pool = "web"', 'real_server = ["198.51.100.9"]')
    before = reader.read(POOLS + WEB + other).services
    after = reader.read(POOLS.replace("weight = 2", "weight = 3") + WEB + other).services
    assert servers(after[0])[-1] == ("198.51.100.13:80", 3)
    assert after[1] is before[1]
    assert reader.read(POOLS.replace("weight = 2", "weight = 3") + WEB + other).services[0] is after[0]


def test_remark_on_a_pool_outlives_a_reload() -> None:
    reader = Again()
    text = POOLS.replace('timeout = "2s"', 'timeout = "3s"') + WEB
    (remark,) = reader.read(text).remarks
    assert remark.startswith('c.toml:2: service "web": pool.web.real_server[1].check.timeout: timeout 3s is above')
    assert reader.read("\n" + text).remarks == (remark.replace("c.toml:2", "c.toml:3"),)
