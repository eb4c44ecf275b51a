"""A client that sends requests all the time, and records which failed, when, and which server answered the others."""

import contextlib
import itertools
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from lab.netns import Namespace
from lab.wait import wait_until

PROGRAM = Path(__file__).with_name("load_client.py")

_FIRST_PORTS = itertools.cycle(range(10000, 60000, 5000))
"""The first source port of each client, so that a client does not use the ports of the previous one."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a client requests: the page `/` over HTTP, or a datagram that `lab.udp` answers."""

    name: str
    kind: Literal["http", "udp"]
    address: str
    port: int
    source_port: int = 0
    """The source port of all requests, which are sent one after the other; 0 means another port for each request."""
    source_address: str = ""
    """The address of the client from which requests come, if it has several."""


class Request(msgspec.Struct, frozen=True):
    """One request. Times are CLOCK_MONOTONIC (`time.monotonic()`), the same in every namespace."""

    started: float
    ended: float
    outcome: str
    """"ok", or what went wrong: "refused", "no answer", "status 502", …"""
    server: str
    """The name of the server that answered; empty when there was no answer."""
    target: str = ""
    """The target's name."""

    @property
    def ok(self) -> bool:
        """Whether the request was answered; with HTTP, whether the status was 200."""
        return self.outcome == "ok"


class Load:
    """The running client. Build one with `Load.running`, or with `Load.on` for several targets."""

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
        """Request `http://address:port/` from `client` for the length of the block.

        workers: how many requests are under way at the same time. Each worker sends one request after the other.
        pause_s: the pause between two requests of a worker, seconds. Without it, an emulated machine would do nothing
            else.
        timeout_s: the longest that one whole request may take, seconds.
        """
        target = Target("", "http", address, port)
        with cls.on(client, [target], workers=workers, pause_s=pause_s, timeout_s=timeout_s) as load:
            yield load

    @classmethod
    @contextlib.contextmanager
    def steady(cls, client: Namespace, address: str, *, every_s: float, timeout_s: float) -> Iterator["Load"]:
        """Start a request of `http://address/` every `every_s` seconds, even if earlier ones have not ended.

        So requests tell how long nobody answered, and how many came meanwhile. Workers would all wait.
        """
        with cls.on(client, [Target("", "http", address, 80)], workers=0, pause_s=every_s, timeout_s=timeout_s) as load:
            yield load

    @classmethod
    @contextlib.contextmanager
    def on(
        cls,
        client: Namespace,
        targets: Sequence[Target],
        *,
        workers: int = 1,
        pause_s: float = 0.02,
        timeout_s: float = 2.0,
    ) -> Iterator["Load"]:
        """Request all of `targets` from `client` at the same time. Each target has its own `workers`.

        workers: as in `running`. 0 means what `steady` does, with a request of each target every `pause_s` seconds.

        The other arguments are those of `running`. One process serves all targets, because an emulated guest takes a
        second to start an interpreter.
        """
        with tempfile.TemporaryDirectory(prefix="load-") as folder:
            record = Path(folder) / "requests.jsonl"
            command = [sys.executable, "-I", "-S", str(PROGRAM)]
            arguments = [str(workers), str(pause_s), str(timeout_s), str(next(_FIRST_PORTS))]
            words = [
                f"{to.name},{to.kind},{to.address},{to.port},{to.source_port},{to.source_address}" for to in targets
            ]
            with record.open("w", encoding="ascii") as output:
                process = client.popen([*command, *arguments, *words], stdout=output)
            load = cls(process, record, timeout_s)
            try:
                wait_until(lambda: bool(load.requests()), timeout_s=120, what="the first request")
                yield load
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()

    def requests(self) -> list[Request]:
        """Return all requests that have ended so far, in the order in which they ended.

        Raises `ChildProcessError` when the client has failed.
        """
        if self._process.poll() not in (None, 0):
            raise ChildProcessError(f"the load client died with status {self._process.returncode}")
        with self._record.open("rb") as record:
            record.seek(self._read_to)
            new = record.read()
        whole, newline, _ = new.rpartition(b"\n")
        self._read_to += len(whole) + len(newline)
        self._requests += [msgspec.json.decode(line, type=Request) for line in whole.splitlines()]
        return list(self._requests)

    def started_since(self, moment: float, target: str = "") -> list[Request]:
        """Return the ended requests of a target that were started at `moment` (`time.monotonic()`) or later."""
        return [request for request in self.requests() if request.started >= moment and request.target == target]

    def failed_since(self, moment: float, target: str = "") -> list[Request]:
        """Return those of `started_since` that failed."""
        return [request for request in self.started_since(moment, target) if not request.ok]

    def wait_for(self, count: int, *, since: float, target: str = "", timeout_s: float = 30.0) -> list[Request]:
        """Wait until at least `count` requests started at `since` or later have ended, and return them.

        Raises `TimeoutError`.
        """
        wait_until(
            lambda: len(self.started_since(since, target)) >= count,
            timeout_s=timeout_s,
            what=f"{count} requests {target}",
        )
        return self.started_since(since, target)

    def stop(self) -> list[Request]:
        """End the client after its requests in flight have ended, and return all requests."""
        self._process.terminate()
        self._process.wait(self._timeout_s + 30)
        return self.requests()


def by_server(requests: list[Request]) -> dict[str, int]:
    """Return how many of the requests each server answered."""
    return dict(Counter(request.server for request in requests if request.ok))
