"""Runs lvs-healthd for a measurement: writes its configuration, reads its log and metrics, and reloads it."""

import contextlib
import http.client
import json
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.exposition import Scrape
from bench.observer_run import Observer
from bench.outcome import MeasurementError
from bench.processes import PYTHON, Command, Program, running, wait_until
from bench.real_servers import PORTS, address

SERVERS_PER_SERVICE = 100
"""As many as a big service has. The number of services grows with the number of servers."""

_POLL_S = 0.002

START_S = 120.0
"""How long to wait for events of a start. It is enough for 50 000 servers and for an emulated machine."""


_GOOD_NEWS = frozenset({"real_server.up", "service.serving", "table.changed"})
"""A daemon that starts may log so many of these events that some are held back."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to probe: `count` servers with a check of `kind` (of `real_servers.PORTS`), every `interval_s` seconds."""

    kind: str
    count: int
    interval_s: float
    ca: Path
    first: str = ""
    """The first server's address; the others follow. Empty means the loopback servers of `real_servers`."""

    @property
    def rate(self) -> float:
        """Probes due in a second."""
        return self.count / self.interval_s

    def server(self, index: int) -> str:
        """Return the address and port of a server, as a configuration writes it."""
        return f"{self.address(index)}:{PORTS[self.kind]}"

    def address(self, index: int) -> str:
        """Return the address of a server."""
        return address(index, first=self.first) if self.first else address(index)

    def vip(self, number: int) -> str:
        """Return the address and port of a virtual service. It is a loopback address if the servers' are."""
        network = 10 if self.first else 127
        number += 0 if self.first else 128 << 8
        return f"{network}.{number >> 8}.{number & 255}.1:{PORTS[self.kind]}"


LISTEN = ("127.0.0.1", 19880)
"""Where metrics are scraped, in the benchmark's own network namespace."""

_CHECKS = {
    "http": '{{ type = "http", path = "/healthz", host = "bench.test" }}',
    "h2": '{{ type = "http", path = "/healthz", host = "bench.test", http_version = "2" }}',
    "https": '{{ type = "https", path = "/healthz", host = "bench.test", ca = "{ca}" }}',
    "http-keep": '{{ type = "http", path = "/healthz", host = "bench.test", connection = "keep" }}',
    "https-keep": '{{ type = "https", path = "/healthz", host = "bench.test", ca = "{ca}", connection = "keep" }}',
    "https-resumed": '{{ type = "https", path = "/healthz", host = "bench.test", verify = false }}',
    "tcp": '{{ type = "tcp" }}',
    "udp": '{{ type = "udp", send = "ping", expect = "ping" }}',
}


def configuration(
    load: Load,
    folder: Path,
    *,
    check: str = "",
    daemon: str = "",
    servers: Sequence[str] = (),
) -> str:
    """Write the TOML configuration for a load.

    check: lines for the table [defaults.check].
    daemon: lines for the table [daemon].
    servers: used instead of the load's own servers.
    The timeout is a second, or the interval if that is shorter.
    """
    servers = servers or [load.server(index) for index in range(load.count)]
    parts = [head(folder, load.interval_s, check=check, daemon=daemon)]
    for start in range(0, len(servers), SERVERS_PER_SERVICE):
        number = start // SERVERS_PER_SERVICE
        members = servers[start : start + SERVERS_PER_SERVICE]
        parts.append(service(f"s{number}", load.vip(number), load.kind, check_of(load.kind, load.ca), members))
    return "\n".join(parts)


def head(folder: Path, interval_s: float, *, check: str = "", daemon: str = "") -> str:
    """Write the beginning of a configuration. See `configuration`."""
    return (
        f'[daemon]\nlisten = "{LISTEN[0]}:{LISTEN[1]}"\n'
        f'control = "{folder}/control.sock"\nstate = "{folder}/state.json"\n{daemon}\n'
        f'[defaults.check]\ninterval = "{interval_s}s"\ntimeout = "{min(1.0, interval_s)}s"\n{check}\n'
    )


def service(name: str, vip: str, kind: str, check: str, servers: Sequence[str]) -> str:
    """Write one service with its servers, which all have the same check."""
    members = "".join(f'  "{server}",\n' for server in servers)
    return (
        f'[[service]]\nname = "{name}"\naddress = "{vip}"\nprotocol = "{"udp" if kind == "udp" else "tcp"}"\n'
        f'scheduler = "rr"\ncheck = {check}\nreal_server = [\n{members}]\n'
    )


def check_of(kind: str, ca: Path) -> str:
    """Write the check of a kind: one of `real_servers.PORTS`.

    ca: the certificate with which servers of https are verified.
    """
    return _CHECKS[kind].format(ca=ca)


class Healthd:
    """One run of the daemon. Build one with `running_daemon`."""

    def __init__(self, program: Program, folder: Path, began: float) -> None:
        self.program = program
        self.began = began
        """When the process was executed, Unix time."""
        self.file = folder / "config.toml"
        self.control = folder / "control.sock"
        self._lines: list[dict[str, Any]] = []
        self._read_bytes = 0

    def lines(self) -> list[dict[str, Any]]:
        """Return the daemon's log so far.

        Raises `MeasurementError` if there is any other output, such as a traceback: then the daemon has crashed.
        """
        # Hours of log are read once, not once for each question.
        whole, end, _ = self.program.output_from(self._read_bytes).rpartition(b"\n")
        try:
            self._lines += [json.loads(line) for line in whole.splitlines()]
        except json.JSONDecodeError as error:
            with contextlib.suppress(TimeoutError):  # let it finish its output
                wait_until(lambda: not self.program.alive(), timeout_s=1, what="its end")
            raise MeasurementError(f"not a log line from lvs-healthd:\n{self.program.last_words()}") from error
        self._read_bytes += len(whole) + len(end)
        return self._lines

    def select(self, event: str, *, after: int = 0) -> list[dict[str, Any]]:
        """Return the log lines of one event, leaving out the first `after` lines of the log."""
        return [line for line in self.lines()[after:] if line["event"] == event]

    def wait_for(self, event: str, *, after: int = 0, timeout_s: float = START_S) -> dict[str, Any]:
        """Wait for a log line. Raises `MeasurementError` when the daemon ends or the line does not come."""
        self.wait_while_alive(lambda: bool(self.select(event, after=after)), timeout_s=timeout_s, what=event)
        return self.select(event, after=after)[0]

    def wait_while_alive(self, condition: Callable[[], bool], *, timeout_s: float, what: str) -> float:
        """Wait for a condition, and return how long that took, seconds.

        Raises `MeasurementError` when the daemon ends or the condition does not come true.
        """

        def holds() -> bool:
            self.check_alive()
            return condition()

        try:
            return wait_until(holds, timeout_s=timeout_s, what=what, poll_s=_POLL_S)
        except TimeoutError as error:
            raise MeasurementError(f"{error}; lvs-healthd said:\n{self.program.last_words()}") from error

    def check_alive(self) -> None:
        """Raise `MeasurementError`, with the daemon's last output, when it has ended."""
        if not self.program.alive():
            raise MeasurementError(f"lvs-healthd has ended:\n{self.program.last_words()}")

    def check_quiet(self) -> None:
        """Raise `MeasurementError` when the run is invalid because of the daemon.

        It is invalid when the daemon has ended, or has logged an unexpected warning or error after `calm_from`, when
        its start was over.
        """
        self.check_alive()
        calm = [line for line in self.lines() if moment(line) > self.program.calm_from]
        loud = [line for line in calm if line["level"] != "info" and not _is_expected(line)]
        if loud:
            raise MeasurementError(f"lvs-healthd logged {len(loud)} unexpected lines, first: {loud[0]}")

    def metrics(self) -> Scrape:
        """Scrape it over the control socket."""
        return Scrape.parse(self.get("/metrics").decode())

    def status(self) -> Any:  # noqa: ANN401  # JSON
        """Return the status API's answer."""
        return json.loads(self.get("/api/v1/status"))

    def get(self, path: str) -> bytes:
        """Get a path of its API. Raises `MeasurementError` when the status is not 200, or when the daemon has ended."""
        connection = _UnixConnection(str(self.control))
        try:
            with contextlib.closing(connection):
                connection.request("GET", path)
                response = connection.getresponse()
                body = response.read()
        except ConnectionError:
            self.check_alive()
            raise
        if response.status != http.HTTPStatus.OK:
            raise MeasurementError(f"lvs-healthd answered {response.status} to {path}")
        return body

    def scrape(self) -> bytes:
        """Get its metrics over TCP, as Prometheus does. Raises `MeasurementError` when the status is not 200."""
        connection = http.client.HTTPConnection(*LISTEN, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            response = connection.getresponse()
            body = response.read()
        if response.status != http.HTTPStatus.OK:
            raise MeasurementError(f"lvs-healthd answered {response.status} to a scrape")
        return body

    def wait_until_up(self, count: int, *, timeout_s: float = START_S) -> None:
        """Wait until `count` real servers are up. Raises `MeasurementError` when they do not come up."""
        found = 0.0

        def all_up() -> bool:
            nonlocal found
            self.check_alive()
            found = self.metrics().sum("lvs_healthd_service_real_servers", state="up")
            return found >= count

        try:
            wait_until(all_up, timeout_s=timeout_s, what="servers", poll_s=1.0)
        except TimeoutError as error:
            raise MeasurementError(
                f"{found:.0f} of {count} servers up after {timeout_s:g} s:\n{self.program.last_words()}"
            ) from error

    def reload(self, configuration_text: str) -> float:
        """Write a new configuration, send SIGHUP, and return when that was, Unix time."""
        self.file.write_text(configuration_text, encoding="ascii")
        began = time.time()
        self.program.signal(signal.SIGHUP)
        return began

    def observed(self, interval_s: float) -> contextlib.AbstractContextManager[Observer]:
        """Watch its event loop from outside for the length of the block."""
        return Observer.watching(self.control, interval_s)


def moment(line: dict[str, Any]) -> float:
    """Return when a log line was written, Unix time. The result may be a millisecond too late, but never too early.

    The log cuts off everything below a millisecond.
    """
    return datetime.fromisoformat(line["timestamp"]).timestamp() + 0.001


def _is_expected(line: dict[str, Any]) -> bool:
    """Whether a warning is harmless: it is about lag, which is measured, or about good news that was held back."""
    if line["event"] == "scheduler.lag":
        return True
    return bool(line["event"] == "log.suppressed" and line["counts"].keys() <= _GOOD_NEWS)


@contextlib.contextmanager
def running_daemon(configuration_text: str, folder: Path, *, command: Command = ()) -> Iterator[Healthd]:
    """Run the whole of lvs-healthd on a configuration for the length of the block, with the table in memory.

    command: what to run instead; the configuration file is appended to it.
    """
    file = folder / "config.toml"
    file.write_text(configuration_text, encoding="ascii")
    healthd = Path(PYTHON).with_name("lvs-healthd")
    command = command or [healthd, "run", "--table", "memory", "--config"]
    began = time.time()
    with running([*command, file]) as program:
        yield Healthd(program, folder, began)


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Make a temporary folder for one run."""
    with tempfile.TemporaryDirectory(prefix="bench-run-") as name:
        yield Path(name)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("lvs-healthd", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
