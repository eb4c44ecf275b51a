"""Runs lvs-healthd as a process on the lab's director: writes its configuration, reads its log, starts and ends it."""

import signal
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from lab.forks import Fork, fork, run
from lab.netns import Namespace
from lab.topology import Topology
from lab.wait import wait_until

START_DEADLINE_S = 180.0
"""How long the daemon may take to import its modules and read the table, in an emulated guest, seconds."""

INTERVAL_S, TIMEOUT_S, RISE, FALL, RESYNC_S, WEIGHT = 1.0, 1.0, 2, 3, 5.0, 3


def write_configuration(folder: Path, topology: Topology, *, listen: str = "") -> Path:
    """Write a configuration into `folder`: one web service with every real server of `topology`. Return its path.

    listen: where the daemon listens for browsers; nowhere if empty.
    """
    servers = ",\n".join(f'  {{ address = "{server.address}:80", weight = {WEIGHT} }}' for server in topology.servers)
    file = folder / "config.toml"
    file.write_text(
        f"""[daemon]
control = "{folder}/control.sock"
state = "{folder}/state.json"
resync = "{RESYNC_S:g}s"
listen = "{listen}"

[defaults.check]
interval = "{INTERVAL_S:g}s"
timeout = "{TIMEOUT_S:g}s"
rise = {RISE}
fall = {FALL}

[[service]]
name = "web"
address = "{topology.vip}:80"
scheduler = "rr"
check = {{ type = "http", path = "/healthz" }}
real_server = [
{servers},
]
""",
        encoding="utf-8",
    )
    return file


class Daemon:
    """Runs lvs-healthd, once or several times in succession, with the same configuration and one log for all runs."""

    def __init__(self, director: Namespace, configuration: Path, *, env: dict[str, str] | None = None) -> None:
        """`env` is added to its environment."""
        self._director = director
        self._configuration = configuration
        self._env = env
        self._log = configuration.with_name("log")
        self._process: Fork | None = None

    def start(self) -> None:
        """Start it, and wait until it has logged daemon.started.

        Raises `TimeoutError`, and `ChildProcessError` with the log when it ends instead.
        """
        position = len(self.lines())
        with self._log.open("a", encoding="utf-8") as log:
            words = ["run", "--config", str(self._configuration)]
            self._process = fork(words, namespace=self._director, stderr=log.fileno(), env=self._env)
        self.wait_for("daemon.started", after=position, timeout_s=START_DEADLINE_S)

    def reload(self) -> None:
        """Let it read its configuration again, and wait until that is in force.

        Raises `TimeoutError`, also when it rejects the configuration, and `ChildProcessError` when it ends.
        """
        position = len(self.lines())
        self._signal(signal.SIGHUP)
        self.wait_for("config.reloaded", after=position)

    def kill(self) -> None:
        """End it as a crash would: kill -9."""
        self._end(signal.SIGKILL)

    def hang(self) -> None:
        """Stop its time."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let its time go on after `hang`."""
        self._signal(signal.SIGCONT)

    def stop(self) -> int:
        """End it as systemd does, with SIGTERM, and return its exit status."""
        return self._end(signal.SIGTERM)

    def lines(self) -> list[dict[str, Any]]:
        """Return every log line so far."""
        if not self._log.exists():
            return []
        whole, _, _ = self._log.read_bytes().rpartition(b"\n")
        lines = []
        for line in whole.splitlines():
            try:
                lines.append(msgspec.json.decode(line))
            except msgspec.DecodeError:
                continue  # a traceback that Python prints when the process dies
        return lines

    def select(self, event: str, *, after: int = 0, **fields: object) -> list[dict[str, Any]]:
        """Return the log lines of one kind with these `fields`, leaving out the first `after` lines of the log."""
        return [
            line
            for line in self.lines()[after:]
            if line["event"] == event and all(line.get(key) == value for key, value in fields.items())
        ]

    def wait_for(self, event: str, *, after: int, timeout_s: float = 30.0, **fields: object) -> dict[str, Any]:
        """Wait until there is a log line that `select` would return, and return the first.

        Raises `TimeoutError`, and `ChildProcessError` when the daemon ends before.
        """
        wanted = f"{event} {fields or ''}"

        def there() -> bool:
            if self._process is not None and self._process.poll() is not None:
                raise ChildProcessError(f"lvs-healthd ended before {wanted}: {self._log.read_text(encoding='utf-8')}")
            return bool(self.select(event, after=after, **fields))

        wait_until(there, timeout_s=timeout_s, what=lambda: f"{wanted}: {self._log.read_text(encoding='utf-8')}")
        return self.select(event, after=after, **fields)[0]

    def status(self) -> str:
        """Return what `lvs-healthd status` prints, whatever its exit status."""
        return self.verb("status")

    def verb(self, name: str, *arguments: str) -> str:
        """Return what a verb prints, whatever its exit status."""
        words = [name, *arguments, "--config", str(self._configuration)]
        return run(words, namespace=self._director, timeout_s=START_DEADLINE_S).stdout

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        return self._process.wait(START_DEADLINE_S)


def program() -> list[str]:
    """Return the command line of lvs-healthd, without a verb."""
    return [str(Path(sys.executable).with_name("lvs-healthd"))]


def moment(line: dict[str, Any]) -> float:
    """Return when a log line was written, on the clock of `lab.load` (`time.monotonic()`), at most 1 ms too late."""
    wall = datetime.fromisoformat(line["timestamp"]).timestamp() + 0.001  # the log cuts milliseconds off
    return wall - (time.time() - time.monotonic())
