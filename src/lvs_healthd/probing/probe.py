"""What a scheduler runs: a target, how often, and who receives the outcomes."""

from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

import msgspec

from lvs_healthd.probes.exchange import Target
from lvs_healthd.probes.outcome import Course, Outcome

Key = TypeVar("Key", bound=Hashable)


class Sink(Protocol):
    """Receives what a probe found."""

    def outcome(self, outcome: Outcome, course: Course) -> None:
        """Take one outcome, and how the probe went."""


class Probe(msgspec.Struct, Generic[Key], frozen=True):
    """What to run, how often, and who receives the outcomes.

    `key` identifies the probe. When a reload brings the same key again, the probe keeps its place in the schedule.
    """

    key: Key
    target: Target
    interval_s: float
    sink: Sink
    pace_s: float = 0.0
    """How often to run it for now, seconds (see `Scheduler.pace`). 0 stands for `interval_s`."""
