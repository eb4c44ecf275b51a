"""Probes that follow each other over one connection, moved by hand."""

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import HttpCheck, Kept
from lvs_healthd.probes.exchange import KeptExchange, Reconnect, Sign, Stays, Step
from lvs_healthd.probes.http_kept import KeptHttpExchanges
from lvs_healthd.probes.outcome import Outcome, Reason, down
from tests.probes.http_talk import check, pieces_of

KEPT = Kept(reconnect=Seconds(60.0))
RESET = down(Reason.RESET, "connection reset")


class Line:
    """One connection, with the conversation on it."""

    def __init__(self, exchange: KeptExchange) -> None:
        self.exchange = exchange
        self.is_open = True
        """Whether it may serve another probe."""

    def probe(self, *pieces: bytes) -> Step:
        """Begin the next probe, and let these pieces arrive until it is over. Return the last step."""
        return self.ask() or self.hear(*pieces)

    def ask(self) -> Step:
        """Begin the next probe. Return its outcome if it has one at once."""
        assert self.is_open
        step = self.exchange.connected() if not hasattr(self, "asked") else self.exchange.resumed()
        self.asked = step.data if isinstance(step, Stays) else step
        return None if isinstance(step, bytes) else step

    def hear(self, *pieces: bytes) -> Step:
        for piece in pieces:
            step = self.exchange.received(piece)
            if step is not None and not isinstance(step, bytes):
                self.is_open = isinstance(step, Stays)
                return step
        return None

    def is_ready(self) -> bool:
        return self.is_open and self.exchange.is_ready


def line(**keys: object) -> Line:
    return Line(KeptHttpExchanges(check(kept=KEPT, **keys))())


def outcome_of(step: Step) -> Outcome:
    found = step.outcome if isinstance(step, Stays) else step
    assert isinstance(found, Outcome), step
    return found


def is_kept_after(answer: bytes, *, size: int | None = None, **keys: object) -> bool:
    """Return whether the connection can serve another probe after this answer.

    size: that of the pieces in which it arrives; None for all at once.
    """
    one = line(**keys)
    pieces = pieces_of(answer, size or len(answer))
    one.ask()
    while pieces and one.hear(pieces.pop(0)) is None:
        pass
    if not one.is_open:
        return False
    signs = [one.exchange.idle(piece) for piece in pieces]
    return not any(isinstance(each, Sign) for each in signs) and one.is_ready()


def again(step: Step) -> Line:
    """Return the new connection on which a probe goes on."""
    assert isinstance(step, Reconnect)
    return Line(step.exchange)  # type: ignore[arg-type]


def http(**keys: object) -> HttpCheck:
    return check(kept=KEPT, **keys)
