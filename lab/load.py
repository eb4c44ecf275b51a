"""A client that requests without pause, and its record: which requests failed, when, and who answered the others."""

import contextlib
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from lab.netns import Namespace
from lab.wait import wait_until

PROGRAM = Path(__file__).with_name("load_client.py")


class Request(msgspec.Struct, frozen=True):
    """One request. Times are CLOCK_MONOTONIC (`time.monotonic()`), the same in every namespace."""

    started: float
    ended: float
    outcome: str
    """"ok", or what went wrong: "refused", "no answer", "status 502", …"""
    server: str
    """Who answered; empty when nobody did."""

    @property
    def ok(self) -> bool:
        """Whether it was answered with 200."""
        return self.outcome == "ok"


class Load:
    """The running client. Build one with `Load.running`."""

    def __init__(self, process: subprocess.Popen[str], record: Path, timeout_s: float) -> None:
        self._process = process
        self._record = record
        self._timeout_s = timeout_s
        self._read_to = 0
        self._requests: list[Request] = []

    @classmethod
    @contextlib.contextmanager
    def running(
        cls,
        client: Namespace,
        address: str,
        *,
        port: int = 80,
        workers: int = 2,
        pause_s: float = 0.02,
        timeout_s: float = 2.0,
    ) -> Iterator["Load"]:
        """Request `http://address:port/` from `client`, each of `workers` one request after the other.

        `pause_s` between two requests of a worker keeps an emulated machine from doing nothing else. `timeout_s` is
        for one whole request.
        """
        with tempfile.TemporaryDirectory(prefix="load-") as folder:
            record = Path(folder) / "requests.jsonl"
            command = [sys.executable, "-I", "-S", str(PROGRAM)]
            arguments = [address, str(port), str(workers), str(pause_s), str(timeout_s)]
            with record.open("w", encoding="ascii") as output:
                process = client.popen([*command, *arguments], stdout=output)
            load = cls(process, record, timeout_s)
            try:
                wait_until(lambda: bool(load.requests()), timeout_s=30, what="the first request")
                yield load
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()

    def requests(self) -> list[Request]:
        """Every request ended so far, in the order they ended."""
        if self._process.poll() not in (None, 0):
            raise ChildProcessError(f"the load client died with status {self._process.returncode}")
        with self._record.open("rb") as record:
            record.seek(self._read_to)
            new = record.read()
        whole, newline, _ = new.rpartition(b"\n")
        self._read_to += len(whole) + len(newline)
        self._requests += [msgspec.json.decode(line, type=Request) for line in whole.splitlines()]
        return list(self._requests)

    def started_since(self, moment: float) -> list[Request]:
        """Return requests that were started at `moment` (`time.monotonic()`) or later, and have ended."""
        return [request for request in self.requests() if request.started >= moment]

    def failed_since(self, moment: float) -> list[Request]:
        """Return those of `started_since` that failed."""
        return [request for request in self.started_since(moment) if not request.ok]

    def wait_for(self, count: int, *, since: float, timeout_s: float = 30.0) -> list[Request]:
        """Wait until `count` requests started since that moment have ended; return them."""
        wait_until(lambda: len(self.started_since(since)) >= count, timeout_s=timeout_s, what=f"{count} requests")
        return self.started_since(since)

    def stop(self) -> list[Request]:
        """Let requests in flight end, end the client, and return every request."""
        self._process.terminate()
        self._process.wait(self._timeout_s + 30)
        return self.requests()


def by_server(requests: list[Request]) -> dict[str, int]:
    """How many of the requests each server answered."""
    return dict(Counter(request.server for request in requests if request.ok))
