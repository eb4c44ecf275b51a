"""Fields of a JSON body that an http check compares."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.probes.http import http_exchanges
from lvs_healthd.probes.outcome import Outcome, Reason
from tests.probes.http_talk import PASSED, answer, check, chunked, feed, found, judged, pieces_of
from tests.probes.nginx import nginx

DOCUMENT = (
    b'{"status": "ok", "n": 1, "checks": {"db": {"up": true}}, "nodes": [{"name": "a"}, "b"], "a.b": {"/": null}}'
)


def comparing(*fields: tuple[str, object]) -> str:
    encoded = tuple((path, msgspec.json.encode(value).decode()) for path, value in fields)
    return judged(check(json=encoded), answer(DOCUMENT))


@pytest.mark.parametrize(
    ("path", "value", "detail"),
    [
        ("status", "ok", PASSED),
        ("checks.db.up", True, PASSED),
        ("nodes.0.name", "a", PASSED),
        ("nodes.1", "b", PASSED),
        ("n", 1, PASSED),
        ("n", 1.0, PASSED),
        ("status", "OK", 'JSON field status is "ok", expected "OK"'),
        ("status", True, 'JSON field status is "ok", expected true'),
        ("n", True, "JSON field n is 1, expected true"),
        ("n", "1", 'JSON field n is 1, expected "1"'),
        ("checks.db.up", 1, "JSON field checks.db.up is true, expected 1"),
        ("checks.db.up", "true", 'JSON field checks.db.up is true, expected "true"'),
        ("checks.db.up", False, "JSON field checks.db.up is true, expected false"),
        ("checks.db", "x", 'JSON field checks.db is an object, expected "x"'),
        ("nodes", "x", 'JSON field nodes is an array, expected "x"'),
        ("checks.cache.up", True, "JSON field checks.cache.up is missing, expected true"),
        ("nodes.2", "c", 'JSON field nodes.2 is missing, expected "c"'),
        ("nodes.-1", "b", 'JSON field nodes.-1 is missing, expected "b"'),
        ("nodes.1.name", "b", 'JSON field nodes.1.name is missing, expected "b"'),
        ("/a.b/~1", False, "JSON field /a.b/~1 is null, expected false"),
    ],
)
def test_field_is_compared_with_its_type(path: str, value: object, detail: str) -> None:
    assert comparing((path, value)) == detail


def test_all_fields_must_be_as_expected() -> None:
    assert comparing(("status", "ok"), ("n", 1)) == PASSED
    assert comparing(("status", "ok"), ("n", 2)) == "JSON field n is 1, expected 2"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"<html>", 'the body is not JSON (invalid character (byte 0)): "<html>"'),
        (b"", "the body is not JSON (Input data was truncated): it is empty"),
        (b'{"a": 1', 'the body is not JSON (Input data was truncated): "{"a": 1"'),
        (b'{"a": "\xff"}', "the body is not JSON ('utf-8' codec"),
        (b'{"a": 1} {}', "the body is not JSON (trailing characters (byte 10))"),
        (b"[" * 60_000, "the body is JSON nested too deeply"),
        (b"1" * 60_000, "the body is not JSON (Integer value out of range)"),
        (b"[1]", "JSON field a is missing, expected 1"),
        (b"null", "JSON field a is missing, expected 1"),
    ],
)
def test_body_that_is_no_such_document(body: bytes, detail: str) -> None:
    outcome = feed(check(json=(("a", "1"),)), answer(body))
    assert outcome is not None
    assert outcome.reason is Reason.BAD_ANSWER
    assert outcome.detail.startswith(detail)


def test_byte_order_mark_is_skipped() -> None:
    assert judged(check(json=(("a", "1"),)), answer(b'\xef\xbb\xbf{"a": 1}')) == PASSED


@pytest.mark.parametrize("size", [1, 10, 4096])
def test_document_is_read_when_all_of_it_has_arrived(size: int) -> None:
    whole = chunked(b'{"a": 1, "b": 2}')
    assert feed(check(json=(("a", "1"),)), *pieces_of(whole[:-1], size)) is None
    assert judged(check(json=(("a", "1"),)), *pieces_of(whole, size)) == PASSED


def test_document_ends_with_the_connection_if_it_has_no_length() -> None:
    exchange = http_exchanges(check(json=(("a", "1"),)))()
    assert exchange.received(b'HTTP/1.0 200 OK\r\n\r\n{"a": 1}') is None
    assert exchange.closed().detail == PASSED


@pytest.mark.parametrize("size", [1, 4096])
def test_document_must_fit_into_max_body(size: int) -> None:
    asked = check(json=(("a", "1"),), max_body=8)
    assert judged(asked, *pieces_of(answer(b'{"a": 1}'), size)) == PASSED
    assert judged(asked, *pieces_of(chunked(b'{"a": 1}'), size)) == PASSED
    outcome = feed(asked, *pieces_of(answer(b'{"a": 1} '), size))
    assert outcome is not None
    assert outcome.reason is Reason.TOO_LARGE
    assert outcome.detail == "body longer than 8 bytes; json needs all of it (max_body)"


def test_secret_in_a_field_is_not_quoted() -> None:
    asked = check(json=(("a", '"x"'),), path="/?token=hunter2secret")
    assert judged(asked, answer(b'{"a": "hunter2secret"}')) == 'JSON field a is "(hidden)", expected "x"'


@given(st.binary(max_size=60))
def test_no_body_raises(body: bytes) -> None:
    outcome = feed(check(json=(("a", "1"),)), answer(body))
    assert isinstance(outcome, Outcome)


async def test_document_of_a_real_server(tmp_path: Path) -> None:
    with nginx(tmp_path, 'location / { return 200 \'{"checks": {"db": {"up": false}}}\'; }') as port:
        asked = [check(port=port, json=(("checks.db.up", value),)) for value in ("false", "true")]
        assert await found(*asked) == [PASSED, "JSON field checks.db.up is false, expected true"]
