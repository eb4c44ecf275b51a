"""The brake: decides whether the servers behind one way out of the director seem dead because the way itself is broken.

It is pure: the caller passes the time. A way is an interface, or a next hop behind it.

    CLEAR --a target falls silent--> DOUBT --nearly all are silent--> BRAKED --longest--> RELEASED
    DOUBT, BRAKED --the path is proved, though no target answers--> RELEASED
    DOUBT --within passes, or too few targets--> RELEASED
    DOUBT, BRAKED, RELEASED --a target answers--> CLEAR

While a way is in DOUBT or BRAKED, no server behind it is removed because it is silent. DOUBT lasts for a moment only:
usually another target answers at once. RELEASED lets everything pass, and does not brake again for the same silence.
"""

import enum
from typing import NamedTuple

import msgspec


class Stage(enum.StrEnum):
    """What the brake holds of one way."""

    CLEAR = "clear"
    """No target has fallen silent lately, or others have answered since."""
    DOUBT = "doubt"
    """A target has fallen silent, and none has answered since."""
    BRAKED = "braked"
    """Nearly all targets have fallen silent together, or one has while the director has a fault of its own."""
    RELEASED = "released"
    """The targets are silent, but through no fault of the director, or this has lasted for too long."""


class Rule(NamedTuple):
    """When to brake, and for how long."""

    share: float
    """The share of the targets that must have fallen silent, 0 to 1."""
    within_s: float
    """The time within which they must have fallen silent, seconds."""
    min_targets: int
    """How many targets there must be that have fallen silent."""
    longest_s: float
    """After how many seconds to let go in any case."""


class Look(NamedTuple):
    """What a look at all targets of a way shows."""

    silent: int
    """How many targets fell silent in this episode, and have not answered since."""
    others: int
    """How many targets have neither fallen silent nor answered in this episode. Those that were silent long before do
    not count at all."""
    has_answer: bool
    """Whether a target has answered a probe that began after the first one fell silent."""
    symptom: str = ""
    """A fault of the director itself that stands now, in words; "" if there is none."""
    proof: str = ""
    """What else proves that the way works, in words: a neighbour that answers ARP; "" if nothing does."""


class Brake(msgspec.Struct, frozen=True, gc=False):
    """The brake of one way. Times are seconds on the monotonic clock."""

    stage: Stage = Stage.CLEAR
    since: float = 0.0
    """When the probe began with which the first target of this episode fell silent."""
    entered: float = 0.0
    """When this stage began."""
    why: str = ""
    """RELEASED: what ended the brake, in words."""

    @property
    def holds(self) -> bool:
        """Whether no server behind the way may be removed because it is silent."""
        return self.stage in (Stage.DOUBT, Stage.BRAKED)


ANSWERS = "a target answers"
NOBODY_LEFT = "none of its targets is silent any more"
TOO_FEW = "too few targets can tell"
NOT_TOGETHER = "not enough targets fell silent together"


def fell_silent(brake: Brake, began: float, now: float) -> Brake:
    """Return the brake after a target has fallen silent.

    began: when the probe began that got no answer.
    now: seconds on the monotonic clock.
    """
    return Brake(Stage.DOUBT, began, now) if brake.stage is Stage.CLEAR else brake


def answered(brake: Brake, now: float) -> Brake:
    """Return the brake after a target has answered a probe that began after the first one fell silent."""
    return brake if brake.stage is Stage.CLEAR else Brake(Stage.CLEAR, brake.since, now, ANSWERS)


def looked(brake: Brake, look: Look, rule: Rule, now: float) -> Brake:
    """Return the brake after a look at all targets. When nothing changes, return the same object."""
    if brake.stage is Stage.CLEAR:
        return brake
    if look.has_answer:
        return answered(brake, now)
    if not look.silent:
        return Brake(Stage.CLEAR, brake.since, now, NOBODY_LEFT)
    if brake.stage is Stage.DOUBT:
        return _decided(brake, look, rule, now)
    if brake.stage is Stage.BRAKED:
        if now - brake.entered >= rule.longest_s:
            return Brake(Stage.RELEASED, brake.since, now, f"it has lasted {rule.longest_s:g}s, the longest allowed")
        if look.proof and not look.symptom:
            return Brake(Stage.RELEASED, brake.since, now, look.proof)
    return brake


def _decided(brake: Brake, look: Look, rule: Rule, now: float) -> Brake:
    """Return what becomes of DOUBT."""
    targets = look.silent + look.others
    is_over = now - brake.entered >= rule.within_s
    if targets < rule.min_targets:
        return Brake(Stage.RELEASED, brake.since, now, TOO_FEW)
    if look.proof and not look.symptom:
        return Brake(Stage.RELEASED, brake.since, now, look.proof)
    if look.silent >= rule.min_targets and look.silent >= rule.share * targets:
        return Brake(Stage.BRAKED, brake.since, now)
    if is_over:
        return Brake(
            Stage.BRAKED if look.symptom else Stage.RELEASED, brake.since, now, "" if look.symptom else NOT_TOGETHER
        )
    return brake


class Recovering(NamedTuple):
    """A server that the brake has kept, after another target has answered. Times are seconds on the monotonic clock."""

    let_go: float
    """When the brake was let go."""
    probed: float
    """When the last probe of its failed check began."""
    passes: bool
    """Whether that probe passed."""
    rise: int
    interval_s: float
    timeout_s: float


def may_recover(server: Recovering, now: float) -> bool:
    """Whether to leave a server where it is for now, because its own next probes decide.

    The way works again, and a server needs `rise` passes to be up. To take it out until then would empty the service in
    the moment in which it recovers. If its next probe fails, it goes.
    """
    most_s = (server.rise + 1) * (server.interval_s + server.timeout_s)
    return now - server.let_go < most_s and (server.passes or server.probed <= server.let_go)
