"""The lines of HAProxy's agents mean here what they mean to HAProxy itself, but for three things that the docs tell."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from lvs_healthd.probes.agent import heard
from lvs_healthd.probes.outcome import OutcomeKind
from tests.ready_made.servers import free_port, running

WEIGHT = 100
PATIENCE_S = 10.0


class State(NamedTuple):
    """Whether clients are sent to the server at all, and its weight."""

    up: bool
    weight: int


@contextlib.contextmanager
def serving(answer: list[bytes]) -> Iterator[int]:
    """Send every client the bytes in `answer`, and close. Yield the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client, contextlib.suppress(ConnectionError):  # a client may have given up
                    client.sendall(answer[0])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


class HAProxy:
    def __init__(self, control: Path) -> None:
        self._control = control

    def state(self) -> State:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.connect(str(self._control))
            asked.sendall(b"show servers state back\n")
            answer = b"".join(iter(lambda: asked.recv(65536), b"")).decode()
        names = answer.splitlines()[1].removeprefix("# ").split()
        fields = dict(zip(names, answer.splitlines()[2].split(), strict=False))
        is_drained = fields["srv_admin_state"] != "0"
        return State(fields["srv_op_state"] == "2" or is_drained, 0 if is_drained else int(fields["srv_uweight"]))

    def until(self, expected: State) -> State:
        """Wait until it has this state. Return the last one seen."""
        end = time.monotonic() + PATIENCE_S
        while (found := self.state()) != expected and time.monotonic() < end:
            time.sleep(0.02)
        return found


@pytest.fixture(scope="module")
def agent() -> list[bytes]:
    return [b"up ready 100%\n"]


@pytest.fixture(scope="module")
def haproxy(agent: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Iterator[HAProxy]:
    directory = tmp_path_factory.mktemp("haproxy")
    control, front = directory / "control", free_port()
    with serving(agent) as agent_port, serving([b""]) as server_port:
        (directory / "haproxy.cfg").write_text(
            f"global\n stats socket {control} level admin\n"
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n timeout check 5s\n"
            f"listen back\n bind 127.0.0.1:{front}\n"
            f" server one 127.0.0.1:{server_port} weight {WEIGHT} check inter 100ms"
            f" agent-check agent-port {agent_port} agent-inter 50ms\n"
        )
        with running(["haproxy", "-db", "-f", directory / "haproxy.cfg"], directory):
            end = time.monotonic() + PATIENCE_S
            while not control.exists() and time.monotonic() < end:
                time.sleep(0.02)
            yield HAProxy(control)


def ours(line: bytes) -> State:
    outcome = heard(line)
    if outcome.asks is None:
        return State(outcome.kind is OutcomeKind.UP, WEIGHT)
    return State(up=True, weight=WEIGHT * outcome.asks.value // 100)


@pytest.mark.parametrize(
    "line",
    [
        *(b"up", b"75%", b"1%", b"250%", b"0%", b"drain", b"maint 75%", b"drain ready 50%", b"down # x", b"fail"),
        *(b"stopped", b"up down", b"down up 10%", b"UP, 75%", b"10%\t20%", b"up maxconn:30", b"maxconn:30 5%,ready"),
    ],
)
def test_line_means_what_it_means_to_haproxy(haproxy: HAProxy, agent: list[bytes], line: bytes) -> None:
    agent[0] = b"up ready 100%\n"
    assert haproxy.until(State(up=True, weight=WEIGHT)) == State(up=True, weight=WEIGHT)
    agent[0] = line + b"\n"
    assert haproxy.until(ours(line)) == ours(line)
