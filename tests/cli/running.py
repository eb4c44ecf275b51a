"""Runs a verb as an operator does, in a pipe or on a terminal."""

import os
import pty
import re
import subprocess
import sys

import msgspec
import pytest

from lvs_healthd.cli import main
from tests.cli.conftest import Daemon

COMMAND = [sys.executable, "-c", "from lvs_healthd.cli import main; main()"]


class Ran(msgspec.Struct):
    code: int
    out: str
    err: str


class Run:
    """Runs one verb in this process, with standard output as a pipe."""

    def __init__(self, verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._verb = verb
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Ran:
        self._monkeypatch.setattr("sys.argv", ["lvs-healthd", self._verb, *arguments])
        try:
            main()
            code: object = 0
        except SystemExit as end:
            code = end.code
        printed = self._capsys.readouterr()
        return Ran(code=int(str(code or 0)), out=printed.out, err=printed.err)


def on_terminal(daemon: Daemon, *arguments: str, columns: int = 80, color: bool = False, code: int = 0) -> list[str]:
    """Run the command on a real pseudo-terminal and return its lines."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    if not color:
        environment["NO_COLOR"] = "1"
    command = [*COMMAND, *arguments, "--control", str(daemon.control)]
    with os.fdopen(follower, "wb") as stdout:
        ran = subprocess.Popen(command, stdout=stdout, env=environment)
    with os.fdopen(leader, "rb", buffering=0) as reader:
        text = b""
        while True:
            try:
                text += reader.read(65536)
            except OSError:  # EIO: the other end is closed
                break
    assert ran.wait(10) == code
    shown = text.decode().replace("\r\n", "\n")
    return (shown if color else re.sub(r"\x1b\[[\d;]*m", "", shown)).splitlines()
