"""`lvs-healthd why` as an operator runs it, against a real control socket."""

import json
import time

import pytest

from tests.cli.conftest import Daemon
from tests.cli.running import Run
from tests.statuses import NOW


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setattr(time, "localtime", time.gmtime)
    return Run("why", monkeypatch, capsys)


def test_answer_tells_verdict_weight_probe_and_history_with_the_newest_first(run: Run, daemon: Daemon) -> None:
    ran = run("web", "198.51.100.11:80", "--control", str(daemon.control))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "web 198.51.100.11:80 is up, since 2023-11-13 21:13:20 (1d): status 503, expected 200-299",
        "  weight: configured 3, wanted 3, in the kernel's table none",
        "  check http of 198.51.100.11:80, every 2s (now 500ms), timeout 1s: up, 2 of 3 failures that take it down",
        "    last probe 22:13:17, 12.3 ms: connected after 0.4 ms, first byte after 12.0 ms",
        '    the last one that did not pass heard "HTTP/1.1 503 \\x0d\\x0a"',
        "    22:13:13 to 22:13:17  down 3 times: status 503, expected 200-299",
        "    2023-11-13 21:13:20 to 22:13:11  up 256 or more times: status 200",
        "    2023-11-13 20:56:40  down: no answer in 1s",
        "  check port (tcp) of 198.51.100.11:81, every 2s, timeout 1s: unknown, 1 of 2 passes that bring it up",
        "    not probed yet",
    ]


def test_json_is_the_daemons_answer(run: Run, daemon: Daemon) -> None:
    ran = run("web", "198.51.100.11:80", "--json", "--control", str(daemon.control))
    answer = json.loads(ran.out)
    assert (answer["now"], answer["servers"][0]["checks"][0]["streaks"][0]["reason"]) == (NOW, "timeout")


def test_unknown_server_is_wrong_usage(run: Run, daemon: Daemon) -> None:
    ran = run("web", "198.51.100.12", "--control", str(daemon.control))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == 'lvs-healthd why: no real server of "web" has the address 198.51.100.12\n'


def test_without_a_daemon_it_says_so(run: Run, daemon: Daemon) -> None:
    ran = run("web", "198.51.100.12", "--control", str(daemon.control.with_name("no.sock")))
    assert (ran.code, ran.out) == (4, "")
