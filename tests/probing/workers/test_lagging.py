"""Worker processes that lag or are stopped: dead servers are down all the same, and healthy ones stay up."""

import contextlib
import os
import signal
import socketserver
import sys
import threading
import time
from typing import Any

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.probes.outcome import OutcomeKind, Reason
from tests.probing.hand import http, tcp, udp
from tests.probing.peers_apart import (
    OK,
    Threaded,
    answering_datagrams,
    answering_streams,
    black_hole,
    mute_datagrams,
    on_threads,
)
from tests.probing.workers.bench import running

LAGGING = """
import asyncio, time
from lvs_healthd.probing.workers.process import main

once = asyncio.BaseEventLoop._run_once

def lagging(loop):
    time.sleep(0.12)
    once(loop)

asyncio.BaseEventLoop._run_once = lagging
main()
"""
"""A worker whose loop stands still for 120 ms between any two turns."""


async def test_worker_that_lags_for_long_judges_dead_servers_down_and_healthy_ones_up() -> None:
    with (
        black_hole() as hole,
        mute_datagrams() as mute,
        answering_streams() as streams,
        answering_datagrams() as datagrams,
    ):
        often: dict[str, Any] = {"interval": Seconds(0.5)}
        dead: list[AnyCheck] = [tcp(hole, **often), udp(mute, send=b"?", expect=b"!", **often)]
        healthy: list[AnyCheck] = [http(streams, **often), udp(datagrams, send=b"?", expect=b"!", **often)]
        async with running(dead + healthy, command=(sys.executable, "-P", "-c", LAGGING)) as bench:
            await bench.until(lambda: all(len(sink.outcomes) >= 3 for sink in bench.sinks.values()))
            assert {(each.kind, each.reason) for check in dead for each in bench.sink(check).outcomes} == {
                (OutcomeKind.DOWN, Reason.TIMEOUT)
            }
            assert {each.kind for check in healthy for each in bench.sink(check).outcomes} == {OutcomeKind.UP}
            assert bench.failures == []


async def test_answer_that_arrives_while_the_worker_is_stopped_counts() -> None:
    """The worker stops with the first connection: before its request, or before it reads the answer."""
    stopped = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                if not stopped.is_set():
                    stopped.set()
                    pid = bench.pids[0]
                    os.kill(pid, signal.SIGSTOP)
                    self.request.settimeout(0.1)
                    with contextlib.suppress(TimeoutError):
                        self.request.recv(4096)
                    self.request.sendall(OK)
                    time.sleep(2.5)
                    os.kill(pid, signal.SIGCONT)
                else:
                    self.request.recv(4096)
                    self.request.sendall(OK)

    with on_threads(Threaded, Handler) as port:
        check = http(port, timeout=1.0, interval=Seconds(0.5))
        async with running([check]) as bench:
            await bench.until(lambda: len(bench.sink(check).outcomes) >= 3)
            assert {each.kind for each in bench.sink(check).outcomes} == {OutcomeKind.UP}
            assert bench.failures == []
    assert stopped.is_set()
