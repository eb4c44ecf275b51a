"""`lvs-healthd hold` and `release` as an operator types them, against a real control socket."""

import json
from pathlib import Path

import pytest

from lvs_healthd.view.hold_values import HoldOutcome, HoldStatus
from lvs_healthd.view.status_values import Status
from tests import statuses
from tests.cli.conftest import Daemon
from tests.cli.running import Run, on_terminal


@pytest.fixture
def verbs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, Run]:
    return {verb: Run(verb, monkeypatch, capsys) for verb in ("hold", "release", "status")}


def test_what_is_held_is_printed(verbs: dict[str, Run], daemon: Daemon) -> None:
    daemon.held = HoldOutcome(held=("web", ""))
    ran = verbs["hold"]("web", "--reason", "new switch", "--control", str(daemon.control))
    assert (ran.code, ran.out, ran.err) == (0, "held: web, the whole table\n", "")
    daemon.held = HoldOutcome(held=())
    ran = verbs["release"]("--control", str(daemon.control))
    assert (ran.code, ran.out, ran.err) == (0, "held: nothing\n", "")
    ran = verbs["release"]("web", "--json", "--control", str(daemon.control))
    assert json.loads(ran.out) == {"held": [], "not_kept": ""}
    assert [request for request, _ in daemon.asked] == ["hold web new switch", "release", "release web"]


def test_hold_that_a_restart_would_forget_is_1_and_says_why(verbs: dict[str, Run], daemon: Daemon) -> None:
    daemon.held = HoldOutcome(held=("",), not_kept="holds.json: cannot write: No space left on device")
    ran = verbs["hold"]("--control", str(daemon.control))
    assert (ran.code, ran.out) == (1, "held: the whole table\n")
    assert ran.err.rstrip().endswith("but a restart would forget it: holds.json: cannot write: No space left on device")


def test_refusals_are_1_with_the_daemons_words_and_no_daemon_is_4(
    verbs: dict[str, Run], daemon: Daemon, tmp_path: Path
) -> None:
    daemon.unheld = "nothing is held"
    ran = verbs["release"]("--control", str(daemon.control))
    assert (ran.code, ran.err) == (1, "lvs-healthd release: nothing is held\n")
    ran = verbs["hold"]("nobody", "--control", str(daemon.control))
    assert (ran.code, ran.err) == (1, 'lvs-healthd hold: no service is called "nobody" or has that address\n')
    assert verbs["hold"]("--control", str(tmp_path / "gone.sock")).code == 4


def test_status_says_what_is_held_and_check_warns(
    verbs: dict[str, Run], daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: statuses.NOW)
    held = (
        HoldStatus(service="web", address="192.0.2.100:80/tcp", since=statuses.NOW - 7200, uid=1000, reason="switch"),
        HoldStatus(service="", since=statuses.NOW - 5, uid=0),
    )
    daemon.status = Status(daemon=statuses.daemon(holds=held), services=())
    ran = verbs["status"]("--control", str(daemon.control))
    assert ran.code == 3
    first, second = ran.err.splitlines()
    assert first.startswith(
        "lvs-healthd status: HELD: web for 2h by user 1000: switch; nothing is written to it until "
    )
    assert first.endswith("until `lvs-healthd release web`")
    assert second.startswith("lvs-healthd status: HELD: the whole table for 5s by user 0; nothing is written")
    assert second.endswith("until `lvs-healthd release`")
    ran = verbs["status"]("--check", "--control", str(daemon.control))
    assert ran.code == 1
    assert "held: web for 2h by user 1000: switch; held: the whole table for 5s by user 0" in ran.out


def test_status_says_which_way_is_braked_and_why_and_check_is_critical(verbs: dict[str, Run], daemon: Daemon) -> None:
    web = statuses.service("web", statuses.real_server("198.51.100.11:80", "down"), in_sync=False, held_by="brake")
    daemon.status = Status(daemon=statuses.daemon(brakes=(statuses.BRAKE,)), services=(web,))
    ran = verbs["status"]("--control", str(daemon.control))
    assert ran.code == 3
    what = "BRAKE: 9 of 10 targets behind eth1 fell silent together, so none of them is taken out"
    assert ran.err == f"lvs-healthd status: {what}: our interface eth1 has no carrier\n"
    ran = verbs["status"]("--check", "--control", str(daemon.control))
    assert (ran.code, ran.out.startswith("CRITICAL: ")) == (2, True)
    assert "brake: 9 of 10 targets behind eth1 fell silent together" in ran.out


@pytest.mark.parametrize(
    ("held_by", "flag"), [("brake", "HELD BY THE BRAKE"), ("operator", "HELD BY AN OPERATOR"), ("", "NOT IN SYNC")]
)
def test_terminal_says_what_holds_a_service(daemon: Daemon, held_by: str, flag: str) -> None:
    web = statuses.service("web", statuses.real_server("198.51.100.11:80", "down"), in_sync=False, held_by=held_by)
    daemon.status = Status(daemon=statuses.daemon(), services=(web,))
    assert any(flag in line for line in on_terminal(daemon, "status", code=3, columns=120))


def test_service_in_shadow_mode_is_out_of_sync_without_a_warning(verbs: dict[str, Run], daemon: Daemon) -> None:
    web = statuses.service("web", statuses.real_server("198.51.100.11:80"), in_sync=False, held_by="shadow")
    daemon.status = Status(daemon=statuses.daemon(), services=(web,))
    ran = verbs["status"]("--check", "--control", str(daemon.control))
    assert (ran.code, ran.out) == (0, "OK: 1 of 1 real servers up in 1 service\n")
    assert any("SHADOW MODE" in line for line in on_terminal(daemon, "status", columns=120))
