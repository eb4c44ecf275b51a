"""Writes lines into a named pipe, as keepalived does into its notify FIFOs."""

import contextlib
import errno
import os
import select
import stat

from lvs_healthd.hooks.facts import NotToldError
from lvs_healthd.runtime.threads import HungError, in_thread

_OPEN_S = 5.0
"""How long opening the pipe may take, seconds. It is a file, and its file system may hang."""
_MODE = 0o600


class Pipe:
    """A named pipe. It is made if it is not there.

    It is open for reading too, so that lines wait in it (64 KiB of them) until somebody reads.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1

    async def send(self, payload: object) -> None:
        """Write a line. Raises `NotToldError` when the pipe is full, or is none."""
        if not isinstance(payload, bytes):
            raise TypeError(payload)
        if len(payload) > select.PIPE_BUF:
            raise NotToldError(f"more than {select.PIPE_BUF} bytes for one line", may_work_later=False)
        try:
            if self._descriptor < 0:
                self._descriptor = await in_thread(_opened, self._path, timeout_s=_OPEN_S, what=f"opening {self._path}")
            os.write(self._descriptor, payload)  # so short a line fits in whole or not at all (pipe(7))
        except BlockingIOError:
            raise NotToldError(f"nobody reads {self._path}, and it is full", may_work_later=True) from None
        except (OSError, HungError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise NotToldError(f"cannot write into {self._path}: {why}", may_work_later=True) from error

    async def close(self) -> None:
        """Close the pipe. The file stays, because somebody may read it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _opened(path: str) -> int:
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, _MODE)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no named pipe")
    return descriptor
