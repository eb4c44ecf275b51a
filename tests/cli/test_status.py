"""`lvs-healthd status` as an operator runs it, against a real control socket."""

import json
import re
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from lvs_healthd.cli import status as verb
from lvs_healthd.cli.asking import ControlError
from tests import statuses
from tests.cli.conftest import Daemon
from tests.cli.running import COMMAND, Run, on_terminal
from tests.statuses import NOW, real_server, service


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setattr(time, "time", lambda: NOW)
    return Run("status", monkeypatch, capsys)


def test_piped_every_server_is_one_line_with_its_service(run: Run, daemon: Daemon) -> None:
    ran = run("--control", str(daemon.control))
    assert ran.code == 0
    assert ran.err == ""
    assert ran.out.splitlines() == [
        "lvs-healthd 0.1.0  mode enforce  up 2h  pid 812",
        "table IPVS 1.2.1, read 3s ago",
        "configuration /etc/lvs-healthd/config.toml, loaded 1h ago",
        'odd "name"\\  192.0.2.100:80/tcp  wrr  nat  NO REAL SERVER MAY SERVE  NOT IN SYNC WITH THE KERNEL',
        "SERVICE      REAL SERVER          VERDICT   WEIGHT  SINCE  REASON",
        "web          198.51.100.11:80     up        2       10m    status 200",
        "web          198.51.100.12:80     down      2/-/-   1m     connection refused",
        "web          198.51.100.13:80     unknown   1       10m",
        'odd "name"\\  [2001:db8::11]:8080  down      1/-/1   10m    no answer in 1s',
        'odd "name"\\  [2001:db8::99]:8080  fallback  1/1/-          no real server may serve',
    ]


def test_terminal_of_80_columns_is_enough(daemon: Daemon) -> None:
    lines = on_terminal(daemon, "status")
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert re.search(r"^web +192\.0\.2\.100:80/tcp", text, re.MULTILINE)
    assert re.search(r"^ +198\.51\.100\.12:80 +down +2/-/- +\d+d connection refused *$", text, re.MULTILINE)
    assert "weight: configured/wanted/in the kernel's table" in text


def test_terminal_folds_a_long_reason_and_keeps_all_of_it(daemon: Daemon) -> None:
    reason = "the answer's body does not contain what it should: " + "0123456789" * 12
    server = real_server("[2001:db8:1111:2222:3333:4444:5555:6666]:65535", "down", reason, weights=(65535, None, 65535))
    daemon.status = msgspec.structs.replace(daemon.status, services=(service("web", server),))
    lines = on_terminal(daemon, "status")
    assert max(map(len, lines)) <= 80
    assert "0123456789" * 12 in re.sub(r"[^0-9]", "", "".join(line[55:] for line in lines[5:]))


def test_terminal_shows_verdicts_in_colour(daemon: Daemon) -> None:
    text = "\n".join(on_terminal(daemon, "status", color=True))
    assert re.search(r"\x1b\[32mup", text)
    assert re.search(r"\x1b\[1;31mdown", text)
    assert re.search(r"\x1b\[33munknown", text)


def test_troubles_of_the_daemon_stand_at_the_top(run: Run, daemon: Daemon) -> None:
    trouble = statuses.daemon(
        mode="shadow",
        config_error="config.toml:3: bad\nconfig.toml:9: worse",
        table_error="EPERM",
        resync_age_s=None,
        probes_unsure=2,
        table_fights=3,
        setting_error="nft: not found",
    )
    daemon.status = msgspec.structs.replace(daemon.status, daemon=trouble, services=())
    assert run("--control", str(daemon.control)).out.splitlines()[:12] == [
        "lvs-healthd 0.1.0  mode shadow  up 2h  pid 812",
        "table IPVS 1.2.1, never read",
        "configuration /etc/lvs-healthd/config.toml, loaded 1h ago",
        "SHADOW MODE: nothing is written to the kernel's table",
        "TABLE ERROR: EPERM",
        "SETTING ERROR: nft: not found",
        "FIGHT: somebody else undoes 3 lines of the table; table.fight in the log says who",
        "BLIND: 2 of 7 probes cannot tell: our file descriptors are used up: raise LimitNOFILE",
        "CONFIGURATION REJECTED, the old one is in force:",
        "  config.toml:3: bad",
        "  config.toml:9: worse",
        "no services are configured",
    ]


def test_advice_and_a_state_that_is_not_saved_are_shown_and_count(run: Run, daemon: Daemon) -> None:
    described = statuses.daemon(
        setting_advice=("net.ipv4.ip_forward is 0: set it", "net.ipv4.vs.conn_max is 1: raise it"),
        state_error="/x: disk full",
        config_remarks=("config.toml:1: late",),
    )
    daemon.status = msgspec.structs.replace(daemon.status, daemon=described, services=())
    assert run("--control", str(daemon.control)).out.splitlines()[3:8] == [
        "STATE NOT SAVED: /x: disk full",
        "ADVICE: net.ipv4.ip_forward is 0: set it",
        "ADVICE: net.ipv4.vs.conn_max is 1: raise it",
        "REMARKS on the configuration in force:",
        "  config.toml:1: late",
    ]
    ran = run("--control", str(daemon.control), "--check")
    assert ran.code == 3
    assert ran.err == (
        "lvs-healthd status: 3 wrong: state not saved; advice on net.ipv4.ip_forward, net.ipv4.vs.conn_max; "
        "remarks on the configuration\n"
    )


def test_remarks_stand_above_the_services_and_leave_them_in_sight(run: Run, daemon: Daemon) -> None:
    remarks = tuple(f"config.toml:{line}: late" for line in range(1, 13))
    daemon.status = msgspec.structs.replace(daemon.status, daemon=statuses.daemon(config_remarks=remarks))
    lines = run("--control", str(daemon.control)).out.splitlines()
    assert lines[3:5] == ["REMARKS on the configuration in force:", "  config.toml:1: late"]
    assert lines[14] == "  and 2 more: lvs-healthd validate /etc/lvs-healthd/config.toml"
    assert lines[15].startswith('odd "name"')


def test_text_of_a_hostile_server_cannot_steer_the_terminal(run: Run, daemon: Daemon) -> None:
    server = real_server("198.51.100.11:80", "down", "\x1b]0;owned\x07 [bold]x[/bold]\nweb  faked  up")
    daemon.status = msgspec.structs.replace(daemon.status, services=(service("web", server),))
    piped = run("--control", str(daemon.control)).out
    assert "\\x1b]0;owned\\x07 [bold]x[/bold]\\nweb  faked  up" in piped
    assert not any("\x07" in line or "\x1b]" in line for line in on_terminal(daemon, "status", columns=200))


def test_json_is_the_api_s_answer(run: Run, daemon: Daemon) -> None:
    ran = run("--control", str(daemon.control), "--json")
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out) == json.loads(msgspec.json.encode(daemon.status))


def test_socket_comes_from_the_configuration_file(run: Run, daemon: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[daemon]\ncontrol = "{daemon.control}"\n')
    assert run("--config", str(file)).code == 0


def test_broken_configuration_is_said_and_does_not_stop_us(run: Run, daemon: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[daemon]\ncontrol = "{daemon.control}"\nlisten = \n')
    ran = run("--config", str(file))
    assert ran.code == 0
    assert "web" in ran.out
    assert f"{file}:3: listen: there is no value" in ran.err


def test_daemon_that_is_not_there_is_1_in_words(run: Run, tmp_path: Path) -> None:
    ran = run("--control", str(tmp_path / "none.sock"))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"lvs-healthd status: {tmp_path}/none.sock: no such socket: the daemon is not running")


def test_answer_of_another_version_is_1_in_words(run: Run, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verb, "get", lambda *_: b'{"daemon": {"version": "9.0"}}')
    ran = run("--control", str(daemon.control))
    assert (ran.code, ran.out) == (1, "")
    assert "is it of another version?" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [["5"], ["--watch", "--check"], ["--watch", "0"], ["--watch", "soon"], ["--unknown"]],
)
def test_wrong_usage_is_2(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err != ""


def test_check_is_3_and_names_every_trouble(run: Run, daemon: Daemon) -> None:
    daemon.status = msgspec.structs.replace(
        daemon.status,
        daemon=statuses.daemon(config_error="line 3", table_error="EPERM", probes_unsure=2, table_fights=1),
    )
    ran = run("--control", str(daemon.control), "--check")
    assert ran.code == 3
    assert ran.err == (
        "lvs-healthd status: 7 wrong: table error; configuration rejected; somebody else undoes our writes; "
        "2 of 7 probes cannot tell; "
        'odd "name"\\: no real server may serve; web: 198.51.100.12:80 is down; '
        'odd "name"\\: [2001:db8::11]:8080 is down\n'
    )


def test_check_is_0_when_all_is_well_though_a_fallback_is_never_up(run: Run, daemon: Daemon) -> None:
    spare = real_server(
        "198.51.100.99:80", "unchecked", "standing by", since=None, weights=(1, None, None), fallback=True
    )
    daemon.status = msgspec.structs.replace(
        daemon.status, services=(service("web", real_server("198.51.100.11:80"), spare),)
    )
    ran = run("--control", str(daemon.control), "--check")
    assert (ran.code, ran.err) == (0, "")


def test_watch_asks_again_and_again_and_outlives_the_daemon(
    run: Run, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            monkeypatch.setattr(verb, "get", gone)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    def gone(*_: object) -> bytes:
        raise ControlError("gone for a restart")

    monkeypatch.setattr(time, "sleep", pause)
    ran = run("--control", str(daemon.control), "--watch", "7")
    assert ran.code == 0
    assert pauses == [7, 7, 7]
    assert ran.out.count("SERVICE") == 2
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
