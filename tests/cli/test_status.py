"""`lvs-healthd status` as an operator runs it, against a real control socket."""

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lvs_healthd.cli.asking import ControlError, RunningDaemon
from lvs_healthd.view.status_values import Status, TrackStatus
from lvs_healthd.view.words import alarms, announcement
from tests import statuses
from tests.cli.conftest import Daemon
from tests.cli.running import COMMAND, Run, on_terminal
from tests.statuses import NOW, real_server, service


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setattr(time, "time", lambda: NOW)
    return Run("status", monkeypatch, capsys)


def test_piped_every_server_is_one_line_with_its_service_and_there_is_nothing_else(run: Run, daemon: Daemon) -> None:
    ran = run("--control", str(daemon.control))
    assert (ran.code, ran.err) == (3, "")
    assert ran.out.splitlines() == [
        "web          198.51.100.11:80     up        2      10m  status 200",
        "web          198.51.100.12:80     down      2/-/-  1m   connection refused",
        "web          198.51.100.13:80     unknown   1      10m  -",
        'odd "name"\\  [2001:db8::11]:8080  down      1/-/1  10m  no answer in 1s',
        'odd "name"\\  [2001:db8::99]:8080  fallback  1/1/-  -    no real server may serve',
    ]


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["web"], [0, 1, 2]),
        (["192.0.2.100:80/tcp"], [0, 1, 2, 3, 4]),  # in this status both have this address
        (["web", "198.51.100.12"], [1]),
        (["198.51.100.12:80"], [1]),
        (["[2001:DB8:0::11]:8080"], [3]),
        (["2001:db8::11", "198.51.100.11"], [0, 3]),
        (["--down"], [1, 2, 3, 4]),
        (["web", "--down"], [1, 2]),
    ],
)
def test_only_what_is_named_is_shown(run: Run, daemon: Daemon, words: list[str], lines: list[int]) -> None:
    def cells(*arguments: str) -> list[list[str]]:
        return [line.split() for line in run(*arguments, "--control", str(daemon.control)).out.splitlines()]

    everything = cells()
    assert cells(*words) == [everything[number] for number in lines]


def test_only_what_is_named_makes_trouble(run: Run, daemon: Daemon) -> None:
    assert run("198.51.100.11", "--control", str(daemon.control)).code == 0
    assert run("198.51.100.12", "--control", str(daemon.control)).code == 3


@pytest.mark.parametrize("words", [["wbe"], ["198.51.100.1"], ["web", "2001:db8::11"]])
def test_what_nobody_knows_is_2_in_words(run: Run, daemon: Daemon, words: list[str]) -> None:
    ran = run(*words, "--control", str(daemon.control))
    assert (ran.code, ran.out) == (2, "")
    assert words[-1] in ran.err


def test_json_of_what_is_named_is_the_same_record_with_less(run: Run, daemon: Daemon) -> None:
    found = json.loads(run("198.51.100.12", "--json", "--control", str(daemon.control)).out)
    assert found["daemon"]["pid"] == 812
    assert [server["server"] for each in found["services"] for server in each["real_servers"]] == ["198.51.100.12:80"]


def test_terminal_shows_that_too_few_may_serve(daemon: Daemon) -> None:
    web = msgspec.structs.replace(service("web"), min_up=2, able=1, below="fail_open")
    daemon.status = Status(daemon=statuses.daemon(), services=(web,))
    (line,) = [line for line in on_terminal(daemon, "status", columns=120, code=3) if line.startswith("web")]
    assert line.endswith("ONLY 1 OF AT LEAST 2 MAY SERVE, AND IT FAILS OPEN")


def test_terminal_of_80_columns_is_enough(daemon: Daemon) -> None:
    lines = on_terminal(daemon, "status", code=3)
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert re.search(r"^web +192\.0\.2\.100:80/tcp", text, re.MULTILINE)
    assert re.search(r"^ +198\.51\.100\.12:80 +down +2/-/- +\d+d connection refused *$", text, re.MULTILINE)
    assert "weight: configured/wanted/in the kernel's table" in text


def test_terminal_folds_a_long_reason_and_keeps_all_of_it(daemon: Daemon) -> None:
    reason = "the answer's body does not contain what it should: " + "0123456789" * 12
    server = real_server("[2001:db8:1111:2222:3333:4444:5555:6666]:65535", "down", reason, weights=(65535, None, 65535))
    daemon.status = msgspec.structs.replace(daemon.status, services=(service("web", server),))
    lines = on_terminal(daemon, "status", code=3)
    assert max(map(len, lines)) <= 80
    assert "0123456789" * 12 in re.sub(r"[^0-9]", "", "".join(line[55:] for line in lines[5:]))


def test_terminal_shows_verdicts_in_colour(daemon: Daemon) -> None:
    text = "\n".join(on_terminal(daemon, "status", color=True, code=3))
    assert re.search(r"\x1b\[32mup", text)
    assert re.search(r"\x1b\[1;31mdown", text)
    assert re.search(r"\x1b\[33munknown", text)


def test_troubles_of_the_daemon_stand_at_the_top(run: Run, daemon: Daemon) -> None:
    trouble = statuses.daemon(
        mode="shadow",
        config_error="config.toml:3: bad\nconfig.toml:9: worse",
        table_error="EPERM",
        last_resync=None,
        probes_unsure=2,
        network_faults=("our interface eth1 has no carrier",),
        table_fights=3,
        setting_error="nft: not found",
    )
    daemon.status = msgspec.structs.replace(daemon.status, daemon=trouble, services=())
    alarms = [
        "TABLE ERROR: EPERM",
        "SETTING ERROR: nft: not found",
        "FIGHT: somebody else undoes 3 lines of the table; table.fight in the log says who",
        "NETWORK FAULT: our interface eth1 has no carrier",
        "BLIND: 2 of 7 probes cannot tell: our file descriptors are used up: raise LimitNOFILE",
        "CONFIGURATION REJECTED, the old one is in force:",
        "  config.toml:3: bad",
        "  config.toml:9: worse",
    ]
    lines = on_terminal(daemon, "status", columns=100, code=3)
    assert lines[0].startswith("lvs-healthd 0.1.0  mode shadow  up ")
    assert lines[1] == "table IPVS 1.2.1, never read"
    assert lines[3:] == [
        "SHADOW MODE: nothing is written to the kernel's table",
        *alarms,
        "no services are configured",
    ]
    ran = run("--control", str(daemon.control))
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.splitlines() == [f"lvs-healthd status: {line}" for line in alarms]


def test_advice_and_a_state_that_is_not_saved_go_to_standard_error_and_count(run: Run, daemon: Daemon) -> None:
    described = statuses.daemon(
        setting_advice=("net.ipv4.ip_forward is 0: set it", "net.ipv4.vs.conn_max is 1: raise it"),
        state_error="/x: disk full",
        config_remarks=("config.toml:1: late",),
    )
    daemon.status = msgspec.structs.replace(daemon.status, daemon=described, services=())
    ran = run("--control", str(daemon.control))
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.splitlines() == [
        f"lvs-healthd status: {line}"
        for line in (
            "STATE NOT SAVED: /x: disk full",
            "ADVICE: net.ipv4.ip_forward is 0: set it",
            "ADVICE: net.ipv4.vs.conn_max is 1: raise it",
            "REMARKS on the configuration in force:",
            "  config.toml:1: late",
        )
    ]
    ran = run("--control", str(daemon.control), "--check")
    assert (ran.code, ran.err) == (1, "")
    assert ran.out == (
        "WARNING: 0 of 0 real servers up in 0 services; state not saved; "
        "advice on net.ipv4.ip_forward, net.ipv4.vs.conn_max; remarks on the configuration\n"
    )


def test_maintenance_folder_that_cannot_be_read_and_files_in_vain_are_told(run: Run, daemon: Daemon) -> None:
    error = "/m cannot be read: Stale file handle; what is known of 1 file stays in force"
    described = statuses.daemon(maintenance_error=error, maintenance_unused=("/m/x: odd", "/m/\x1b: odd"))
    daemon.status = Status(daemon=described, services=())
    ran = run("--control", str(daemon.control))
    assert ran.code == 3
    assert ran.err.splitlines() == [
        f"lvs-healthd status: {line}"
        for line in (
            f"MAINTENANCE FOLDER: {error}",
            "MAINTENANCE FILES that do not drain what they should:",
            "  /m/x: odd",
            "  /m/\\x1b: odd",
        )
    ]
    ran = run("--control", str(daemon.control), "--check")
    assert (ran.code, ran.err) == (1, "")
    assert f"; maintenance folder: {error}; maintenance files to look at: 2" in ran.out
    # Files in vain alone are no trouble, but the check warns.
    daemon.status = Status(daemon=statuses.daemon(maintenance_unused=("/m/x: odd",)), services=())
    assert run("--control", str(daemon.control)).code == 0
    assert run("--control", str(daemon.control), "--check").code == 1


def test_clock_that_is_suspected_is_trouble_and_says_what_to_type(run: Run, daemon: Daemon) -> None:
    why = "the clock is behind: `timedatectl` shows it"
    daemon.status = Status(daemon=statuses.daemon(clock_suspected=why), services=())
    ran = run("--control", str(daemon.control))
    assert (ran.code, ran.err) == (3, f"lvs-healthd status: CLOCK SUSPECTED: {why}\n")
    ran = run("--control", str(daemon.control), "--check")
    assert ran.code == 1
    assert "the director's clock is suspected to be wrong" in ran.out


@pytest.mark.parametrize("notice", [{"setting_advice": ("net.ipv4.ip_forward is 0",)}, {"config_remarks": ("late",)}])
def test_advice_and_remarks_alone_are_no_trouble_but_check_warns(
    run: Run, daemon: Daemon, notice: dict[str, Any]
) -> None:
    daemon.status = Status(daemon=statuses.daemon(**notice), services=())
    assert run("--control", str(daemon.control)).code == 0
    assert run("--control", str(daemon.control), "--check").code == 1


def test_remarks_go_to_standard_error_in_a_pipe_as_many_as_fit(run: Run, daemon: Daemon) -> None:
    remarks = tuple(f"config.toml:{line}: late" for line in range(1, 13))
    daemon.status = msgspec.structs.replace(daemon.status, daemon=statuses.daemon(config_remarks=remarks))
    ran = run("--control", str(daemon.control))
    assert "config.toml:1" not in ran.out
    told = ran.err[ran.err.index("REMARKS") :].splitlines()
    assert told[:2] == ["REMARKS on the configuration in force:", "lvs-healthd status:   config.toml:1: late"]
    assert told[-1] == "lvs-healthd status:   and 2 more: lvs-healthd validate /etc/lvs-healthd/config.toml"


def test_text_of_a_hostile_server_cannot_steer_the_terminal(run: Run, daemon: Daemon) -> None:
    server = real_server("198.51.100.11:80", "down", "\x1b]0;owned\x07 [bold]x[/bold]\nweb  faked  up")
    daemon.status = msgspec.structs.replace(daemon.status, services=(service("web", server),))
    piped = run("--control", str(daemon.control)).out
    assert "\\x1b]0;owned\\x07 [bold]x[/bold]\\nweb  faked  up" in piped
    assert not any("\x07" in line or "\x1b]" in line for line in on_terminal(daemon, "status", columns=200, code=3))


def test_json_is_the_api_s_answer(run: Run, daemon: Daemon) -> None:
    ran = run("--control", str(daemon.control), "--json")
    assert (ran.code, ran.err) == (3, "")
    assert json.loads(ran.out) == json.loads(msgspec.json.encode(daemon.status))


def test_socket_comes_from_the_configuration_file(run: Run, daemon: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[daemon]\ncontrol = "{daemon.control}"\n')
    assert "198.51.100.11:80" in run("--config", str(file)).out


def test_broken_configuration_is_said_and_does_not_stop_us(run: Run, daemon: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[daemon]\ncontrol = "{daemon.control}"\nlisten = \n')
    ran = run("--config", str(file))
    assert ran.code == 3
    assert "198.51.100.11:80" in ran.out
    assert "web" in ran.out
    assert f"{file}:3: listen: there is no value" in ran.err


def test_daemon_that_is_not_there_is_1_in_words(run: Run, tmp_path: Path) -> None:
    ran = run("--control", str(tmp_path / "none.sock"))
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith(f"lvs-healthd status: {tmp_path}/none.sock: no such socket: the daemon is not running")


def test_answer_of_another_version_is_1_in_words(run: Run, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunningDaemon, "get", lambda *_: b'{"daemon": {"version": "9.0"}}')
    ran = run("--control", str(daemon.control))
    assert (ran.code, ran.out) == (1, "")
    assert "is it a different version?" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [["--every", "5"], ["--watch", "--every", "0"], ["--watch", "--every", "soon"], ["--unknown"]],
)
def test_wrong_usage_is_2(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err != ""


def test_check_is_one_line_with_the_worst_first(run: Run, daemon: Daemon) -> None:
    daemon.status = msgspec.structs.replace(
        daemon.status, daemon=statuses.daemon(config_error="line 3", probes_unsure=2, table_fights=1)
    )
    ran = run("--control", str(daemon.control), "--check")
    assert (ran.code, ran.err) == (2, "")
    assert ran.out == (
        'CRITICAL: 1 of 4 real servers up in 2 services; odd "name"\\: no real server may serve; '
        "configuration rejected; somebody else undoes our writes; 2 of 7 probes cannot tell; "
        "web: 198.51.100.12:80 is down: connection refused; "
        'odd "name"\\: not in sync with the kernel (+1 more)\n'
    )


@pytest.mark.parametrize(
    ("trouble", "code", "verdict"),
    [
        ({"table_error": "EPERM"}, 2, "CRITICAL"),
        ({"setting_error": "nft: not found"}, 2, "CRITICAL"),
        ({"hook_errors": ("mail: no answer",)}, 1, "WARNING"),
        ({"config_error": "line 3"}, 1, "WARNING"),
        ({"table_fights": 1}, 1, "WARNING"),
        ({"probes_unsure": 1}, 1, "WARNING"),
        ({"network_faults": ("our interface eth1 has no carrier",)}, 1, "WARNING"),
    ],
)
def test_check_says_how_bad_a_trouble_is(
    run: Run, daemon: Daemon, trouble: dict[str, Any], code: int, verdict: str
) -> None:
    daemon.status = Status(daemon=statuses.daemon(**trouble), services=())
    ran = run("--control", str(daemon.control), "--check")
    assert (ran.code, ran.out.partition(":")[0]) == (code, verdict)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"min_up": 2, "able": 1, "below": "fallback"}, "only 1 of at least 2 may serve, and the fallback serves"),
        ({"min_up": 2, "able": 0, "below": "fail_open"}, "only 0 of at least 2 may serve, and it fails open"),
        ({"min_up": 9, "able": 4, "below": "none", "counts_weight": True}, "only weight 4 of at least 9 may serve"),
        ({"min_up": 1, "able": 0, "below": "fail_open"}, "only 0 of at least 1 may serve, and it fails open"),
        ({"min_up": 1, "below": "none", "in_fallback": True}, "no real server may serve"),
    ],
)
def test_check_is_critical_below_min_up(run: Run, daemon: Daemon, keys: dict[str, Any], text: str) -> None:
    web = msgspec.structs.replace(service("web", real_server("198.51.100.11:80")), **keys)
    daemon.status = Status(daemon=statuses.daemon(), services=(web,))
    ran = run("--control", str(daemon.control), "--check")
    assert (ran.code, ran.out) == (2, f"CRITICAL: 1 of 1 real servers up in 1 service; web: {text}\n")


def test_check_warns_of_a_server_that_is_down_and_of_a_service_that_is_not_in_sync(run: Run, daemon: Daemon) -> None:
    servers = (real_server("198.51.100.11:80"), real_server("198.51.100.12:80", "down", "connection | refused"))
    daemon.status = Status(daemon=statuses.daemon(), services=(service("web", *servers),))
    ran = run("--control", str(daemon.control), "--check")
    assert ran.code == 1
    # A bar would begin the performance data.
    assert ran.out == (
        "WARNING: 1 of 2 real servers up in 1 service; web: 198.51.100.12:80 is down: connection / refused\n"
    )
    daemon.status = Status(daemon=statuses.daemon(), services=(service("web", servers[0], in_sync=False),))
    assert run("--control", str(daemon.control), "--check").code == 1


def test_check_of_a_mass_failure_is_a_bounded_line(run: Run, daemon: Daemon) -> None:
    down = [real_server(f"198.51.{n}.1:80", "down", "no answer in 1s") for n in range(200)]
    daemon.status = Status(daemon=statuses.daemon(), services=(service("web", *down),))
    ran = run("--control", str(daemon.control), "--check")
    assert len(ran.out) < 330
    assert ran.out.count("\n") == 1
    shown = ran.out.count("is down")
    assert ran.out.endswith(f" (+{200 - shown} more)\n")


@pytest.mark.parametrize(
    "arguments", [["--check", "--watch"], ["--check", "--json"], ["--check", "--down"], ["--check", "--nonsense"]]
)
def test_wrong_usage_of_check_is_unknown(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.code == 3
    assert ran.out.startswith("UNKNOWN: ")


def test_check_without_a_daemon_or_of_what_nobody_knows_is_unknown(run: Run, daemon: Daemon, tmp_path: Path) -> None:
    ran = run("--check", "--control", str(tmp_path / "none.sock"))
    assert (ran.code, ran.err) == (3, "")
    assert ran.out.startswith(f"UNKNOWN: {tmp_path}/none.sock: no such socket")
    ran = run("wbe", "--check", "--control", str(daemon.control))
    assert (ran.code, ran.out.partition(" (")[0]) == (
        3,
        'UNKNOWN: no service or real server is called "wbe" or has that address\n',
    )


@pytest.mark.parametrize("words", [["x" * 5000], ["one\ntwo | three"]])
def test_check_is_one_bounded_line_whatever_it_cannot_tell(run: Run, daemon: Daemon, words: list[str]) -> None:
    ran = run(*words, "--check", "--control", str(daemon.control))
    assert (ran.code, ran.out.count("\n"), "|" in ran.out) == (3, 1, False)
    assert ran.out.startswith("UNKNOWN: no service or real server is called")
    assert len(ran.out) < 330


def test_check_is_0_when_all_is_well_though_a_fallback_is_never_up(run: Run, daemon: Daemon) -> None:
    spare = real_server(
        "198.51.100.99:80", "unchecked", "standing by", since=None, weights=(1, None, None), fallback=True
    )
    daemon.status = msgspec.structs.replace(
        daemon.status, services=(service("web", real_server("198.51.100.11:80"), spare),)
    )
    ran = run("--control", str(daemon.control), "--check")
    assert (ran.code, ran.out, ran.err) == (0, "OK: 1 of 1 real servers up in 1 service\n", "")
    assert run("--control", str(daemon.control)).code == 0


def test_watch_as_json_asks_again_and_again_and_outlives_the_daemon(
    run: Run, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            monkeypatch.setattr(RunningDaemon, "get", gone)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    def gone(*_: object) -> bytes:
        raise ControlError("gone for a restart")

    monkeypatch.setattr(time, "sleep", pause)
    ran = run("--control", str(daemon.control), "--watch", "--json", "--every", "7")
    assert ran.code == 0
    assert pauses == [7, 7, 7]
    assert [len(json.loads(line)["services"]) for line in ran.out.splitlines()] == [2, 2]
    assert ran.err == "lvs-healthd status: gone for a restart\n"


def test_reader_that_goes_away_leaves_no_traceback(daemon: Daemon) -> None:
    servers = [real_server(f"10.0.{n // 256}.{n % 256}:80") for n in range(5000)]
    daemon.status = msgspec.structs.replace(daemon.status, services=(service("web", *servers),))
    with subprocess.Popen(
        [*COMMAND, "status", "--control", str(daemon.control)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as ran:
        assert ran.stdout is not None
        assert ran.stderr is not None
        ran.stdout.readline()
        ran.stdout.close()
        assert ran.stderr.read() == b""


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5.0, "0s"), (0.9, "0s"), (59.9, "59s"), (60.0, "1m"), (3599.0, "59m"), (3600.0, "1h"), (90000.0, "1d")],
)
def test_since_is_short(run: Run, daemon: Daemon, seconds: float, shown: str) -> None:
    daemon.status = msgspec.structs.replace(
        daemon.status, services=(service("web", real_server("s", since=NOW - seconds)),)
    )
    assert run("--control", str(daemon.control)).out.splitlines()[-1].split()[4] == shown


def test_remark_of_a_check_stands_beside_its_server_and_is_no_trouble_but_check_warns(run: Run, daemon: Daemon) -> None:
    remark = "the certificate ends on 2026-12-12 10:00 UTC"
    server = real_server("198.51.100.11:443", remark=remark)
    daemon.status = Status(daemon=statuses.daemon(), services=(service("web", server),))
    ran = run("--control", str(daemon.control))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"web  198.51.100.11:443  up  1  10m  status 200; {remark}\n"
    shown = on_terminal(daemon, "status", columns=150, code=0)
    assert [line for line in shown if line.rstrip().endswith(f"status 200; {remark}")], shown
    ran = run("--control", str(daemon.control), "--check")
    assert (ran.code, ran.err) == (1, "")
    assert ran.out == f"WARNING: 1 of 1 real servers up in 1 service; web: 198.51.100.11:443: {remark}\n"


def test_damped_server_is_trouble_and_check_warns(run: Run, daemon: Daemon) -> None:
    why = "damped because it flaps, until it has been steady for 1m"
    held = msgspec.structs.replace(
        statuses.real_server("198.51.100.11:80", reason=why, weights=(1, None, None)), state="damped"
    )
    other = statuses.real_server("198.51.100.12:80")
    daemon.status = Status(daemon=statuses.daemon(), services=(statuses.service("web", held, other),))
    found = run("--control", str(daemon.control))
    assert found.code == 3
    assert "damped" in found.out
    found = run("--control", str(daemon.control), "--check")
    assert found.code == 1
    assert f"web: 198.51.100.11:80 is {why}" in found.out


DEAD = statuses.real_server("198.51.100.11:80", "down", "connection refused", weights=(1, None, None))


@pytest.mark.parametrize(
    ("role", "suspended", "code", "line"),
    [
        ("active", False, 2, "CRITICAL: 0 of 1 real servers up in 1 service; web: no real server may serve; web: 198"),
        (
            "standby",
            False,
            1,
            "WARNING: 0 of 1 real servers up in 1 service; web: no real server may serve, while it is standby; web:",
        ),
        ("standby", True, 0, "OK: 0 of 1 real servers up in 1 service\n"),
    ],
)
def test_check_pages_only_where_the_clients_are(
    run: Run, daemon: Daemon, role: str, suspended: bool, code: int, line: str
) -> None:
    service = statuses.service("web", DEAD, in_fallback=True, role=role, suspended=suspended)
    daemon.status = Status(daemon=statuses.daemon(), services=(service,))
    ran = run("--check", "--control", str(daemon.control))
    assert (ran.code, ran.out[: len(line)]) == (code, line)
    # Without --check the exit status is 3 for any trouble.
    assert run("--control", str(daemon.control)).code == (3 if code else 0)


@pytest.mark.parametrize(("other", "code"), [("standby", 1), ("active", 2), ("", 2)])
def test_brake_pages_unless_all_services_are_standby(run: Run, daemon: Daemon, other: str, code: int) -> None:
    services = tuple(
        statuses.service(name, statuses.real_server("198.51.100.11:80"), role=role)
        for name, role in (("web", "standby"), ("dns", other))
    )
    daemon.status = Status(daemon=statuses.daemon(brakes=(statuses.BRAKE,)), services=services)
    assert run("--check", "--control", str(daemon.control)).code == code


def test_standby_service_is_marked_on_a_terminal_and_in_a_pipe(run: Run, daemon: Daemon) -> None:
    up = statuses.real_server("198.51.100.11:80")
    services = (
        statuses.service("web", up, role="active"),
        statuses.service("dns", up, role="standby"),
        statuses.service("old", DEAD, in_fallback=True, role="standby", suspended=True),
    )
    daemon.status = Status(daemon=statuses.daemon(), services=services)
    assert [line.split("  ")[-1].strip() for line in run("--control", str(daemon.control)).out.splitlines()] == [
        "status 200",
        "status 200; standby",
        "connection refused; standby, not probed",
    ]
    text = " ".join(on_terminal(daemon, "status", columns=120))
    assert "STANDBY: 192.0.2.100 is not here" in text
    assert "STANDBY, NOT PROBED: 192.0.2.100 is not here" in text


WITHDRAWN = msgspec.structs.replace(
    statuses.ANNOUNCED, wanted=False, present=False, reason="web: no real server may serve"
)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({}, "announced, since TIME (10m): web: enough real servers may serve"),
        ({"present": False}, "announced, but is not there yet, since TIME (10m): web: enough"),
        ({"wanted": False, "present": False}, "withdrawn, since TIME (10m): web: enough"),
        ({"wanted": False}, "withdrawn, but is still there, since TIME (10m): web: enough"),
        ({"shadow": True}, "would be announced, since TIME (10m): web: enough"),
        ({"shadow": True, "wanted": False}, "would be withdrawn, since TIME (10m): web: enough"),
        ({"wanted": None, "since": None}, "left as it is, announced: web: enough"),
        ({"wanted": None, "since": None, "present": False}, "left as it is, withdrawn: web: enough"),
        ({"pending": "web: nobody"}, "may serve; about to change, if it lasts: web: nobody"),
    ],
)
def test_announced_address_is_shown_with_since_when_and_why(change: dict[str, Any], shown: str) -> None:
    line = announcement(msgspec.structs.replace(statuses.ANNOUNCED, **change), statuses.NOW)
    line = re.sub(r"\d\d:\d\d:\d\d", "TIME", line)
    assert line.startswith("192.0.2.100 on lvs0 ")
    assert shown in line


def test_many_faults_of_addresses_leave_the_rest_in_sight() -> None:
    away = msgspec.structs.replace(statuses.ANNOUNCED, present=False)
    many = tuple(msgspec.structs.replace(away, error=f"refused {number}") for number in range(30))
    lines = [line for line in alarms(statuses.daemon(announced=many)) if line.startswith("ANNOUNCE ERROR")]
    assert len(lines) == 11
    assert lines[-1] == "ANNOUNCE ERROR: and 20 more"


@pytest.mark.parametrize(
    ("keys", "code", "check", "shown"),
    [
        (
            {"pair_error": "no memory"},
            1,
            "the addresses of this host are not known",
            "PAIR: the addresses of this host are not known, so every service counts as active: no memory",
        ),
        (
            {"track": TrackStatus(file="/t", value=1, reason="web: nobody may serve; the brake is on for eth1")},
            1,
            "the track file says 1: web: nobody may serve; the brake is on for eth1",
            "TRACK FILE says 1, so VRRP keeps the addresses away from here: web: nobody may serve; the brake is on for",
        ),
        (
            {"track": TrackStatus(file="/t", value=0, error="/t: cannot write: No space left on device")},
            2,
            "track file not written",
            "TRACK FILE: /t: cannot write: No space left on device",
        ),
        (
            {"announced": (WITHDRAWN,)},
            1,
            "192.0.2.100 is withdrawn: web: no real server may serve",
            "WITHDRAWN: 192.0.2.100 on lvs0: web: no real server may serve",
        ),
        (
            {"announced": (msgspec.structs.replace(WITHDRAWN, shadow=True),)},
            0,
            "0 of 0 real servers up",
            "WOULD BE WITHDRAWN: 192.0.2.100 on lvs0: web: no real server may serve",
        ),
        (
            {"announced": (msgspec.structs.replace(statuses.ANNOUNCED, present=False, error="there is no lvs0"),) * 2},
            2,
            "addresses are not announced as wanted",
            "ANNOUNCE ERROR: there is no lvs0",
        ),
        (
            {"announced": (msgspec.structs.replace(statuses.ANNOUNCED, shadow=True, error="there is no lvs0"),)},
            0,
            "0 of 0 real servers up",
            "ANNOUNCE ERROR: there is no lvs0",
        ),
        (
            {"announced": (statuses.ANNOUNCED,), "announced_foreign": ("192.0.2.7/32 on lvs0",)},
            1,
            "foreign addresses: 192.0.2.7/32 on lvs0",
            "FOREIGN ADDRESSES, which BGP may announce: 192.0.2.7/32 on lvs0",
        ),
        (
            {"agreement": statuses.AGREEMENT},
            1,
            "veto: 1 server is down here, and held by other directors; directors: 1 of 2 other directors needed are",
            "VETO: web 198.51.100.11:80 is down here, and stays: seen up by lvs2: 1 of 2 needed see it down",
        ),
        (
            {"agreement": msgspec.structs.replace(statuses.AGREEMENT, agree=2, vetoed=0, vetoes=(), error="no leader")},
            1,
            "directors: no leader",
            "DIRECTORS: no leader",
        ),
    ],
)
def test_what_is_wrong_with_a_pair_or_a_fleet_is_told(
    run: Run, daemon: Daemon, keys: dict[str, Any], code: int, check: str, shown: str
) -> None:
    daemon.status = Status(daemon=statuses.daemon(**keys), services=())
    ran = run("--check", "--control", str(daemon.control))
    assert (ran.code, check in ran.out) == (code, True)
    assert shown in run("--control", str(daemon.control)).err
