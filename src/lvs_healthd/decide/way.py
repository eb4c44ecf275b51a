"""What is known of each way out of the director, and how the brake on it is told."""

import math
from typing import NamedTuple, Protocol

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.decide.brake import Brake, Stage
from lvs_healthd.decide.held import ProbeState


class Ways(Protocol):
    """Knows by which ways targets are reached."""

    def of(self, check: AnyCheck) -> tuple[str, ...]:
        """Return the names of the ways to a check's target: its interface, and the next hop behind it if there is one.

        Returns () if that is not known, or if packets to the target do not leave the director.
        """


class NoWays:
    """Knows no way."""

    def of(self, check: AnyCheck) -> tuple[str, ...]:  # noqa: ARG002
        """Return ()."""
        return ()


class Finding(NamedTuple):
    """What a diagnosis of the director found about one way. Times are seconds on the monotonic clock."""

    symptoms: tuple[str, ...] = ()
    """Faults of the director that stand now, in words."""
    proof: str = ""
    """What shows that the way works although no target answers; "" if nothing does."""
    watched_from: float = 0.0
    """The director's firewall was watched from here ..."""
    watched_to: float = 0.0
    """... to here. `proof` counts only if a probe got no answer meanwhile: else the firewall may have dropped them."""


NO_FINDING = Finding()


class Held(NamedTuple):
    """A way on which the brake is on, for those who tell of it."""

    way: str
    since: float
    """When the brake was put on, seconds on the monotonic clock."""
    silent: int
    """How many targets are silent."""
    targets: int
    """Of how many."""
    causes: tuple[str, ...]
    """What was found wrong with the director, in words."""


class Change(NamedTuple):
    """The brake of a way is put on, let go, or its cause has been found."""

    held: Held
    stage: Stage
    why: str
    """What ended it, in words; "" while it is on."""
    after_s: float
    """How long it was on, seconds."""


class Way:
    """One way out of the director."""

    def __init__(self) -> None:
        self.brake = Brake()
        self.witness: ProbeState | None = None
        """The probe that has shown last that a target answers."""
        self.silent = 0
        self.targets = 0
        """What the last look counted."""
        self.causes: tuple[str, ...] = ()
        self.braked = 0.0
        """When the brake was put on."""
        self.counted_from = math.inf
        """The targets that have been silent since then were silent in the last episode in which the brake was on."""
        self.let_go = -math.inf
        """When that episode ended. A network that breaks again at once is a new one for all of them."""

    def silent_from(self, silent_since: float) -> float:
        """Return since when a target counts as silent that has been silent since `silent_since`."""
        return max(silent_since, self.let_go) if silent_since >= self.counted_from else silent_since


def held_on(name: str, way: Way) -> Held:
    """Return what to tell of a way on which the brake is on."""
    return Held(name, way.braked, way.silent, way.targets, way.causes)
