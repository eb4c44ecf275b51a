"""Holds one more connection to a target between its probes, over which nothing is sent: it is there for its end only.

This is what `connection = "keep"` means for tcp checks. Their probes have new connections, because most conversations
end with the connection. The first watch begins after a probe that has passed, and the next after the end of the one
before.
"""

from collections.abc import Callable

import msgspec

from lvs_healthd.probes.exchange import Sign, Stays, Step, Target
from lvs_healthd.probes.outcome import Course, Outcome, OutcomeKind, Reason, down, up
from lvs_healthd.probing.flight import Run


class Watches:
    """The watches of all targets.

    start: runs something.
    drop: ends the connection that is kept for a run.
    forget: does the same, and forgets the run.
    """

    def __init__(
        self, start: Callable[[Run], None], drop: Callable[[Run], None], forget: Callable[[Run], None]
    ) -> None:
        self._start = start
        self._drop = drop
        self._forget = forget
        self._by_run: dict[Run, _Watch] = {}

    def passed(self, run: Run, now: float) -> None:
        """Begin to watch the target of a probe that has passed, or begin once more after a while.

        now: seconds on the clock.
        """
        keeping = run.target.keeping
        if keeping is None or not run.repeats:
            return
        watch = self._by_run.get(run)
        if watch is None:
            watch = self._by_run[run] = _Watch(run)
        elif watch.is_held and now < watch.renew_at:
            return
        else:
            self._drop(watch)
        watch.renew_at = now + keeping.reconnect_s
        watch.is_held = True
        self._start(watch)

    def forget(self, run: Run) -> None:
        """Watch the target of a run no more."""
        watch = self._by_run.pop(run, None)
        if watch is not None:
            watch.repeats = False
            self._forget(watch)

    def close(self) -> None:
        """Watch nothing any more. The connections are ended by whoever keeps them."""
        self._by_run.clear()


class _Watch:
    """What the engine runs to watch a target."""

    __slots__ = ("is_held", "owner", "renew_at", "repeats", "target")

    def __init__(self, owner: Run) -> None:
        self.owner = owner
        keeping = owner.target.keeping
        if keeping is not None:
            keeping = msgspec.structs.replace(keeping, is_watch=False)
        self.target: Target = msgspec.structs.replace(owner.target, begin=_holding, keeping=keeping)
        self.renew_at = 0.0
        """When it has a new connection, on the clock."""
        self.is_held = False
        """Whether it has a connection, or will have one soon."""
        self.repeats = True

    def started(self, now: float) -> None:
        """Ignore the start, which belongs to no schedule."""

    def ended(self, outcome: Outcome, course: Course) -> None:  # noqa: ARG002
        """Note that there is no connection to hold. The probes find out why."""
        if outcome.kind is not OutcomeKind.UP:
            self.is_held = False

    def signalled(self, sign: Sign) -> None:
        """Pass on what the end of the connection tells."""
        self.is_held = False
        if self.repeats:
            self.owner.signalled(sign)


_CONNECTED = up("connected")
_STAYS = Stays(_CONNECTED)


class _Hold:
    """The conversation on such a connection. It has no state, so one object serves all."""

    limit_s = None
    reads_first = False
    is_ready = False

    def connected(self) -> Step:
        return _STAYS

    def resumed(self) -> Step:
        """Never called: no probe uses this connection."""
        raise AssertionError("a connection that is held for its end serves no probe")

    def ordinary(self, data: bytes) -> None:
        """Never called, as `resumed`."""

    def received(self, data: bytes) -> Step:  # noqa: ARG002  # it is connected, which is all that matters
        return _STAYS

    def closed(self) -> Outcome:
        return down(Reason.CLOSED_EARLY, "connection closed")

    def failed(self, outcome: Outcome) -> Outcome:
        return outcome

    def expired(self, timeout: str) -> Outcome:
        return down(Reason.TIMEOUT, f"no answer in {timeout}")

    def idle(self, data: bytes) -> None:
        """Ignore what comes, such as a greeting."""

    def idle_closed(self) -> Sign:
        return Sign.URGENT

    def end(self) -> None:
        """Do nothing, because nothing refers back to this object."""


_HOLD = _Hold()


def _holding() -> _Hold:
    return _HOLD
