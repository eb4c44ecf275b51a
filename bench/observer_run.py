"""Runs `observer.py` and reads its results."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from bench.outcome import MeasurementError
from bench.processes import PEER_CPU, PYTHON, Program, running


class Observer:
    """Requests to the daemon at fixed times. After the block, `seen` has (asked, waited) for each, seconds."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.seen: list[tuple[float, float]] = []

    @classmethod
    @contextlib.contextmanager
    def watching(cls, control: Path, interval_s: float) -> Iterator["Observer"]:
        """Ask for the length of the block. Raises `MeasurementError` when the observer fails."""
        command = [PYTHON, "-I", "-S", Path(__file__).with_name("observer.py"), control, str(interval_s)]
        with running(command, cpu=PEER_CPU) as program:
            observer = cls(program)
            yield observer
            observer.end()

    def end(self) -> None:
        """Stop the observer and read its results."""
        self._program.stop()
        try:
            self.seen = [(due, waited) for due, waited in json.loads(self._program.output())]
        except ValueError as error:
            raise MeasurementError(f"the observer failed:\n{self._program.last_words()}") from error
        if not self.seen:
            raise MeasurementError("the observer saw nothing")

    @property
    def waits_s(self) -> list[float]:
        """How long each answer took."""
        return [waited for _, waited in self.seen]

    def between(self, begin: float, end: float) -> list[float]:
        """Return how long the answers took to requests between `begin` and `end` (CLOCK_MONOTONIC)."""
        return [waited for due, waited in self.seen if begin <= due <= end]
