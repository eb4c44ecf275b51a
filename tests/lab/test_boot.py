"""The guest is told what to run in a way that does not depend on how much that is."""

import shlex
import sys
import time
from pathlib import Path

import pytest

import lab.boot
from lab.boot import SHARED_IN_GUEST, Guest, write_command


def test_what_virtme_ng_is_told_does_not_grow_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake_vng(folder: Path, cwd: Path, *arguments: str) -> list[str]:
        del cwd
        return [
            sys.executable,
            "-c",
            "import sys; open(sys.argv[1], 'w').write(sys.argv[2])",
            str(folder / "told"),
            arguments[-1],
        ]

    monkeypatch.setattr(lab.boot, "vng_command", fake_vng)
    command = ["program", *(f"/a/rather/long/path/of/a/test/file_{number}.py" for number in range(1_000))]

    with Guest(command, folder=tmp_path, cwd=tmp_path, deadline_s=60) as guest:
        give_up = time.monotonic() + 30
        while guest.running and time.monotonic() < give_up:
            time.sleep(0.01)

    told = (tmp_path / "told").read_text(encoding="utf-8")
    assert Path(told).parent == Path(SHARED_IN_GUEST)
    script = (tmp_path / Path(told).name).read_text(encoding="utf-8")
    assert all(word in script for word in command)


def test_the_program_hands_each_argument_on_as_it_was(tmp_path: Path) -> None:
    words = ["two words", "$HOME", "it's", ""]

    program = write_command(tmp_path, ["printf", "<%s>", *words], deadline_s=5)

    line = program.read_text(encoding="utf-8").splitlines()[-1]
    assert shlex.split(line)[-len(words) :] == words
