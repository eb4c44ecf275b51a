"""All short sequences of falls, other signs and time, for a small rule, against a plain account of them."""

import itertools
from collections.abc import Iterator

import pytest

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.model import Damping
from lvs_healthd.health.damping import Flaps, fell, later, unsteady

FALL, SIGN = "fall", "sign"
EVENTS = (FALL, SIGN, 0.5, 1.0, 3.0, 11.0)
"""A fall, another sign, or so many seconds without one."""

RULES = [
    Damping(falls=2, window=Seconds(10.0), longest=Seconds(3.0)),
    Damping(falls=3, window=Seconds(10.0), longest=Seconds(8.0)),
]

LENGTH = 7


class Account:
    """Keeps account of one server's signs, in the words of docs/faults.md."""

    def __init__(self, rule: Damping) -> None:
        self.rule = rule
        self.falls: list[float] = []
        self.flaps = False
        self.times = 0
        """How often it was held out while it flapped."""
        self.out_until = 0.0
        self.calm_since = 0.0
        """Since when it has given no sign, or has not been held out any more."""

    def takes(self, what: str, now: float) -> None:
        if what == FALL:
            self.falls = [at for at in self.falls if at > now - self.rule.window] + [now]
            if not self.flaps and len(self.falls) < self.rule.falls:
                return
        self.flaps, self.calm_since = True, now
        if now >= self.out_until:
            self.times += 1
        hold_s = min(self.rule.window / 10 * 2 ** (self.times - 1), self.rule.longest)
        self.out_until = max(self.out_until, now + hold_s)

    def waits(self, now: float) -> None:
        if 0.0 < self.out_until <= now:
            self.calm_since = max(self.calm_since, self.out_until)
        if self.flaps and now >= self.out_until and now - self.calm_since >= self.rule.window:
            self.flaps, self.times = False, 0


def sequences() -> Iterator[tuple[str | float, ...]]:
    return itertools.product(EVENTS, repeat=LENGTH)


@pytest.mark.parametrize("rule", RULES)
def test_every_sequence_holds_out_exactly_as_long_as_the_account_says(rule: Damping) -> None:
    for events in sequences():
        flaps: Flaps | None = None
        account, now = Account(rule), 100.0
        for event in events:
            if isinstance(event, str):
                before = flaps
                turn = fell if event == FALL else unsteady
                flaps = turn(flaps, rule, damps=True, now=now)
                account.takes(event, now)
                assert before is None or before.until is None or (flaps.until or 0.0) >= before.until, events
            else:
                now += event
                account.waits(now)
                flaps = None if flaps is None else later(flaps, rule, damps=True, now=now)
            is_out = flaps is not None and flaps.until is not None
            assert is_out is (now < account.out_until), events
            assert (flaps is not None and flaps.since is not None) is account.flaps, events
            if is_out:
                assert flaps is not None
                assert flaps.until == account.out_until, events
            assert (0 if flaps is None else flaps.holds) == account.times, events


@pytest.mark.parametrize("rule", RULES)
def test_no_sequence_holds_anybody_out_where_nothing_is_damped(rule: Damping) -> None:
    for events in sequences():
        flaps: Flaps | None = None
        falls: list[float] = []
        now = 100.0
        for event in events:
            if event == FALL:
                flaps = fell(flaps, rule, damps=False, now=now)
                falls = [*falls, now]
            elif event == SIGN:
                flaps = unsteady(flaps, rule, damps=False, now=now)
            else:
                assert isinstance(event, float)
                now += event
                flaps = None if flaps is None else later(flaps, rule, damps=False, now=now)
            assert flaps is None or (flaps.until is None and not flaps.holds), events
            recent = [at for at in falls if now - at < rule.window]
            if SIGN not in events and len(recent) >= rule.falls:
                assert flaps is not None, events
                assert flaps.since is not None, events


@pytest.mark.parametrize("rule", RULES)
def test_damping_that_a_reload_ends_lets_go_at_once(rule: Damping) -> None:
    for events in itertools.product(EVENTS, repeat=4):
        flaps: Flaps | None = None
        now = 100.0
        for event in events:
            if isinstance(event, float):
                now += event
                flaps = None if flaps is None else later(flaps, rule, damps=True, now=now)
            else:
                turn = fell if event == FALL else unsteady
                flaps = turn(flaps, rule, damps=True, now=now)
        ended = None if flaps is None else later(flaps, rule, damps=False, now=now)
        assert ended is None or ended.until is None, events
