"""agent checks: what an agent's line means, and what becomes of one that does not come or has no end."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import AgentCheck
from lvs_healthd.probes.agent import MOST_BYTES, agent_exchanges, heard
from lvs_healthd.probes.exchange import Farewell, Step
from lvs_healthd.probes.outcome import AskedWeight, Outcome, OutcomeKind, Reason
from lvs_healthd.probing.once import run_once
from tests.pacing import EXTENDED
from tests.probes.peers import answering, free_port, resetting, silent, stream_server


def check(**keys: object) -> AgentCheck:
    return AgentCheck(**{"name": "agent", "address": "127.0.0.1", "port": 9707, "timeout": Seconds(0.5), **keys})  # type: ignore[arg-type]


def share(value: int) -> AskedWeight:
    return AskedWeight(value, is_share=True)


@pytest.mark.parametrize(
    ("line", "asks"),
    [
        (b"up", share(100)),
        (b"ready", share(100)),
        (b"75%", share(75)),
        (b"UP, 75%\t#load 3.1", share(75)),
        (b"25% 75%", share(75)),
        (b"drain", share(0)),
        (b"maint 75%", share(0)),
        (b"drain ready 50%", share(50)),
        (b"down up 10%", share(10)),
        (b"up 200% maxconn:30", share(200)),
        (b"  ,up,, ", share(100)),
        (b"up 7x% 12%%", share(100)),
    ],
)
def test_words_that_let_a_server_serve(line: bytes, asks: AskedWeight) -> None:
    outcome = heard(line)
    assert (outcome.kind, outcome.asks) == (OutcomeKind.UP, asks)


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (b"down", "the agent says down"),
        (b"fail#  disk full ", "the agent says fail: disk full"),
        (b"75% Stopped # by hand", "the agent says stopped: by hand"),
        (b"up down", "the agent says down"),
        (b"down # \x1b[31mred\x00", r"the agent says down: \x1b[31mred\x00"),
    ],
)
def test_words_that_take_a_server_down(line: bytes, detail: str) -> None:
    outcome = heard(line)
    assert (outcome.kind, outcome.reason, outcome.detail) == (OutcomeKind.DOWN, Reason.SAID_DOWN, detail)
    assert outcome.asks is None


@pytest.mark.parametrize("line", [b"", b"# up", b"75", b"fine", b"up75%", b"maxconn:30", b"100000%"])
def test_line_without_a_known_word_is_no_word(line: bytes) -> None:
    outcome = heard(line)
    assert (outcome.kind, outcome.reason, outcome.asks) == (OutcomeKind.DOWN, Reason.BAD_ANSWER, None)


def test_same_line_gives_the_same_object() -> None:
    assert heard(b"up 75%") is heard(b"up 75%")


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=4))
def test_line_means_the_same_however_it_arrives(line: bytes, cuts: list[int]) -> None:
    line = line.replace(b"\r", b"").replace(b"\n", b"")
    sent = line + b"\r\nthe rest does not matter"
    conversation = agent_exchanges(check())()
    assert conversation.connected() is None
    step: Step = None
    places = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    for start, end in itertools.pairwise(places):
        if start < end and step is None:
            step = conversation.received(sent[start:end])
    assert step == Farewell(b"", heard(line), peer_may_close=True)


async def found(port: int, **keys: object) -> Outcome:
    return next(iter((await run_once([check(port=port, **keys)])).values())).outcome


async def test_agent_is_asked_and_answers() -> None:
    async with stream_server(answering(b"up 30%\n", until=b"web\n")) as port:
        assert (await found(port, send=b"web\n")).asks == share(30)


async def test_line_without_an_end_is_not_believed() -> None:
    async with stream_server(answering(b"up 10", until=b"")) as port:
        outcome = await found(port)
    assert (outcome.reason, outcome.detail) == (Reason.CLOSED_EARLY, 'the agent\'s line has no end: "up 10"')
    async with stream_server(answering(b"u" * 5000, until=b"")) as port:
        outcome = await found(port)
    assert (outcome.reason, outcome.detail) == (Reason.TOO_LARGE, f"the agent's line is longer than {MOST_BYTES} bytes")


async def test_silence_and_trouble_are_told_as_what_they_are() -> None:
    async with stream_server(silent) as port:
        outcome = await found(port)
    assert outcome.reason == Reason.TIMEOUT
    assert outcome.detail.removesuffix(EXTENDED) == "connected, but no word of the agent in 500ms"
    async with stream_server(answering(b"", until=b"")) as port:
        outcome = await found(port)
    assert outcome.detail == "the agent closed the connection without a word"
    async with stream_server(resetting) as port:
        assert (await found(port)).reason in (Reason.RESET, Reason.CLOSED_EARLY)
    assert (await found(free_port())).reason is Reason.REFUSED


def page(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


@pytest.mark.parametrize(
    ("answer", "kind", "detail"),
    [
        (page(b"up 30%\nmore\n"), OutcomeKind.UP, 'the agent says "up 30%"'),
        (page(b"up 30%"), OutcomeKind.UP, 'the agent says "up 30%"'),
        (page(b"down # disk"), OutcomeKind.DOWN, "the agent says down: disk"),
        (page(b""), OutcomeKind.DOWN, 'the agent says nothing that is known: ""'),
        (page(b"up", b"503 No"), OutcomeKind.DOWN, "status 503, expected 200-299"),
        (page(b"up " * 400), OutcomeKind.DOWN, f"the agent's answer is longer than {MOST_BYTES} bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\nup 30%", OutcomeKind.UP, 'the agent says "up 30%"'),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nup", OutcomeKind.DOWN, "connection closed within the body"),
    ],
)
async def test_agent_may_speak_over_http(answer: bytes, kind: OutcomeKind, detail: str) -> None:
    async with stream_server(answering(answer)) as port:
        outcome = await found(port, path="/agent", host="x")
    assert (outcome.kind, outcome.detail[: len(detail)]) == (kind, detail)
    assert outcome.asks == (share(30) if kind is OutcomeKind.UP else None)
