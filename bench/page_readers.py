"""Keeps pages open as browsers do, and measures the messages that they get.

It is a separate program, on the other core: `page_readers.py HOST PORT PAGES SECONDS`. Each page has a stream of
server-sent events. At the end the program prints one JSON line: `[began, ended, [[bytes, ...], ...]]`: for each page
the length of each of its messages. The times are seconds on CLOCK_MONOTONIC. The program fails if a page is refused its
stream, or loses it.
"""

import json
import selectors
import socket
import sys
import time

_GOOD = b"HTTP/1.0 200 "
_PART_BYTES = 1 << 18


def main() -> None:
    """Open the pages, read for so long, and print the result."""
    host, port, pages, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    # HTTP/1.0, so that messages come as they are, without chunks.
    request = f"GET /page/events HTTP/1.0\r\nHost: {host}\r\n\r\n".encode()
    with selectors.DefaultSelector() as selector:
        read: dict[int, bytearray] = {}
        began = time.monotonic()
        for _ in range(pages):
            connection = socket.create_connection((host, port), timeout=10.0)
            connection.sendall(request)
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ)
            read[connection.fileno()] = bytearray()
        while (left := began + seconds - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                assert isinstance(key.fileobj, socket.socket)  # noqa: S101  # nothing else was registered
                data = key.fileobj.recv(_PART_BYTES)
                if not data:
                    raise SystemExit(f"a page has lost its stream: {bytes(read[key.fd][:300])!r}")
                read[key.fd] += data
        ended = time.monotonic()
    if any(not stream.startswith(_GOOD) for stream in read.values()):
        raise SystemExit("a page was refused its stream")
    messages = [stream.partition(b"\r\n\r\n")[2].split(b"\n\n") for stream in read.values()]
    lengths = [[len(each) for each in of_page if each.startswith(b"data: ")] for of_page in messages]
    print(json.dumps([began, ended, lengths]), flush=True)


if __name__ == "__main__":
    main()
