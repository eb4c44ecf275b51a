"""tcp checks: a connection and, with `send` or `expect…`, a short exchange. Sans-I/O."""

from lvs_healthd.config.check_model import TcpCheck
from lvs_healthd.config.secrecy import parts_of_command
from lvs_healthd.probes.exchange import Exchange, Farewell, Step, quote, what_happened
from lvs_healthd.probes.expect import Expectation, Search, expectation
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down, up

_CONNECTED = up("connected")
_ANSWERED = up("answered as expected")
_END = Farewell(b"", _ANSWERED, peer_may_close=False)
_END_AFTER_SENDING = Farewell(b"", _ANSWERED, peer_may_close=True)


def tcp_exchanges(check: TcpCheck) -> "TcpExchanges":
    """Return a factory that begins a conversation for each probe of this check."""
    return TcpExchanges(check.send, expectation(check, check.max_answer))


def connections() -> Exchange:
    """Begin a conversation that passes once it is connected."""
    return _CONNECTION


class TcpExchanges:
    """Begins the conversations of one check."""

    __slots__ = ("_connect_only", "_expect", "_hidden", "_send")

    def __init__(self, send: bytes, expect: Expectation | None) -> None:
        self._send = send
        self._expect = expect
        self._hidden = parts_of_command(send)
        self._connect_only = _ConnectOnly(Farewell(send, _CONNECTED, peer_may_close=True) if send else _CONNECTED)

    def __call__(self) -> Exchange:
        """Begin one conversation."""
        if self._expect is None:
            return self._connect_only
        return _SendExpect(self._send, self._expect, self._hidden)


class _ConnectOnly:
    """A conversation that expects no answer. It passes once it is connected and our bytes, if any, are sent.

    It has no state, so one object serves all probes.
    """

    __slots__ = ("_end",)

    def __init__(self, end: Outcome | Farewell) -> None:
        self._end = end

    def connected(self) -> Step:
        return self._end

    def received(self, data: bytes) -> Step:  # noqa: ARG002  # any answer proves the same
        return _CONNECTED

    def closed(self) -> Outcome:
        return _CONNECTED

    def failed(self, outcome: Outcome) -> Outcome:
        return outcome

    def expired(self, timeout: str) -> Outcome:
        return down(Reason.TIMEOUT, f"no answer in {timeout}")

    def end(self) -> None:
        """Do nothing, because nothing refers back to this object."""


_CONNECTION = _ConnectOnly(_CONNECTED)


class _SendExpect:
    """A conversation that needs the expected answer before the peer closes, the time is up or the limit is reached."""

    __slots__ = ("_answer", "_hidden", "_limit", "_search", "_send")

    def __init__(self, send: bytes, expect: Expectation, hidden: tuple[bytes, ...]) -> None:
        self._send = send
        self._hidden = hidden
        self._limit = expect.limit
        self._search = Search(expect)
        self._answer = bytearray()

    def connected(self) -> Step:
        return self._send or None

    def received(self, data: bytes) -> Step:
        room = self._limit - len(self._answer)
        self._answer += data[:room]
        is_full = len(data) >= room
        if self._search.is_met(self._answer, is_whole=is_full):
            return _END_AFTER_SENDING if self._send else _END
        return down(Reason.TOO_LARGE, f"expected answer not in the first {self._limit} bytes") if is_full else None

    def closed(self) -> Outcome:
        if not self._answer:
            return down(Reason.CLOSED_EARLY, "connection closed without an answer")
        if self._search.is_met(self._answer, is_whole=True):
            return _ANSWERED
        return down(Reason.BAD_ANSWER, f"unexpected answer {self._quoted()}, then the connection closed")

    def failed(self, outcome: Outcome) -> Outcome:
        if not self._answer or outcome.kind is OutcomeKind.UNSURE:
            return outcome
        if self._search.is_met(self._answer, is_whole=True):
            return _ANSWERED
        return down(Reason.BAD_ANSWER, f"unexpected answer {self._quoted()}, then {what_happened(outcome)}")

    def expired(self, timeout: str) -> Outcome:
        if not self._answer:
            return down(Reason.TIMEOUT, f"connected, but no answer in {timeout}")
        if self._search.is_met(self._answer, is_whole=True):
            return _ANSWERED
        return down(Reason.BAD_ANSWER, f"unexpected answer {self._quoted()} in {timeout}")

    def _quoted(self) -> str:
        return quote(self._answer, hidden=self._hidden)

    def end(self) -> None:
        """Do nothing, because nothing refers back to this object."""
