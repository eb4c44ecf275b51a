"""Conditions on the body of an answer to an http check."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config.model import HttpCheck
from lvs_healthd.probes.http import http_exchanges
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason
from lvs_healthd.probing.once import run_once
from tests.probes.nginx import nginx

PASSED = "status 200, body as expected"


def check(**keys: object) -> HttpCheck:
    fields = {"name": "http", "address": "127.0.0.1", "port": 80, "host": "web.example", **keys}
    return HttpCheck(**fields)  # type: ignore[arg-type]


def answer(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(body: bytes, size: int = 5) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def feed(asked: HttpCheck, *pieces: bytes) -> Outcome | None:
    """Return the outcome of a conversation in which these pieces arrive, as far as it is known before the end."""
    exchange = http_exchanges(asked)()
    exchange.connected()
    for piece in pieces:
        step = exchange.received(piece)
        if step is not None:
            assert isinstance(step, Outcome)
            return step
    return None


def judged(asked: HttpCheck, *pieces: bytes) -> str:
    outcome = feed(asked, *pieces)
    assert outcome is not None
    return outcome.detail


def pieces_of(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


async def found(*checks: HttpCheck) -> list[str]:
    """Run each check once, and return what was found."""
    distinct = [msgspec.structs.replace(each, interval=float(number)) for number, each in enumerate(checks)]
    return [each.outcome.detail for each in (await run_once(distinct)).values()]


class TestAbsent:
    def test_text_is_down_as_soon_as_it_arrives(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        outcome = feed(check(absent="Fatal error"), head, b"<h1>Fatal ", b"error</h1>")
        assert outcome is not None
        assert (outcome.reason, outcome.detail) == (Reason.BAD_ANSWER, 'unwanted text in the body: "Fatal error"')

    @pytest.mark.parametrize("keys", [{"absent": "Fatal"}, {"absent_regex": "Fatal$"}])
    @pytest.mark.parametrize("wrap", [answer, chunked])
    def test_nothing_passes_before_the_whole_body_has_arrived(
        self, keys: dict[str, str], wrap: Callable[[bytes], bytes]
    ) -> None:
        whole = wrap(b"all is well, and more")
        assert feed(check(**keys), whole[:-1]) is None
        assert judged(check(**keys), whole) == PASSED

    def test_expected_text_alone_does_not_pass_before_the_end_either(self) -> None:
        both = check(body="READY", absent="ERROR")
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"
        assert feed(both, head, b"READY ") is None
        assert judged(both, head, b"READY ", b"ERROR.") == 'unwanted text in the body: "ERROR"'
        assert judged(both, head, b"READY ", b"at all") == PASSED
        assert judged(both, head, b"STEADY", b"at all") == 'expected text not in the body: "STEADYat all"'

    def test_regex_is_matched_against_the_whole_body_and_not_against_a_part(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
        assert judged(check(absent_regex="bad$"), head, b"not bad", b"ly") == PASSED
        assert judged(check(absent_regex="bad$"), head, b"it is", b" bad") == (
            'match of absent_regex in the body: "it is bad"'
        )

    @pytest.mark.parametrize("keys", [{"absent": "late"}, {"absent_regex": "late"}])
    def test_only_max_body_bytes_are_examined(self, keys: dict[str, str]) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        assert feed(check(max_body=8, **keys), head, b"1234567") is None
        assert judged(check(max_body=8, **keys), head, b"12345678late") == PASSED
        assert judged(check(max_body=12, **keys), head, b"12345678late") != PASSED

    def test_body_that_breaks_off_does_not_pass(self) -> None:
        exchange = http_exchanges(check(absent="bad"))()
        assert exchange.received(answer(b"good page")[:-1]) is None
        assert exchange.closed().detail == "connection closed within the body, after 8 bytes"

    def test_body_that_ends_with_the_connection_passes_at_its_end(self) -> None:
        exchange = http_exchanges(check(absent="bad"))()
        assert exchange.received(b"HTTP/1.0 200 OK\r\n\r\ngood page") is None
        assert exchange.closed().detail == PASSED

    def test_answer_without_a_body_contains_nothing_unwanted(self) -> None:
        assert judged(check(absent="bad"), b"HTTP/1.1 204 No\r\n\r\n") == "status 204, body as expected"

    def test_secret_in_a_page_is_not_quoted(self) -> None:
        asked = check(path="/?token=hunter2secret", absent_regex="bad")
        assert judged(asked, answer(b"bad token: hunter2secret")) == (
            'match of absent_regex in the body: "bad token: (hidden)"'
        )

    @given(st.binary(max_size=40), st.integers(1, 50))
    def test_pieces_make_no_difference(self, body: bytes, size: int) -> None:
        asked = check(absent="a")
        outcome = feed(asked, *pieces_of(chunked(body), size))
        assert outcome is not None
        assert (outcome.kind is OutcomeKind.UP) is (b"a" not in body)

    async def test_real_server(self, tmp_path: Path) -> None:
        with nginx(tmp_path, 'location / { return 200 "maintenance\\n"; }') as port:
            wanted, absent = check(port=port, absent="error"), check(port=port, absent_regex="(?i)MAINT")
            assert await found(wanted, absent) == [PASSED, 'match of absent_regex in the body: "maintenance\\x0a"']
