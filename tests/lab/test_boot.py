"""The guest gets its command whatever the command's length, and boots the right kernel."""

import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lab.boot
import lab.host
from lab.boot import SHARED_IN_GUEST, Guest, write_command


def test_what_virtme_ng_is_told_does_not_grow_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake_vng(folder: Path, cwd: Path, *arguments: str, card: str) -> list[str]:
        del cwd, card
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


@pytest.mark.parametrize(("kernel", "arguments"), [("", ""), ("sid", "sid")])
def test_kernel_that_was_asked_for_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: str, arguments: str
) -> None:
    (tmp_path / "fetch-kernel").write_text('#!/bin/sh\necho "/image of <$*>"\n')
    (tmp_path / "fetch-kernel").chmod(0o755)
    monkeypatch.setattr(lab.boot, "LAB", tmp_path)
    monkeypatch.setattr(lab.boot, "KERNEL", kernel)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert lab.boot.kernel_image() == f"/image of <{arguments}>"


@pytest.mark.parametrize(("mode", "needed"), [("", True), ("vm", True), ("inside", False)])
def test_another_kernel_needs_a_guest_but_no_guest_in_the_guest(
    monkeypatch: pytest.MonkeyPatch, mode: str, needed: bool
) -> None:
    monkeypatch.setattr(lab.host, "KERNEL", "sid")
    monkeypatch.setattr(lab.host, "MODE", mode)
    monkeypatch.setattr(lab.host, "_has_ipvs", lambda: True)
    assert lab.host.needs_guest.__wrapped__() is needed


@pytest.mark.parametrize(("words", "told"), [([], "<>"), (["KERNEL=trixie"], "<trixie>")])
def test_make_passes_the_kernel_on(monkeypatch: pytest.MonkeyPatch, words: list[str], told: str) -> None:
    monkeypatch.delenv("KERNEL", raising=False)
    monkeypatch.delenv("LVS_HEALTHD_LAB_KERNEL", raising=False)
    show = 'show: ; @echo "<$${LVS_HEALTHD_LAB_KERNEL-}>"'
    made = subprocess.run(
        ["make", "--no-print-directory", "--eval", show, "show", *words],
        check=True,
        capture_output=True,
        text=True,
        cwd=lab.host.REPOSITORY,
    )
    assert made.stdout == f"{told}\n"
