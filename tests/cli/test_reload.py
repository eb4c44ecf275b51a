"""`lvs-healthd reload` as an operator runs it, against a real control socket."""

import json
from pathlib import Path

import pytest

from lvs_healthd.view.reload_values import ReloadOutcome, RestartNeeded
from tests.cli.conftest import Daemon
from tests.cli.running import Run


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run("reload", monkeypatch, capsys)


def test_what_changed_is_printed(run: Run, daemon: Daemon) -> None:
    daemon.reloaded = ReloadOutcome(
        file="config.toml",
        mode="shadow",
        was="enforce",
        services_added=1,
        servers_removed=2,
        servers_changed=1,
        restart_needed=(RestartNeeded(key="probe_workers", configured="4", in_force="1"),),
    )
    ran = run("--control", str(daemon.control))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "config.toml: mode shadow (before: enforce), 1 service added, 2 real servers removed, 1 real server changed",
        "probe_workers: 4 needs a restart; 1 stays in force until then",
    ]
    assert [request for request, _ in daemon.asked] == ["reload"]


def test_nothing_changed_is_said(run: Run, daemon: Daemon) -> None:
    ran = run("--control", str(daemon.control))
    assert (ran.code, ran.out) == (0, "config.toml: no service, real server or check changed\n")


def test_rejected_configuration_is_1_with_every_error(run: Run, daemon: Daemon) -> None:
    daemon.reloaded = ReloadOutcome(file="config.toml", errors=("config.toml:3: bad", "config.toml:9: worse"))
    ran = run("--control", str(daemon.control))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines() == [
        "config.toml:3: bad",
        "config.toml:9: worse",
        "lvs-healthd reload: config.toml is rejected, and the old configuration stays in force",
    ]
    ran = run("--json", "--control", str(daemon.control))
    assert ran.code == 1
    assert json.loads(ran.out)["errors"] == ["config.toml:3: bad", "config.toml:9: worse"]


def test_change_is_never_asked_for_over_tcp(run: Run, daemon: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[daemon]\nlisten = "{daemon.listen}"\ncontrol = "{tmp_path}/gone.sock"\n')
    ran = run("--config", str(file))
    assert (ran.code, ran.out) == (4, "")
    assert daemon.asked == []
