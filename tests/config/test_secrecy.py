"""What counts as a secret, and what is left of it where it is shown."""

import pytest

from lvs_healthd.config.secrecy import (
    is_secret_command,
    is_secret_hex,
    parts_of_command,
    parts_of_request,
    request_without_secrets,
    without_secrets,
)


@pytest.mark.parametrize(
    "sent",
    [
        b"AUTH hunter2\r\nPING\r\n",
        b"*2\r\n$4\r\nauth\r\n$7\r\nhunter2\r\n",
        b"HELLO 3 AUTH default hunter2\r\n",
        b"USER x\r\nPASS hunter2\r\n",
        b"a1 LOGIN x hunter2\r\n",
        b"OPTIONS sip:x SIP/2.0\r\nProxy-Authorization: Basic aHVudGVyMg==\r\n\r\n",
        b"\xff\x00token=hunter2",
    ],
)
def test_bytes_with_a_word_for_a_secret(sent: bytes) -> None:
    assert is_secret_command(sent)
    assert is_secret_hex(sent.hex(" "))
    assert is_secret_hex(sent.hex() + "zz")
    assert not any(part in b"auth AUTH PASS LOGIN" for part in parts_of_command(sent))


@pytest.mark.parametrize(
    "sent", [b"PING\r\nQUIT\r\n", b"ruok", b"EHLO x\r\nQUIT\r\n", b"OPTIONS sip:passenger@x SIP/2.0\r\n", b""]
)
def test_bytes_without_one(sent: bytes) -> None:
    assert not is_secret_command(sent)
    assert not is_secret_hex(sent.hex())
    assert parts_of_command(sent) == ()


def test_parameters_of_a_query_are_hidden_one_by_one() -> None:
    assert without_secrets("/a?x=1&api_key=k&y=2") == "/a?x=1&api_key=(hidden)&y=2"
    assert without_secrets("/a?token=t;session_token=u&z") == "/a?token=(hidden);session_token=(hidden)&z"
    assert without_secrets("/token=x/auth?author") == "/token=x/auth?author"


def test_request_is_shown_without_secrets_of_any_length() -> None:
    request = b"GET /?a=b&token=t HTTP/1.1\r\nHost: x:80\r\nAuthorization: Bearer u\r\nX-Key-Token: v\r\n\r\npassword=w"
    shown = (
        b"GET /?a=b&token=(hidden) HTTP/1.1\r\nHost: x:80\r\nAuthorization: (hidden)\r\nX-Key-Token: (hidden)\r\n\r\n"
    )
    shown += b"(hidden)"
    assert request_without_secrets(request) == shown
    proxied = b"PROXY UNKNOWN\r\n"
    assert request_without_secrets(proxied + request) == proxied + shown
    plain = b"POST / HTTP/1.1\r\nHost: x\r\n\r\nhello: there"
    assert request_without_secrets(plain) == plain


def test_parts_of_secrets_are_those_that_an_answer_could_repeat() -> None:
    assert parts_of_command(b"AUTH me hunter2\r\n") == (b"hunter2",)
    headers = (("Accept", "text/plain"), ("Authorization", "Bearer abcdef"), ("X-Api-Key", "kkk"))
    assert set(parts_of_request("/x?token=ttttt&y=zzz", headers)) == {b"Bearer", b"abcdef", b"ttttt", b"kkk"}
