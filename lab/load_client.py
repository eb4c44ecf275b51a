"""The client of the lab, as a program: requests a web page over and over and writes down how each request went.

    load_client.py ADDRESS PORT WORKERS PAUSE_S TIMEOUT_S

One JSON line per request on standard output, until SIGTERM; requests then in flight are finished first. Only light
modules of the standard library, because an emulated guest takes long to import. `lab.load` is its other half.
"""

import json
import signal
import socket
import sys
import threading
import time


def main(address: str, port: int, workers: int, pause_s: float, timeout_s: float) -> None:
    """Request until told to stop."""
    stop = threading.Event()
    writing = threading.Lock()

    def work() -> None:
        while not stop.is_set():
            started = time.monotonic()
            outcome, server = request(address, port, timeout_s)
            line = json.dumps({"started": started, "ended": time.monotonic(), "outcome": outcome, "server": server})
            with writing:
                print(line, flush=True)
            stop.wait(pause_s)

    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def request(address: str, port: int, timeout_s: float) -> tuple[str, str]:
    """Request `/` on a connection of its own; `timeout_s` is for the whole of it. Returns (outcome, server)."""
    deadline = time.monotonic() + timeout_s
    answer = b""
    try:
        with socket.create_connection((address, port), timeout_s) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")
            while len(answer) < 65536:
                connection.settimeout(max(deadline - time.monotonic(), 0.001))
                part = connection.recv(4096)
                if not part:
                    break
                answer += part
    except TimeoutError:
        return "no answer", ""
    except ConnectionRefusedError:
        return "refused", ""
    except OSError as error:
        return (error.strerror or str(error)).lower(), ""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if status != [b"200"]:
        return f"status {status[0].decode()}" if status else "empty answer", ""
    return "ok", body.decode().strip()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
