"""One worker process, talked to by hand."""

import contextlib
import datetime as dt
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from lvs_healthd import __version__
from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import AnyCheck, HttpCheck, HttpsCheck, Tls
from lvs_healthd.probes.outcome import Outcome, Reason
from lvs_healthd.probing.workers.framing import Frames
from lvs_healthd.probing.workers.link import COMMAND
from lvs_healthd.probing.workers.protocol import MOST_BYTES, Assigned, Change, Hello, Report, Said, recorded, said
from lvs_healthd.runtime.capabilities import CAP_DAC_READ_SEARCH, CAP_NET_RAW
from tests.probing.workers.bench import closed_ports, tcp
from tests.probing.workers.talking import frame

GIVEN_UP = ("CapInh", "CapPrm", "CapEff", "CapAmb")


class Talk:
    """The daemon's end of a worker, blocking."""

    def __init__(self, process: "subprocess.Popen[bytes]", ours: socket.socket) -> None:
        self.process = process
        self.socket = ours
        self._frames = Frames(MOST_BYTES)

    def tell(self, *checks: AnyCheck) -> None:
        added = tuple(Assigned(number, check) for number, check in enumerate(checks))
        self.socket.sendall(frame(Change(max_in_flight=100, added=added)))

    def messages(self) -> Iterator[Said]:
        while data := self.socket.recv(65536):
            for payload in self._frames.feed(data):
                yield said(payload)

    def outcomes(self) -> Iterator[Outcome]:
        for message in self.messages():
            if isinstance(message, Report):
                yield from (text.outcome for text in message.texts)


@pytest.fixture
def talk() -> Iterator[Talk]:
    ours, theirs = socket.socketpair()
    ours.settimeout(60)
    with ours:
        with theirs:
            process = subprocess.Popen([*COMMAND, str(theirs.fileno())], pass_fds=(theirs.fileno(),))
        with process:
            try:
                yield Talk(process, ours)
            finally:
                process.kill()


def test_worker_says_who_it_is_and_then_at_least_twice_a_second_that_it_lives(talk: Talk) -> None:
    messages = talk.messages()
    assert next(messages) == Hello(__version__)
    begun = time.monotonic()
    assert all(isinstance(next(messages), Report) for _ in range(3))
    assert time.monotonic() - begun < 10


def test_worker_whose_daemon_is_gone_ends_by_itself(talk: Talk) -> None:
    talk.tell(*closed_ports(3))
    next(talk.outcomes())
    talk.socket.close()
    assert talk.process.wait(timeout=30) == 0


def test_worker_whose_daemon_is_gone_while_it_says_something_ends_too(talk: Talk) -> None:
    talk.tell(*closed_ports(50, interval_s=0.05))
    next(talk.outcomes())
    talk.socket.shutdown(socket.SHUT_RD)
    assert talk.process.wait(timeout=30) == 0


def test_signals_to_the_whole_group_are_not_for_workers(talk: Talk) -> None:
    messages = talk.messages()
    next(messages)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        talk.process.send_signal(number)
    talk.tell(tcp(1))
    assert next(talk.outcomes()).reason is Reason.REFUSED
    assert talk.process.poll() is None


def test_worker_nobody_listens_to_keeps_what_is_newest_and_goes_on(talk: Talk) -> None:
    talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    talk.tell(*closed_ports(100, interval_s=0.05))
    next(talk.outcomes())
    resident = memory(talk.process.pid)
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        time.sleep(0.1)
    assert memory(talk.process.pid) - resident < 20 * 2**20
    assert talk.process.poll() is None
    ended = newest(talk)
    assert time.monotonic() - ended < 2


def newest(talk: Talk) -> float:
    """Read until an outcome arrives that ended within the last second. Return when it ended."""
    for message in talk.messages():
        if isinstance(message, Report):
            for *_, ended in recorded(message):
                if time.monotonic() - ended < 1:
                    return float(ended)
    raise AssertionError("the worker ended")


def memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_ca_that_only_the_worker_cannot_read_makes_one_probe_unsure(talk: Talk, tmp_path: Path) -> None:
    https = HttpsCheck(name="", rise=0, fall=0, address="127.0.0.1", port=1, tls=Tls(ca=str(tmp_path / "ca.pem")))
    talk.tell(https, tcp(1))
    outcomes = talk.outcomes()
    found = {next(outcomes) for _ in range(2)}
    assert {each.reason for each in found} == {Reason.LOCAL_LIMIT, Reason.REFUSED}
    assert any("ca.pem: No such file or directory" in each.detail for each in found)
    talk.socket.sendall(frame(Change(max_in_flight=100, dropped=(0,))))
    assert talk.process.poll() is None


def test_ca_that_can_be_read_again_is_read_without_a_reload(talk: Talk, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    talk.tell(
        HttpsCheck(name="", rise=0, fall=0, interval=Seconds(0.1), address="127.0.0.1", port=1, tls=Tls(ca=str(file)))
    )
    outcomes = talk.outcomes()
    assert next(outcomes).reason is Reason.LOCAL_LIMIT
    trustme.CA().cert_pem.write_to_path(str(file))
    assert any(each.reason is Reason.REFUSED for each in outcomes)


def asked_of(listener: socket.socket) -> bytes:
    """Take one probe's connection, and return its request."""
    accepted, _ = listener.accept()
    with accepted:
        return accepted.recv(65536)


def test_worker_sends_the_secret_that_its_file_holds_since_the_last_change(talk: Talk, tmp_path: Path) -> None:
    file = tmp_path / "token"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        port = listener.getsockname()[1]
        talk.tell(
            HttpCheck(
                name="", rise=0, fall=0, interval=Seconds(0.1), address="127.0.0.1", port=port, token_file=str(file)
            )
        )
        missing = next(talk.outcomes())
        assert missing.reason is Reason.LOCAL_LIMIT
        assert missing.detail == f"its probe worker cannot read {file}: No such file or directory"
        file.write_text("first-token\n")
        assert b"\r\nAuthorization: Bearer first-token\r\n" in asked_of(listener)
        file.write_text("second-token\n")
        assert b" first-token\r\n" in asked_of(listener)
        talk.socket.sendall(frame(Change(max_in_flight=100)))
        end = time.monotonic() + 60
        while b" second-token\r\n" not in asked_of(listener):
            assert time.monotonic() < end
        file.unlink()
        talk.socket.sendall(frame(Change(max_in_flight=100)))
        assert all(b" second-token\r\n" in asked_of(listener) for _ in range(5))


def test_end_of_a_certificate_reaches_the_daemon(talk: Talk) -> None:
    end = dt.datetime(2049, 12, 31, 1, 2, 3, tzinfo=dt.UTC)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1", not_after=end).configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        talk.tell(HttpsCheck(name="", rise=0, fall=0, address="127.0.0.1", port=port, tls=Tls(verify=False)))
        accepted, _ = listener.accept()
        with context.wrap_socket(accepted, server_side=True) as server:
            server.recv(65536)
            server.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            found = next(talk.outcomes())
    assert (found.detail, found.certificate_end) == ("status 200", end.timestamp())


def test_worker_keeps_no_capability_but_to_read_files_and_to_ping_and_can_gain_none(talk: Talk) -> None:
    assert isinstance(next(talk.messages()), Hello)
    lines = Path(f"/proc/{talk.process.pid}/status").read_text().splitlines()
    status = {name: int(value, 16) for name, value in (line.split(":\t") for line in lines) if name in GIVEN_UP}
    allowed = 1 << CAP_DAC_READ_SEARCH | 1 << CAP_NET_RAW
    assert [name for name, value in status.items() if value & ~allowed] == []
    assert not status["CapInh"] | status["CapAmb"]
    assert "NoNewPrivs:\t1" in lines


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_worker_of_root_reads_a_ca_of_another_user(talk: Talk, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    file.chmod(0o600)
    os.chown(file, 12345, 12345)
    talk.tell(HttpsCheck(name="", rise=0, fall=0, address="127.0.0.1", port=1, tls=Tls(ca=str(file))))
    assert next(talk.outcomes()).reason is Reason.REFUSED


def test_worker_that_may_not_give_up_its_capabilities_says_so_and_works() -> None:
    patched = "process.give_up_capabilities = refuse"
    code = (
        "import errno\nfrom lvs_healthd.probing.workers import process\n"
        f"def refuse(*_): raise OSError(errno.EPERM, 'capset: Operation not permitted')\n{patched}\nprocess.main()"
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-c", code, str(theirs.fileno())]
        with subprocess.Popen(command, pass_fds=(theirs.fileno(),), stderr=subprocess.PIPE) as process:
            theirs.close()
            assert isinstance(next(Talk(process, ours).messages()), Hello)
            ours.close()
            assert process.wait(timeout=30) == 0
            assert process.stderr is not None
            said = process.stderr.read().decode()
    why = "capset: Operation not permitted: SystemCallFilter= lacks capset"
    assert said == f"lvs-healthd: a probe worker keeps its capabilities: {why}\n"


def test_worker_that_hangs_is_ended_by_the_kernel_even_if_nobody_looks() -> None:
    # Its second sign of life never comes, as if it were stuck in a probe.
    patched = "process.HUNG_S = 0.2; process.SIGN_OF_LIFE_S = 3600"
    code = f"from lvs_healthd.probing.workers import process; {patched}; process.main()"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-c", code, str(theirs.fileno())]
        with subprocess.Popen(command, pass_fds=(theirs.fileno(),)) as process:
            assert process.wait(timeout=60) == -signal.SIGALRM


def test_nonsense_from_the_daemon_ends_the_worker_with_a_word_about_it(talk: Talk) -> None:
    talk.socket.sendall((3).to_bytes(4, "little") + b"abc")
    with contextlib.suppress(ConnectionResetError):
        assert any("GarbledFrameError" in repr(message) for message in talk.messages())
    assert talk.process.wait(timeout=30) == 1


def test_worker_imports_nothing_that_only_the_daemon_needs() -> None:
    code = "import sys, lvs_healthd.probing.workers.process; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    packages = {name.partition(".")[0] for name in ran.stdout.split()}
    assert not packages & {"aiohttp", "prometheus_client", "typer", "rich", "structlog", "tomli_w", "h2", "dns"}
    parts = {name for name in ran.stdout.split() if name.startswith("lvs_healthd.")}
    assert not parts & {
        "lvs_healthd.decide.decisions",
        "lvs_healthd.daemon.daemon",
        "lvs_healthd.events.kinds",
        "lvs_healthd.plan.records",
    }
