"""The client of the lab, as a program: it repeats the same requests, and prints how each of them ended.

    load_client.py WORKERS PAUSE_S TIMEOUT_S FIRST_PORT TARGET...

TARGET is NAME,KIND,ADDRESS,PORT,SOURCE_PORT,SOURCE_ADDRESS; KIND is http or udp. Each target has WORKERS workers, which
pause after each request. With 0 workers, a request starts every PAUSE_S seconds, even if earlier ones have not ended.
Requests come from SOURCE_PORT. If that is 0, each request has another port, counted up from FIRST_PORT. They come from
SOURCE_ADDRESS, or if that is empty from the address that the system chooses. The program prints one JSON line for each
request, until SIGTERM. It then ends after the requests in flight. It uses only light modules of the standard library,
because an emulated guest takes long to import. `lab.load` starts it and reads its output.
"""

import itertools
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator

PORTS = range(10000, 60000)
"""The source ports, used in turn. IPVS remembers for minutes which server gets the packets of a port, and drops them
while that server is not in the table (net.ipv4.vs.expire_nodest_conn). The system would choose ports at random, and so
use some of them again too early."""


Source = tuple[str, int]
"""An address, or "" for the one that the system chooses, and a port."""


def main(workers: int, pause_s: float, timeout_s: float, first_port: int, targets: list[str]) -> None:
    """Request until told to stop."""
    stop = threading.Event()
    writing = threading.Lock()
    fresh = itertools.islice(itertools.cycle(PORTS), PORTS.index(first_port), None)

    def one(target: str) -> None:
        """Send one request to a target, and print how it ended."""
        name, kind, address, port, *_ = target.split(",")
        ask = request if kind == "http" else exchange
        started = time.monotonic()
        try:
            outcome, server = ask(address, int(port), sources[target], timeout_s)
        except OSError as error:
            outcome, server = trouble(error), ""
        record = {
            "started": started,
            "ended": time.monotonic(),
            "outcome": outcome,
            "server": server,
            "target": name,
        }
        line = json.dumps(record)
        with writing:
            print(line, flush=True)

    def work(target: str) -> None:
        while not stop.is_set():
            one(target)
            stop.wait(pause_s)

    def start_steadily(target: str) -> None:
        under_way: list[threading.Thread] = []
        due = time.monotonic()
        while not stop.wait(max(due - time.monotonic(), 0)):
            due += pause_s
            under_way = [each for each in under_way if each.is_alive()]
            under_way.append(threading.Thread(target=one, args=(target,)))
            under_way[-1].start()
        for each in under_way:
            each.join()

    sources = {target: sources_of(target, fresh) for target in targets}
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    does = work if workers else start_steadily
    threads = [threading.Thread(target=does, args=(target,)) for target in targets for _ in range(workers or 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def sources_of(target: str, fresh: Iterator[int]) -> Iterator[Source]:
    """Return where the requests to a target come from, in turn."""
    *_, source_port, source_address = target.split(",")
    ports = itertools.repeat(int(source_port)) if int(source_port) else fresh
    return zip(itertools.repeat(source_address), ports, strict=False)


def request(address: str, port: int, sources: Iterator[Source], timeout_s: float) -> tuple[str, str]:
    """Request `/` on a new connection, for `timeout_s` seconds at most. Return (outcome, server). Raises `OSError`."""
    deadline = time.monotonic() + timeout_s
    answer = b""
    with bound(socket.SOCK_STREAM, address, sources) as connection:
        connection.settimeout(timeout_s)
        connection.connect((address, port))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")
        while len(answer) < 65536:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            part = connection.recv(4096)
            if not part:
                break
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if status != [b"200"]:
        return f"status {status[0].decode()}" if status else "empty answer", ""
    return "ok", body.decode().strip()


def exchange(address: str, port: int, sources: Iterator[Source], timeout_s: float) -> tuple[str, str]:
    """Send one datagram, and wait at most `timeout_s` seconds for its answer. Return (outcome, server).

    Raises `OSError`.
    """
    deadline = time.monotonic() + timeout_s
    question = os.urandom(8)
    with bound(socket.SOCK_DGRAM, address, sources) as connection:
        # Connected, so that answers from other addresses are ignored, and ICMP errors are reported.
        connection.connect((address, port))
        connection.send(question)
        while True:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            answer, _, server = connection.recv(4096).partition(b" ")
            if answer == question.hex().encode():
                return "ok", server.decode()


def bound(kind: socket.SocketKind, address: str, sources: Iterator[Source]) -> socket.socket:
    """Return a socket for this peer, bound to the first of `sources` that is free.

    Raises `OSError` when none of the next hundred ports is free.
    """
    connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    for source in itertools.islice(sources, 100):
        try:
            connection.bind(source)
        except OSError:
            continue
        return connection
    connection.close()
    raise OSError("no source port is free")


def trouble(error: OSError) -> str:
    """Return an error in a few words."""
    match error:
        case TimeoutError():
            return "no answer"
        case ConnectionRefusedError():
            return "refused"
        case _:
            return (error.strerror or str(error)).lower()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
