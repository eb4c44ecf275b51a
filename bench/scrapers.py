"""Asks a web server for the same thing from many clients at the same moment.

It is a separate program, on the other core: `scrapers.py HOST PORT PATH CLIENTS`. Each client reads its answer as fast
as it can, and keeps only its length. At the end the program prints one JSON line: `[began, ended, [bytes, ...]]`. The
times are seconds on CLOCK_MONOTONIC. The lengths of the answers include their headers. The program fails if any client
gets no status 200, gets only a part of its answer, or waits longer than `_LONGEST_S`.
"""

import json
import selectors
import socket
import sys
import time

_PART_BYTES = 1 << 18
"""The most that one read takes from a connection."""
_LONGEST_S = 60.0
"""How long all answers together may take, seconds."""
_GOOD = b"HTTP/1.1 200 "
_LAST_CHUNK = b"\r\n0\r\n\r\n"


def main() -> None:
    """Send the requests, read the answers and print the result."""
    host, port, path, clients = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    with selectors.DefaultSelector() as selector:
        connections = [socket.create_connection((host, port), timeout=_LONGEST_S) for _ in range(clients)]
        began = time.monotonic()
        for connection in connections:
            connection.sendall(request)
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ)
        counts, ends = _read(selector, began + _LONGEST_S)
    if any(not head.startswith(_GOOD) or not end.endswith(_LAST_CHUNK) for head, end in ends):
        raise SystemExit("an answer is not 200, or is cut off")
    print(json.dumps([began, time.monotonic(), counts]), flush=True)


def _read(selector: selectors.BaseSelector, deadline: float) -> tuple[list[int], list[tuple[bytes, bytes]]]:
    """Read every answer to its end. Return the length of each answer in bytes, and its first and last bytes.

    deadline: when to give up, seconds on CLOCK_MONOTONIC. Then this ends the program with an error.
    """
    counts: list[int] = []
    ends: list[tuple[bytes, bytes]] = []
    seen: dict[object, tuple[int, bytes, bytes]] = {}
    while selector.get_map():
        for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)  # noqa: S101  # nothing else was registered
            data = connection.recv(_PART_BYTES)
            count, head, end = seen.get(connection, (0, b"", b""))
            if data:
                head = head if len(head) >= len(_GOOD) else head + data[: len(_GOOD)]
                seen[connection] = (count + len(data), head, (end + data)[-len(_LAST_CHUNK) :])
                continue
            selector.unregister(connection)
            connection.close()
            counts.append(count)
            ends.append((head, end))
        if time.monotonic() > deadline:
            raise SystemExit(f"not all answers are there after {_LONGEST_S:g} s")
    return counts, ends


if __name__ == "__main__":
    main()
