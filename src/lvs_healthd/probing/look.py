"""Looks whether a target still listens, before a probe goes on over the connection that is kept. Sans-I/O.

A server may stop listening and still answer on the connections that it has. Only a new connection shows that. This one
is reset as soon as it is established, and nothing is sent over it, so the server's application never hears of it.
"""

from lvs_healthd.probes.exchange import Exchange, Reconnect, Step
from lvs_healthd.probes.outcome import Outcome, Reason, down


class GoBack(Reconnect):
    """The end of a look, after which the probe goes on over the kept connection."""

    __slots__ = ()


class Look:
    """A conversation that goes on over a kept connection as soon as it is connected.

    kept: the conversation on that connection.
    """

    __slots__ = ("_kept",)

    def __init__(self, kept: Exchange) -> None:
        self._kept = kept

    def connected(self) -> Step:
        """End the look, because the target listens."""
        return GoBack(self._kept)

    def received(self, data: bytes) -> Step:  # noqa: ARG002  # it is connected, which is all that matters
        """End the look."""
        return GoBack(self._kept)

    def closed(self) -> Outcome | Reconnect:
        """End the look."""
        return GoBack(self._kept)

    def failed(self, outcome: Outcome) -> Outcome:
        """Return the outcome: the target does not listen any more."""
        return outcome

    def expired(self, timeout: str) -> Outcome:
        """Return the outcome."""
        return down(Reason.TIMEOUT, f"no answer in {timeout}")

    def end(self) -> None:
        """Do nothing: the other conversation has its own connection."""
