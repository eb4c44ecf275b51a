"""The shells complete verbs, options, and the names that the running daemon knows."""

import os
import pty
import re
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lvs_healthd.cli import VERBS
from lvs_healthd.cli.complete_quickly import CONTROL, FILE, complete
from lvs_healthd.cli.reference import files
from lvs_healthd.config.model import Daemon as DaemonSettings
from lvs_healthd.config.readymade import Shelf, search_path
from lvs_healthd.config.text import DEFAULT_FILE
from tests.cli.conftest import Daemon
from tests.statuses import status

ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "TERM": "dumb"}
SERVICES = ["web", "dns"]
"""Those that the stand-in for the daemon names when it is asked for services alone."""
FIRST = status().services[0]
SERVERS = [server.server for server in FIRST.real_servers]
EVERY_SERVER = {server.server for service in status().services for server in service.real_servers}

Complete = Callable[[str], set[str]]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("share")
    for name, text in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def in_bash(scripts: Path, line: str) -> set[str]:
    script = scripts / "bash-completion/completions/lvs-healthd"
    code = 'source "$1"; COMP_LINE="$2"; COMP_POINT=${#2}; _lvs_healthd; printf "%s\\n" "${COMPREPLY[@]}"'
    ran = subprocess.run(
        ["bash", "--norc", "-c", code, "bash", str(script), line],
        capture_output=True, text=True, check=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert ran.stderr == ""
    before = line.rpartition(" ")[2]
    before = before[: before.rfind(":") + 1]  # which bash leaves as it is
    return {before + "".join(shlex.split(word)) for word in ran.stdout.splitlines() if word}


def in_fish(scripts: Path, line: str) -> set[str]:
    script = scripts / "fish/vendor_completions.d/lvs-healthd.fish"
    ran = subprocess.run(
        ["fish", "--no-config", "-c", f"source {script}; complete -C $argv[1]", line],
        capture_output=True, text=True, check=True, env=ENVIRONMENT | {"HOME": str(scripts)},
    )  # fmt: skip
    return {word.partition("\t")[0] for word in ran.stdout.splitlines()}


def in_zsh(scripts: Path, line: str) -> set[str]:
    """Type the line and a tab into an interactive zsh, and read the list that it shows."""
    setup = (
        f"PS1='RE''ADY '; unsetopt beep; fpath=({scripts}/zsh/vendor-completions $fpath); autoload -U compinit; "
        "compinit -u -D; LISTMAX=10000\n"
    )
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe("zsh", ["zsh", "-f", "-i"], ENVIRONMENT | {"COLUMNS": "400", "LINES": "200"})  # noqa: S606
    try:
        os.write(terminal, setup.encode())
        until(terminal, "READY ")
        # Ctrl-D lists what may stand there, and leaves the line as it is.
        os.write(terminal, f"{line}\x04".encode())
        shown = until(terminal, quiet_s=0.5)
    finally:
        os.close(terminal)
        os.kill(child, 9)
        os.waitpid(child, 0)
    listed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).partition("\n")[2]
    return {word.replace("\\", "") for word in listed.split()}


def until(terminal: int, wanted: str = "", *, quiet_s: float = 10.0) -> str:
    """Read until a text comes, or until nothing has come for a while after the first."""
    text, end = "", time.monotonic() + 20
    while time.monotonic() < end and not (wanted and wanted in text):
        ready, _, _ = select.select([terminal], [], [], quiet_s if "\n" in text else 10)
        if not ready:
            break
        text += os.read(terminal, 65536).decode(errors="replace")
    assert wanted in text
    return text


@pytest.fixture(params=[in_bash, in_fish, in_zsh])
def completed(request: pytest.FixtureRequest, scripts: Path) -> Complete:
    return lambda line: request.param(scripts, line)


def test_verbs_are_completed(completed: Complete) -> None:
    assert completed("lvs-healthd ") >= VERBS.keys()


def test_options_of_the_verb_are_completed(completed: Complete) -> None:
    found = completed("lvs-healthd drain --")
    assert found >= {"--everywhere", "--for", "--wait", "--control", "--help"}
    assert "--stats" not in found


def test_fixed_words_are_completed(completed: Complete) -> None:
    assert completed("lvs-healthd import ") >= {"ipvsadm", "mon", "ldirectord", "keepalived"}
    assert completed("lvs-healthd run --log-level ") >= {"debug", "info", "warning", "error"}


def test_ready_made_checks_are_completed(completed: Complete) -> None:
    assert completed("lvs-healthd checks ") >= {"redis", "postgres", "ssh"}


def test_services_of_the_running_daemon_are_completed(completed: Complete, daemon: Daemon) -> None:
    found = completed(f"lvs-healthd drain --control {daemon.control} ")
    assert found >= set(SERVICES)
    assert not found & EVERY_SERVER


def test_servers_of_the_service_are_completed(completed: Complete, daemon: Daemon) -> None:
    found = completed(f"lvs-healthd drain --control {daemon.control} {FIRST.service} {SERVERS[0]} ")
    assert found >= set(SERVERS)
    assert not found & (EVERY_SERVER - set(SERVERS))


def test_servers_are_completed_after_an_option(completed: Complete, daemon: Daemon) -> None:
    assert completed(f"lvs-healthd drain --control {daemon.control} --everywhere ") >= EVERY_SERVER


def test_services_and_servers_are_completed_together(completed: Complete, daemon: Daemon) -> None:
    assert completed(f"lvs-healthd status --control {daemon.control} ") >= {FIRST.service, *EVERY_SERVER}


def test_bash_completes_an_address_after_its_colon(scripts: Path, daemon: Daemon) -> None:
    address = SERVERS[0]
    begun = address[: address.rindex(":") + 2]
    assert in_bash(scripts, f"lvs-healthd why --control {daemon.control} {FIRST.service} {begun}") == {
        each for each in SERVERS if each.startswith(begun)
    }


def test_without_a_daemon_nothing_is_completed_and_nothing_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    complete(["servers", "web", "--control", str(tmp_path / "nobody")])
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


def test_the_socket_is_found_in_the_configuration(
    capsys: pytest.CaptureFixture[str], daemon: Daemon, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[brake]\ncontrol = "/wrong"\n[daemon]\nlisten = ""\ncontrol = "{daemon.control}"\n[[broken\n')
    complete(["services", f"--config={file}"])
    assert capsys.readouterr().out.splitlines() == SERVICES


def test_defaults_are_those_of_other_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert DaemonSettings().control == CONTROL
    assert DEFAULT_FILE == FILE
    complete(["checks"])
    assert tuple(capsys.readouterr().out.splitlines()) == Shelf(search_path(str(FILE))).names()
