"""Forks of lvs-healthd: as processes of its own in what they say, how they end and what they are given."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab import forks
from lab.forks import fork, run
from lab.host import REPOSITORY
from lab.wait import wait_until
from tests.daemon_process import TIMEOUT_S, LvsHealthd

_WAITING = '[daemon]\ncontrol = "{folder}/control.sock"\nstate = "{folder}/state.json"\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with which a daemon does nothing but wait."""
    file = tmp_path / "config.toml"
    file.write_text(_WAITING.format(folder=tmp_path))
    return file


@pytest.mark.parametrize("words", [["--version"], ["validate", "nowhere.toml"], ["status", "--help"], ["stauts"], []])
def test_says_what_a_process_of_its_own_says(words: list[str]) -> None:
    own = subprocess.run([*LvsHealthd, *words], check=False, capture_output=True, text=True, timeout=TIMEOUT_S)
    result = run(words, timeout_s=TIMEOUT_S)
    assert (result.returncode, result.stdout, result.stderr) == (own.returncode, own.stdout, own.stderr)


def test_daemon_runs_where_and_with_what_it_is_given(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.parent)
    log = config.parent / "log"
    with log.open("wb") as stderr:
        process = fork(["run", "--config", config.name, "--table", "memory"], stderr=stderr.fileno(), env={"HERE": "1"})
    wait_until(lambda: b'"daemon.started"' in log.read_bytes(), timeout_s=TIMEOUT_S, what=log.read_text)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    assert Path(f"/proc/{process.pid}/cwd").resolve() == config.parent
    assert Path(f"/proc/{process.pid}/fd/2").readlink() == log
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 0
    process.send_signal(signal.SIGTERM)


def test_kill_is_told_as_a_signal(config: Path) -> None:
    process = fork(["run", "--config", str(config), "--table", "memory"])
    process.kill()
    assert process.wait(TIMEOUT_S) == -signal.SIGKILL
    assert process.poll() == -signal.SIGKILL


def test_ends_with_whoever_started_it(config: Path) -> None:
    code = f"from lab.forks import fork; print(fork(['run', '--config', {str(config)!r}, '--table', 'memory']).pid)"
    code += "; import time; time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as starter:
        assert starter.stdout is not None
        process = Path(f"/proc/{starter.stdout.readline().strip()}")
        assert process.exists()
        starter.kill()
    wait_until(lambda: not process.exists(), timeout_s=TIMEOUT_S, what="the daemon's end")


def test_what_only_a_new_interpreter_heeds_is_refused() -> None:
    with pytest.raises(ValueError, match="PYTHONPATH"):
        fork(["--version"], env={"PYTHONPATH": "/tmp"})


def test_after_the_end_of_the_process_that_forks_there_is_another() -> None:
    assert run(["--version"], timeout_s=TIMEOUT_S).returncode == 0
    _, forking = forks._forking()
    forking.kill()
    forking.wait()
    with pytest.raises(ChildProcessError, match="has ended"):
        fork(["--version"])
    assert run(["--version"], timeout_s=TIMEOUT_S).returncode == 0
