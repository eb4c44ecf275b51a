"""Measures from outside how long the daemon's event loop takes to answer a small request.

It is a separate program, on the other core: `observer.py SOCKET INTERVAL_S`. It sends `GET /healthz` over one
connection, one request at a time, at fixed times or as soon as the previous answer is there. While the loop stands
still a request is waiting, so the longest wait is at least as long as the longest stall. It may be longer, because an
answer takes three or four turns of the loop. On SIGTERM it prints one JSON line: `[[asked, waited], ...]`, in seconds,
with `asked` on CLOCK_MONOTONIC.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time

_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: bench.test\r\n\r\n"
_ANSWER = b"HTTP/1.1 200 "
_PRIORITY = 10


class _EndedError(Exception):
    """SIGTERM came."""


def main() -> None:
    """Ask until SIGTERM, then print."""
    path, interval_s = sys.argv[1], float(sys.argv[2])
    signal.signal(signal.SIGTERM, _end)
    with contextlib.suppress(PermissionError):
        # The real servers share this core, and waiting for them would look like a stall of the daemon.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    seen: list[tuple[float, float]] = []
    with contextlib.suppress(_EndedError), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        due = time.monotonic()
        while True:
            due += interval_s
            if (left := due - time.monotonic()) > 0:
                time.sleep(left)
            else:
                due = time.monotonic()
            connection.sendall(_REQUEST)
            if not connection.recv(65536).startswith(_ANSWER):
                raise SystemExit("the daemon does not say that it is well")
            seen.append((due, time.monotonic() - due))
    print(json.dumps(seen), flush=True)


def _end(_number: int, _frame: object) -> None:
    raise _EndedError


if __name__ == "__main__":
    main()
