"""HTTP/2 over a connection that stays open: what a server may say between two probes, and how it ends it."""

import struct

import pytest

from lvs_healthd.probes.exchange import Farewell, KeptExchange, Sign, Stale, Stays, Step
from lvs_healthd.probes.http import MAX_HEADERS
from lvs_healthd.probes.http2_frames import LARGEST, MOST_SMALL_FRAMES
from lvs_healthd.probes.http_over_2 import http2_exchanges
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down
from tests.probes.http2_peer import DATA, PING, RST_STREAM, SETTINGS, Answer, Peer, frame, goaway, says
from tests.probes.kept_talk import RESET, http

REFUSED, INTERNAL = 7, 2
END, ACK = 0x1, 0x1
ASKED = frame(PING, b"12345678")


class Line:
    """A connection between a conversation and a peer of python-hyper's h2."""

    def __init__(self, answer: Answer | None = None, **keys: object) -> None:
        self.peer = Peer(answer or says(200, b"ok"))
        self.exchange: KeptExchange = http2_exchanges(http(http_version="2", **keys), is_kept=True)()  # type: ignore[assignment]
        self._is_new = True

    def ask(self) -> bytes:
        """Begin the next probe. Return what the peer answers."""
        step = self.exchange.connected() if self._is_new else self.exchange.resumed()
        assert isinstance(step, bytes)
        greeting = self.peer.greeting() if self._is_new else b""
        self._is_new = False
        return greeting + self.peer.heard(step)

    def probe(self) -> Step:
        """Let a probe run. Return its last step."""
        return self.hear(self.ask())

    def hear(self, data: bytes) -> Step:
        while data:
            step = self.exchange.received(data)
            if step is not None and not isinstance(step, bytes):
                if isinstance(step, Stays) and step.data:
                    self.peer.heard(step.data)
                return step
            data = self.peer.heard(step) if step else b""
        return None

    def kept(self) -> "Line":
        """Let the first probe pass."""
        assert isinstance(self.probe(), Stays)
        assert self.exchange.is_ready
        return self


def test_probes_follow_each_other_over_one_connection() -> None:
    one = Line()
    for _ in range(5):
        step = one.probe()
        assert isinstance(step, Stays)
        assert step.outcome.detail == "status 200"
        assert one.exchange.is_ready
    assert one.peer.h2.highest_inbound_stream_id == 9


def test_body_is_judged_each_time_for_itself() -> None:
    bodies = iter((b"okay", b"bad", b"okay"))

    def answer(peer: Peer, stream: int, fields: dict[str, str], body: bytes) -> None:
        says(200, next(bodies))(peer, stream, fields, body)

    one = Line(answer, body="okay")
    kinds = [step.outcome.kind for _ in range(3) if isinstance(step := one.probe(), Stays)]
    assert kinds == [OutcomeKind.UP, OutcomeKind.DOWN, OutcomeKind.UP]


def test_what_a_healthy_server_says_between_two_probes_is_answered() -> None:
    one = Line().kept()
    said = one.exchange.idle(ASKED)
    assert said == frame(PING, b"12345678", flags=ACK)
    assert one.exchange.idle(frame(SETTINGS)) == frame(SETTINGS, flags=ACK)
    assert one.exchange.is_ready
    assert isinstance(one.probe(), Stays)


@pytest.mark.parametrize("code", [0, INTERNAL])
@pytest.mark.parametrize("last", [1, 2**31 - 1])
def test_goaway_between_two_probes_is_an_orderly_end(code: int, last: int) -> None:
    one = Line().kept()
    assert one.exchange.idle(goaway(last, code)) is Sign.ORDERLY
    assert not one.exchange.is_ready


def test_connection_is_read_before_the_next_probe() -> None:
    assert Line().exchange.reads_first


def test_end_between_two_probes_is_urgent() -> None:
    assert Line().kept().exchange.idle_closed() is Sign.URGENT


def test_goaway_with_the_answer_ends_the_connection_in_good_order() -> None:
    one = Line().kept()
    answer = one.ask()
    step = one.hear(goaway(2**31 - 1) + answer)
    assert isinstance(step, Farewell)
    assert step.outcome.detail == "status 200"
    one = Line().kept()
    step = one.hear(one.ask() + goaway(3))
    assert isinstance(step, Farewell)
    assert step.outcome.detail == "status 200"


@pytest.mark.parametrize("code", [0, INTERNAL])
def test_request_that_came_too_late_is_repeated(code: int) -> None:
    one = Line().kept()
    one.ask()
    step = one.hear(goaway(1, code))
    assert isinstance(step, Stale)
    # Over the new connection it is the first request, whose end is a failure.
    other = Line()
    other.exchange = step.exchange  # type: ignore[assignment]
    other.ask()
    found = other.hear(goaway(0, code))
    assert isinstance(found, Outcome)
    assert found.reason is Reason.CLOSED_EARLY


def test_request_that_the_server_has_refused_is_repeated() -> None:
    one = Line().kept()
    one.ask()
    assert isinstance(one.hear(frame(RST_STREAM, struct.pack("!I", REFUSED), stream=3)), Stale)


def test_request_that_the_server_gave_up_is_a_failure() -> None:
    one = Line().kept()
    one.ask()
    found = one.hear(frame(RST_STREAM, struct.pack("!I", INTERNAL), stream=3))
    assert found == down(Reason.RESET, "the server gave the request up (RST_STREAM): INTERNAL_ERROR")
    one = Line()
    one.ask()
    assert isinstance(one.hear(one.peer.greeting() + frame(RST_STREAM, struct.pack("!I", REFUSED), stream=1)), Outcome)


@pytest.mark.parametrize("end", ["closed", "failed"])
def test_end_before_the_answer_is_repeated_only_on_a_connection_that_was_kept(end: str) -> None:
    for is_kept in (True, False):
        one = Line()
        if is_kept:
            one.kept()
        one.ask()
        step = one.exchange.closed() if end == "closed" else one.exchange.failed(RESET)
        assert isinstance(step, Stale) is is_kept


def test_end_within_an_answer_is_a_failure() -> None:
    one = Line(body="ok").kept()
    one.peer._answer = lambda peer, stream, *_: peer.say(stream, [(":status", "200")], b"o", end=False)
    assert one.hear(one.ask()) is None
    found = one.exchange.closed()
    assert found == down(Reason.CLOSED_EARLY, "connection closed before the end of the answer")


def test_server_that_takes_no_more_requests_gets_a_new_connection() -> None:
    one = Line().kept()
    one.exchange.idle(frame(SETTINGS, struct.pack("!HI", 3, 0)))  # at most 0 streams
    assert isinstance(one.exchange.resumed(), Stale)


def test_rubbish_on_a_kept_connection_is_a_failure_and_between_two_probes_its_end() -> None:
    rubbish = (LARGEST + 1).to_bytes(3, "big") + b"\0\0\0\0\0\0"
    one = Line().kept()
    one.ask()
    found = one.hear(rubbish)
    assert isinstance(found, Outcome)
    assert found.reason is Reason.PROTOCOL_ERROR
    one = Line().kept()
    assert one.exchange.idle(rubbish) is Sign.ORDERLY
    assert not one.exchange.is_ready


def test_bounds_against_floods_count_from_each_probe() -> None:
    one = Line().kept()
    few = MOST_SMALL_FRAMES // 2
    for _ in range(4):
        for _ in range(few):
            assert one.exchange.idle(frame(PING, b"12345678", flags=ACK)) is None
        assert isinstance(one.probe(), Stays)
    more = 0
    while one.exchange.idle(frame(PING, b"12345678", flags=ACK)) is None:
        more += 1
    assert few < more <= MOST_SMALL_FRAMES
    assert not one.exchange.is_ready


def test_rest_of_a_body_may_come_later_but_not_without_end() -> None:
    head = [(":status", "200")]
    one = Line(lambda peer, stream, *_: peer.say(stream, head, b"x" * 9000, end=False), max_body=100_000)
    assert isinstance(one.probe(), Stays)
    assert not one.exchange.is_ready
    part = frame(DATA, b"x" * LARGEST, stream=1)
    parts = 0
    while (step := one.exchange.idle(part)) is None:
        parts += 1
    assert step is Sign.SPENT
    assert (100_000 + MAX_HEADERS) // (LARGEST + 9) - 1 <= parts <= (100_000 + MAX_HEADERS) // LARGEST
    one = Line(lambda peer, stream, *_: peer.say(stream, head, b"x" * 9000, end=False))
    one.probe()
    assert one.exchange.idle(frame(DATA, b"x", flags=END, stream=1)) is None
    assert one.exchange.is_ready
