"""Runs servers that Debian packages, installed or only unpacked by lab/unpack-servers, and stops and thaws them."""

import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.processes import children, is_running, is_stopped

CACHE = Path(__file__).parents[2] / ".cache"
UNPACKED = CACHE / "servers"
ROOTS = (UNPACKED, CACHE / "servers-long")
"""Where lab/unpack-servers puts the servers of every run, and those of the tests marked `long`."""

_TRIPLET = f"{os.uname().machine}-linux-gnu"
_LIBRARIES = [
    root / "usr" / "lib" / part
    for root in ROOTS
    for part in (_TRIPLET, f"{_TRIPLET}/samba", f"{_TRIPLET}/xrdp", "freeradius")
]
_PATH = os.pathsep.join(
    [
        *(str(root / "usr" / folder) for root in ROOTS for folder in ("sbin", "bin")),
        os.environ["PATH"],
        "/usr/sbin:/sbin",
    ]
)
_ENVIRONMENT = {
    **os.environ,
    "PATH": _PATH,
    "LC_ALL": "C.UTF-8",
    "LD_LIBRARY_PATH": os.pathsep.join(map(str, _LIBRARIES)),
}


def search_path() -> str:
    """Return a PATH on which the programs are that are only unpacked."""
    return _PATH


def libraries() -> str:
    """Return an LD_LIBRARY_PATH for them."""
    return _ENVIRONMENT["LD_LIBRARY_PATH"]


def program(name: str) -> str:
    """Return the path of a server's program."""
    found = shutil.which(name, path=_PATH)
    assert found, f"{name} is neither installed nor unpacked: `make test` or `make test-all` unpacks it"
    return found


def unpacked(path: str) -> Path:
    """Return the path of a file of a package, given as a pattern below /usr."""
    for root in (*ROOTS, Path("/")):
        for found in sorted((root / "usr").glob(path)):
            return found
    raise AssertionError(f"/usr/{path} is neither installed nor unpacked: `make test` or `make test-all` unpacks it")


def version(package: str) -> str:
    """Return the version of a package without its epoch and Debian's revision, such as 1.6.18."""
    lists = [root / "packages" for root in ROOTS if (root / "packages").exists()]
    listed = dict(line.split(" ", 1) for file in lists for line in file.read_text().splitlines())
    full = (
        listed.get(package)
        or subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True, check=True
        ).stdout
    )
    return full.rpartition(":")[2].partition("-")[0].partition("+")[0]


def free_port() -> int:
    """Return a port of loopback that nobody uses, neither over TCP nor over UDP."""
    while True:
        with socket.socket() as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            stream.bind(("127.0.0.1", 0))
            port: int = stream.getsockname()[1]
            with contextlib.suppress(OSError):
                datagrams.bind(("127.0.0.1", port))
                return port


class Server:
    """A running server, with all its processes."""

    def __init__(self, process: subprocess.Popen[bytes], logs: Sequence[Path]) -> None:
        self._process = process
        self._logs = logs

    def log(self) -> str:
        """Return what it has written, to its own log files too."""
        return "".join(log.read_text(errors="replace") for log in self._logs if log.exists())

    @property
    def pids(self) -> list[int]:
        """All its processes."""
        return self._pids(self._process.pid)

    def freeze(self) -> None:
        """Stop all its processes, with their sockets open, and wait until every thread stands still."""
        self._signal(signal.SIGSTOP)
        while not all(is_stopped(pid) for pid in self.pids):
            time.sleep(0.001)

    def thaw(self) -> None:
        """Let them run again."""
        self._signal(signal.SIGCONT)

    def notify(self, number: signal.Signals) -> None:
        """Send a signal to its main process."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float = 60.0) -> None:
        """Wait until its main process has ended by itself."""
        self._process.wait(timeout_s)

    def kill(self) -> None:
        """End all its processes, so that its ports are closed. Does nothing the second time."""
        if self._process.poll() is not None:
            return
        pids = self._signal(signal.SIGKILL)
        self._process.wait()
        while any(is_running(pid) for pid in pids):
            time.sleep(0.001)

    def _signal(self, number: signal.Signals) -> list[int]:
        pids = self.pids
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pids

    def _pids(self, pid: int) -> list[int]:
        return [pid, *(below for child in children(pid) for below in self._pids(child))]


@functools.cache
def _may_map_users() -> bool:
    return subprocess.run([*_AS_NOBODY, "true"], capture_output=True, check=False).returncode == 0


NOBODY = 65534

_AS_NOBODY = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")
"""Runs a program as `nobody` and `nogroup` in its own eyes, with our rights on files."""


def as_nobody(*command: str | Path) -> list[str | Path]:
    """Return a command that runs as a user other than root, for a server that refuses to be root.

    Skips the test where this host allows no user namespaces.
    """
    if os.geteuid() != 0:
        return list(command)
    if not _may_map_users():
        pytest.skip("no user namespaces here")
    return [*_AS_NOBODY, program(str(command[0])), *command[1:]]


def need_root() -> None:
    """Skip the test unless we are root, for a server that needs several users."""
    if os.geteuid() != 0:
        pytest.skip("only root can run a server that needs several users")


IN_PLACE = Path("/mnt")
"""Where the directory of a server that runs `in_place` is in its eyes. Every user may enter it."""

_IN_PLACE = """
mount -t overlay overlay -o "lowerdir=$1:/usr" /usr
mount -t overlay overlay -o "lowerdir=$2:/etc" /etc
for file in passwd group; do mount --bind "$3/$file" "/etc/$file"; done
mount --bind "$3" /mnt
shift 3
exec "$@"
"""


def in_place(
    *command: str | Path, directory: Path, users: Mapping[str, int], as_root: bool = False
) -> list[str | Path]:
    """Return a command that sees what is unpacked where it would be if it was installed. It runs `as_nobody`.

    directory: the server's own. What is in its folders root/usr and root/etc is added to /usr and /etc.
    users: the accounts, which are groups too, that its packages would have added, and their numbers.
    as_root: whether it starts as root instead, for a server that needs several users.

    Skips the test where this host allows no such mounts, or we are not root and the server needs that.
    """
    if as_root:
        need_root()
    for name, line in (("passwd", "{0}:x:{1}:{1}::/nonexistent:/bin/false\n"), ("group", "{0}:x:{1}:\n")):
        added = "".join(line.format(user, number) for user, number in users.items())
        (directory / name).write_text(Path("/etc", name).read_text() + added)
    roots = [directory / "root", *ROOTS]
    lower = [":".join(str(root / folder) for root in roots if (root / folder).exists()) for folder in ("usr", "etc")]
    mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
    mounted = ["unshare", *mapped, "--mount", "sh", "-ec", _IN_PLACE, "sh", *lower, str(directory)]
    if subprocess.run([*mounted, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no overlay mounts here")
    return [*mounted, *(() if as_root else _AS_NOBODY), *command]


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    directory: Path,
    *,
    environment: Mapping[str, str] | None = None,
    logs: Sequence[Path] = (),
) -> Iterator[Server]:
    """Run a server until the block is left.

    command: a program by its name, and its arguments.
    directory: where it runs and keeps its data, and where its output is written.
    environment: variables that it needs beside the usual ones.
    logs: files that it writes its log to, if not to its output.
    """
    output = directory / "output"
    with output.open("ab") as written:
        process = subprocess.Popen(
            [program(str(command[0])), *map(str, command[1:])],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            env={**_ENVIRONMENT, **(environment or {})},
            start_new_session=True,
        )
    server = Server(process, [output, *logs])
    try:
        yield server
    except BaseException:
        sys.stderr.write(server.log()[-3000:])
        raise
    finally:
        server.kill()


def run(*command: str | Path, directory: Path, entered: Path | None = None) -> None:
    """Run a program that prepares a server, such as initdb. `entered` is a file for its input."""
    with (entered or Path(os.devnull)).open("rb") as read:
        done = subprocess.run(
            [program(str(command[0])), *map(str, command[1:])],
            cwd=directory,
            env=_ENVIRONMENT,
            stdin=read,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stdout + done.stderr
