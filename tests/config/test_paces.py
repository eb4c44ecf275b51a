"""How often a check probes: the defaults, what is inherited, and what makes no sense."""

from pathlib import Path

import pytest

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.load import ConfigError, parse
from tests.config.reading import checks_of, errors_of, read, service


def paces(check: AnyCheck) -> tuple[float, float, float]:
    return check.interval, check.fast_interval, check.down_interval


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ('"tcp"', (2.0, 0.5, 2.0)),
        ('"http"', (2.0, 0.5, 2.0)),
        ('"https"', (2.0, 0.5, 2.0)),
        ('{ type = "tcp", interval = "200ms" }', (0.2, 0.2, 0.2)),
        ('{ type = "tcp", fast_interval = "100ms", down_interval = "1m" }', (2.0, 0.1, 60.0)),
        ('{ type = "tcp", down_interval = "1s" }', (2.0, 0.5, 1.0)),
        ('"ping"', (2.0, 2.0, 2.0)),
        ('"grpc"', (2.0, 2.0, 2.0)),
        ('{ type = "ping", fast_interval = "1s" }', (2.0, 1.0, 2.0)),
        ('{ type = "udp", port = 53 }', (5.0, 5.0, 5.0)),
        ('{ type = "exec", command = ["/bin/true"], convention = "nagios" }', (10.0, 10.0, 10.0)),
    ],
)
def test_defaults_depend_on_the_type(check: str, expected: tuple[float, float, float]) -> None:
    assert paces(checks_of(service(check=check))[0]) == expected


def test_paces_are_inherited() -> None:
    defaults = '[defaults.check]\nfast_interval = "1s"\ndown_interval = "10s"\n'
    assert paces(checks_of(defaults + service())[0]) == (2.0, 1.0, 10.0)
    servers = '[{ address = "198.51.100.11", check = { fast_interval = "300ms" } }]'
    assert paces(checks_of(defaults + service(servers=servers))[0]) == (2.0, 0.3, 10.0)


def test_default_follows_the_interval_of_one_server() -> None:
    servers = '[{ address = "198.51.100.11", check = { interval = "100ms" } }]'
    assert paces(checks_of(service(servers=servers))[0]) == (0.1, 0.1, 0.1)


SLOW = (
    "fast_interval 3s is longer than interval {}: it is for a verdict in doubt, which needs more probes and not fewer; "
    'write fast_interval = "{}" or less'
)


def test_fast_interval_that_is_slow_is_an_error_where_the_two_meet() -> None:
    assert errors_of(service(check='{ type = "tcp", fast_interval = "3s" }')) == [
        f'c.toml:4: service "web": check.fast_interval: {SLOW.format("2s", "2s")}'
    ]
    assert errors_of('[defaults.check]\nfast_interval = "3s"\n' + service()) == [
        f"c.toml:2: defaults.check.fast_interval: {SLOW.format('2s', '2s')}"
    ]
    server = '[{ address = "198.51.100.11", check = { interval = "1s" } }]'
    check = '{ type = "tcp", interval = "5s", fast_interval = "3s" }'
    assert errors_of(service(check=check, servers=server)) == [
        f'c.toml:5: service "web": real_server[0].check.interval: {SLOW.format("1s", "1s")}'
    ]


@pytest.mark.parametrize("key", ["fast_interval", "down_interval"])
def test_values_are_bounded(key: str) -> None:
    (error,) = errors_of(service(check=f'{{ type = "tcp", {key} = "49ms" }}'))
    assert error.endswith(f'check.{key}: expected a duration from 50ms to 24h, got "49ms"')


def test_effective_configuration_says_how_often_each_check_probes() -> None:
    given = read(service(check='{ type = "tcp", down_interval = "1m" }'))
    written = to_toml(given)
    assert 'fast_interval = "500ms"\ndown_interval = "1m"' in written
    assert read(written).services == given.services


FLOOR = 'description = "x"\ntype = "tcp"\nport = 25\nmin_interval = "8s"\n'


def from_shelf(shelf: Path, check: str = '"greeting"', more: str = "", defaults: str = "") -> AnyCheck:
    (shelf / "greeting.toml").write_text(FLOOR + more)
    config = parse(defaults + service(check=check), "c.toml", checks_dirs=[shelf])
    return config.services[0].real_servers[0].checks[0]


def test_floor_of_a_ready_made_check_bounds_all_paces(tmp_path: Path) -> None:
    assert paces(from_shelf(tmp_path)) == (8.0, 8.0, 8.0)
    assert paces(from_shelf(tmp_path, '{ type = "greeting", interval = "20s" }')) == (20.0, 8.0, 20.0)
    short = '[defaults.check]\nfast_interval = "100ms"\ndown_interval = "1s"\n'
    assert paces(from_shelf(tmp_path, defaults=short)) == (8.0, 8.0, 8.0)


@pytest.mark.parametrize("key", ["fast_interval", "down_interval"])
def test_pace_below_the_floor_is_an_error(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=f"check.{key}: 1s is shorter than min_interval = 8s of .*greeting.toml"):
        from_shelf(tmp_path, f'{{ type = "greeting", {key} = "1s" }}')
    with pytest.raises(ConfigError, match=f"greeting.toml:5: {key}: shorter than min_interval = 8s"):
        from_shelf(tmp_path, more=f'{key} = "1s"\n')
