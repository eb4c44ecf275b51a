"""The HTTP conversation, fed by hand: no sockets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config.check_model import HttpCheck
from lvs_healthd.probes.exchange import Step
from lvs_healthd.probes.http import MAX_HEADERS, http_exchanges, request_bytes
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason


def check(**keys: object) -> HttpCheck:
    return HttpCheck(name="http", address="192.0.2.1", port=80, host="web.example", **keys)  # type: ignore[arg-type]


def converse(asked: HttpCheck, *pieces: bytes, closes: bool = False) -> Step:
    exchange = http_exchanges(asked)()
    assert exchange.connected() == request_bytes(asked)
    for piece in pieces:
        step = exchange.received(piece)
        if step is not None:
            return step
    return exchange.closed() if closes else None


def detail(step: Step) -> str:
    assert isinstance(step, Outcome)
    return step.detail


def test_request_names_host_and_closes() -> None:
    assert request_bytes(check(path="/healthz")) == (
        b"GET /healthz HTTP/1.1\r\nHost: web.example\r\nUser-Agent: lvs-healthd\r\nAccept: */*\r\n"
        b"Connection: close\r\n\r\n"
    )


def test_request_of_http_1_0_names_its_host_too() -> None:
    assert request_bytes(check(http_version="1.0", method="POST", send_body="x")) == (
        b"POST / HTTP/1.0\r\nHost: web.example\r\nUser-Agent: lvs-healthd\r\nAccept: */*\r\n"
        b"Connection: close\r\nContent-Length: 1\r\n\r\nx"
    )


@pytest.mark.parametrize(("method", "has_length"), [("GET", False), ("HEAD", False), ("POST", True), ("PUT", True)])
def test_request_that_could_have_content_says_that_it_has_none(method: str, has_length: bool) -> None:
    assert (b"\r\nContent-Length: 0\r\n" in request_bytes(check(method=method))) is has_length


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "OPTIONS", "REPORT"])
def test_body_is_sent_with_its_length_in_bytes(method: str) -> None:
    request = request_bytes(check(method=method, send_body="für", headers=(("Content-Type", "text/plain"),)))
    head, _, body = request.partition(b"\r\n\r\n")
    assert (head.count(b"\r\nContent-Length: 4\r\n"), head.count(b"Content-Length"), body) == (1, 1, "für".encode())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nX-Long: one\r\n two\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\nContent-Type: text/plain\n\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.0 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nok\r\n0\r\n\r\n",
    ],
    ids=["folded", "bare line feeds", "bare last one", "both lengths", "interim 1.0", "interim close", "chunk size"],
)
@pytest.mark.parametrize("keys", [{}, {"body": "ok"}, {"body_regex": "^ok$"}], ids=["status", "body", "regex"])
@pytest.mark.parametrize("size", [1, 4096])
def test_odd_answers_that_clients_read_are_read(answer: bytes, keys: dict[str, str], size: int) -> None:
    pieces = (answer[start : start + size] for start in range(0, len(answer), size))
    step = converse(check(**keys), *pieces, closes=True)
    assert isinstance(step, Outcome)
    assert step.kind is OutcomeKind.UP, step.detail


@pytest.mark.parametrize("size", [1, 4096])
@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nERROR",
        b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nERROR\r\n0\r\nX-Trailer: ok\r\n\r\n",
    ],
    ids=["length", "no body", "chunks"],
)
def test_a_second_answer_is_not_looked_at(first: bytes, size: int) -> None:
    answer = first + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    pieces = (answer[start : start + size] for start in range(0, len(answer), size))
    step = converse(check(body="ok", status=((200, 299),)), *pieces, closes=True)
    assert isinstance(step, Outcome)
    assert step.reason is Reason.BAD_ANSWER


def test_configured_headers_replace_ours() -> None:
    request = request_bytes(check(headers=(("user-agent", "probe"), ("X-Key", "1")), method="HEAD"))
    assert request == (
        b"HEAD / HTTP/1.1\r\nHost: web.example\r\nAccept: */*\r\nConnection: close\r\n"
        b"user-agent: probe\r\nX-Key: 1\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("status", "accepted", "is_up"),
    [
        (200, ((200, 299),), True),
        (299, ((200, 299),), True),
        (200, ((201, 299),), False),
        (300, ((200, 299),), False),
        (404, ((200, 299), (404, 404)), True),
        (101, ((101, 101),), True),
        (101, ((200, 299),), False),
    ],
)
def test_status_is_judged_by_the_accepted_ranges(
    status: int, accepted: tuple[tuple[int, int], ...], is_up: bool
) -> None:
    step = converse(check(status=accepted), f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())
    assert isinstance(step, Outcome)
    assert (step.kind is OutcomeKind.UP) is is_up


def test_bad_status_says_what_was_expected() -> None:
    step = converse(check(status=((200, 299), (401, 401))), b"HTTP/1.0 500 Oops\r\n\r\n")
    assert detail(step) == "status 500, expected 200-299, 401"


def test_status_line_without_a_phrase_is_http() -> None:
    assert detail(converse(check(), b"HTTP/1.1 204\r\n\r\n")) == "status 204"


def test_interim_answers_are_not_the_answer() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    assert converse(check(), early) is None
    assert detail(converse(check(), early, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) == "status 200"
    assert detail(converse(check(), early + b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")).startswith("status 503")


def test_headers_of_five_kilobytes_are_fine() -> None:
    """keepalived gives up on more than 4095 bytes."""
    assert detail(converse(check(), b"HTTP/1.1 200 OK\r\nX: " + b"y" * 5000 + b"\r\n\r\n")) == "status 200"


def test_headers_without_end_are_cut_off() -> None:
    step = converse(check(), b"HTTP/1.1 200 OK\r\nX: ", *[b"y" * 8192] * (MAX_HEADERS // 8192))
    assert isinstance(step, Outcome)
    assert step.reason is Reason.TOO_LARGE


def test_body_text_passes_as_soon_as_it_is_there_even_if_the_connection_stays_open() -> None:
    """keepalived waits for the end of the connection."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    assert detail(converse(check(body="READY"), head, b"all REA", b"DY now")) == "status 200, body as expected"


def test_body_is_not_looked_at_when_the_status_is_wrong() -> None:
    step = converse(check(body="ok"), b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nok")
    assert detail(step).startswith("status 500")


def test_complete_body_without_the_text_is_down() -> None:
    step = converse(check(body="READY"), b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nBUSY")
    assert detail(step) == 'expected text not in the body: "BUSY"'


def test_truncated_body_is_down() -> None:
    """keepalived only logs it."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart"
    assert detail(converse(check(body_regex="part$"), head, closes=True)) == (
        "connection closed within the body, after 4 bytes"
    )
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n"
    assert detail(converse(check(body_regex="part$"), chunked, closes=True)) == (
        "connection closed within the body, after 4 bytes"
    )


def test_chunked_body_is_joined_before_it_is_judged() -> None:
    """keepalived examines the raw chunks."""
    step = converse(
        check(body_regex="^all READY$"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nall RE\r\n",
        b"3\r\nADY\r\n0\r\n\r\n",
    )
    assert detail(step) == "status 200, body as expected"


def test_body_without_length_ends_with_the_connection() -> None:
    head = b"HTTP/1.0 200 OK\r\n\r\nall is well"
    assert converse(check(body_regex="well$"), head) is None
    assert detail(converse(check(body_regex="well$"), head, closes=True)) == "status 200, body as expected"
    assert detail(converse(check(body_regex="ill$"), head, closes=True)) == (
        'match of body_regex not in the body: "all is well"'
    )


def test_body_is_looked_at_only_up_to_max_body() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    step = converse(check(body="READY", max_body=8), head, b"12345READY")
    assert detail(step) == 'expected text not in the first 8 bytes: "12345REA"'


def test_head_has_no_body_to_wait_for() -> None:
    step = converse(check(method="HEAD"), b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n")
    assert detail(step) == "status 200"


def test_broken_chunks_are_a_protocol_error() -> None:
    step = converse(check(body="x"), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n")
    assert isinstance(step, Outcome)
    assert step.reason is Reason.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ((), "connected, but no answer in 1s"),
        ((b"HTTP/1.1 2",), "headers incomplete after 1s (10 bytes)"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",), "body incomplete after 1s (3 bytes)"),
    ],
)
def test_expiry_says_how_far_it_came(sent: tuple[bytes, ...], words: str) -> None:
    exchange = http_exchanges(check(body="never"))()
    for piece in sent:
        assert exchange.received(piece) is None
    assert exchange.expired("1s").detail == words


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=8))
def test_no_garbage_raises_or_passes(pieces: list[bytes]) -> None:
    step = converse(check(body="READY"), *pieces, closes=True)
    assert isinstance(step, Outcome)
    assert step.kind is OutcomeKind.DOWN or b"HTTP/" in b"".join(pieces)


@given(st.integers(1, 60))
def test_cutting_an_answer_into_pieces_changes_nothing(size: int) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nall RE\r\n3\r\nADY\r\n0\r\n\r\n"
    pieces = [answer[at : at + size] for at in range(0, len(answer), size)]
    assert detail(converse(check(body="READY"), *pieces)) == "status 200, body as expected"


@pytest.mark.parametrize(
    ("start", "endless"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 1024),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 100 + b"\r\na\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: ", b"x" * 1024),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: " + b"x" * 100 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Header: ", b"x" * 1024),
        (b"", b"\r\n" * 512),
        (b"", b"HTTP/1.1 100 Continue\r\nX-Header: " + b"x" * 100 + b"\r\n\r\n"),
    ],
    ids=["chunk extension", "chunk extensions", "trailer", "trailers", "header", "empty lines", "interim answers"],
)
def test_bytes_that_are_no_body_come_to_an_end(start: bytes, endless: bytes) -> None:
    """They count against the limit of the headers, wherever they stand: a peer could go on with them for ever."""
    count = MAX_HEADERS // min(len(endless), 100) + 2
    outcome = converse(check(body="never", max_body=1 << 20), start, *[endless] * count)
    assert isinstance(outcome, Outcome)
    assert outcome.reason is Reason.TOO_LARGE
