"""Everything that others send is read without a fault: a short run of what `make fuzz` does at length.

docs/fuzzing.md says more. And the search would notice faults: it is given conversations that have some.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lvs_healthd.probes.exchange import Exchange, Farewell, Reconnect, Step
from lvs_healthd.probes.outcome import Outcome, Reason, down, up
from tests.fuzz.changes import changed
from tests.fuzz.control import PART, Control, pieces, repeating, split, with_control
from tests.fuzz.conversation import DROPPED, ENDINGS, EXPIRED, BrokenRuleError, Stopwatch, play
from tests.fuzz.peers import PlainPeer
from tests.fuzz.subjects import subjects

SOURCE = Path(__file__).parents[2] / "src" / "lvs_healthd"

CHANGED = 60
"""How many changed inputs each subject gets."""


@pytest.fixture(autouse=True)
def _chance() -> Iterator[None]:
    before = random.getstate()
    yield
    random.setstate(before)


@pytest.mark.parametrize("name", subjects())
def test_whatever_is_sent_is_read_without_a_fault(name: str) -> None:
    subject, watch = subjects()[name], Stopwatch()
    inputs = (*subject.seeds, *subject.heavy)
    for data in itertools.chain(inputs, itertools.islice(changed(subject.seeds, subject.words, 7), CHANGED)):
        subject.feed(data, watch)


def test_every_protocol_is_fuzzed() -> None:
    named = {file for subject in subjects().values() for file in subject.files}
    assert all((SOURCE / file).is_file() for file in named)
    ours = {f"probes/{file.name}" for file in (SOURCE / "probes").glob("*.py")}
    assert ours - named == {
        *("probes/__init__.py", "probes/exchange.py", "probes/outcome.py", "probes/targets.py"),
        *("probes/credentials.py", "probes/proxy.py", "probes/tls_trust.py"),  # they read nothing from a peer
    }


class Faulty:
    """A conversation that goes on until an answer comes, and then takes this step."""

    def __init__(self, step: Callable[[], object]) -> None:
        self._step = step
        self.has_ended = False

    def connected(self) -> Step:
        return b"hello"

    def received(self, data: bytes) -> Step:
        return self._step()  # type: ignore[return-value]  # that it may be wrong is the point

    def closed(self) -> Outcome | Reconnect:
        return self._step()  # type: ignore[return-value]

    def failed(self, outcome: Outcome) -> Outcome | Reconnect:
        return outcome

    def expired(self, timeout: str) -> Outcome:
        return down(Reason.TIMEOUT, f"no answer in {timeout}")

    def end(self) -> None:
        self.has_ended = True


def played(step: Callable[[], object], answer: bytes = b"x", ending: int = 0) -> Outcome | None:
    exchange = Faulty(step)
    control = Control()
    try:
        return play(exchange, lambda: PlainPeer(answer, control), ending, Stopwatch(), may_close=True)
    finally:
        assert exchange.has_ended


def again() -> Exchange:
    """Return a conversation that never ends."""
    return Faulty(lambda: Reconnect(again()))


def broken() -> object:
    raise KeyError("escaped")


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (broken, "escaped"),
        (lambda: "text", "a step that no engine knows"),
        (lambda: Farewell("text", up("well"), peer_may_close=False), "a step that no engine knows"),  # type: ignore[arg-type]
        (lambda: up(""), "a detail of 0 characters"),
        (lambda: up("x" * 5000), "a detail of 5000 characters"),
        (lambda: up("a\x1b[31m"), "a detail that terminals cannot show"),
    ],
)
def test_fault_of_a_conversation_is_noticed(step: Callable[[], object], error: str) -> None:
    with pytest.raises((BrokenRuleError, KeyError), match=error):
        played(step)


def test_end_of_a_conversation_is_examined_too() -> None:
    with pytest.raises(BrokenRuleError, match="the end of a connection gives"):
        played(lambda: b"more", answer=b"")
    assert played(broken, answer=b"", ending=EXPIRED) == down(Reason.TIMEOUT, "no answer in 1s")
    assert played(broken, answer=b"", ending=DROPPED) is None


def test_conversation_that_connects_again_and_again_is_noticed() -> None:
    with pytest.raises(BrokenRuleError, match="more than 130 connections"):
        play(again(), lambda: PlainPeer(b"x", Control()), 0, Stopwatch(), may_close=True)


def test_input_says_what_comes_and_how_it_is_cut() -> None:
    answer, control = split(with_control(b"abc" + PART + b"defgh", size=2, other_size=3, ending=ENDINGS - 1))
    assert list(pieces(answer, control)) == [b"ab", b"c", b"de", b"fgh"]
    assert list(pieces(*split(with_control(b"abc")))) == [b"abc"]
    assert split(b"\x07") == (b"", Control(variant=7))
    answer, _ = split(repeating(b"head:", b"xy", b"!"))
    assert answer.startswith(b"head:xyxy")
    assert answer.endswith(b"xy!")
    assert 65530 < len(answer) <= 65536
