"""Takes what a server sends to syslog, for those that can write no log file of their own."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.ready_made.servers import need_root

_WITH_LOG = 'mount --bind /dev/null "$0/null"; mount --rbind "$0" /dev; exec "$@"'


def logging_to(devices: Path, *command: str | Path) -> list[str | Path]:
    """Return a command that sees `devices` as /dev. Skips the test unless we are root."""
    need_root()
    return ["unshare", "--mount", "sh", "-ec", _WITH_LOG, devices, *command]


@contextlib.contextmanager
def syslog(directory: Path) -> Iterator[Path]:
    """Make `directory` a /dev with a syslog. Yield the file that the log is written to."""
    directory.mkdir()
    (directory / "null").touch()
    written = directory.parent / "syslog"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log, written.open("ab", buffering=0) as file:
        log.bind(str(directory / "log"))
        (directory / "log").chmod(0o666)

        def take() -> None:
            while line := log.recv(65536):
                file.write(line.rstrip(b"\n") + b"\n")

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield written
        finally:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
                last.sendto(b"", str(directory / "log"))
            thread.join()
