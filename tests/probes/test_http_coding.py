"""Compressed bodies of answers to http checks."""

import functools
import gzip
import hashlib
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.probes.http import http_exchanges
from lvs_healthd.probes.http_coding import MOST_DECODED
from lvs_healthd.probes.outcome import Outcome, Reason
from tests.probes.http_talk import PASSED, answer, check, chunked, feed, found, judged, pieces_of
from tests.probes.nginx import nginx

GZIP = "Content-Encoding: gzip"
MD5 = "md5:" + 32 * "0"
PAGE = b"all is READY now"


def chunked_gzip(body: bytes) -> bytes:
    return chunked(body).replace(b"\r\n", f"\r\n{GZIP}\r\n".encode(), 1)


@pytest.mark.parametrize(
    "whole",
    [
        answer(gzip.compress(PAGE, mtime=0), GZIP),
        answer(gzip.compress(PAGE, mtime=0), "CONTENT-encoding:  X-GZip "),
        answer(gzip.compress(PAGE, mtime=0), "Content-Encoding: identity", GZIP),
        answer(zlib.compress(PAGE), "Content-Encoding: deflate"),
        answer(PAGE, "Content-Encoding: identity"),
        answer(PAGE, "Content-Encoding:"),
        answer(gzip.compress(PAGE, mtime=0) + b"ignored", GZIP),
        chunked_gzip(gzip.compress(PAGE, mtime=0)),
    ],
)
@pytest.mark.parametrize(
    "keys", [{"body": "READY"}, {"body_regex": "^all.*now$"}, {"absent": "BUSY"}, {"body": "now", "absent": "BUSY"}]
)
@pytest.mark.parametrize("size", [1, 4096])
def test_body_is_decoded_before_it_is_examined(whole: bytes, keys: dict[str, str], size: int) -> None:
    assert judged(check(**keys), *pieces_of(whole, size)) == PASSED


def test_what_the_body_lacks_is_said_of_the_decoded_body() -> None:
    assert judged(check(body="BUSY"), answer(gzip.compress(PAGE, mtime=0), GZIP)) == (
        'expected text not in the body: "all is READY now"'
    )


def test_status_alone_is_judged_without_the_body() -> None:
    assert judged(check(), answer(b"no gzip", GZIP)) == "status 200"


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "gzip, br"])
def test_other_encodings_are_named(coding: str) -> None:
    assert judged(check(body="x"), answer(b"...", f"Content-Encoding: {coding}")) == (
        f'the body has Content-Encoding "{coding}", which a check cannot read; '
        'ask for another: headers = { Accept-Encoding = "gzip" }'
    )


@pytest.mark.parametrize("body", [b"", b"x", b"\x1f", b"<html>", b"\x78\x79"])
@pytest.mark.parametrize("size", [1, 4096])
def test_body_that_is_not_compressed_after_all_is_examined_as_it_is(body: bytes, size: int) -> None:
    digest = f"md5:{hashlib.md5(body, usedforsecurity=False).hexdigest()}"
    assert judged(check(digest=digest), *pieces_of(answer(body, GZIP), size)) == PASSED
    exchange = http_exchanges(check(digest=digest))()
    assert exchange.received(f"HTTP/1.0 200 OK\r\n{GZIP}\r\n\r\n".encode() + body) is None
    assert exchange.closed().detail == PASSED


def test_deflate_without_the_beginning_of_zlib_is_not_taken_for_a_plain_body() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    raw = packer.compress(PAGE) + packer.flush()
    outcome = feed(check(absent="READY"), answer(raw, "Content-Encoding: deflate"))
    assert outcome is not None
    assert outcome.reason is Reason.PROTOCOL_ERROR


def test_damaged_data_is_quoted_without_secrets() -> None:
    asked = check(body="x", path="/?token=hunter2secret")
    outcome = feed(asked, answer(b"\x1f\x8bhunter2secret", GZIP))
    assert outcome is not None
    assert outcome.reason is Reason.PROTOCOL_ERROR
    assert outcome.detail == (
        'broken HTTP body: not compressed as Content-Encoding says (unknown compression method): "\\x1f\\x8b(hidden)"'
    )


@pytest.mark.parametrize("keys", [{"body": "later"}, {"body_regex": "x"}, {"absent": "x"}, {"digest": MD5}])
def test_compressed_data_that_breaks_off_does_not_pass(keys: dict[str, str]) -> None:
    cut = gzip.compress(PAGE, mtime=0)[:-4]
    outcome = feed(check(**keys), answer(cut, GZIP))
    assert outcome is not None
    assert (outcome.reason, outcome.detail) == (
        Reason.CLOSED_EARLY,
        "compressed body breaks off, after 16 decoded bytes",
    )
    exchange = http_exchanges(check(**keys))()
    assert exchange.received(f"HTTP/1.0 200 OK\r\n{GZIP}\r\n\r\n".encode() + cut) is None
    assert exchange.closed().detail == "connection closed within the body, after 16 bytes"


def test_compressed_data_ends_before_the_connection_does() -> None:
    head = f"HTTP/1.0 200 OK\r\n{GZIP}\r\n\r\n".encode()
    assert judged(check(absent="x"), head + gzip.compress(PAGE, mtime=0)) == PASSED


@pytest.mark.parametrize(
    ("head", "coding"),
    [
        ("HTTP/1.1 204 No", "gzip"),
        ("HTTP/1.1 204 No", "br"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0", "gzip"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0", "deflate"),
    ],
)
def test_no_body_at_all_needs_no_decoding(head: str, coding: str) -> None:
    whole = f"{head}\r\nContent-Encoding: {coding}\r\n\r\n".encode()
    assert judged(check(absent="x"), whole).endswith(", body as expected")


def test_max_body_counts_decoded_bytes() -> None:
    whole = answer(gzip.compress(b"1234567READY", mtime=0), GZIP)
    assert judged(check(body="READY", max_body=12), whole) == PASSED
    assert judged(check(body="READY", max_body=11), whole).startswith('expected text not in the first 11 bytes: "1234')
    assert judged(check(json=(("a", "1"),), max_body=11), whole).startswith("body longer than 11 bytes")


@functools.cache
def very_much() -> bytes:
    """Return what decodes to 128 MiB of zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(128)) + packer.flush()


@pytest.mark.parametrize("keys", [{"body": "x"}, {"absent": "x"}, {"digest": MD5}, {"body_regex": "x"}])
@pytest.mark.parametrize("max_body", [65536, 16 * 1024 * 1024])
def test_small_answer_that_decodes_to_very_much_takes_little_memory(keys: dict[str, str], max_body: int) -> None:
    whole = answer(very_much(), GZIP)
    tracemalloc.start()
    try:
        outcome = feed(check(max_body=max_body, **keys), *pieces_of(whole, 65536))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert outcome is not None
    assert peak < 4 * min(max_body, MOST_DECODED) + 1_000_000


@given(st.binary(max_size=80))
def test_no_compressed_data_raises(data: bytes) -> None:
    assert isinstance(feed(check(absent="x"), answer(data, GZIP)), Outcome)


async def test_real_server_that_compresses_without_being_asked(tmp_path: Path) -> None:
    (tmp_path / "page.gz").write_bytes(gzip.compress(PAGE, mtime=0))
    with nginx(tmp_path, f"location / {{ root {tmp_path}; gzip_static always; }}") as port:
        wanted, unwanted = (check(port=port, path="/page", **{key: "READY"}) for key in ("body", "absent"))
        assert await found(wanted, unwanted) == [PASSED, 'unwanted text in the body: "READY"']
