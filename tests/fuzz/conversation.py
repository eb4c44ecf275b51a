"""Plays one input to a conversation as the engine does, and examines every step that the conversation takes."""

import time
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar, cast

import msgspec

from lvs_healthd.probes.exchange import Exchange, Farewell, KeptExchange, MaySecure, Reconnect, Sign, Stays, Step
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down, unsure

ENDINGS = 6
"""In how many ways a conversation ends: closed, failed by the peer or by us, expired, dropped, and closed after the
peer has ended TLS in good order."""
CLOSED, RESET, OUR_FAULT, EXPIRED, DROPPED, CLOSED_IN_ORDER = range(ENDINGS)

_LONGEST_DETAIL = 4096
"""How long the sentence of an outcome may be, characters. It is in every log line and status."""

_MOST_CONNECTIONS = 130
"""How many connections one probe may need. More than any check has requests, each sent twice."""

_RESET = down(Reason.RESET, "connection reset")
_OURS = unsure(Reason.LOCAL_LIMIT, "no buffer space available")

T = TypeVar("T")


class BrokenRuleError(Exception):
    """A conversation does what its contract does not allow (`lvs_healthd.probes.exchange`)."""


class Stopwatch:
    """Measures how long single calls take."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        """The CPU time of the longest call since `reset`, seconds."""

    def reset(self) -> None:
        """Forget the longest call."""
        self.worst_s = 0.0

    def call(self, work: Callable[..., T], *arguments: object) -> T:
        """Call `work`, and measure it."""
        begin = time.thread_time()
        try:
            return work(*arguments)
        finally:
            self.worst_s = max(self.worst_s, time.thread_time() - begin)


class Peer(Protocol):
    """What a conversation talks to, on one connection."""

    def heard(self, data: bytes) -> Iterable[bytes]:
        """Take what the conversation sends. Yield the pieces that the peer sends because of it."""

    def said(self) -> Iterable[bytes]:
        """Yield the pieces of the peer's answer. `heard` has told what the conversation has sent before each."""

    def last(self, ending: int) -> Iterable[bytes]:
        """Yield what the peer sends at the end of the connection."""


def play(
    exchange: Exchange, peer: Callable[[], Peer], ending: int, watch: Stopwatch, *, may_close: bool
) -> Outcome | None:
    """Play one probe. Return its outcome; None if it was dropped before.

    peer: begins a connection.
    may_close: whether the peer can close the connection. That of a datagram socket cannot.

    Raises `BrokenRuleError`, and whatever escapes the conversation.
    """
    try:
        for number in range(_MOST_CONNECTIONS):
            # Only the first connection is kept for further probes. Otherwise there would be no end of them.
            step = _Connection(exchange, peer(), watch, may_stay=not number).play(ending, may_close=may_close)
            if not isinstance(step, Reconnect):
                return step
            exchange = step.exchange
    finally:
        watch.call(exchange.end)
    raise BrokenRuleError(f"more than {_MOST_CONNECTIONS} connections")


class _Connection:
    def __init__(self, exchange: Exchange, peer: Peer, watch: Stopwatch, *, may_stay: bool) -> None:
        self._exchange = exchange
        self._peer = peer
        self._watch = watch
        self._may_stay = may_stay
        self._found: Outcome | None = None
        """What the last probe found, as long as its connection is idle."""
        self._is_fresh = False
        """Whether a probe has begun on the connection after another one, and nothing has come since."""

    def play(self, ending: int, *, may_close: bool) -> Outcome | Reconnect | None:
        """Play one connection. Return the step that ends it; None if it was dropped."""
        step = self._obey(self._watch.call(self._exchange.connected))
        if step is None:
            step = self._hear(self._peer.said())
        if step is None and self._found is not None and cast("KeptExchange", self._exchange).is_ready:
            step = self._resume() or self._hear(self._peer.said())
        if step is None:
            step = self._hear(self._peer.last(ending))
        return step or self._end(ending, may_close=may_close)

    def _hear(self, said: Iterable[bytes]) -> Outcome | Reconnect | None:
        for piece in said:
            if self._found is not None:
                # Half of what comes is too late for the probe before, and half is the next one's answer.
                is_next = len(piece) % 2 and cast("KeptExchange", self._exchange).is_ready
                found = self._resume() if is_next else self._rest(piece)
                if found is not None:
                    return found
                if not is_next:
                    continue
            step = self._obey(self._shortcut(piece) or self._watch.call(self._exchange.received, piece))
            if isinstance(self._exchange, MaySecure):
                self._watch.call(self._exchange.decrypted)
            if step is not None:
                return step
        return None

    def _shortcut(self, piece: bytes) -> Stays | None:
        """Offer the first bytes of a probe as its whole answer. Return the step that ends it; None if they are not."""
        if not self._is_fresh:
            return None
        self._is_fresh, exchange = False, cast("KeptExchange", self._exchange)
        passed = self._watch.call(exchange.ordinary, piece)
        if passed is None:
            return None
        if passed.kind is not OutcomeKind.UP or not exchange.is_ready:
            raise BrokenRuleError(f"a shortcut that ends in {passed!r}")
        return Stays(passed)

    def _obey(self, step: Step) -> Outcome | Reconnect | None:
        """Pass on what the conversation sends, and what the peer answers. Return a step that ends the connection."""
        match step:
            case None:
                return None
            case bytes():
                return self._hear(self._peer.heard(step))
            case Farewell(data=bytes(), outcome=outcome, peer_may_close=bool()):
                examine(outcome)
                return outcome
            case Outcome():
                examine(step)
                return step
            case Stays(outcome=outcome, data=bytes()):
                examine(outcome)
                if not self._may_stay:
                    return outcome
                self._found = outcome
                return None
            case Reconnect():
                return step
            case _:
                raise BrokenRuleError(f"a step that no engine knows: {step!r}")

    def _rest(self, piece: bytes) -> Outcome | Reconnect | None:
        """Pass on what comes while the connection is idle. Then begin the next probe on it, if it is ready for one."""
        exchange = cast("KeptExchange", self._exchange)
        said = self._watch.call(exchange.idle, piece)
        if isinstance(said, Sign):
            return self._found
        if said is not None and not isinstance(said, bytes):
            raise BrokenRuleError(f"an idle connection gives {said!r}")
        if not exchange.is_ready:
            return None
        return self._resume()

    def _resume(self) -> Outcome | Reconnect | None:
        """Begin the next probe on the connection."""
        self._found, self._is_fresh = None, True
        return self._obey(self._watch.call(cast("KeptExchange", self._exchange).resumed))

    def _end(self, ending: int, *, may_close: bool) -> Outcome | Reconnect | None:
        watch, exchange = self._watch, self._exchange
        if self._found is not None:
            if not isinstance(watch.call(cast("KeptExchange", exchange).idle_closed), Sign):
                raise BrokenRuleError("the end of an idle connection gives no sign")
            return self._found
        step: Step
        if ending == DROPPED:
            return None
        if ending in (CLOSED, CLOSED_IN_ORDER) and may_close:
            step = watch.call(exchange.closed)
        elif ending == RESET:
            step = watch.call(exchange.failed, _RESET)
        elif ending == OUR_FAULT:
            step = watch.call(exchange.failed, _OURS)
        else:
            step = watch.call(exchange.expired, "1s")
        if not isinstance(step, Outcome | Reconnect):
            raise BrokenRuleError(f"the end of a connection gives {step!r}")
        return self._obey(step)


def examine(outcome: Outcome) -> None:
    """Raise `BrokenRuleError` for an outcome that could not be reported to the daemon or shown to an operator."""
    detail = outcome.detail
    if not detail or len(detail) > _LONGEST_DETAIL:
        raise BrokenRuleError(f"a detail of {len(detail)} characters")
    if not detail.isprintable():
        raise BrokenRuleError(f"a detail that terminals cannot show: {detail!r}")
    if msgspec.msgpack.decode(msgspec.msgpack.encode(outcome), type=Outcome) != outcome:
        raise BrokenRuleError(f"an outcome that a worker cannot report: {outcome!r}")
    for share in outcome.apart:
        examine(share.outcome)
