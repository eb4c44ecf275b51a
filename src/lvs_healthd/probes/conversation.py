"""tcp and udp checks in steps: what to send, what to wait for, and where TLS begins. Sans-I/O.

Over TCP, an expectation takes the bytes that have come up to the end of its match, and leaves the rest to the next one.
Over UDP, each datagram is looked at by itself, and one that does not meet the expectation is passed over.
"""

from collections.abc import Callable
from typing import NamedTuple

from lvs_healthd.config.check_model import ConversationStep, StreamCheck, TcpCheck, UdpCheck, uses_tls
from lvs_healthd.config.patterns import MOST_STEPS
from lvs_healthd.config.secrecy import parts_of_command
from lvs_healthd.probes.exchange import (
    MOST_DATAGRAMS,
    Exchange,
    Farewell,
    MaySecure,
    Reconnect,
    SecureExchange,
    Step,
    quote,
    what_happened,
)
from lvs_healthd.probes.expect import Expectation, Search, expectation
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down, up
from lvs_healthd.probes.tls import TlsExchanges

_PASSED = up("all steps passed")

_SEARCHED_AT_ONCE = 1024 * 1024
"""How many bytes a pattern searches in a step before it begins to wait for more of the answer. It is more than for a
single answer, because a server that waits for our next words sends nothing more. So an answer of 52 KiB is searched at
each of its segments, which takes 1.3 ms in all with an expression for lines."""

_STEPS_AT_ONCE = 4 * MOST_STEPS
"""The same in the steps of an expression: a large one searches fewer bytes, so that no answer takes more than 80 ms."""


def conversations(check: StreamCheck) -> Callable[[], Exchange]:
    """Return a factory that begins a conversation for each probe of a check with steps.

    Raises `OSError` when the check's `ca` cannot be read.
    """
    script = _Script(
        tuple(_Line(number, step, expectation(step, check.max_answer)) for number, step in enumerate(check.steps, 1)),
        tuple({part for step in check.steps for part in parts_of_command(step.send)}),
        TlsExchanges(check, _no_conversation) if isinstance(check, TcpCheck) and uses_tls(check) else None,
    )
    begin = _Datagrams if isinstance(check, UdpCheck) else _Stream
    return lambda: begin(script)


def _no_conversation() -> Exchange:
    raise AssertionError("the conversation that TLS carries has begun before TLS")


class _Line(NamedTuple):
    """One step, its number for people, and what it expects."""

    number: int
    step: ConversationStep
    expect: Expectation | None


class _Script(NamedTuple):
    """What the conversations of one check have in common."""

    lines: tuple[_Line, ...]
    hidden: tuple[bytes, ...]
    """Parts of secrets that no quoted answer may show."""
    tls: TlsExchanges | None


class _Told:
    """Tells how a conversation failed: at which step, and what came instead of the expected answer."""

    __slots__ = ("_hidden", "_steps")

    def __init__(self, script: _Script) -> None:
        self._hidden = script.hidden
        self._steps = len(script.lines)

    def down(self, line: _Line, reason: Reason, what: str) -> Outcome:
        return down(reason, f"step {line.number} of {self._steps}: {what}")

    def unexpected(self, line: _Line, answer: bytes, how: str) -> Outcome:
        return self.down(line, Reason.BAD_ANSWER, f"unexpected answer {quote(answer, hidden=self._hidden)}{how}")


class _Stream(MaySecure):
    """A conversation over TCP, from one of its steps on."""

    __slots__ = ("_answer", "_at", "_inner", "_script", "_search", "_speaks", "_told")

    def __init__(self, script: _Script, at: int = 0) -> None:
        self._script = script
        self._at = at
        """The index of the step that is under way."""
        self._told = _Told(script)
        self._answer = bytearray()
        """What has come and belongs to no earlier step."""
        self._search: Search | None = None
        """The search of the step that is under way; None when it has not begun."""
        self._speaks = any(line.step.send for line in script.lines[:at])
        """Whether something was sent that may make the peer close first."""
        self._inner: SecureExchange | None = None
        """Carries the rest of the conversation once TLS has begun."""

    def connected(self) -> Step:
        return self._go_on()

    def received(self, data: bytes) -> Step:
        if self._inner is not None:
            return self._inner.received(data)
        self._answer += data
        return self._go_on()

    def closed(self) -> Outcome | Reconnect:
        if self._inner is not None:
            return self._inner.closed()
        if self._has_passed():
            return _PASSED
        line = self._script.lines[self._at]
        if not self._answer:
            return self._told.down(line, Reason.CLOSED_EARLY, "connection closed without an answer")
        return self._told.unexpected(line, bytes(self._answer), ", then the connection closed")

    def failed(self, outcome: Outcome) -> Outcome | Reconnect:
        if self._inner is not None:
            return self._inner.failed(outcome)
        if outcome.kind is OutcomeKind.UNSURE:
            return outcome
        if self._has_passed():
            return _PASSED
        line = self._script.lines[self._at]
        if self._answer:
            return self._told.unexpected(line, bytes(self._answer), f", then {what_happened(outcome)}")
        return self._told.down(line, outcome.reason, outcome.detail) if self._at else outcome

    def expired(self, timeout: str) -> Outcome:
        if self._inner is not None:
            return self._inner.expired(timeout)
        if self._has_passed():
            return _PASSED
        line = self._script.lines[self._at]
        if self._answer:
            return self._told.unexpected(line, bytes(self._answer), f" in {timeout}")
        return self._told.down(line, Reason.TIMEOUT, f"no answer in {timeout}")

    def decrypted(self) -> bytes | None:
        return None if self._inner is None else self._inner.decrypted()

    def end(self) -> None:
        if self._inner is not None:
            self._inner.end()

    def _go_on(self) -> Step:
        """Take steps until one has to wait."""
        said = b""
        lines = self._script.lines
        while self._at < len(lines):
            line = lines[self._at]
            if line.expect is not None:
                if not self._is_met():
                    limit = line.expect.limit
                    if len(self._answer) < limit:
                        return said or None
                    return self._told.down(line, Reason.TOO_LARGE, f"expected answer not in the first {limit} bytes")
                del self._answer[: line.expect.end(self._answer)]
                self._search = None
            elif line.step.starttls:
                return self._start_tls(said)
            else:
                said += line.step.send
                self._speaks = True
            self._at += 1
        return Farewell(said, _PASSED, peer_may_close=self._speaks)

    def _has_passed(self) -> bool:
        """Return whether the last step is met by what has come. Nothing more will come."""
        return self._at == len(self._script.lines) - 1 and self._is_met(is_whole=True)

    def _is_met(self, *, is_whole: bool = False) -> bool:
        """Return whether the answer so far is what the step under way expects."""
        expect = self._script.lines[self._at].expect
        if expect is None or not self._answer:
            return False
        if self._search is None:
            steps = 1 if expect.pattern is None else expect.pattern.size
            self._search = Search(expect, min(_SEARCHED_AT_ONCE, _STEPS_AT_ONCE // steps))
        is_full = len(self._answer) >= expect.limit
        del self._answer[expect.limit :]
        return self._search.is_met(self._answer, is_whole=is_whole or is_full)

    def _start_tls(self, said: bytes) -> Step:
        """Begin TLS, which carries the steps that follow. What has come unencrypted is dropped, as RFC 3207 demands."""
        tls = self._script.tls
        if tls is None:
            raise AssertionError("a step that begins TLS without its settings")
        self._inner = tls.around(_Stream(self._script, self._at + 1))
        self._answer.clear()
        hello = self._inner.connected()
        return said + hello if isinstance(hello, bytes) else hello


class _Datagrams:
    """A conversation over UDP: each step sends a datagram or waits for one."""

    __slots__ = ("_at", "_left", "_other", "_room", "_script", "_told")

    def __init__(self, script: _Script) -> None:
        self._script = script
        self._at = 0
        self._told = _Told(script)
        self._other: bytes | None = None
        """The last datagram that was not what the step under way expects."""
        self._room: int | None = None
        """How many more bytes may be searched in the step under way; None when it has not begun."""
        self._left = MOST_DATAGRAMS
        """How many more datagrams may come that no step expects."""

    def connected(self) -> Step:
        return self._go_on()

    def received(self, data: bytes) -> Step:
        line = self._script.lines[self._at]
        expect = line.expect
        if expect is None:
            raise AssertionError("a conversation over UDP waits only where it expects something")
        room = expect.limit if self._room is None else self._room
        if expect.met(data[:room]):
            self._at += 1
            self._other = self._room = None
            return self._go_on()
        self._other, self._room = data, room - len(data)
        self._left -= 1
        return None if self._room > 0 and self._left else self._told.unexpected(line, data, "")

    def closed(self) -> Outcome:
        """Never called: a peer cannot close a datagram socket, and an empty datagram arrives through `received`."""
        raise AssertionError("a UDP peer cannot close")

    def failed(self, outcome: Outcome) -> Outcome:
        if outcome.kind is OutcomeKind.UNSURE:
            return outcome
        line = self._script.lines[self._at]
        if self._other is not None:
            return self._told.unexpected(line, self._other, f", then {what_happened(outcome)}")
        return outcome

    def expired(self, timeout: str) -> Outcome:
        line = self._script.lines[self._at]
        if self._other is not None:
            return self._told.unexpected(line, self._other, f", and no other in {timeout}")
        return self._told.down(line, Reason.TIMEOUT, f"no answer in {timeout}")

    def end(self) -> None:
        """Do nothing, because nothing refers back to this object."""

    def _go_on(self) -> Step:
        """Send the next datagram, or end after the last step. A check over UDP never sends twice in succession."""
        lines = self._script.lines
        if self._at == len(lines):
            return _PASSED
        line = lines[self._at]
        if line.expect is not None:
            return None
        self._at += 1
        if self._at == len(lines):
            return Farewell(line.step.send, _PASSED, peer_may_close=False)
        return line.step.send
