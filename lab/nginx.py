"""An nginx on a real server. It answers with the server's name, and can be killed, hung and started again."""

import contextlib
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab.netns import RealServer
from lab.wait import wait_until

CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        {listen}
        location / {{ return 200 "{name}\\n"; }}
        location = /healthz {{ return 200 "ok\\n"; }}
    }}
}}
"""


_ENDS_WITHIN_S = 30.0
"""How long a process may take to die or stop after the signal, seconds. It takes microseconds, but an emulated machine
may be busy."""


class Nginx:
    """nginx on one real server: `/` answers with the server's name, `/healthz` with ok. Build one with `serving`."""

    def __init__(self, server: RealServer, ports: Sequence[int], folder: Path) -> None:
        self.server = server
        self.folder = folder
        self._process: subprocess.Popen[str] | None = None
        listen = " ".join(f"listen {port}; listen [::]:{port};" for port in ports)
        configuration = CONFIGURATION.format(folder=folder, listen=listen, name=server.name)
        (folder / "nginx.conf").write_text(configuration, encoding="ascii")

    @classmethod
    @contextlib.contextmanager
    def serving(cls, server: RealServer, *, ports: Sequence[int] = (80,)) -> Iterator["Nginx"]:
        """Serve plain HTTP on these ports and all of the server's addresses. Kill nginx at the end if it still runs."""
        with tempfile.TemporaryDirectory(prefix=f"nginx-{server.name}-") as folder:
            nginx = cls(server, ports, Path(folder))
            nginx.start()
            try:
                yield nginx
            finally:
                nginx.kill()

    def start(self) -> None:
        """Start nginx and wait until it listens. Raises `TimeoutError` with its error log when it does not."""
        # nginx writes this file when its sockets listen, so the file shows that requests may come.
        pid_file = self.folder / "pid"
        pid_file.unlink(missing_ok=True)
        self._process = self.server.popen(
            [
                "nginx",
                "-p",
                str(self.folder),
                "-e",
                str(self.folder / "error.log"),
                "-c",
                str(self.folder / "nginx.conf"),
            ],
            stderr=subprocess.DEVNULL,
        )
        wait_until(
            lambda: pid_file.exists() and bool(pid_file.read_text().strip()),
            timeout_s=30,
            what=lambda: f"nginx on {self.server.name} to listen: {self._errors()}",
        )

    @property
    def running(self) -> bool:
        """Whether nginx runs. A hung nginx counts as running."""
        return self._process is not None and self._process.poll() is None

    @property
    def pids(self) -> tuple[int, ...]:
        """The master and its workers; empty when nginx does not run."""
        if self._process is None or not self.running:
            return ()
        master = self._process.pid
        children = Path(f"/proc/{master}/task/{master}/children").read_text(encoding="ascii")
        return (master, *(int(pid) for pid in children.split()))

    def kill(self) -> None:
        """Kill nginx and its workers. When this returns, the kernel refuses connections.

        Raises `TimeoutError` when they do not die.
        """
        with contextlib.ExitStack() as handles:
            ends = [end for pid in self.pids if (end := _handle(pid, handles)) is not None]
            self._signal(signal.SIGKILL)
            # The sockets stay open until the last process has ended, some time after the signal. So wait for all.
            for end in ends:
                if not select.select([end], [], [], _ENDS_WITHIN_S)[0]:
                    raise TimeoutError(f"nginx on {self.server.name} did not die within {_ENDS_WITHIN_S:g} s")
        if self._process is not None:
            self._process.wait()

    def hang(self) -> None:
        """Suspend nginx. When this returns, the kernel still completes connections, but nobody answers.

        Raises `TimeoutError` when it does not stop.
        """
        self._signal(signal.SIGSTOP)
        wait_until(
            lambda: all(_state(pid) == "T" for pid in self.pids),
            timeout_s=_ENDS_WITHIN_S,
            what=f"nginx on {self.server.name} to stand still",
        )

    def resume(self) -> None:
        """Let nginx continue after `hang`."""
        self._signal(signal.SIGCONT)

    def _errors(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "error.log").read_text(encoding="utf-8")
        return "it wrote no error log"

    def _signal(self, number: signal.Signals) -> None:
        # Signal the workers too, because a worker outlives its master and would go on serving.
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _handle(pid: int, handles: contextlib.ExitStack) -> int | None:
    """Return a descriptor that becomes readable when the process has ended; None if it has already ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    handles.callback(os.close, handle)
    return handle


def _state(pid: int) -> str:
    """Return the process's state as in ps: R running, S sleeping, T stopped, Z ended."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
