"""`lvs-healthd table` as an operator runs it, against a real control socket."""

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from lvs_healthd.cli.draw_table import scaled
from lvs_healthd.view.table_values import Listing, State
from tests import statuses
from tests.cli.conftest import Daemon
from tests.cli.running import COMMAND, Run, on_terminal
from tests.statuses import NOW, listed_server, listed_service

CONNECTION = b"TCP C0000202 D1F2 C0000264 0050 C633640B 0050 FIN_WAIT        117\n"
TEMPLATE = b"TCP C0000202 0000 C0000264 0050 C633640B 0050 NONE            299 sip id\n"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setattr(time, "time", lambda: NOW)
    return Run("table", monkeypatch, capsys)


def test_piped_every_line_stands_with_its_service_and_what_is_wrong(run: Run, daemon: Daemon) -> None:
    ran = run("--control", str(daemon.control))
    assert (ran.code, ran.err) == (0, "")
    out = ran.out
    for number, why in enumerate(
        ("weight 3 -> 1; status 200", "weight 1 is wanted; status 200", "connection refused"), 1
    ):
        out = out.replace(f"  {why}\n", f"  WHY{number}\n", 1)
    assert out.splitlines() == [
        "lvs-healthd 0.1.0  mode enforce  up 2h  pid 812",
        "table IPVS 1.2.1, read 3s ago",
        "configuration /etc/lvs-healthd/config.toml, loaded 1h ago",
        "NOT AS WANTED: 2 missing, 1 extra, 1 differs; 1 foreign service left alone",
        "SERVICE                NAME  REAL SERVER         METHOD  WEIGHT  ACTIVE  INACT  VERDICT  STATE    WHY",
        "192.0.2.100:80/tcp     web   -                   wrr     -       3       5      -        ok",
        "192.0.2.100:80/tcp     web   198.51.100.11:80    nat     1       3       5      up       ok       status 200",
        "192.0.2.100:80/tcp     web   198.51.100.12:80    nat     3       3       5      up       differs  WHY1",
        "192.0.2.100:80/tcp     web   198.51.100.13:80    nat     -       -       -      up       missing  WHY2",
        "192.0.2.100:80/tcp     web   198.51.100.14:80    -       -       -       -      down     out      WHY3",
        "192.0.2.100:80/tcp     web   198.51.100.66:80    nat     7       3       5      -        extra    not wanted",
        "[2001:db8::53]:53/udp  dns   -                   wrr     -       -       -      -        missing",
        "192.0.2.250:8080/tcp   -     -                   wrr     -       3       5      -        foreign",
        "192.0.2.250:8080/tcp   -     198.51.100.77:8080  nat     7       3       5      -        foreign",
    ]


def test_piped_counters_are_whole(run: Run, daemon: Daemon) -> None:
    lines = run("--control", str(daemon.control), "--stats").out.splitlines()
    assert lines[4].split() == [
        *("SERVICE", "NAME", "REAL", "SERVER"),
        *("CONNS", "INPKTS", "OUTPKTS", "INBYTES", "OUTBYTES"),
    ]
    assert lines[5].split()[2:] == ["-", "1000", "12000", "11000", "1300000", "1099511627776"]
    assert lines[8].split()[2:] == ["198.51.100.13:80", *"-----"]
    lines = run("--control", str(daemon.control), "--rate").out.splitlines()
    assert lines[4].split()[4:] == ["CPS", "INPPS", "OUTPPS", "INBPS", "OUTBPS"]
    assert lines[6].split()[2:] == ["198.51.100.11:80", "10", "120", "110", "13000", "99000"]


def test_table_in_order_says_so(run: Run, daemon: Daemon) -> None:
    daemon.listing = Listing(
        daemon=statuses.daemon(), services=(listed_service("web", "192.0.2.100:80/tcp", listed_server("s")),)
    )
    assert run("--control", str(daemon.control)).out.splitlines()[3] == "as wanted"


def test_shadow_mode_stands_before_what_would_change(run: Run, daemon: Daemon) -> None:
    daemon.listing = msgspec.structs.replace(daemon.listing, daemon=statuses.daemon(mode="shadow"))
    lines = run("--control", str(daemon.control)).out.splitlines()
    assert lines[3] == "SHADOW MODE: nothing is written to the kernel's table"
    assert lines[4].startswith("NOT AS WANTED")


@pytest.mark.parametrize("view", [(), ("--stats",), ("--rate",)])
@pytest.mark.parametrize("columns", [80, 120])
def test_terminal_is_wide_enough(daemon: Daemon, view: tuple[str, ...], columns: int) -> None:
    lines = on_terminal(daemon, "table", *view, columns=columns)
    assert max(map(len, lines)) <= columns
    text = "\n".join(lines)
    assert re.search(r"^web  192\.0\.2\.100:80/tcp  wrr  persistent 300s$", text, re.MULTILINE)
    assert "dns  [2001:db8::53]:53/udp  wrr  NOT IN THE KERNEL'S TABLE" in lines
    assert "192.0.2.250:8080/tcp  wrr  foreign: left alone" in lines
    if not view:
        assert re.search(r"^  198\.51\.100\.12:80 +nat +3 +3 +5 up +differs: weight 3 -> 1;", text, re.MULTILINE)
        assert re.search(r"^  198\.51\.100\.66:80 +nat +7 +3 +5 - +extra: not wanted *$", text, re.MULTILINE)
        assert re.search(r"^  198\.51\.100\.14:80 +- +- +- +- down +connection refused *$", text, re.MULTILINE)


def test_terminal_scales_large_numbers_unless_told_not_to(daemon: Daemon) -> None:
    assert "   1099G" in on_terminal(daemon, "table", "--stats")[8]
    assert " 1099511627776" in on_terminal(daemon, "table", "--stats", "--exact")[8]


def test_terminal_that_is_too_narrow_cuts_no_number(daemon: Daemon) -> None:
    lines = on_terminal(daemon, "table", "--stats", "--exact", columns=60)
    assert "1099511627776" in "".join(lines)
    assert "…" not in "".join(lines)


def test_terminal_shows_what_is_wrong_in_colour(daemon: Daemon) -> None:
    text = "\n".join(on_terminal(daemon, "table", color=True))
    assert re.search(r"\x1b\[1;33mNOT AS WANTED", text)
    assert re.search(r"\x1b\[1;33mdiffers: ", text)
    assert re.search(r"\x1b\[32mup", text)
    assert re.search(r"\x1b\[1;31mdown", text)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0"),
        (99_999_999, "99999999"),
        (100_000_000, "100000K"),
        (999_999_999, "999999K"),
        (10**9, "1000M"),
        (10**11, "100G"),
        (10**14, "100T"),
    ],
)
def test_numbers_are_scaled_as_ipvsadm_does(number: int, shown: str) -> None:
    assert scaled(number) == shown


def test_one_service_is_shown_alone(run: Run, daemon: Daemon) -> None:
    ran = run("192.0.2.250:8080/tcp", "--control", str(daemon.control))
    assert len(ran.out.splitlines()) == 7
    assert "web" not in ran.out


def test_service_that_nobody_knows_is_2_in_words(run: Run, daemon: Daemon) -> None:
    ran = run("wbe&x=1", "--control", str(daemon.control))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == 'lvs-healthd table: no service is called "wbe&x=1" or has that address\n'


def test_json_is_the_api_s_answer(run: Run, daemon: Daemon) -> None:
    ran = run("--control", str(daemon.control), "--json")
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out) == json.loads(msgspec.json.encode(daemon.listing))


def test_connections_are_one_line_each(run: Run, daemon: Daemon) -> None:
    daemon.connections = [CONNECTION, TEMPLATE]
    ran = run("--connections", "--control", str(daemon.control))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "PROTO  EXPIRES  STATE     CLIENT           VIRTUAL         REAL SERVER       ENGINE",
        "tcp    01:57    FIN_WAIT  192.0.2.2:53746  192.0.2.100:80  198.51.100.11:80",
        "tcp    04:59    NONE      192.0.2.2:0      192.0.2.100:80  198.51.100.11:80  sip id",
    ]


def test_connections_as_json_are_one_object_a_line(run: Run, daemon: Daemon) -> None:
    daemon.connections = [CONNECTION * 3000]
    lines = run("--connections", "--json", "--control", str(daemon.control)).out.splitlines()
    assert len(lines) == 3000
    assert json.loads(lines[-1]) == {
        "protocol": "tcp",
        "expires_s": 117,
        "state": "FIN_WAIT",
        "client": "192.0.2.2:53746",
        "virtual": "192.0.2.100:80",
        "destination": "198.51.100.11:80",
        "engine": "",
    }


def test_connections_that_cannot_be_read_are_1_with_the_reason(run: Run, daemon: Daemon) -> None:
    daemon.unavailable = "/proc/net/ip_vs_conn: No such file or directory"
    ran = run("--connections", "--control", str(daemon.control))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"lvs-healthd table: {daemon.unavailable}\n"


def test_connection_that_is_not_understood_is_1_with_the_line(run: Run, daemon: Daemon) -> None:
    daemon.connections = [b"TCP what is this\n"]
    ran = run("--connections", "--control", str(daemon.control))
    assert ran.code == 1
    assert "cannot understand a line from the kernel: b'TCP what is this'" in ran.err


def test_daemon_that_is_not_there_is_1_in_words(run: Run, tmp_path: Path) -> None:
    for view in ((), ("--connections",)):
        ran = run("--control", str(tmp_path / "none.sock"), *view)
        assert (ran.code, ran.out) == (4, "")
        assert ran.err.startswith(f"lvs-healthd table: {tmp_path}/none.sock: no such socket: the daemon is not running")


@pytest.mark.parametrize("arguments", [["--stats", "--rate"], ["--rate", "--connections"], ["--sats"], ["a", "b"]])
def test_wrong_usage_is_2(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err != ""


def test_answer_of_another_version_is_1_in_words(
    run: Run, answering: Callable[[Path, bytes], None], tmp_path: Path
) -> None:
    body = b'{"daemon": {"version": "9.0"}}'
    answering(tmp_path / "s", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    ran = run("--control", str(tmp_path / "s"))
    assert (ran.code, ran.out) == (1, "")
    assert "is it a different version?" in ran.err


def test_daemon_without_the_endpoint_is_1_and_not_an_unknown_service(
    run: Run, answering: Callable[[Path, bytes], None], tmp_path: Path
) -> None:
    answering(tmp_path / "s", b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}")
    ran = run("--control", str(tmp_path / "s"))
    assert ran.code == 1
    assert "the daemon answered 404 Not Found to /api/v1/table" in ran.err


def test_hostile_text_cannot_steer_the_terminal(run: Run, daemon: Daemon) -> None:
    server = listed_server("198.51.100.11:80", State.OK, reason="\x1b]0;owned\x07 [bold]x[/bold]\nfaked")
    daemon.listing = Listing(daemon=statuses.daemon(), services=(listed_service("web", "a", server),))
    assert "\\x1b]0;owned\\x07 [bold]x[/bold]\\nfaked" in run("--control", str(daemon.control)).out
    assert not any("\x07" in line or "\x1b]" in line for line in on_terminal(daemon, "table", columns=200))


def test_reader_that_goes_away_leaves_no_traceback(daemon: Daemon) -> None:
    daemon.connections = [CONNECTION * 20_000]
    with subprocess.Popen(
        [*COMMAND, "table", "--connections", "--control", str(daemon.control)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as ran:
        assert ran.stdout is not None
        assert ran.stderr is not None
        ran.stdout.readline()
        ran.stdout.close()
        assert ran.stderr.read() == b""
