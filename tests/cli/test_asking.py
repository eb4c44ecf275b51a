"""Finding the control socket, even with a broken configuration, and explaining why nobody answers."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lvs_healthd.cli import asking as control
from lvs_healthd.cli.asking import ControlError, decoded, find_daemon, pieces
from lvs_healthd.cli.exit_status import ExitStatus
from lvs_healthd.config.model import Daemon as DaemonConfig
from lvs_healthd.view.status_values import Status
from tests.cli.conftest import Daemon
from tests.cli.running import Run

DEFAULT, LISTEN = DaemonConfig().control, DaemonConfig().listen


def found(tmp_path: Path, text: str | bytes) -> tuple[str, str]:
    file = tmp_path / "config.toml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    place = find_daemon(file, explicit=True)
    return place.control, place.remark.replace(str(file), "FILE")


def test_path_is_the_configuration_s(tmp_path: Path) -> None:
    assert found(tmp_path, '[daemon]\ncontrol = "/tmp/c.sock"\n') == ("/tmp/c.sock", "")


@pytest.mark.parametrize("text", ["", "[daemon]\n", '[[service]]\ncontrol = "/not/this"\n'])
def test_path_not_configured_is_the_default(tmp_path: Path, text: str) -> None:
    assert found(tmp_path, text) == (DEFAULT, "")


def test_errors_elsewhere_in_the_configuration_do_not_matter(tmp_path: Path) -> None:
    text = '[daemon]\ncontrol = "/tmp/c.sock"\nlisten = 5\n[[service]]\nweight = "many"\n'
    assert found(tmp_path, text) == ("/tmp/c.sock", "")


@pytest.mark.parametrize(
    "text",
    [
        '[daemon]\nlisten = "x"\ncontrol = "/tmp/c.sock"\n[[service]\nname = \n',
        "[ daemon ]  # settings\ncontrol='/tmp/c.sock' # here\nmode = enforce\n",
    ],
)
def test_file_that_is_not_toml_still_names_its_socket(tmp_path: Path, text: str) -> None:
    path, remark = found(tmp_path, text)
    assert path == "/tmp/c.sock"
    assert remark.startswith("FILE:")
    assert remark.endswith("; asking at /tmp/c.sock")


@pytest.mark.parametrize("text", ['[other]\ncontrol = "/x"\n[[', '[daemon]\ncontrol = "/x\n', "[daemon\ncontrol = 5"])
def test_file_that_is_not_toml_and_does_not_help_means_the_default(tmp_path: Path, text: str) -> None:
    path, remark = found(tmp_path, text)
    assert path == DEFAULT
    assert f"asking at {DEFAULT}" in remark


@pytest.mark.parametrize(
    "text", ["[daemon]\ncontrol = 5\n", 'daemon = 3\n[[service]]\ncontrol=""', '[daemon]\ncontrol = ""\n', b"\xff\xfe"]
)
def test_nonsense_means_the_default(tmp_path: Path, text: str | bytes) -> None:
    assert found(tmp_path, text)[0] == DEFAULT


def test_file_is_read_as_the_daemon_reads_it(tmp_path: Path) -> None:
    newer = '\ufeff[daemon]\ncontrol = "/tmp/c.sock"\n[defaults]\ncheck = {\n  type = "tcp",\n}\n'
    assert found(tmp_path, newer) == ("/tmp/c.sock", "")


def test_missing_file_is_worth_a_remark_only_when_it_was_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert find_daemon(missing, explicit=False) == (DEFAULT, LISTEN, "")
    assert find_daemon(missing, explicit=True) == (
        DEFAULT,
        LISTEN,
        f"{missing}: cannot be read: No such file or directory; asking at the default {DEFAULT}",
    )


def test_unreadable_file_is_said_and_the_default_asked(tmp_path: Path) -> None:
    assert find_daemon(tmp_path, explicit=False) == (
        DEFAULT,
        LISTEN,
        f"{tmp_path}: cannot be read: Is a directory; asking at the default {DEFAULT}",
    )


def test_running_daemon_answers(daemon: Daemon) -> None:
    assert b"".join(pieces(str(daemon.control), "/healthz")) == b"ok\n"


def refusal(path: Path | str, *, timeout_s: float = 5.0) -> str:
    with pytest.raises(ControlError) as refused:
        b"".join(pieces(str(path), "/api/v1/status", timeout_s=timeout_s))
    return str(refused.value)


def test_no_socket_says_where_it_looked_and_what_to_type(tmp_path: Path) -> None:
    text = refusal(tmp_path / "control.sock")
    assert text.startswith(f"{tmp_path}/control.sock: no such socket: the daemon is not running")
    assert "--control PATH" in text
    assert "systemctl status lvs-healthd" in text


def test_socket_of_a_killed_daemon_says_not_running(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(tmp_path / "control.sock"))
    assert "the daemon is not running" in refusal(tmp_path / "control.sock")


def test_permission_denied_names_the_group_that_may(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tests may run as root, and no file mode stops root.
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(control._UnixConnection, "connect", refuse)
    group = daemon.control.group()
    assert refusal(daemon.control) == (
        f"{daemon.control}: permission denied: become root or a member of the group {group}"
    )


def test_group_is_told_from_the_directory_when_the_socket_is_hidden(tmp_path: Path) -> None:
    assert control._group(str(tmp_path / "hidden")) == tmp_path.group()
    assert control._group("/nowhere/at/all") == "lvs-healthd"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"220 mail.example ESMTP\r\n", "something answers, but not lvs-healthd"),
        (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", "the daemon answered 500"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "something answers, but not lvs-healthd"),
        (b"", "the daemon hung up"),
    ],
)
def test_strange_answers_are_put_in_words(
    tmp_path: Path, answer: bytes, expected: str, answering: Callable[[Path, bytes], None]
) -> None:
    answering(tmp_path / "control.sock", answer)
    assert expected in refusal(tmp_path / "control.sock")


def test_stuck_daemon_is_waited_for_only_so_long(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.bind(str(tmp_path / "control.sock"))
        stuck.listen()
        assert "the daemon is stuck" in refusal(tmp_path / "control.sock", timeout_s=0.05)


def test_listen_is_found_beside_the_socket_even_in_a_file_that_is_not_toml(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    for rest in ("", "[[service]\n"):
        file.write_text('[daemon]\nlisten = "127.0.0.1:7"\ncontrol = "/tmp/c.sock"\n' + rest)
        assert find_daemon(file, explicit=True)[:2] == ("/tmp/c.sock", "127.0.0.1:7")


ASKING = ["status", "table", "export"]
"""The verbs that only look."""


@pytest.mark.parametrize("verb", [*ASKING, "reload"])
def test_no_daemon_is_4_whatever_asks(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Run(verb, monkeypatch, capsys)("--control", str(tmp_path / "none.sock"))
    assert (ran.code, ran.out) == (ExitStatus.UNREACHABLE, "")
    assert ran.err.startswith(f"lvs-healthd {verb}: {tmp_path}/none.sock: no such socket: the daemon is not running")


def configured(folder: Path, listen: str) -> str:
    file = folder / "config.toml"
    file.write_text(f'[daemon]\nlisten = "{listen}"\ncontrol = "{folder}/gone.sock"\n')
    return str(file)


@pytest.mark.parametrize("verb", ASKING)
def test_daemon_whose_socket_is_gone_is_asked_over_tcp(
    verb: str, daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Run(verb, monkeypatch, capsys)("--config", configured(tmp_path, daemon.listen))
    assert ran.code != ExitStatus.UNREACHABLE
    assert ran.err.splitlines()[0] == (
        f"lvs-healthd {verb}: {tmp_path}/gone.sock: no such socket; asking at {daemon.listen}"
    )
    assert "Traceback" not in ran.err


def test_stranger_on_the_tcp_port_is_not_taken_for_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 2\r\n\r\n{}")

        thread = threading.Thread(target=serve)
        thread.start()
        address = "{}:{}".format(*listener.getsockname())
        ran = Run("status", monkeypatch, capsys)("--config", configured(tmp_path, address))
        thread.join()
    assert (ran.code, ran.out) == (ExitStatus.UNREACHABLE, "")
    assert "something answers, but not lvs-healthd" in ran.err


def test_nobody_on_the_tcp_port_either_is_the_missing_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = "{}:{}".format(*closed.getsockname())
    for listen in (address, "", "nonsense"):
        ran = Run("status", monkeypatch, capsys)("--config", configured(tmp_path, listen))
        assert (ran.code, ran.out) == (ExitStatus.UNREACHABLE, "")
        assert ran.err.startswith(f"lvs-healthd status: {tmp_path}/gone.sock: no such socket: the daemon is not")


@pytest.mark.parametrize("body", [b"[", b'{"a":1}', b'{"schema":"\xff"}'])
def test_answer_of_another_form_is_told(body: bytes) -> None:
    with pytest.raises(ControlError, match="is it a different version"):
        decoded(body, Status)
