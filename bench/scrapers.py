"""Many clients that ask a web server the same thing at the same moment: `scrapers.py HOST PORT PATH CLIENTS`.

It is a separate program, on the other core. Each client reads its answer as fast as it can and forgets it. At the end
it prints one JSON line: `[began, ended, [bytes, ...]]`, CLOCK_MONOTONIC times and the length of each answer, headers
included. It fails if any client is not answered with status 200, or is cut off.
"""

import json
import selectors
import socket
import sys
import time

_PART_BYTES = 1 << 18
_LONGEST_S = 60.0
_GOOD = b"HTTP/1.1 200 "
_LAST_CHUNK = b"\r\n0\r\n\r\n"


def main() -> None:
    """Ask, read, print."""
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
    """Read every answer to its end. Return their lengths, and the first and last bytes of each."""
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
