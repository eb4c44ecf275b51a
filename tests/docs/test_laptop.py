"""Runs every command of docs/laptop.md, except `make setup`, after which these tests run."""

import asyncio
import os
import shlex
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.daemon_process import DaemonProcess, daemon
from tests.docs.pages import REPOSITORY, blocks

PAGE = REPOSITORY / "docs" / "laptop.md"
COMMANDS = [line for block in blocks(PAGE) if block.language == "sh" for line in block.text.splitlines()]

RUN_BY_OTHERS = {"make setup"}

DAEMON = ".venv/bin/lvs-healthd run --config examples/laptop.toml --table memory"

EXPECTED_STATUS = {
    ".venv/bin/lvs-healthd probe --config examples/laptop.toml": 3,
    ".venv/bin/lvs-healthd status --config examples/laptop.toml": 3,
    ".venv/bin/lvs-healthd status --config examples/laptop.toml --json": 3,
}
"""Nothing listens on the example's ports, and the page says so."""


EXPECTED_REMARK = {
    f".venv/bin/lvs-healthd validate {option}config.example.toml": "remark: config.example.toml: no [[service]]"
    for option in ("", "--effective ")
}
"""All services of the example are commented out, and the page says so."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def laptop() -> AsyncIterator[DaemonProcess]:
    assert DAEMON in COMMANDS
    async with daemon(REPOSITORY / "examples/laptop.toml", "--table", "memory") as running:
        await running.until("daemon.started")
        await running.until("service.fallback")
        yield running


@pytest.mark.parametrize("command", [each for each in COMMANDS if each not in {DAEMON, *RUN_BY_OTHERS}])
@pytest.mark.asyncio(loop_scope="module")
async def test_command_of_the_page_works(command: str, laptop: DaemonProcess) -> None:
    process = await asyncio.create_subprocess_exec(
        *shlex.split(command), cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == EXPECTED_STATUS.get(command, 0), err.decode()
    assert out
    assert err.decode().startswith(EXPECTED_REMARK.get(command, ""))
    assert err.count(b"\n") == (command in EXPECTED_REMARK)


def test_commands_are_all_accounted_for() -> None:
    assert COMMANDS.count(DAEMON) == 1
    assert set(COMMANDS) >= RUN_BY_OTHERS
    assert os.access(REPOSITORY / ".venv/bin/lvs-healthd", os.X_OK)
