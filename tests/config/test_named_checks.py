"""`[check.NAME]`: checks that are used by their names, as types."""

from pathlib import Path

import pytest

from lvs_healthd.config.check_model import HttpCheck, TcpCheck
from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.load import parse
from lvs_healthd.config.reuse import LastReading
from tests.config.reading import checks_of, errors_of, read, service

APP = '[check.app]\ntype = "http"\npath = "/app"\ninterval = "4s"\n'


def test_service_uses_a_check_by_its_name() -> None:
    (check,) = checks_of(APP + service(check='"app"'))
    assert isinstance(check, HttpCheck)
    assert (check.name, check.path, check.interval, str(check.host)) == ("app", "/app", 4.0, "192.0.2.100")


def test_keys_beside_the_name_win_and_defaults_do_not() -> None:
    text = '[defaults.check]\ninterval = "9s"\nfall = 7\n' + APP
    (check,) = checks_of(text + service(check='{ type = "app", path = "/other", name = "b" }'))
    assert isinstance(check, HttpCheck)
    assert (check.name, check.path, check.interval, check.fall) == ("b", "/other", 4.0, 7)


def test_real_server_adds_and_changes_it() -> None:
    servers = '["198.51.100.11", { address = "198.51.100.12", check = { type = "app", path = "/c" } }]'
    first, second = read(APP + service(check='["tcp", "app"]', servers=servers)).services[0].real_servers
    assert [type(check) for check in first.checks] == [TcpCheck, HttpCheck]
    assert [getattr(check, "path", "") for check in second.checks] == ["", "/c"]
    servers = '[{ address = "198.51.100.12", check = "app" }]'
    assert [check.name for check in checks_of(APP + service(servers=servers))] == ["tcp", "app"]


def test_fallback_and_defaults_use_it() -> None:
    text = (
        '[defaults.service]\ncheck = "app"\n'
        + APP
        + service('fallback = [{ address = "198.51.100.9", check = "app" }]')
    )
    web = read(text.replace('check = "tcp"\n', "")).services[0]
    assert [check.name for server in web.servers for check in server.checks] == ["app", "app"]


def test_written_out_it_means_the_same() -> None:
    config = read(APP + service(check='"app"'))
    assert parse(to_toml(config), "c.toml").services == config.services


def test_name_of_the_file_beats_that_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "redis.toml").write_text('description = "d"\ntype = "tcp"\nport = 6379\nfall = 5\n')
    text = '[check.redis]\ntype = "redis"\nfall = 2\n' + service(check='"redis"')
    (check,) = parse(text, "c.toml", checks_dirs=[tmp_path]).services[0].real_servers[0].checks
    assert (check.name, check.port, check.fall) == ("redis", 6379, 2)
    text = '[check.redis]\ntype = "http"\n' + service(check='"redis"')
    (check,) = parse(text, "c.toml", checks_dirs=[tmp_path]).services[0].real_servers[0].checks
    assert isinstance(check, HttpCheck)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[check.http]\ntype = "tcp"', 'c.toml:1: check.http: "http" is a type of check; choose another name'),
        ('[check.a]\ntype = "tcp"\nname = "b"', 'c.toml:3: check.a.name: its name is "a" already; leave this out'),
        ("[check.a]\ntype = 5", "c.toml:2: check.a.type: expected a string, got 5"),
        ('[check]\na = "tcp"', 'c.toml:2: check.a: expected a table, got "tcp"'),
        ('check = "tcp"', 'c.toml:1: check: expected [check.NAME] tables, got "tcp"; with its name: [check.login]'),
        (
            '[check.a]\ntype = "tcp"\n[check.b]\ntype = "a"',
            'c.toml:4: check.b.type: "a" is a check of this file itself; write its type here',
        ),
        (
            '[check.a]\ntype = "http"\npath = "x"',
            'c.toml:3: check.a.path: expected a path that starts with "/", got "x"',
        ),
        (
            '[check.a]\ntype = "http"\nquery = "x"',
            "c.toml:3: check.a.query: http checks have no such key; it belongs to dns checks; leave it out",
        ),
    ],
)
def test_wrong_named_check_is_told_at_its_own_place_only(text: str, message: str) -> None:
    assert errors_of(f"{text}\n") == [message]


def test_wrong_named_check_is_told_once_however_many_use_it() -> None:
    text = APP.replace('"/app"', '"app"')
    assert errors_of(
        text + service(check='"app"') + service(check='"app"').replace("80", "81").replace("web", "b")
    ) == [
        'c.toml:3: check.app.path: expected a path that starts with "/", got "app"',
    ]


def test_missing_type_lists_the_types() -> None:
    (error,) = errors_of('[check.a]\npath = "/"\n')
    assert error.startswith("c.toml:1: check.a: type is missing: http, https, tcp,")


def test_unknown_name_lists_the_near_ones() -> None:
    text = APP + APP.replace("check.app", "check.app-2") + service(check='"ap"')
    (error,) = errors_of(text)
    assert error.startswith('c.toml:12: service "web": check: expected http, https, tcp, ')
    assert (
        ', a [check.NAME] (app, app-2) or a ready-made check (see: lvs-healthd checks), got "ap"; did you mean '
        in error
    )
    assert '"app"' in error.partition("did you mean")[2]


def test_reload_sees_a_changed_check_and_a_changed_ready_made_check_behind_it(tmp_path: Path) -> None:
    memory = LastReading()
    file = tmp_path / "greets.toml"

    def fall(text: str) -> tuple[int, float]:
        found = parse(text, "c.toml", checks_dirs=[tmp_path], memory=memory)
        assert found == parse(text, "c.toml", checks_dirs=[tmp_path])
        (check,) = found.services[0].real_servers[0].checks
        return check.fall, check.interval

    ready_made = 'description = "d"\ntype = "tcp"\ninterval = "3s"\n'
    file.write_text(ready_made)
    text = '[check.app]\ntype = "greets"\nfall = 4\n' + service(check='"app"')
    assert fall(text) == (4, 3.0)
    assert fall(text.replace("fall = 4", "fall = 5")) == (5, 3.0)
    file.write_text(ready_made.replace("3s", "6s"))
    assert fall(text) == (4, 6.0)
    file.unlink()
    with pytest.raises(ConfigError, match="greets"):
        fall(text)
