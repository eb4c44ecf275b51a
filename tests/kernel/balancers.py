"""L7 balancers on machines of the lab, with the configurations of examples/, and how each says that it leaves."""

import contextlib
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lab.netns import RealServer
from lab.wait import wait_until
from tests.kernel.example_servers import TEMPORARY
from tests.kernel.on_examples import EXAMPLES, running_on
from tests.ready_made.servers import Server, run, unpacked

STARTS_S = 30.0
"""How long a balancer may take to listen, seconds; emulated."""
STATUS_PORT = 8404


class Balancer:
    """A balancer on one machine. Build one with `serving`."""

    example: str
    ends_by: signal.Signals
    """The signal after which it serves its connections to their end, and accepts no new ones."""

    def __init__(self, machine: RealServer, folder: Path) -> None:
        self.machine = machine
        self.folder = folder
        self._server: Server | None = None
        self._stack = contextlib.ExitStack()

    @classmethod
    @contextlib.contextmanager
    def serving(cls, machine: RealServer) -> Iterator["Balancer"]:
        """Run it for the length of the block. Its folder has a short name, because a UNIX socket is in it."""
        with tempfile.TemporaryDirectory(prefix="l7-") as folder:
            balancer = cls(machine, Path(folder))
            with balancer._stack:
                balancer.start()
                yield balancer

    def start(self) -> None:
        """Start it, and wait until it says how it is: that it is well."""
        self.prepare()
        self._server = self._stack.enter_context(running_on(self.machine, self.command(), self.folder))
        wait_until(self._listens, timeout_s=STARTS_S, what=lambda: f"{self.example}: {self._log()}")

    def end(self) -> None:
        """Let it end in good order, and wait for that."""
        assert self._server is not None
        self._server.notify(self.ends_by)
        self._server.wait()

    def prepare(self) -> None:
        """Write its configuration, and that it is well."""
        raise NotImplementedError

    def command(self) -> list[str | Path]:
        """Return its command line."""
        raise NotImplementedError

    def say(self, word: str) -> None:
        """Let its agent say this word."""
        raise NotImplementedError

    def leave(self, *, leaves: bool) -> None:
        """Let its status page say 503, or that it is well."""
        raise NotImplementedError

    def _listens(self) -> bool:
        with self.machine.entered(), contextlib.suppress(ConnectionRefusedError):
            socket.create_connection((self.machine.address, STATUS_PORT), timeout=STARTS_S).close()
            return True
        return False

    def _log(self) -> str:
        return self._server.log() if self._server else ""


class HAProxy(Balancer):
    example = "l7-haproxy.toml"
    ends_by = signal.SIGUSR1

    def prepare(self) -> None:
        text = (EXAMPLES / "l7-haproxy.cfg").read_text()
        here = text.replace("/etc/haproxy/", f"{self.folder}/").replace("/run/haproxy/", f"{self.folder}/")
        (self.folder / "haproxy.cfg").write_text(here)
        shutil.copy(EXAMPLES / "l7-haproxy.map", self.folder / "lvs.map")

    def command(self) -> list[str | Path]:
        return ["haproxy", "-db", "-f", self.folder / "haproxy.cfg"]

    def say(self, word: str) -> None:
        self._set("agent", word)

    def leave(self, *, leaves: bool) -> None:
        self._set("status", "503" if leaves else "200")

    def _set(self, key: str, value: str) -> None:
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.folder / "admin.sock"))
            control.sendall(f"set map {self.folder}/lvs.map {key} {value}\n".encode())
            answer = control.recv(4096).strip()
        assert answer == b"", answer


class NginxProxy(Balancer):
    example = "l7-nginx.toml"
    ends_by = signal.SIGQUIT

    def prepare(self) -> None:
        text = (EXAMPLES / "l7-nginx.conf").read_text()
        (self.folder / "lvs.conf").write_text(text.replace("/etc/nginx/lvs/", f"{self.folder}/"))
        temporary = "".join(f" {name}_temp_path {self.folder}/{name};" for name in TEMPORARY)
        (self.folder / "nginx.conf").write_text(
            f"daemon off; user root; pid {self.folder}/pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off;{temporary} include {self.folder}/lvs.conf; }}\n"
        )
        self.leave(leaves=False)
        self.say("up")

    def command(self) -> list[str | Path]:
        return ["nginx", "-p", self.folder, "-e", "stderr", "-c", self.folder / "nginx.conf"]

    def say(self, word: str) -> None:
        (self.folder / "agent").write_text(f"{word}\n")

    def leave(self, *, leaves: bool) -> None:
        if leaves:
            (self.folder / "leave").touch()
        else:
            (self.folder / "leave").unlink(missing_ok=True)


class Pound(Balancer):
    example = "l7-pound.toml"
    ends_by = signal.SIGINT

    def prepare(self) -> None:
        text = (EXAMPLES / "l7-pound.cfg").read_text()
        own = {"/etc/pound/": f"{self.folder}/", "/run/": f"{self.folder}/", "_pound": "root"}
        for installed, here in own.items():
            text = text.replace(installed, here)
        (self.folder / "pound.cfg").write_text(text)
        for word in ("up", "drain"):
            (self.folder / word).write_text(f"{word}\n")

    def command(self) -> list[str | Path]:
        return ["pound", "-F", "-e", "-f", self.folder / "pound.cfg", "-p", self.folder / "pid"]

    def say(self, word: str) -> None:
        self._order("/lvs/up", is_on=word == "up")

    def leave(self, *, leaves: bool) -> None:
        self._order("/lvs/health", is_on=not leaves)

    def _order(self, service: str, *, is_on: bool) -> None:
        control = ("-s", self.folder / "poundctl.socket", "-t", unpacked("share/pound/poundctl.tmpl"))
        run("poundctl", *control, "enable" if is_on else "disable", service, directory=self.folder)
