"""`lvs-healthd reload` as an operator runs it, against a real control socket."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lvs_healthd.view.reload_values import AddressChange, Change, LineChange, ReloadOutcome, RestartNeeded
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
    assert (ran.code, ran.out) == (0, "config.toml: no service, real server, check or hook changed\n")


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


def test_dry_run_names_what_would_change_and_what_only_a_reload_shows(run: Run, daemon: Daemon) -> None:
    daemon.reloaded = ReloadOutcome(
        file="config.toml",
        services_removed=1,
        servers_removed=150,
        checks_changed=1,
        dry_run=True,
        would_change=(
            Change(how="removed", service="web"),
            Change(how="removed", service="web", server="198.51.100.11:80"),
            Change(how="changed", service="dns", server="198.51.100.12:53", check="udp"),
        ),
        not_tried=("daemon.listen",),
        table=(
            LineChange(operation="add_service", service="dns", fields="scheduler rr", reason="configured"),
            LineChange(
                operation="add_server",
                service="dns",
                server="198.51.100.12:53",
                fields="weight 1, forward nat",
                reason="not proven healthy yet",
                when="when its checks have passed",
            ),
        ),
        table_count=150,
        addresses=(
            AddressChange(address="192.0.2.100", was="lvs0", change="would be taken off lvs0"),
            AddressChange(
                address="192.0.2.101",
                interface="lvs0",
                change="would be put on lvs0",
                when="when its services may serve",
            ),
        ),
        addresses_count=3,
    )
    ran = run("--dry-run", "--control", str(daemon.control))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "config.toml: would change: 1 service removed, 150 real servers removed, 1 check changed",
        'service "web": removed',
        'service "web": real server 198.51.100.11:80 removed',
        'service "dns": real server 198.51.100.12:53 check "udp" changed',
        "and 149 more",
        'table: add_service "dns": scheduler rr (configured)',
        (
            'table: add_server 198.51.100.12:53 of "dns": weight 1, forward nat (not proven healthy yet), '
            "but only when its checks have passed"
        ),
        "table: and 148 more",
        "address: 192.0.2.100 would be taken off lvs0",
        "address: 192.0.2.101 would be put on lvs0, but only when its services may serve",
        "address: and 1 more",
        "daemon.listen changes: only the reload shows what comes of it",
    ]
    run("--force", "--control", str(daemon.control))
    run("--dry-run", "--force", "--control", str(daemon.control))
    assert [request for request, _ in daemon.asked] == [
        "reload --dry-run",
        "reload --force",
        "reload --dry-run --force",
    ]


def test_dry_run_that_finds_errors_says_that_the_file_would_be_rejected(run: Run, daemon: Daemon) -> None:
    daemon.reloaded = ReloadOutcome(file="config.toml", errors=("config.toml:3: bad",), dry_run=True)
    ran = run("--dry-run", "--control", str(daemon.control))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines() == ["config.toml:3: bad", "lvs-healthd reload: config.toml would be rejected"]


def test_daemon_that_knows_no_dry_run_is_not_reloaded(
    run: Run, answering: Callable[[Path, bytes], None], tmp_path: Path
) -> None:
    answering(tmp_path / "old.sock", b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}")
    ran = run("--dry-run", "--control", str(tmp_path / "old.sock"))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "lvs-healthd reload: this daemon is older and knows no --dry-run; nothing was changed\n"
