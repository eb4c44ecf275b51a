"""The lab's command brings the demo's output and exit status out of the guest."""

import sys
from pathlib import Path
from typing import Self

import pytest

import lab.__main__ as command


class FakeGuest:
    """A stand-in for a guest, which has already ended when the test looks at it."""

    running = False

    def __init__(self, _command: list[str], *, folder: Path, status: int | None) -> None:
        self.output_file = folder / "output"
        self.output_file.write_text("what the demo said\n")
        self.status = status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def last_words(self) -> str:
        return "Kernel panic"


@pytest.mark.parametrize(("inside", "outside"), [(0, 0), (1, 1), (124, 124), (None, 1)])
def test_exit_status_of_the_demo_comes_out_of_the_guest(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], inside: int | None, outside: int
) -> None:
    def boot(demo: list[str], *, folder: Path, cwd: Path, deadline_s: float, card: str) -> FakeGuest:
        assert not card
        assert demo[:3] == [sys.executable, "-m", "lab.demo"]
        return FakeGuest(demo, folder=folder, status=inside)

    monkeypatch.setattr(command, "needs_guest", lambda: True)
    monkeypatch.setattr(command, "Guest", boot)
    assert command.demo() == outside
    captured = capfdbinary.readouterr()
    assert b"what the demo said" in captured.out
    assert (b"Kernel panic" in captured.err) is (inside is None)
