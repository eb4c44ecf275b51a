"""Notices servers that go up and down again and again, and says how long one that is damped stays out. Pure.

A sign is a fall of a server, or the end of failures of a check of which too many fail (`Rate`). An episode of flapping
begins with `falls` falls within `window`, or with the first sign of the second kind. It is over after a whole `window`
without a sign, in which the server was not held out.

With damping, the sign that begins an episode holds the server out until it has been without a sign for a tenth of
`window`. Each further sign while it is out begins that time again. When it has served again and there is one more sign,
it is held out for twice as long as the last time, up to `longest`. So within an episode, no hold is shorter than the
one before, and the end of a hold only moves away.
"""

import math
from typing import NamedTuple

import msgspec

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.model import Damping
from lvs_healthd.config.values import duration_text

FIRST_HOLD = 0.1
"""The first hold, as a share of `window`: a minute of ten."""

BAD_SHARE = 0.25
"""A check is unsteady if at least this share of its probes fails. A server that is bad every other second fails half of
them, and one that loses a packet now and then far fewer."""

LEAST_PROBES = 20.0
"""The share means something only from so many probes on."""


class Rate(NamedTuple):
    """How many of a check's probes fail without causing a fall, as of the last such failure.

    A probe counts for less the older it is: exp(-age / `window`), so that nothing but two sums must be kept.
    """

    failed: float
    probes: float
    at: float
    """When the last failure came, seconds on the monotonic clock."""

    @property
    def is_unsteady(self) -> bool:
        """Whether so many fail that the server counts as flapping."""
        return self.probes >= LEAST_PROBES and self.failed / self.probes >= BAD_SHARE


def failed_again(rate: Rate | None, failures: int, passes: int, times: tuple[float, float], window: float) -> Rate:
    """Return the rate after more failures in succession, which have just ended.

    rate: the rate before; None if there is none.
    failures: how many probes have failed.
    passes: how many have passed between these failures and those before, as far as they were counted.
    times: how often the probe runs, seconds, and the time now on the monotonic clock. The passes are spread evenly.
    """
    every_s, now = times
    elapsed = math.inf if rate is None else max(0.0, now - rate.at)
    kept = math.exp(-elapsed / window)
    span = min(elapsed, passes * every_s) / window
    passed = passes * (-math.expm1(-span) / span if span else 1.0)
    before = rate or Rate(0.0, 0.0, now)
    return Rate(before.failed * kept + failures, before.probes * kept + passed + failures, now)


class Flaps(msgspec.Struct, frozen=True, gc=False):
    """What is remembered of a server that has fallen or is unsteady. Times are seconds on the monotonic clock."""

    falls: tuple[float, ...] = ()
    """When it fell within the last `window`, the newest last, at most `falls` of them."""
    since: float | None = None
    """When the episode of flapping began; None while there is none."""
    last: float = 0.0
    """When the last sign of the episode came, or the last hold ended."""
    holds: int = 0
    """How many times it has been held out in this episode."""
    until: float | None = None
    """Until when it is held out; None while it is not."""


def hold_s(holds: int, rule: Damping) -> Seconds:
    """Return how long a server is held out for the `holds`-th time in an episode, seconds."""
    doubled = min(holds - 1, 64)  # beyond that, it is more than any `longest`, and still a float
    return Seconds(min(rule.longest, rule.window * FIRST_HOLD * 2.0**doubled))


def first_fall(now: float) -> Flaps:
    """Return what is remembered after a fall of a server of which nothing is. One fall is never flapping.

    now: monotonic time, seconds.
    """
    return Flaps((now,))


def fell(flaps: Flaps | None, rule: Damping, *, damps: bool, now: float) -> Flaps:
    """Return what is remembered after a fall.

    damps: whether flapping servers are held out, or only told.
    now: monotonic time, seconds.
    """
    if flaps is None:
        return first_fall(now)
    recent = flaps.falls
    if recent and now - recent[0] >= rule.window:
        recent = tuple([at for at in recent if now - at < rule.window])
    falls = (*recent, now)[-rule.falls :]
    flaps = Flaps(falls, flaps.since, flaps.last, flaps.holds, flaps.until)
    if flaps.since is None and len(falls) < rule.falls:
        return flaps
    return unsteady(flaps, rule, damps=damps, now=now)


def unsteady(flaps: Flaps | None, rule: Damping, *, damps: bool, now: float) -> Flaps:
    """Return what is remembered after a sign that the server flaps. `damps` and `now` are those of `fell`."""
    flaps = flaps or Flaps()
    since = now if flaps.since is None else flaps.since
    if not damps:
        return msgspec.structs.replace(flaps, since=since, last=now)
    is_held = flaps.until is not None and now < flaps.until
    holds = flaps.holds if is_held else flaps.holds + 1
    until = max(flaps.until or now, now + hold_s(holds, rule))
    return msgspec.structs.replace(flaps, since=since, last=now, holds=holds, until=until)


def later(flaps: Flaps, rule: Damping, *, damps: bool, now: float) -> Flaps | None:
    """Return what is still remembered when time has passed without a sign; None for nothing.

    `damps` and `now` are those of `fell`. A server that is held out is let go when its time is over, and at once when
    flapping servers are not held out any more.
    """
    if flaps.until is not None:
        if damps and now < flaps.until:
            return flaps
        ended = min(now, flaps.until)
        flaps = msgspec.structs.replace(flaps, until=None, last=max(flaps.last, ended))
    if flaps.since is not None and now - flaps.last >= rule.window:
        flaps = msgspec.structs.replace(flaps, since=None, holds=0)
    if flaps.since is None and all(now - at >= rule.window for at in flaps.falls):
        return None
    return flaps


def held_out(flaps: Flaps, rule: Damping | None) -> str:
    """Say in words that a server is held out; empty if it is not. The words stay the same while it is.

    rule: None if flapping servers are not held out.
    """
    if rule is None or flaps.until is None:
        return ""
    return f"damped because it flaps, until it has been steady for {duration_text(hold_s(flaps.holds, rule))}"
