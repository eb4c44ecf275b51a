"""http checks over a connection that stays open: when it does, and when a request is repeated over a new one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config.check_model import HttpCheck
from lvs_healthd.probes.credentials import read_secrets_again
from lvs_healthd.probes.exchange import Reconnect, Sign, Stale, Stays
from lvs_healthd.probes.http import MAX_HEADERS, http_exchanges
from lvs_healthd.probes.http_answer import AnswerEnd
from lvs_healthd.probes.http_kept import KeptHttpExchanges
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down, unsure
from tests.probes.http_talk import answer, chunked, pieces_of
from tests.probes.kept_talk import RESET, Line, again, http, is_kept_after, line, outcome_of

OK = answer(b"ok")
CLOSE = answer(b"ok", "Connection: close")
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\nok"
OLD = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"
KEPT_OLD = OLD.replace(b"\r\n\r\n", b"\r\nConnection: Keep-Alive\r\n\r\n")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


def test_request_asks_for_the_connection_to_be_kept() -> None:
    one = line(path="/a")
    one.probe(OK)
    first = one.asked
    assert isinstance(first, bytes)
    assert first.startswith(b"GET /a HTTP/1.1\r\n")
    assert b"\r\nConnection: keep-alive\r\n" in first
    assert b"close" not in first
    one.probe(OK)
    assert one.asked == first


def test_probes_follow_each_other_over_one_connection() -> None:
    one = line()
    for status, detail in ((200, "status 200"), (503, "status 503, expected 200-299"), (204, "status 204")):
        step = one.probe(
            NO_CONTENT.replace(b"204", b"%d" % status) if status == 204 else OK.replace(b"200", b"%d" % status)
        )
        assert isinstance(step, Stays)
        assert step.outcome.detail == detail
        assert one.is_ready()


@pytest.mark.parametrize("size", [None, 1, 7])
@pytest.mark.parametrize(
    ("message", "is_kept"),
    [
        pytest.param(OK, True, id="length"),
        pytest.param(answer(b""), True, id="empty"),
        pytest.param(chunked(b"some content"), True, id="chunked"),
        pytest.param(chunked(b"x").replace(b"0\r\n\r\n", b"0\r\nX-Sum: 1\r\n\r\n"), True, id="trailers"),
        pytest.param(NO_CONTENT, True, id="204"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", True, id="304"),
        pytest.param(INTERIM + OK, True, id="interim"),
        pytest.param(answer(b"ok", "Connection: Keep-Alive", "Keep-Alive: timeout=5, max=100"), True, id="said"),
        pytest.param(KEPT_OLD, True, id="1.0 keep-alive"),
        pytest.param(CLOSE, False, id="close"),
        pytest.param(answer(b"ok", "Connection: X-Y, Close"), False, id="close in a list"),
        pytest.param(answer(b"ok", "Connection: x", "Connection: close"), False, id="close in a second line"),
        pytest.param(chunked(b"x").replace(b"Transfer", b"Connection: close\r\nTransfer"), False, id="chunked close"),
        pytest.param(OLD, False, id="1.0"),
        pytest.param(ENDLESS, False, id="no length"),
        pytest.param(OK + b"HTTP/1.1 200 OK\r\n\r\n", False, id="two answers"),
        pytest.param(OK + b"\r\n", False, id="more than its length"),
        pytest.param(chunked(b"x") + b"x", False, id="more than its chunks"),
        pytest.param(chunked(b"x").replace(b"\r\nx", b"\r\nxyz"), False, id="chunk too long"),
        pytest.param(OK.replace(b"Length: 2", b"Length: 9999999999999999999999"), False, id="length beyond numbers"),
        pytest.param(OK[:-1], False, id="not all has come"),
    ],
)
def test_connection_stays_open_as_clients_see_it(message: bytes, is_kept: bool, size: int | None) -> None:
    assert is_kept_after(message, size=size) is is_kept
    # It makes no difference what the outcome depends on.
    assert is_kept_after(message, size=size, body="nothing of this") is is_kept


@pytest.mark.parametrize("size", [None, 1])
def test_answer_to_head_has_no_body(size: int | None) -> None:
    assert is_kept_after(HEAD, size=size, method="HEAD")
    assert not is_kept_after(HEAD + b"x", size=size, method="HEAD")
    assert not is_kept_after(HEAD, size=size)


SIMPLE = st.sampled_from(
    [OK, NO_CONTENT, KEPT_OLD, CLOSE, ENDLESS, chunked(b"some content"), INTERIM + OK, HEAD + b"x" * 5000]
)


@given(SIMPLE, st.integers(1, 40), st.sampled_from([{}, {"body": "ok"}, {"absent": "bad"}, {"digest": ""}]))
def test_outcome_is_that_of_a_new_connection_however_it_is_cut(
    message: bytes, size: int, keys: dict[str, object]
) -> None:
    plain = http_exchanges(http(**keys))()
    plain.connected()
    expected = next((step for piece in pieces_of(message, size) if (step := plain.received(piece)) is not None), None)
    one = line(**keys)
    one.ask()
    found = one.hear(*pieces_of(message, size))
    assert (None if found is None else outcome_of(found)) == expected
    if expected is None:
        assert one.exchange.closed() == plain.closed()


def test_ordinary_answers_are_judged_without_a_conversation() -> None:
    rules = KeptHttpExchanges(http())
    assert rules.ordinary(OK)
    assert rules.ordinary(NO_CONTENT)
    for message in (CLOSE, OK + b"x", OK[:-1], chunked(b"x"), OLD, KEPT_OLD, ENDLESS, INTERIM + OK, HEAD, b"", b"x"):
        assert not rules.ordinary(message), message
    assert not KeptHttpExchanges(http(body="ok")).ordinary(OK)


@given(SIMPLE, st.sampled_from([200, 204, 404, 503]), st.integers(1, 4000), st.sampled_from([{}, {"body": "ok"}]))
def test_shortcut_finds_what_the_conversation_would(
    message: bytes, status: int, size: int, keys: dict[str, object]
) -> None:
    message = message.replace(b"200", b"%d" % status)
    long, short = line(**keys), line(**keys)
    for one in (long, short):
        one.probe(OK)
        one.ask()
    for piece in pieces_of(message, size):
        step = long.hear(piece)
        passed = short.exchange.ordinary(piece)
        if passed is None:
            assert short.hear(piece) == step
        else:
            assert step == Stays(passed)
            assert passed.kind is OutcomeKind.UP
            assert short.exchange.limit_s == long.exchange.limit_s
            assert short.is_ready()
            assert long.is_ready()
        if step is not None:
            return


def test_ordinary_answers_take_the_shortcut() -> None:
    one = line()
    one.probe(OK)
    one.ask()
    passed = one.exchange.ordinary(OK)
    assert passed is not None
    assert passed.detail == "status 200"
    one.ask()
    assert one.exchange.ordinary(OK.replace(b"200", b"503")) is None
    one.hear(OK[:-1])
    assert one.exchange.ordinary(OK[-1:]) is None


def dated(date: str, *headers: str) -> bytes:
    return answer(b"ok", "Server: x", f"Date: {date}", *headers)


MONDAY, TUESDAY = "Mon, 30 Nov 2026 01:02:03 GMT", "Tue, 01 Dec 2026 11:12:13 GMT"


def test_answers_that_differ_in_their_date_only_are_alike() -> None:
    rules = KeptHttpExchanges(http())
    first = rules.ordinary(dated(MONDAY, "Keep-Alive: timeout=5"))
    assert first is not None
    assert rules.ordinary(dated(TUESDAY, "Keep-Alive: timeout=5")) is first
    other = rules.ordinary(dated(TUESDAY, "Keep-Alive: timeout=6"))
    assert other is not None
    assert (first.limit_s, other.limit_s) == (5.0, 6.0)
    assert rules.ordinary(dated(TUESDAY, "Keep-Alive: timeout=6").replace(b"ok", b"no")) is not other
    bad = rules.ordinary(dated(TUESDAY).replace(b"200", b"503"))
    assert bad is not None
    assert bad.step.outcome.detail == "status 503, expected 200-299"


def test_date_of_another_form_hides_nothing() -> None:
    for odd in ("x", "", "Mon, 30 Nov 2026 01:02:03 GMTXX", "Mon"):
        rules = KeptHttpExchanges(http())
        keeps, ends = (dated(odd, f"Connection: {how}") for how in ("keep-alive", "close     "))
        assert len(keeps) == len(ends)
        assert rules.ordinary(keeps)
        assert not rules.ordinary(ends), odd


@pytest.mark.parametrize(
    ("said", "limit_s"),
    [
        ("timeout=5", 5.0),
        ("timeout=7, max=100", 7.0),
        ("max=100, Timeout=7", 7.0),
        ("max=100", None),
        ("timeout=", None),
        ("xtimeout=5", None),
        ("timeout=99999999999", None),
    ],
)
@pytest.mark.parametrize("size", [None, 1])
def test_limit_is_what_the_server_says(said: str, limit_s: float | None, size: int | None) -> None:
    one = line()
    message = answer(b"ok", "Connection: keep-alive", f"Keep-Alive: {said}")
    one.probe(*pieces_of(message, size or len(message)))
    assert one.exchange.limit_s == limit_s
    one.exchange.idle(message[-2:]) if size else None
    if one.is_ready():
        one.probe(OK)
        assert one.exchange.limit_s is None


def test_early_outcome_leaves_the_rest_of_the_answer_to_come() -> None:
    one = line()
    message = answer(b"x" * 1000)
    assert outcome_of(one.probe(message[:100])).detail == "status 200"
    assert not one.is_ready()
    assert one.exchange.idle(message[100:500]) is None
    assert not one.is_ready()
    assert one.exchange.idle(message[500:]) is None
    assert one.is_ready()
    assert outcome_of(one.probe(OK)).detail == "status 200"
    assert one.is_ready()


def test_rest_that_is_longer_than_max_body_is_not_worth_waiting_for() -> None:
    one = line(max_body=1000)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"
    assert isinstance(one.probe(head), Stays)
    most = 1000 + MAX_HEADERS
    assert one.exchange.idle(b"x" * (most - len(head))) is None
    assert one.exchange.idle(b"x") is Sign.SPENT


@pytest.mark.parametrize("rest", [OK, b"HTTP/1.1 408 Request Timeout\r\n\r\n", b"\0", b"bye\n"])
def test_what_nobody_has_asked_for_is_the_orderly_end(rest: bytes) -> None:
    for message in (OK, chunked(b"x")):
        one = line()
        one.probe(message)
        assert one.exchange.idle(rest) is Sign.ORDERLY


def test_rest_of_an_answer_that_goes_wrong_ends_the_connection() -> None:
    one = line()
    message = chunked(b"some content")
    cut = message.index(b"\r\n\r\n") + 4
    assert isinstance(one.probe(message[:cut]), Stays)
    assert one.exchange.idle(b"no chunk\r\n") is Sign.SPENT


def test_end_of_an_idle_connection_is_urgent() -> None:
    one = line()
    one.probe(OK)
    assert one.exchange.idle_closed() is Sign.URGENT


def test_request_that_meets_the_end_of_its_connection_is_repeated_once() -> None:
    for end in ("closed", "failed"):
        one = line()
        one.probe(OK)
        assert one.ask() is None
        step = one.exchange.closed() if end == "closed" else one.exchange.failed(RESET)
        assert isinstance(step, Stale)
        other = again(step)
        assert other.ask() is None
        assert other.asked == one.asked
        # The new connection is a new one: its end is a failure.
        assert other.exchange.failed(RESET) == RESET
        assert other.exchange.closed() == down(Reason.CLOSED_EARLY, "connection closed without an answer")


def test_end_of_a_new_connection_is_a_failure() -> None:
    one = line()
    one.ask()
    assert one.exchange.closed() == down(Reason.CLOSED_EARLY, "connection closed without an answer")
    assert one.exchange.failed(RESET) == RESET


@pytest.mark.parametrize("start", [b"H", OK[:30], OK[:-1]])
def test_end_after_a_byte_of_answer_is_a_failure(start: bytes) -> None:
    one = line(body="nothing of this")
    one.probe(answer(b"x", "X: nothing of this"))
    for end in ("closed", "failed"):
        one = line(body="okay")
        one.probe(answer(b"okay"))
        assert one.ask() is None
        assert one.hear(start) is None
        step = one.exchange.closed() if end == "closed" else one.exchange.failed(RESET)
        assert isinstance(step, Outcome)
        assert step.kind is OutcomeKind.DOWN


@pytest.mark.parametrize(
    "outcome",
    [down(Reason.TIMEOUT, "timed out"), down(Reason.UNREACHABLE, "no route"), unsure(Reason.LOCAL_LIMIT, "no memory")],
)
def test_other_failures_of_a_kept_connection_are_not_repeated(outcome: Outcome) -> None:
    one = line()
    one.probe(OK)
    one.ask()
    assert one.exchange.failed(outcome) == outcome


def test_silence_on_a_kept_connection_is_a_failure() -> None:
    one = line()
    one.probe(OK)
    one.ask()
    assert one.exchange.expired("1s") == down(Reason.TIMEOUT, "connected, but no answer in 1s")


@pytest.mark.parametrize("size", [None, 1])
def test_408_to_a_kept_connection_is_no_answer(size: int | None) -> None:
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    pieces = pieces_of(late, size or len(late))
    one = line()
    one.probe(OK)
    step = one.probe(*pieces)
    assert isinstance(step, Stale)
    other = again(step)
    assert outcome_of(other.probe(*pieces)) == down(Reason.BAD_STATUS, "status 408, expected 200-299")


def test_redirects_are_followed_over_the_kept_connection() -> None:
    one = line(redirects=2)
    there = b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 3\r\n\r\n"
    for _ in range(2):
        assert one.ask() is None
        assert one.hear(there) is None  # the redirect's body has not come
        step = one.exchange.received(b"abc")
        assert isinstance(step, bytes)
        assert step.startswith(b"GET /there HTTP/1.1\r\n")
        assert b"\r\nConnection: keep-alive\r\n" in step
        assert isinstance(one.hear(OK), Stays)
        assert one.is_ready()


def test_end_after_a_redirect_is_a_failure() -> None:
    one = line(redirects=2)
    one.probe(OK)
    assert one.probe(b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n") is None
    step = one.exchange.closed()
    assert not isinstance(step, Reconnect)
    assert "connection closed after a redirect" in step.detail


def test_answers_that_differ_each_time_are_not_remembered() -> None:
    rules = KeptHttpExchanges(http(body="ok"))
    one = Line(rules())
    for number in range(300):
        assert outcome_of(one.probe(answer(b"no %d" % number))).kind is OutcomeKind.DOWN
    assert len(rules._known) == 0


def test_secret_that_a_reload_has_read_is_in_the_next_request(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("before")
    check: HttpCheck = http(token_file=str(file))
    one = Line(KeptHttpExchanges(check)())
    one.probe(OK)
    assert b"Authorization: Bearer before\r\n" in one.asked  # type: ignore[operator]
    file.write_text("after")
    read_secrets_again([check])()
    one.probe(OK)
    assert b"Authorization: Bearer after\r\n" in one.asked  # type: ignore[operator]


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_end_of_rubbish_is_found_without_an_exception(pieces: list[bytes]) -> None:
    end = AnswerEnd(has_body=True)
    for piece in (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *pieces):
        end.feed(piece)
    assert end.seen >= sum(map(len, pieces))
