"""Keys that name files with secrets: what the files must hold, and what is said when they do not."""

from pathlib import Path

import pytest

from lvs_healthd.config.check_model import HttpCheck
from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.load import parse
from lvs_healthd.config.reuse import LastReading
from tests.config.reading import checks_of, errors_of, read, service


def written(keys: str, kind: str = "http") -> str:
    return service(check=f'{{ type = "{kind}", {keys} }}')


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("hunter2secret\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("kind", ["http", "https"])
def test_files_are_read_and_only_their_paths_are_kept(file: Path, kind: str) -> None:
    [check] = checks_of(written(f'user = "monitor", password_file = "{file}"', kind))
    assert isinstance(check, HttpCheck)
    assert (check.user, check.password_file, check.token_file) == ("monitor", str(file), "")
    config = read(written(f'token_file = "{file}"', kind))
    assert config.remarks == ()
    assert f'token_file = "{file}"' in to_toml(config)
    assert "hunter2" not in to_toml(config)


@pytest.mark.parametrize(
    ("content", "key", "why"),
    [
        (None, "token_file", "No such file or directory"),
        (b"", "token_file", "it is empty"),
        (b"\r\n", "password_file", "it is empty"),
        (b"hunter2\nsecret\n", "password_file", "a password is one line without control characters"),
        (b"hunter2 secret", "token_file", "a token is one line of ASCII characters without blanks"),
        ("hünter2".encode(), "token_file", "a token is one line of ASCII characters without blanks"),
        (b"hunter2\xff", "password_file", "it is not UTF-8 text"),
        (b"hunter2" * 2000, "token_file", "it is larger than 8192 bytes"),
    ],
)
def test_file_that_holds_no_secret_is_named_and_never_shown(
    file: Path, content: bytes | None, key: str, why: str
) -> None:
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    user = 'user = "monitor", ' if key == "password_file" else ""
    [error] = errors_of(written(f'{user}{key} = "{file}"'))
    assert error == f'c.toml:4: service "web": check.{key}: cannot use {file}: {why}'
    assert "hunter2" not in error


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('user = "monitor"', "user: without a password it does nothing; add password_file"),
        (
            'password_file = "FILE"',
            "password_file: a password needs a user; add user, or use token_file for a bearer token",
        ),
        (
            'user = "monitor", token_file = "FILE"',
            'user: a bearer token has no user: leave out token_file, or write user = ""',
        ),
        (
            'user = "monitor", password_file = "FILE", token_file = "FILE"',
            "token_file: password_file and token_file exclude each other; keep one of them",
        ),
        (
            'token_file = "FILE", headers = { authorization = "Basic eA==" }',
            'headers: "authorization" is already sent because of token_file; keep one of them',
        ),
        ('user = "a:b"', 'user: expected a user name without colons and control characters, got "a:b"'),
        ('token_file = "secret"', 'token_file: expected an absolute path, got "secret"'),
    ],
)
def test_combination_that_makes_no_sense(file: Path, keys: str, message: str) -> None:
    errors = errors_of(written(keys.replace("FILE", str(file))))
    assert f'c.toml:4: service "web": check.{message}' in errors


def test_token_replaces_an_inherited_password_and_the_other_way_round(file: Path) -> None:
    defaults = f'[defaults.check]\nuser = "monitor"\npassword_file = "{file}"\n'
    [check] = checks_of(defaults + written(f'token_file = "{file}", user = ""'))
    assert isinstance(check, HttpCheck)
    assert (check.user, check.password_file, check.token_file) == ("", "", str(file))
    [plain] = checks_of(defaults + written('user = "", password_file = ""'))
    assert isinstance(plain, HttpCheck)
    assert (plain.user, plain.password_file) == ("", "")


def test_file_that_everybody_can_read_is_a_remark_until_it_is_not(file: Path) -> None:
    """Even while the service is not read again, because its text is the same."""
    text = "\n" + written(f'token_file = "{file}"')
    memory = LastReading()
    assert parse(text, "c.toml", memory=memory).remarks == ()
    file.chmod(0o604)
    (remark,) = parse(text, "c.toml", memory=memory).remarks
    assert remark == (
        f'c.toml:5: service "web": check.token_file: everybody on this host can read this secret: chmod o-r {file}'
    )
    file.chmod(0o600)
    assert parse(text, "c.toml", memory=memory).remarks == ()


def test_remark_on_a_file_of_a_ready_made_check(file: Path, tmp_path: Path) -> None:
    file.chmod(0o644)
    ready = tmp_path / "mine.toml"
    ready.write_text(f'description = "x"\ntype = "http"\ntoken_file = "{file}"\n')
    (remark,) = parse(service(check='"mine"'), "c.toml", checks_dirs=[tmp_path]).remarks
    assert remark == f"{ready}:3: token_file: everybody on this host can read this secret: chmod o-r {file}"
