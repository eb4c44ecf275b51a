"""Conditions on the headers of an answer to an http check."""

from pathlib import Path

import pytest

from lvs_healthd.probes.outcome import Reason
from tests.probes.http_talk import PASSED, answer, check, feed, found, judged, pieces_of
from tests.probes.nginx import nginx

READY = (("X-Ready", "yes"),)


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        ("x-ready: yes", "status 200"),
        ("X-READY:yes  ", "status 200"),
        ("X-Ready: no\r\nX-Ready: yes", "status 200"),
        ("X-Ready: Yes", 'header X-Ready is "Yes", expected "yes"'),
        ("X-Ready: yes, no", 'header X-Ready is "yes, no", expected "yes"'),
        ("X-Ready: no\r\nX-Ready: never", 'header X-Ready is "no", "never", expected "yes"'),
        ("\r\n".join(["X-Ready: no"] * 5), 'header X-Ready is "no", "no", "no" and 2 more, expected "yes"'),
        ("X-Ready:", 'header X-Ready is "", expected "yes"'),
        ("X-Ready-Not: yes", 'header X-Ready is missing, expected "yes"'),
        ("X-Other: X-Ready: yes", 'header X-Ready is missing, expected "yes"'),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_header_must_have_the_value(header: str, detail: str, size: int) -> None:
    assert judged(check(expect_headers=READY), *pieces_of(answer(b"", header), size)) == detail


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        ("X-Ready: yes", "status 200"),
        ("X-Ready: 2.10", 'header X-Ready is "2.10", expected a match of expect_headers_regex'),
        ("X-Ready: maybe\r\nX-Ready: yes", "status 200"),
        ("X-Other: yes", "header X-Ready is missing, expected a match of expect_headers_regex"),
    ],
)
def test_expression_must_match_in_the_value(header: str, detail: str) -> None:
    asked = check(expect_headers_regex=(("x-ready".title(), "^y"),))
    assert judged(asked, answer(b"", header)) == detail


def test_empty_expression_only_wants_the_header_to_be_there() -> None:
    asked = check(expect_headers_regex=(("X-Ready", ""),))
    assert judged(asked, answer(b"", "X-Ready:")) == "status 200"
    assert judged(asked, answer(b"")).startswith("header X-Ready is missing")


@pytest.mark.parametrize("key", ["expect_headers", "expect_headers_regex"])
@pytest.mark.parametrize(
    ("before", "detail"), [(99, "status 200"), (100, 'header X-Ready is "no", "no", "no" and 97 more')]
)
def test_only_the_first_hundred_values_of_a_header_are_examined(key: str, before: int, detail: str) -> None:
    headers = ["X-Ready: no"] * before + ["X-Ready: yes"]
    assert judged(check(**{key: READY}), answer(b"", *headers)).startswith(detail)


def test_folded_value_is_one_value() -> None:
    """RFC 9112, section 5.2: the line break stands for a blank."""
    asked = check(expect_headers=(("X-Ready", "yes it: is"),))
    assert judged(asked, answer(b"", "X-Ready: yes\r\n  it: is", "X-Other: 1")) == "status 200"
    assert judged(asked, answer(b"", "X-Ready: yes it: is", "X-Other: 1\r\n more")) == "status 200"


def test_headers_of_interim_answers_do_not_count() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nX-Ready: yes\r\n\r\n"
    assert judged(check(expect_headers=READY), early + answer(b"")) == 'header X-Ready is missing, expected "yes"'


def test_status_is_judged_first_and_the_body_last() -> None:
    asked = check(expect_headers=READY, body="ok")
    assert judged(asked, b"HTTP/1.1 500 No\r\nX-Ready: no\r\n\r\nbad").startswith("status 500")
    assert judged(asked, answer(b"bad", "X-Ready: no")).startswith("header X-Ready")
    assert judged(asked, answer(b"bad", "X-Ready: yes")).startswith("expected text not in the body")
    assert judged(asked, answer(b"ok", "X-Ready: yes")) == PASSED


def test_outcome_is_known_at_the_end_of_the_headers() -> None:
    whole = answer(b"", "X-Ready: no")
    assert feed(check(expect_headers=READY), whole[:-1]) is None
    outcome = feed(check(expect_headers=READY), whole)
    assert outcome is not None
    assert outcome.reason is Reason.BAD_ANSWER


def test_secret_in_a_header_is_not_quoted() -> None:
    asked = check(expect_headers=(("X-Echo", "x"),), path="/?token=hunter2secret")
    assert judged(asked, answer(b"", "X-Echo: hunter2secret")) == 'header X-Echo is "(hidden)", expected "x"'
    asked = check(expect_headers=(("Set-Cookie", "session=hunter2"),))
    assert judged(asked, answer(b"", "Set-Cookie: session=1")) == "header Set-Cookie is (hidden), expected (hidden)"


async def test_headers_of_a_real_server(tmp_path: Path) -> None:
    with nginx(tmp_path, "location / { add_header X-Ready no; return 204; }") as port:
        ready = check(port=port, expect_headers=READY)
        server = check(port=port, expect_headers_regex=(("server", "^nginx/[0-9]"),), method="HEAD")
        assert await found(ready, server) == ['header X-Ready is "no", expected "yes"', "status 204"]
