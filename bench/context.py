"""Defines a scenario and what it gets: the real servers, how thorough to be, and measurements of other scenarios."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from bench.healthd import Load
from bench.outcome import MeasurementError, Outcome
from bench.real_servers import RealServers

_T = TypeVar("_T")


class Context:
    """One run of the benchmark. `is_quick` saves time by repeating less, so figures have no spread."""

    def __init__(self, servers: RealServers, *, is_quick: bool) -> None:
        self.servers = servers
        self.is_quick = is_quick
        self._shared: dict[str, object] = {}
        self._failed: dict[str, str] = {}

    def pick(self, full: _T, quick: _T) -> _T:
        """Return `quick` in a quick run, else `full`."""
        return quick if self.is_quick else full

    def load(self, kind: str, count: int, interval_s: float) -> Load:
        """Return a load of `count` of the real servers."""
        return Load(kind, count, interval_s, self.servers.ca)

    def shared(self, name: str, measure: Callable[[], _T]) -> _T:
        """Return what `measure` finds, and measure only once for all scenarios that use the same name.

        Raises `MeasurementError` when the measurement fails, or has failed before.
        """
        if name in self._failed:
            raise MeasurementError(f"failed before: {self._failed[name]}")
        if name not in self._shared:
            try:
                self._shared[name] = measure()
            except MeasurementError as error:
                self._failed[name] = str(error)
                raise
        return self._shared[name]  # type: ignore[return-value]  # the name stands for the type

    def say(self, text: str) -> None:
        """Print a message about the progress."""
        print(f"    {text}", flush=True)


class Scenario(NamedTuple):
    """One thing to measure. `run` raises `MeasurementError` when it cannot be measured."""

    name: str
    title: str
    run: Callable[[Context], Outcome]
    is_slow: bool = False
    """Whether a quick run leaves it out, unless it is chosen by name."""
