"""agent checks: a program on the real server says in a line how it is and which weight it wants. Sans-I/O.

The line is that of HAProxy's agent-check, so the same agents serve both: words apart by blanks, tabs or commas, in any
case, and up to the first CR or LF. Of several words of one kind the last one counts. What follows `#` is for people.

    up                           it is well
    down, fail, stopped          it is down
    ready                        it takes its whole weight
    drain, maint                 it wants no new connections: weight 0
    75%                          it wants three quarters of its configured weight
    maxconn:30                   passed over: IPVS has thresholds of its own

HAProxy remembers each kind of word until another one comes. Here the last line alone counts: a line without a
percentage wants the whole weight, and one without `down` says that the server is up.
"""

import functools
import re
from collections.abc import Callable

from lvs_healthd.config.check_model import AgentCheck, HttpCheck
from lvs_healthd.probes.exchange import Exchange, Farewell, Step, quote, what_happened
from lvs_healthd.probes.http import HttpExchanges
from lvs_healthd.probes.http_body import BodyRules, Hash
from lvs_healthd.probes.outcome import AskedWeight, Outcome, OutcomeKind, Reason, down

MOST_BYTES = 1024
"""The longest line that is read, bytes. HAProxy's buffer is larger, but no agent needs more."""

_DOWN = frozenset({"down", "fail", "stopped"})
_NO_CONNECTIONS = frozenset({"drain", "maint"})
_SHARE = re.compile(r"(\d{1,5})%")
_BLANKS = re.compile(r"[ \t,]+")
_END = re.compile(rb"[\r\n]")
_WHOLE = AskedWeight(100, is_share=True)
_NONE = AskedWeight(0, is_share=True)


def agent_exchanges(check: AgentCheck) -> Callable[[], Exchange]:
    """Return a factory that begins a conversation for each probe of this check."""
    if not check.path:
        return AgentExchanges(check.send)
    asked = HttpCheck(name="", address="", port=0, path=check.path, host=check.host, max_body=MOST_BYTES)
    return HttpExchanges(asked, body=_LineInBody(asked))


class AgentExchanges:
    """Begins the conversations of one check."""

    __slots__ = ("_send",)

    def __init__(self, send: bytes) -> None:
        self._send = send

    def __call__(self) -> Exchange:
        """Begin one conversation."""
        return _Listening(self._send)


class _Listening:
    """A conversation that waits for one line."""

    __slots__ = ("_line", "_send")

    def __init__(self, send: bytes) -> None:
        self._send = send
        self._line = bytearray()

    def connected(self) -> Step:
        return self._send or None

    def received(self, data: bytes) -> Step:
        self._line += data[: MOST_BYTES + 1 - len(self._line)]
        end = _END.search(self._line)
        if end is not None:
            return Farewell(b"", heard(bytes(self._line[: end.start()])), peer_may_close=True)
        if len(self._line) > MOST_BYTES:
            return down(Reason.TOO_LARGE, f"the agent's line is longer than {MOST_BYTES} bytes")
        return None

    def closed(self) -> Outcome:
        if not self._line:
            return down(Reason.CLOSED_EARLY, "the agent closed the connection without a word")
        return down(Reason.CLOSED_EARLY, f"the agent's line has no end: {quote(self._line)}")

    def failed(self, outcome: Outcome) -> Outcome:
        if not self._line or outcome.kind is OutcomeKind.UNSURE:
            return outcome
        return down(outcome.reason, f"{what_happened(outcome)} within the agent's line: {quote(self._line)}")

    def expired(self, timeout: str) -> Outcome:
        if not self._line:
            return down(Reason.TIMEOUT, f"connected, but no word of the agent in {timeout}")
        return down(Reason.TIMEOUT, f"the agent's line has no end after {timeout}: {quote(self._line)}")

    def end(self) -> None:
        """Do nothing, because nothing refers back to this object."""


class _LineInBody(BodyRules):
    """Takes the body of an answer for the agent's line. It needs no end there, because the body has one."""

    __slots__ = ()

    def __init__(self, check: HttpCheck) -> None:
        super().__init__(check)
        self.needs_end = self.needs_all = True

    def too_large(self, most: int) -> Outcome:
        """Return the outcome of a body that is longer than `most` bytes."""
        return down(Reason.TOO_LARGE, f"the agent's answer is longer than {most} bytes")

    def fault(self, body: bytearray, computed: Hash | None, hidden: tuple[bytes, ...]) -> Outcome | None:  # noqa: ARG002
        """Judge the agent's line."""
        return heard(bytes(_END.split(body, 1)[0]))


@functools.lru_cache(maxsize=4096)
def heard(line: bytes) -> Outcome:
    """Judge an agent's line. The same line always gives the same object."""
    said, _, why = line.decode("latin-1").partition("#")
    words = [word.lower() for word in _BLANKS.split(said) if word]
    shown = quote(line, 120)
    health = [word for word in words if word in _DOWN or word == "up"]
    shares = [int(share[1]) for word in words if (share := _SHARE.fullmatch(word))]
    drains = [word for word in words if word in _NO_CONNECTIONS or word == "ready"]
    if health and health[-1] in _DOWN:
        reason = quote(why.strip().encode("latin-1"), 120).strip('"') if why.strip() else ""
        return down(Reason.SAID_DOWN, f"the agent says {health[-1]}{f': {reason}' if reason else ''}")
    if not (health or shares or drains):
        return down(Reason.BAD_ANSWER, f"the agent says nothing that is known: {shown}")
    asks = AskedWeight(shares[-1], is_share=True) if shares else _WHOLE
    if drains and drains[-1] in _NO_CONNECTIONS:
        asks = _NONE
    return Outcome(OutcomeKind.UP, Reason.PASSED, f"the agent says {shown}", asks=asks)
