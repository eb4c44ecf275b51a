from pathlib import Path

import pytest

import lvs_healthd
from lvs_healthd.config import readymade
from lvs_healthd.config.check_model import TcpCheck
from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.load import ConfigError, load, parse
from lvs_healthd.config.readymade import Shelf
from tests.config.reading import service

GOOD = 'description = "It greets."\ntype = "tcp"\nexpect = "220 "\nport = 25\n'


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    directory = tmp_path / "checks"
    directory.mkdir()
    return directory


def errors_with(directory: Path, check: str = '"greeting"') -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(service(check=check), "c.toml", checks_dirs=[directory])
    return list(caught.value.errors)


def test_checks_beside_the_configuration_come_first(shelf: Path) -> None:
    (shelf / "greeting.toml").write_text(GOOD)
    (shelf / "redis.toml").write_text(GOOD.replace("220", "mine"))
    file = shelf.parent / "config.toml"
    file.write_text(service(check='["greeting", "redis", "ntp"]'))
    greeting, redis, ntp = load(file).services[0].real_servers[0].checks
    assert isinstance(greeting, TcpCheck)
    assert isinstance(redis, TcpCheck)
    assert (greeting.name, greeting.expect, greeting.port) == ("greeting", b"220 ", 25)
    assert redis.expect == b"mine "
    assert ntp.name == "ntp"


def test_first_directory_wins_and_missing_ones_are_passed_over(shelf: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (shelf / "greeting.toml").write_text(GOOD)
    (other / "greeting.toml").write_text(GOOD.replace("25", "26"))
    for directories, port in (([shelf, other], 25), ([tmp_path / "none", other, shelf], 26)):
        config = parse(service(check='"greeting"'), "c.toml", checks_dirs=directories)
        assert config.services[0].real_servers[0].checks[0].port == port


def test_search_path_ends_with_the_packaged_checks() -> None:
    beside, system, packaged = readymade.search_path("/srv/lvs/config.toml")
    assert (beside, system) == (Path("/srv/lvs/checks"), Path("/etc/lvs-healthd/checks"))
    assert (packaged / "redis.toml").is_file()


def test_search_path_in_an_installed_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lvs_healthd"
    (package / "_checks").mkdir(parents=True)
    monkeypatch.setattr(readymade, "__file__", str(package / "config" / "readymade.py"))
    assert readymade.search_path("c.toml")[2] == package / "_checks"
    assert lvs_healthd.__file__


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("a = ", [":1: a: there is no value"]),
        ("", [": description is missing", ": type is missing"]),
        (
            GOOD + "colour = 1\n",
            [":5: colour: unknown key; those of [service.check] are in lvs-healthd.toml(5)"],
        ),
        (GOOD + 'name = "x"\n', [":5: name: unknown key;"]),
        (
            GOOD + 'expect_regex = "("\n',
            [":5: expect_regex: expect and expect_regex exclude each other; keep one of them"],
        ),
        (GOOD.replace('"220 "', "220"), [":3: expect: expected a string, got 220"]),
        (
            GOOD + 'path = "/"\n',
            [":5: path: tcp checks have no such key; it belongs to http, https and agent checks; leave it out"],
        ),
        (
            GOOD.replace('"tcp"', '"redis"'),
            [':2: type: expected http, https, tcp, udp, dns, grpc, sctp, ping, exec or agent, got "redis"'],
        ),
        (GOOD.replace('"It greets."', '" "'), [':1: description: expected a sentence, got " "']),
    ],
)
def test_errors_in_a_ready_made_check_name_its_file_and_come_once(shelf: Path, text: str, errors: list[str]) -> None:
    file = shelf / "greeting.toml"
    file.write_text(text)
    found = errors_with(shelf, '["greeting", { type = "greeting", name = "again" }]')
    assert [line[: len(f"{file}{error}")] for line, error in zip(found, errors, strict=True)] == [
        f"{file}{error}" for error in errors
    ]


def test_unreadable_ready_made_check(shelf: Path) -> None:
    (shelf / "greeting.toml").mkdir()
    assert errors_with(shelf) == [f"{shelf}/greeting.toml: cannot be read: Is a directory"]


def test_unknown_ready_made_check_lists_the_ones_there_are(shelf: Path) -> None:
    (shelf / "greeting.toml").write_text(GOOD)
    (shelf / "Not A Name.toml").write_text(GOOD)
    assert errors_with(shelf, '"greetings"') == [
        (
            'c.toml:4: service "web": check: expected http, https, tcp, udp, dns, grpc, sctp, ping, exec, agent or '
            "a ready-made check (greeting), "
            'got "greetings"; did you mean "greeting"?'
        )
    ]
    assert errors_with(shelf / "none", '"x"') == [
        (
            'c.toml:4: service "web": check: expected http, https, tcp, udp, dns, grpc, sctp, ping, exec, agent or '
            'a ready-made check, got "x"'
        )
    ]


@pytest.mark.parametrize("name", ["../checks/greeting", "/etc/passwd", "Greeting", "", "x" * 300, "a\\u0000b"])
def test_name_cannot_lead_out_of_the_directories(shelf: Path, name: str) -> None:
    (shelf / "greeting.toml").write_text(GOOD)
    assert (
        "expected http, https, tcp, udp, dns, grpc, sctp, ping, exec, agent or a ready-made check (greeting), got"
        in errors_with(shelf, f'"{name}"')[0]
    )


FLOOR = 'min_interval = "8s"\nmin_interval_reason = "it answers nobody more often"\n'


def interval_with(directory: Path, check: str = '"greeting"', *, defaults: str = "") -> float:
    config = parse(defaults + service(check=check), "c.toml", checks_dirs=[directory])
    (loaded,) = config.services[0].real_servers[0].checks
    return loaded.interval


@pytest.mark.parametrize("defaults", ["", '[defaults.check]\ninterval = "3s"\n'])
def test_interval_that_nobody_wrote_for_this_check_is_raised_to_the_floor(shelf: Path, defaults: str) -> None:
    (shelf / "greeting.toml").write_text(GOOD + FLOOR)
    assert interval_with(shelf, defaults=defaults) == 8
    assert interval_with(shelf, '{ type = "greeting", interval = "8s" }', defaults=defaults) == 8
    assert interval_with(shelf, '{ type = "greeting", interval = "9s" }', defaults=defaults) == 9


def test_interval_above_the_floor_stays(shelf: Path) -> None:
    (shelf / "greeting.toml").write_text(GOOD + FLOOR)
    assert interval_with(shelf, defaults='[defaults.check]\ninterval = "20s"\n') == 20
    (shelf / "greeting.toml").write_text(GOOD + FLOOR + 'interval = "10s"\n')
    assert interval_with(shelf) == 10


def test_udp_check_that_expects_nothing_has_its_own_default_below_the_floor_too(shelf: Path) -> None:
    silent = 'description = "x"\ntype = "udp"\nport = 25\n'
    for least, interval in (("8s", 8), ("4s", 5)):
        (shelf / "greeting.toml").write_text(f'{silent}min_interval = "{least}"\n')
        assert interval_with(shelf) == interval


def test_raised_interval_is_shown(shelf: Path) -> None:
    (shelf / "greeting.toml").write_text(GOOD + FLOOR)
    config = parse(service(check='"greeting"'), "c.toml", checks_dirs=[shelf])
    assert 'interval = "8s"' in to_toml(config)


@pytest.mark.parametrize("reason", [True, False])
def test_shorter_interval_is_an_error_that_names_the_file_the_reason_and_what_to_write(
    shelf: Path, reason: bool
) -> None:
    file = shelf / "greeting.toml"
    file.write_text(GOOD + FLOOR.splitlines(keepends=True)[0] + (FLOOR.splitlines()[1] if reason else ""))
    why = ": it answers nobody more often" if reason else ""
    assert errors_with(shelf, '{ type = "greeting", interval = "1s" }') == [
        (
            f'c.toml:4: service "web": check.interval: 1s is shorter than min_interval = 8s of {file}{why}; '
            'write interval = "8s" or more'
        )
    ]


def test_shorter_interval_of_one_server_is_an_error_too(shelf: Path) -> None:
    (shelf / "greeting.toml").write_text(GOOD + FLOOR)
    server = '[{ address = "198.51.100.11", check = { interval = "1s" } }]'
    with pytest.raises(ConfigError) as caught:
        parse(service(check='"greeting"', servers=server), "c.toml", checks_dirs=[shelf])
    (error,) = caught.value.errors
    assert error.startswith('c.toml:5: service "web": real_server[0].check.interval: 1s is shorter than min_interval')


@pytest.mark.parametrize(
    ("more", "error"),
    [
        (FLOOR + 'interval = "1s"\n', "7: interval: shorter than min_interval = 8s"),
        ('min_interval_reason = "x"\n', "5: min_interval_reason: there is no min_interval that it could explain"),
        ('min_interval = "1ms"\n', '5: min_interval: expected a duration from 50ms to 24h, got "1ms"'),
    ],
)
def test_floor_that_makes_no_sense_is_an_error_of_its_file(shelf: Path, more: str, error: str) -> None:
    file = shelf / "greeting.toml"
    file.write_text(GOOD + more)
    assert [line.partition("; ")[0] for line in errors_with(shelf)] == [f"{file}:{error}"]


def test_floor_is_no_key_of_a_configuration() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(service(check='{ type = "tcp", min_interval = "1s" }'), "c.toml")
    assert "min_interval: unknown key" in caught.value.errors[0]


def test_packaged_floors_are_those_of_servers_that_refuse_faster_clients() -> None:
    shelf = Shelf(readymade.search_path("c.toml"))
    found = {name: check for name in shelf.names() if (check := shelf.find(name)) is not None and check.floor}
    assert {name: check.floor.interval for name, check in found.items() if check.floor} == {"ssh": 2.0, "ntp": 8.0}
    assert all(check.floor.reason for check in found.values() if check.floor)
