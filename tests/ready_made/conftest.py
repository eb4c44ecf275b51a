"""Tries a check on a server in its states, and can print what was found as a table.

`pytest tests/ready_made --outcomes FILE` also probes each healthy server 50 times, counts the lines that this adds to
its log, and writes a table in Markdown.
"""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from lvs_healthd.config.basics import Protocol
from lvs_healthd.config.check_model import AnyCheck, StreamCheck, transport
from lvs_healthd.probes.outcome import Outcome, OutcomeKind
from tests.ready_made.checks import (
    aimed,
    hasty,
    outcome,
    outcomes,
    probe,
    wait_until_down,
    wait_until_open,
    wait_until_refused,
    wait_until_up,
)
from tests.ready_made.servers import Server, version

PROBES = 50
"""How many probes are sent to count the lines that they leave in a log."""

LOST = 2
"""How many of them may fail: what a check says about itself in its file (coap), or a machine that is too busy."""

LOG_DELAY_S = 0.5
"""How long a server may take to write the line of a probe."""

HEALTHY = "healthy"

STRANGERS = (b"", b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x50")
"""Answers of servers of another kind: one that closes, a web server, a TLS alert."""


class Row(NamedTuple):
    """What a check made of one state of a server."""

    check: str
    server: str
    state: str
    outcome: str
    lines: str
    """How many lines the probes left in the server's log, if that was counted."""


_ROWS = pytest.StashKey[list[Row]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes the table."""
    parser.addoption("--outcomes", type=Path, metavar="FILE", help="write what every check made of its server's states")


def pytest_configure(config: pytest.Config) -> None:
    """Begin the table."""
    config.stash[_ROWS] = []


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the table."""
    file: Path | None = session.config.getoption("--outcomes", default=None)
    if file is not None:
        file.write_text(_table(session.config.stash.get(_ROWS, [])))


def _table(rows: list[Row]) -> str:
    """Return a table in Markdown with a line for each check and server."""
    head = ("check", "server", f"log lines of {PROBES} probes", "states that are down", "states that are up")
    lines = [head, ("---",) * len(head)]
    for (check, server), found in itertools.groupby(sorted(rows, key=lambda row: row[:2]), lambda row: row[:2]):
        states = list(found)
        counted = [row.lines if row.state == HEALTHY else f"{row.lines} ({row.state})" for row in states if row.lines]
        down = [f"{row.state} ({row.outcome})" for row in states if row.outcome != OutcomeKind.UP]
        passed = [row.state for row in states if row.outcome == OutcomeKind.UP]
        lines.append((f"`{check}`", server, "; ".join(counted), "; ".join(_unique(down)), "; ".join(_unique(passed))))
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _unique(texts: list[str]) -> list[str]:
    return list(dict.fromkeys(texts))


class Tried:
    """Probes a server in a state, asserts the outcome, and keeps it for the table."""

    def __init__(self, rows: list[Row], *, counts_lines: bool) -> None:
        self._rows = rows
        self._counts_lines = counts_lines

    def up(self, check: AnyCheck, package: str, state: str = HEALTHY, server: Server | None = None) -> None:
        """Assert that the check passes, or does so soon because the server is starting.

        package: the server's package in Debian.
        server: given if the lines in its log are to be counted.
        """
        found = wait_until_up(check)
        self._keep(check, package, state, found, self._lines(check, server))

    def down(self, check: AnyCheck, package: str, state: str, detail: str = "") -> None:
        """Assert that the check fails, with words of `detail` in what it found."""
        found = outcome(check)
        assert found.kind is OutcomeKind.DOWN, found.detail
        assert detail in found.detail
        self._keep(check, package, state, found, "")

    def down_soon(self, check: AnyCheck, package: str, state: str, detail: str = "") -> None:
        """Assert the same of a server that is starting: as soon as its port is open."""
        wait_until_open(check)
        self.down(check, package, state, detail)

    def down_at_last(self, check: AnyCheck, package: str, state: str, detail: str = "") -> None:
        """Assert the same of a server that needs a moment to learn of its state."""
        wait_until_down(check)
        self.down(check, package, state, detail)

    def closed(self, check: AnyCheck, package: str) -> None:
        """Assert that a server that has been killed is down, as soon as the kernel has closed its sockets."""
        wait_until_refused(check)
        self.down(check, package, "port closed")

    def life(self, check: AnyCheck, package: str, server: Server, *, ends: bool = True) -> None:
        """Assert what holds for every check: up, down while its processes are stopped, up again, down without them."""
        self.up(check, package, server=server)
        server.freeze()
        self.down(hasty(check), package, "stopped by SIGSTOP")
        server.thaw()
        wait_until_up(check)
        if ends:
            server.kill()
            self.closed(check, package)

    def strangers(self, check: AnyCheck) -> None:
        """Assert that servers of another kind are down: those of `STRANGERS`, and one that sends back what it gets."""
        answers: list[Callable[[bytes], bytes]] = [lambda sent: sent, *(_always(answer) for answer in STRANGERS)]
        with contextlib.ExitStack() as strangers:
            ports = [strangers.enter_context(stranger(check, answer)) for answer in answers]
            found = outcomes(hasty(aimed(check, port)) for port in ports)
        assert {each.kind for each in found} == {OutcomeKind.DOWN}, [each.detail for each in found]

    def _keep(self, check: AnyCheck, package: str, state: str, found: Outcome, lines: str) -> None:
        where = f"{package} {version(package)}"
        told = str(found.kind if found.kind is OutcomeKind.UP else found.reason)
        self._rows.append(Row(check.name, where, state, told, lines))

    def _lines(self, check: AnyCheck, server: Server | None) -> str:
        if server is None or not self._counts_lines:
            return ""
        time.sleep(LOG_DELAY_S)
        before = server.log().count("\n")
        assert sum(probe(check) for _ in range(PROBES)) >= PROBES - LOST
        time.sleep(LOG_DELAY_S)
        return str(server.log().count("\n") - before)


def _always(answer: bytes) -> Callable[[bytes], bytes]:
    return lambda _: answer


@contextlib.contextmanager
def stranger(check: AnyCheck, answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """Run a server on loopback that answers once with `answer` of what was sent, and return its port."""
    kind = socket.SOCK_DGRAM if transport(check) is Protocol.UDP else socket.SOCK_STREAM
    speaks_first = isinstance(check, StreamCheck) and not check.send
    with socket.socket(socket.AF_INET, kind) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(5)

        def serve() -> None:
            if kind is socket.SOCK_DGRAM:
                sent, client = listener.recvfrom(65536)
                listener.sendto(answer(sent), client)
                return
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                connection.sendall(answer(b"" if speaks_first else connection.recv(65536)))

        if kind is socket.SOCK_STREAM:
            listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> Tried:
    """Return what tries checks on servers in this session."""
    return Tried(
        request.config.stash[_ROWS], counts_lines=request.config.getoption("--outcomes", default=None) is not None
    )


@pytest.fixture
def port() -> int:
    """Return a TCP port of loopback that nobody uses."""
    from tests.ready_made.servers import free_port  # noqa: PLC0415

    return free_port()
