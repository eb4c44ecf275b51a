"""The pages that show what the daemon answers are true: they are played, and the daemon answers what they show.

`WRITE_PAGES=1` writes into the pages what it answers now.
"""

import asyncio
import os
import shlex
import shutil
import time
from pathlib import Path

import pytest

from lvs_healthd.cli import doctor
from tests.docs.pages import REPOSITORY
from tests.docs.played import (
    ACTIONS,
    COLUMNS,
    Stage,
    installed,
    is_as_shown,
    stage,
    steps,
    unchanging,
    with_keys,
    written_anew,
)
from tests.doctor.seen import director, service, silent, sysctls

DOCS = REPOSITORY / "docs"
WRITES = "WRITE_PAGES" in os.environ
PATIENCE_S = 20.0
SETTLED_S = 4.0
"""When pages are written, what is asked waits so long, so that all is over that was caused before."""

THREE = """[daemon]
[defaults.check]
[[service]]
name = "web"
address = "192.0.2.100:80"
scheduler = "wrr"
check = { type = "http", path = "/healthz" }
real_server = ["198.51.100.11", "198.51.100.12", "198.51.100.13"]
"""


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")


async def test_tutorial(tmp_path: Path) -> None:
    async with stage(tmp_path, hurried(installed())) as at:
        await play(at, DOCS / "tutorial.md")


async def test_three_in_the_morning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The doctor looks at a director that forwards nothing; the table in memory forwards nothing either way.
    seen = director(service(silent()), host=sysctls(net__ipv4__ip_forward="0"))
    monkeypatch.setattr(doctor, "observe", lambda *_: seen)
    # Somebody has left it running. It does nothing, but has the name.
    shutil.copy(shutil.which("sleep") or "", tmp_path / "keepalived")
    async with stage(tmp_path, hurried(THREE)) as at:
        await all_up(at)
        rival = at.spawn(str(tmp_path / "keepalived"), "600")
        try:
            await play(at, DOCS / "three-in-the-morning.md")
        finally:
            rival.kill()
            rival.wait()


async def test_drain(tmp_path: Path) -> None:
    async with stage(tmp_path, hurried(THREE)) as at:
        await all_up(at)
        await play(at, DOCS / "how-to" / "drain.md")


def hurried(text: str) -> str:
    """Let checks run more often, unless the pages shall show what they usually do."""
    return text if WRITES else with_keys(text, "defaults.check", {"interval": "600ms", "timeout": "600ms"})


async def all_up(at: Stage) -> None:
    assert at.running is not None
    for server in ("198.51.100.11:80", "198.51.100.12:80", "198.51.100.13:80"):
        await at.running.until("table.changed", operation="add_server", server=server)


async def play(at: Stage, page: Path) -> None:
    """Take every step of a page. Raise AssertionError if an answer is not what the page shows."""
    text = page.read_text(encoding="utf-8")
    answers: dict[int, list[str]] = {}
    for step in steps(text):
        if step.happening:
            await at.happen(step.happening)
        elif step.text:
            with at.file.open("a", encoding="utf-8") as file:
                file.write(step.text)
        else:
            answers[step.line] = await answer(at, step.command, step.host, step.shown)
            if not WRITES:
                found = "\n".join(map(unchanging, answers[step.line]))
                assert is_as_shown(step.shown, answers[step.line]), f"{page.name}:{step.line}: {step.command}\n{found}"
    if WRITES:
        page.write_text(written_anew(text, answers), encoding="utf-8")


async def answer(at: Stage, command: str, host: str, shown: tuple[str, ...]) -> list[str]:
    """Type a command. What only asks is asked until the answer is what the page shows, or patience ends."""
    words = shlex.split(command)
    if host or {words[0], *words[1:2]} & ACTIONS:
        return await at.type(command, host)
    if WRITES:
        await asyncio.sleep(SETTLED_S)
        return await at.type(command)
    deadline = time.monotonic() + PATIENCE_S
    found = await at.type(command)
    while not is_as_shown(shown, found) and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        found = await at.type(command)
    return found


@pytest.mark.parametrize(
    ("shown", "answer", "is_right"),
    [
        (("up 2h  pid 812",), ["up 3s pid 9"], True),
        (("up since 22:41:07 (1m)",), ["up since 01:02:03 (4s)"], True),
        (("web is up",), ["web is down"], False),
        (("weight 1",), ["weight 2"], False),
        (("one", "…", "three"), ["one", "two", "two", "three"], True),
        (("one", "…", "three"), ["one", "three"], True),
        (("one", "…", "three"), ["one", "two"], False),
        (("one",), ["one", "two"], False),
        ((), ["one"], False),
    ],
)
def test_answers_are_compared(shown: tuple[str, ...], answer: list[str], is_right: bool) -> None:
    assert is_as_shown(shown, answer) is is_right
