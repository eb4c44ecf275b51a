"""Basic and bearer authentication of http checks: what is sent, where secrets come from, and where they never show."""

import base64
import hashlib
from pathlib import Path

import msgspec
import pytest

from lvs_healthd.config.check_model import HttpCheck
from lvs_healthd.config.errors import ConfigError
from lvs_healthd.probes.http import http_exchanges
from lvs_healthd.probes.outcome import Outcome, OutcomeKind
from lvs_healthd.probes.targets import read_secrets, targets
from tests.configs import server, service
from tests.probes.http_talk import check, found
from tests.probes.nginx import nginx

SECRET = "s3cret: with blanks"


def basic(file: Path, **keys: object) -> HttpCheck:
    return check(user="monitor", password_file=str(file), **keys)


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    return file


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_bytes(b"abc.DEF-123\r\n")
    return file


def request_of(check: HttpCheck) -> bytes:
    step = http_exchanges(check)().connected()
    assert isinstance(step, bytes)
    return step


def test_user_and_password_are_sent_without_the_newline_of_the_file(password: Path) -> None:
    expected = base64.b64encode(f"monitor:{SECRET}".encode())
    assert b"\r\nAuthorization: Basic " + expected + b"\r\n\r\n" in request_of(basic(password))


def test_token_is_sent_without_the_newline_of_the_file(token: Path) -> None:
    assert b"\r\nAuthorization: Bearer abc.DEF-123\r\n\r\n" in request_of(check(token_file=str(token)))


def test_check_without_a_secret_sends_no_authorization() -> None:
    assert b"Authorization" not in request_of(check())


def test_changed_secret_is_in_force_with_the_reload_and_not_before(password: Path) -> None:
    services = [service(server("198.51.100.11", checks=(basic(password),)))]
    begin = next(iter(targets(services).values())).begin
    before = begin().connected()
    password.write_text("another")
    put_into_force = read_secrets(services)
    assert begin().connected() == before
    put_into_force()
    after = begin().connected()
    assert isinstance(after, bytes)
    assert base64.b64encode(b"monitor:another") in after


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), ("\n", "it is empty")])
def test_secret_that_went_bad_is_named_and_the_one_read_before_goes_on(
    password: Path, content: str | None, why: str
) -> None:
    services = [service(server("198.51.100.11", checks=(basic(password),)))]
    begin = next(iter(targets(services).values())).begin
    before = begin().connected()
    if content is None:
        password.unlink()
    else:
        password.write_text(content)
    with pytest.raises(ConfigError, match=f"{password}, a secret of http checks, cannot be used: {why}"):
        read_secrets(services)
    assert begin().connected() == before


@pytest.mark.parametrize("body", ["", "fine"])
@pytest.mark.parametrize("echo", [SECRET, "blanks", base64.b64encode(f"monitor:{SECRET}".encode()).decode()])
def test_answer_that_repeats_the_secret_is_quoted_without_it(password: Path, body: str, echo: str) -> None:
    exchange = http_exchanges(basic(password, body=body))()
    head = b"HTTP/1.1 200 OK\r\n\r\n" if body else b"HTTP/1.1 "
    step = exchange.received(head + f"<{echo}>".encode())
    outcome = step if isinstance(step, Outcome) else exchange.closed()
    assert outcome.kind is OutcomeKind.DOWN
    assert echo not in outcome.detail
    assert "(hidden)" in outcome.detail


def test_answer_that_repeats_the_secret_of_before_a_reload_is_quoted_without_it(password: Path) -> None:
    services = [service(server("198.51.100.11", checks=(basic(password, body="fine"),)))]
    begin = next(iter(targets(services).values())).begin
    under_way = begin()
    password.write_text("another-secret")
    read_secrets(services)()
    begin()
    under_way.received(b"HTTP/1.1 200 OK\r\n\r\n<blanks> <another-secret>")
    outcome = under_way.closed()
    assert isinstance(outcome, Outcome)
    assert outcome.detail == 'expected text not in the body: "<(hidden)> <(hidden)>"'


def test_secret_is_not_in_a_check_that_is_shown(password: Path) -> None:
    checked = basic(password)
    http_exchanges(checked)
    assert "s3cret" not in repr(checked) + msgspec.json.encode(checked).decode()


async def test_real_server_takes_the_password_and_refuses_another(tmp_path: Path, password: Path) -> None:
    digest = base64.b64encode(hashlib.sha1(SECRET.encode(), usedforsecurity=False).digest()).decode()
    (tmp_path / "users").write_text(f"monitor:{{SHA}}{digest}\n")
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    locations = f'location / {{ auth_basic "x"; auth_basic_user_file {tmp_path}/users; try_files /nothing =204; }}'
    with nginx(tmp_path, locations) as port:
        right, refused = (basic(file, port=port) for file in (password, wrong))
        assert await found(right, refused) == ["status 204", "status 401, expected 200-299"]
