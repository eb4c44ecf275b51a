"""udp checks: one datagram out, at most one in. Sans-I/O.

A probe that gets no answer passes only if the check expects none. Then only an ICMP error, which the engine receives,
proves that the port is dead.

keepalived accepts an empty or one-byte reply whatever it was told to require. Here the whole reply must meet the
expectation.
"""

from lvs_healthd.config.model import UdpCheck
from lvs_healthd.probes.exchange import Exchange, Step, quote
from lvs_healthd.probes.expect import Expectation, expectation
from lvs_healthd.probes.outcome import Outcome, Reason, down, up

_ANSWERED = up("answered")
_ANSWERED_AS_EXPECTED = up("answered as expected")


def udp_exchanges(check: UdpCheck) -> "UdpExchanges":
    """Return a factory that begins a conversation for each probe of this check."""
    return UdpExchanges(check.send, expectation(check))


class UdpExchanges:
    """Begins the conversations of one check."""

    __slots__ = ("_datagram",)

    def __init__(self, send: bytes, expect: Expectation | None) -> None:
        self._datagram = _Datagram(send, expect)

    def __call__(self) -> Exchange:
        """Begin one conversation."""
        return self._datagram


class _Datagram:
    """A conversation of one datagram and its answer. It has no state, so one object serves all probes."""

    __slots__ = ("_expect", "_send")

    def __init__(self, send: bytes, expect: Expectation | None) -> None:
        self._send = send
        self._expect = expect

    def connected(self) -> Step:
        return self._send

    def received(self, data: bytes) -> Step:
        if self._expect is None:
            return _ANSWERED
        if self._expect.met(data[: self._expect.limit]):
            return _ANSWERED_AS_EXPECTED
        return down(Reason.BAD_ANSWER, f"unexpected answer {quote(data)}")

    def closed(self) -> Outcome:
        """Never called: a peer cannot close a datagram socket, and an empty datagram arrives through `received`."""
        raise AssertionError("a UDP peer cannot close")

    def expired(self, timeout: str) -> Outcome:
        if self._expect is None:
            return up(f"no ICMP error in {timeout}, and no answer is expected")
        return down(Reason.TIMEOUT, f"no answer in {timeout}")

    def end(self) -> None:
        """Do nothing, because nothing refers back to this object."""
