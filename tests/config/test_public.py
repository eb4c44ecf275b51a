"""A file with a secret that everybody may read gets a remark."""

from pathlib import Path

import pytest

from lvs_healthd.config.load import load
from lvs_healthd.config.reuse import LastReading
from tests.config.reading import errors_of, service

SECRET = '{ type = "http", headers = { Accept = "*/*", Authorization = "Bearer x", Cookie = "y" } }'


def remarks(file: Path, mode: int, memory: LastReading | None = None) -> tuple[str, ...]:
    file.chmod(mode)
    return load(file, memory).remarks


def test_file_with_a_secret_that_everybody_may_read(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(service(check=SECRET))
    memory = LastReading()
    assert remarks(file, 0o640, memory) == ()
    place = f'{file}:4: service "web": check.headers.Authorization'
    public = (f"{place}: everybody on this host can read this secret: chmod o-r {file}",)
    assert remarks(file, 0o644) == public
    assert remarks(file, 0o644, memory) == public  # though no service has changed


@pytest.mark.parametrize("name", ["authorization", "Proxy-Authorization", "COOKIE", "X-Api-Key", "X-Auth-Token"])
def test_headers_that_are_secrets(tmp_path: Path, name: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[defaults.check]\nheaders = {{ {name} = "x" }}\n' + service())
    (remark,) = remarks(file, 0o604)
    assert remark.startswith(f"{file}:2: defaults.check.headers.{name}: everybody")


@pytest.mark.parametrize(
    ("key", "check"),
    [
        ("send", '{ type = "tcp", send = "AUTH x\\r\\n" }'),
        ("send_hex", f'{{ type = "tcp", send_hex = "{b"AUTH x".hex()}" }}'),
        ("path", '{ type = "http", path = "/?token=x" }'),
        ("send_body", '{ type = "http", method = "POST", send_body = "password=x" }'),
    ],
)
def test_secrets_outside_of_headers(tmp_path: Path, key: str, check: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(service(check=check))
    assert remarks(file, 0o640) == ()
    (remark,) = remarks(file, 0o644)
    assert remark.startswith(f'{file}:4: service "web": check.{key}: everybody')


def test_wrong_values_with_secrets_are_not_shown() -> None:
    for check in (
        f'{{ type = "tcp", send_hex = "{b"AUTH hunter2".hex()}zz" }}',
        '{ type = "http", path = "/?token=hunter2#x" }',
        '{ type = "http", path = "/?token=hunter2&a b" }',
        '{ type = "http", path = "x?token=hunter2" }',
    ):
        (error,) = errors_of(service(check=check))
        assert "hunter2" not in error
        assert b"hunter2".hex() not in error
        assert "(hidden)" in error


def test_other_headers_are_none(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(service(check='{ type = "http", headers = { Accept = "*/*", Authorization = "" } }'))
    assert remarks(file, 0o644) == ()


def test_ready_made_check_with_a_secret(tmp_path: Path) -> None:
    (tmp_path / "checks").mkdir()
    check = tmp_path / "checks" / "api.toml"
    check.write_text('description = "asks"\ntype = "http"\nheaders = { Authorization = "x" }\n')
    file = tmp_path / "config.toml"
    file.write_text(service(check='"api"'))
    memory = LastReading()
    check.chmod(0o600)
    assert remarks(file, 0o644, memory) == ()
    check.chmod(0o644)
    remark = f"{check}:3: headers.Authorization: everybody on this host can read this secret: chmod o-r {check}"
    assert remarks(file, 0o644, memory) == (remark,)
    file.write_text(service())
    assert remarks(file, 0o644, memory) == ()  # nobody uses it any more


def test_secret_with_a_wrong_value_is_not_shown() -> None:
    (error,) = errors_of(service(check='{ type = "http", headers = { Authorization = "Bearer hünter2" } }'))
    assert error.endswith('headers.Authorization: expected printable ASCII characters on one line, got "(hidden)"')
