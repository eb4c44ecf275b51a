"""Prints what the demo does, and its claims with their results at the end, as plain lines for a terminal or a log."""

import sys
import textwrap
import time
from dataclasses import dataclass
from typing import Any

BOLD, RED, GREEN, DIM = "1", "31", "32", "2"


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence that was tested, what was measured, and whether the sentence is true."""

    text: str
    measured: str
    holds: bool


class Narrator:
    """Prints each step of the demo as it happens, and keeps the claims."""

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour
        self._started = time.monotonic()
        self._claims: list[Claim] = []
        self._steps = 0

    def step(self, text: str) -> None:
        """Print the numbered heading of a new act."""
        self._steps += 1
        self._print(f"\n{self._painted(f'{self._steps}. {text}', BOLD)}")

    def say(self, text: str) -> None:
        """Print one line within an act."""
        self._print(f"   {text}")

    def quote(self, text: str) -> None:
        """Print the output of a program, indented."""
        self._print(self._painted(textwrap.indent(text.rstrip(), "   | "), DIM))

    def log(self, line: dict[str, Any]) -> None:
        """Print one of the daemon's log lines, without the fields that are empty."""
        fields = " ".join(
            f"{key}={value!r}" if isinstance(value, str) and " " in value else f"{key}={value}"
            for key, value in line.items()
            if key not in ("timestamp", "level", "event") and value not in ("", None)
        )
        self.quote(f"{line['timestamp'][11:23]} {line['event']} {fields}")

    def claim(self, text: str, measured: str, *, holds: bool) -> None:
        """Print a claim and keep it for the table at the end."""
        self._claims.append(Claim(text, measured, holds))
        self._print(f"   {self._mark(holds)} {text}: {measured}")

    def verdict(self) -> int:
        """Print the table of claims. Return the exit status: 0 when all claims hold, else 1."""
        width = max(len(claim.text) for claim in self._claims)
        measured_width = max(len(claim.measured) for claim in self._claims)
        self._print(f"\n{self._painted('What was claimed, and what was measured', BOLD)}\n")
        for claim in self._claims:
            self._print(f"  {self._mark(claim.holds)}  {claim.text:{width}}  {claim.measured:>{measured_width}}")
        failed = sum(not claim.holds for claim in self._claims)
        held = f"{len(self._claims) - failed} of {len(self._claims)} claims hold"
        self._print(f"\n  {held}, in {time.monotonic() - self._started:.0f} s.")
        return 1 if failed else 0

    def _mark(self, holds: bool) -> str:  # noqa: FBT001  # one predicate, one argument
        return self._painted("ok  ", GREEN) if holds else self._painted("FAIL", RED)

    def _painted(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    @staticmethod
    def _print(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
