"""udp checks: one datagram out, and an answer in. Sans-I/O.

A probe that gets no answer passes only if the check expects none. Then only an ICMP error, which the engine receives,
proves that the port is dead.

keepalived accepts an empty or one-byte reply, whatever it was told to require. Here the whole reply must meet the
expectation. After a reply that does not, the probe waits for another one until the time is up.
"""

from lvs_healthd.config.check_model import UdpCheck
from lvs_healthd.config.secrecy import parts_of_command
from lvs_healthd.probes.exchange import MOST_DATAGRAMS, SingleExchange, Step, quote, what_happened
from lvs_healthd.probes.expect import Expectation, expectation
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down, up

_ANSWERED = up("answered")
_ANSWERED_AS_EXPECTED = up("answered as expected")


def udp_exchanges(check: UdpCheck) -> "UdpExchanges":
    """Return a factory that begins a conversation for each probe of this check."""
    return UdpExchanges(check.send, expectation(check, check.max_answer))


class UdpExchanges:
    """Begins the conversations of one check."""

    __slots__ = ("_expect", "_hidden", "_send", "_silent")

    def __init__(self, send: bytes, expect: Expectation | None) -> None:
        self._send = send
        self._expect = expect
        self._hidden = parts_of_command(send)
        self._silent = _Silent(send)

    def __call__(self) -> SingleExchange:
        """Begin one conversation."""
        return self._silent if self._expect is None else _Question(self._send, self._expect, self._hidden)


class _Silent:
    """A datagram that needs no answer. It has no state, so one object serves all probes."""

    __slots__ = ("_send",)

    def __init__(self, send: bytes) -> None:
        self._send = send

    def connected(self) -> Step:
        return self._send

    def received(self, data: bytes) -> Step:  # noqa: ARG002  # any answer will do
        return _ANSWERED

    def closed(self) -> Outcome:
        """Never called: a peer cannot close a datagram socket, and an empty datagram arrives through `received`."""
        raise AssertionError("a UDP peer cannot close")

    def failed(self, outcome: Outcome) -> Outcome:
        return outcome

    def expired(self, timeout: str) -> Outcome:
        return up(f"no ICMP error in {timeout}, and no answer is expected")

    def end(self) -> None:
        """Drop nothing: nothing refers back to this object."""


class _Question:
    """A datagram and the expected answer. Other answers may come first: SIP says 100 Trying before it says 200 OK."""

    __slots__ = ("_expect", "_hidden", "_left", "_other", "_room", "_send")

    def __init__(self, send: bytes, expect: Expectation, hidden: tuple[bytes, ...]) -> None:
        self._send = send
        self._hidden = hidden
        self._expect = expect
        self._other: bytes | None = None
        """The last answer that was not the expected one."""
        self._room = expect.limit
        """How many more bytes may be searched, in all answers together."""
        self._left = MOST_DATAGRAMS
        """How many more answers may come."""

    def connected(self) -> Step:
        return self._send

    def received(self, data: bytes) -> Step:
        if self._expect.met(data[: self._room]):
            return _ANSWERED_AS_EXPECTED
        self._other = data
        self._room -= len(data)
        self._left -= 1
        is_over = self._room <= 0 or not self._left
        return None if not is_over else down(Reason.BAD_ANSWER, f"unexpected answer {self._quoted(data)}")

    def closed(self) -> Outcome:
        """Never called: a peer cannot close a datagram socket, and an empty datagram arrives through `received`."""
        raise AssertionError("a UDP peer cannot close")

    def failed(self, outcome: Outcome) -> Outcome:
        if self._other is None or outcome.kind is OutcomeKind.UNSURE:
            return outcome
        return down(
            Reason.BAD_ANSWER,
            f"unexpected answer {self._quoted(self._other)}, then {what_happened(outcome)}",
        )

    def expired(self, timeout: str) -> Outcome:
        if self._other is None:
            return down(Reason.TIMEOUT, f"no answer in {timeout}")
        return down(Reason.BAD_ANSWER, f"unexpected answer {self._quoted(self._other)}, and no other in {timeout}")

    def _quoted(self, answer: bytes) -> str:
        return quote(answer, hidden=self._hidden)

    def end(self) -> None:
        """Do nothing, because nothing refers back to this object."""
