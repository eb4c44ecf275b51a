"""`lvs-healthd doctor` is quiet when all is well, exits with 3 when it is not, and says what to type."""

import functools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from lvs_healthd.cli import doctor as verb
from lvs_healthd.doctor.observations import Observations
from lvs_healthd.doctor.observe import Asked
from lvs_healthd.ipvs.refusals import NO_PERMISSION
from tests.cli.conftest import Daemon
from tests.cli.running import Ran, Run
from tests.doctor.seen import counts, director, server, service, silent, sysctls

KERNEL = "IPVS 1.2.1, Linux 6.1"
SICK = director(service(silent()), host=sysctls(net__ipv4__ip_forward="0"))


class Looking:
    """Stands in for the look at the director: what is seen is given."""

    def __init__(self, run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._run = run
        self.file = folder / "config.toml"
        self.file.write_text(f"""
            [daemon]
            listen = ""
            control = "{folder}/control.sock"

            [[service]]
            name = "web"
            address = "192.0.2.100:80"
            check = "tcp"
            real_server = ["198.51.100.11"]
        """)
        self.seen = director()
        self.asked: list[Asked] = []
        monkeypatch.setattr(verb, "observe", self._observe)

    def _observe(self, asked: Asked, progress: Callable[[str], None]) -> Observations:
        progress("looking")
        self.asked.append(asked)
        return self.seen

    def __call__(self, *words: str) -> Ran:
        return self._run(*words, "--config", str(self.file))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run("doctor", monkeypatch, capsys)


@pytest.fixture
def looking(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Looking:
    return Looking(run, tmp_path, monkeypatch)


def test_in_a_pipe_a_healthy_director_is_no_line(looking: Looking) -> None:
    ran = looking()
    assert (ran.code, ran.out) == (0, "")
    assert "no daemon is asked: looking at the configuration and the kernel's table" in ran.err


def test_each_finding_says_what_why_and_what_to_type(looking: Looking) -> None:
    looking.seen = SICK
    ran = looking()
    assert ran.code == 3
    head, why, mend = ran.out.splitlines()
    assert head.startswith(
        "certain: web 198.51.100.11:80: net.ipv4.ip_forward = 0; 2 packets to 198.51.100.11:80, 0 back"
    )
    assert why.startswith("  why:  answers of nat servers are forwarded to the clients of web")
    assert mend.startswith("  mend: sysctl -w net.ipv4.ip_forward=1")


def test_a_command_for_a_server_names_the_server(looking: Looking) -> None:
    looking.seen = director(service(silent()))
    assert "  mend (on 198.51.100.11): ip route replace default via 198.51.100.1" in looking().out.splitlines()


def test_on_a_terminal_it_says_that_all_is_well_and_what_only_looks_odd(
    looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb, "Console", functools.partial(Console, force_terminal=True, color_system=None))
    traps = server(before=counts(30, 0), after=counts(34, 0), established=0)
    looking.seen = director(
        service(traps, name="traps", protocol="udp", port=162, expects_answers=False), kernel=KERNEL
    )
    ran = looking()
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "note: traps: 34 packets in and none out: as it should be if nobody answers, as with traps and logs",
        "no trouble found: 1 service, 1 server (IPVS 1.2.1, Linux 6.1)",
    ]
    assert "looking …" in ran.err


def test_json_has_findings_and_notes(looking: Looking) -> None:
    looking.seen = SICK
    ran = looking("--json")
    answer = json.loads(ran.out)
    assert ran.code == 3
    assert [(each["name"], each["sureness"]) for each in answer["findings"]] == [("forwarding-off", "certain")]
    assert (answer["services"], answer["servers"], answer["has_daemon"]) == (1, 1, False)


def test_a_running_daemon_is_asked(looking: Looking, daemon: Daemon) -> None:
    ran = looking("--control", str(daemon.control))
    assert (ran.code, ran.err) == (0, "")
    assert looking.asked[0].status is not None


def test_a_daemon_that_should_answer_and_does_not(looking: Looking, tmp_path: Path) -> None:
    ran = looking("--control", str(tmp_path / "none.sock"))
    assert (ran.code, looking.asked) == (4, [])


def test_one_service(looking: Looking) -> None:
    looking("web")
    assert looking.asked[0].service == "web"


def test_a_service_that_is_not_there_is_wrong_usage(
    run: Run, looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("sys.argv", [])
    ran = Run("doctor", monkeypatch, run._capsys)("wbe", "--config", str(looking.file))
    assert ran.code == 2
    assert 'no service is called "wbe"' in ran.err


def test_without_permission_it_is_refused(looking: Looking) -> None:
    looking.seen = director(table_error=NO_PERMISSION)
    ran = looking()
    assert ran.code == 1
    assert "run as root" in ran.err


def test_a_configuration_with_errors_is_a_finding_and_the_table_is_looked_at(looking: Looking) -> None:
    looking.file.write_text("[daemon]\nlisten = 3\n")
    looking("--json")
    assert looking.asked[0].config is None
    assert any("listen" in each for each in looking.asked[0].config_errors)


def test_a_configuration_that_is_named_and_not_there_is_refused(looking: Looking) -> None:
    looking.file.unlink()
    assert looking().code == 1
    assert looking.asked == []


def test_the_bundle_is_written_and_never_over_another_file(looking: Looking, tmp_path: Path) -> None:
    target = tmp_path / "bundle.tar.gz"
    ran = looking("--bundle", str(target))
    assert ran.code == 0
    assert f"{target}: written, without secrets" in ran.err
    again = looking("--bundle", str(target))
    assert again.code == 1
    assert "not overwritten" in again.err
    assert len(looking.asked) == 1
