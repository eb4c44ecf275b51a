"""`lvs-healthd ok` as scripts call it, with and without the command line's libraries."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lvs_healthd.cli.ok_quickly import quickly
from lvs_healthd.view.serving import Serving
from tests.cli.conftest import Daemon
from tests.cli.running import Run


@pytest.fixture
def ok(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run("ok", monkeypatch, capsys)


WEB, DNS = "web: 2 of 3 real servers serve\n", "dns: no real server may serve\n"
BOTH = "dns: no real server may serve (1 of 2 services may serve)\n"


@pytest.mark.parametrize("more", [(), ("--config", "/nowhere.toml")], ids=["quickly", "ordinary"])
@pytest.mark.parametrize(("which", "code", "out"), [(("web",), 0, WEB), (("dns",), 1, DNS), ((), 1, BOTH)])
def test_answer_is_one_line_and_a_status(
    ok: Run, daemon: Daemon, which: tuple[str, ...], code: int, out: str, more: tuple[str, ...]
) -> None:
    ran = ok(*which, "--control", str(daemon.control), *more)
    assert (ran.code, ran.out, ran.err) == (code, out, "")


@pytest.mark.parametrize("first", [True, False])
def test_control_may_stand_before_the_service(daemon: Daemon, first: bool, capsys: pytest.CaptureFixture[str]) -> None:
    control = ["--control", str(daemon.control)]
    assert quickly([*control, "web"] if first else ["web", *control]) == 0
    assert capsys.readouterr().out == WEB


def test_json_is_the_daemons_own(ok: Run, daemon: Daemon) -> None:
    ran = ok("web", "--json", "--control", str(daemon.control))
    assert json.loads(ran.out) == {
        "ok": True,
        "services": [{"service": "web", "ok": True, "why": "2 of 3 real servers serve"}],
    }


def test_unknown_service_is_wrong_usage(ok: Run, daemon: Daemon) -> None:
    ran = ok("nobody", "--control", str(daemon.control))
    assert (ran.code, ran.err) == (2, 'lvs-healthd ok: no service is called "nobody" or has that address\n')


def test_no_daemon_is_4(ok: Run, tmp_path: Path) -> None:
    ran = ok("web", "--control", str(tmp_path / "gone.sock"))
    assert ran.code == 4
    assert "no such socket" in ran.err


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\n",
    ],
)
def test_half_an_answer_is_no_answer(answer: bytes, tmp_path: Path, answering: Callable[[Path, bytes], None]) -> None:
    control = tmp_path / "odd.sock"
    answering(control, answer)
    assert quickly(["web", "--control", str(control)]) is None


def test_answer_without_services_is_left_to_the_ordinary_verb(
    tmp_path: Path, answering: Callable[[Path, bytes], None]
) -> None:
    body = b'{"ok":true,"services":[]}'
    answering(tmp_path / "x", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    assert quickly(["", "--control", str(tmp_path / "x")]) is None


def test_names_are_quoted_and_printed_on_one_line(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    name = "w&b?service=x é/\n#"
    daemon.serving = (Serving(service=name, ok=True, why="1 of 1 real servers serve"),)
    assert quickly([name, "--control", str(daemon.control)]) == 0
    assert capsys.readouterr().out == "w&b?service=x é/?#: 1 of 1 real servers serve\n"


@pytest.mark.parametrize("words", [["web"], ["web", "--control"], ["--json", "--control", "x"], ["a", "b", "c"], []])
def test_what_is_not_plain_is_left_to_the_ordinary_verb(words: list[str]) -> None:
    assert quickly(words) is None


def test_plain_command_needs_no_libraries(daemon: Daemon) -> None:
    code = "import sys\nfrom lvs_healthd.cli import main\ntry:\n    main()\nfinally:\n    print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code, "ok", "web", "--control", str(daemon.control)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    loaded = set(ran.stdout.split())
    assert not loaded & {"typer", "rich", "msgspec", "asyncio", "http.client", "tomli", "tomllib"}
    assert "lvs_healthd.cli.ok_quickly" in loaded
