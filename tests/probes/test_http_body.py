"""Conditions on the body of an answer to an http check."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config.basics import Seconds
from lvs_healthd.probes.http import http_exchanges
from lvs_healthd.probes.outcome import OutcomeKind, Reason
from tests.probes.http_talk import PASSED, answer, check, chunked, feed, found, judged, pieces_of
from tests.probes.nginx import nginx


def test_unwanted_text_is_down_as_soon_as_it_arrives() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    outcome = feed(check(absent="Fatal error"), head, b"<h1>Fatal ", b"error</h1>")
    assert outcome is not None
    assert (outcome.reason, outcome.detail) == (Reason.BAD_ANSWER, 'unwanted text in the body: "Fatal error"')


@pytest.mark.parametrize("keys", [{"absent": "Fatal"}, {"absent_regex": "Fatal$"}])
@pytest.mark.parametrize("wrap", [answer, chunked])
def test_nothing_is_absent_before_the_whole_body_has_arrived(
    keys: dict[str, str], wrap: Callable[[bytes], bytes]
) -> None:
    whole = wrap(b"all is well, and more")
    assert feed(check(**keys), whole[:-1]) is None
    assert judged(check(**keys), whole) == PASSED


def test_expected_text_does_not_pass_before_the_end_if_another_must_be_absent() -> None:
    both = check(body="READY", absent="ERROR")
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"
    assert feed(both, head, b"READY ") is None
    assert judged(both, head, b"READY ", b"ERROR.") == 'unwanted text in the body: "ERROR"'
    assert judged(both, head, b"READY ", b"at all") == PASSED
    assert judged(both, head, b"STEADY", b"at all") == 'expected text not in the body: "STEADYat all"'


def test_absent_regex_is_matched_against_the_whole_body_and_not_against_a_part() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    assert judged(check(absent_regex="bad$"), head, b"not bad", b"ly") == PASSED
    assert judged(check(absent_regex="bad$"), head, b"it is", b" bad") == (
        'match of absent_regex in the body: "it is bad"'
    )


@pytest.mark.parametrize("keys", [{"absent": "late"}, {"absent_regex": "late"}])
def test_only_max_body_bytes_are_examined(keys: dict[str, str]) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    assert feed(check(max_body=8, **keys), head, b"1234567") is None
    assert judged(check(max_body=8, **keys), head, b"12345678late") == PASSED
    assert judged(check(max_body=12, **keys), head, b"12345678late") != PASSED


def test_body_that_breaks_off_does_not_pass() -> None:
    exchange = http_exchanges(check(absent="bad"))()
    assert exchange.received(answer(b"good page")[:-1]) is None
    assert exchange.closed().detail == "connection closed within the body, after 8 bytes"


def test_text_is_absent_from_a_body_that_ends_with_the_connection_at_its_end() -> None:
    exchange = http_exchanges(check(absent="bad"))()
    assert exchange.received(b"HTTP/1.0 200 OK\r\n\r\ngood page") is None
    assert exchange.closed().detail == PASSED


def test_answer_without_a_body_contains_nothing_unwanted() -> None:
    assert judged(check(absent="bad"), b"HTTP/1.1 204 No\r\n\r\n") == "status 204, body as expected"


def test_secret_in_a_page_is_not_quoted() -> None:
    asked = check(path="/?token=hunter2secret", absent_regex="bad")
    assert judged(asked, answer(b"bad token: hunter2secret")) == (
        'match of absent_regex in the body: "bad token: (hidden)"'
    )


def test_secret_in_what_was_sent_is_not_quoted() -> None:
    asked = check(method="POST", send_body='{"user": "me", "password": "hunter2secret"}', body="welcome")
    assert judged(asked, answer(b"bad: hunter2secret")) == 'expected text not in the body: "bad: (hidden)"'


@given(st.binary(max_size=40), st.integers(1, 50))
def test_absence_does_not_depend_on_the_pieces(body: bytes, size: int) -> None:
    asked = check(absent="a")
    outcome = feed(asked, *pieces_of(chunked(body), size))
    assert outcome is not None
    assert (outcome.kind is OutcomeKind.UP) is (b"a" not in body)


SHA256 = "sha256:2689367b205c16ce32ed4200942b8b8b1e262dfc70d9bc9fbc77c49699a4f1df"
MD5 = "md5:444bcb3a3fcf8389296c49467f27e1d6"
"""The digests of `ok`, as sha256sum and md5sum print them."""


@pytest.mark.parametrize("digest", [SHA256, MD5])
@pytest.mark.parametrize("wrap", [answer, chunked])
@pytest.mark.parametrize("size", [1, 4096])
def test_digest_of_the_whole_body(digest: str, wrap: Callable[[bytes], bytes], size: int) -> None:
    assert judged(check(digest=digest), *pieces_of(wrap(b"ok"), size)) == PASSED
    assert feed(check(digest=digest), *pieces_of(wrap(b"ok")[:-1], size)) is None
    kind = digest.partition(":")[0]
    assert judged(check(digest=digest), wrap(b"OK")).startswith(f"the body has another digest: {kind}:")


def test_other_digest_is_shown_so_that_it_can_be_copied() -> None:
    assert judged(check(digest=MD5.replace("4", "5")), answer(b"ok")) == f"the body has another digest: {MD5}"


def test_digest_needs_all_of_the_body() -> None:
    assert judged(check(digest=MD5, max_body=2), answer(b"ok")) == PASSED
    assert judged(check(digest=MD5, max_body=2), answer(b"ok.")) == (
        "body longer than 2 bytes; digest needs all of it (max_body)"
    )
    exchange = http_exchanges(check(digest=MD5))()
    assert exchange.received(b"HTTP/1.0 200 OK\r\n\r\nok") is None
    assert exchange.closed().detail == PASSED


def test_digest_beside_other_conditions() -> None:
    assert judged(check(digest=MD5, body="ok", absent="bad"), answer(b"ok")) == PASSED
    assert judged(check(digest=MD5, body="no"), answer(b"ok")).startswith("expected text not in the body")
    assert judged(check(digest=MD5, absent="k"), answer(b"ok")).startswith("unwanted text")


async def test_digest_on_a_real_server(tmp_path: Path) -> None:
    with nginx(tmp_path, "location = /ok { return 200 ok; } location / { return 200 other; }") as port:
        right, wrong = (check(port=port, path=path, digest=SHA256) for path in ("/ok", "/"))
        passed, other = await found(right, wrong)
    assert passed == PASSED
    assert other == "the body has another digest: sha256:" + hashlib.sha256(b"other").hexdigest()


async def test_body_reaches_a_real_server(tmp_path: Path) -> None:
    """nginx passes a request on only when all of its body has arrived."""
    behind = f"server {{ listen unix:{tmp_path}/behind; location / {{ return 200 $request_method$content_length; }} }}"
    in_front = f"location / {{ proxy_pass http://unix:{tmp_path}/behind:/; }}"
    with nginx(tmp_path, in_front, http=behind) as port:
        sent = check(port=port, method="POST", send_body="für " * 20_000, body="POST100000", timeout=Seconds(10.0))
        assert await found(sent) == [PASSED]


async def test_absence_on_a_real_server(tmp_path: Path) -> None:
    with nginx(tmp_path, 'location / { return 200 "maintenance\\n"; }') as port:
        wanted, absent = check(port=port, absent="error"), check(port=port, absent_regex="(?i)MAINT")
        assert await found(wanted, absent) == [PASSED, 'match of absent_regex in the body: "maintenance\\x0a"']


async def test_version_on_a_real_server(tmp_path: Path) -> None:
    with nginx(tmp_path, "location / { return 200 $server_protocol-$host; }") as port:
        old = check(port=port, http_version="1.0", body_regex=r"\AHTTP/1\.0-web\.example\z")
        new = check(port=port, body_regex=r"\AHTTP/1\.1-web\.example\z")
        assert await found(old, new) == [PASSED, PASSED]
