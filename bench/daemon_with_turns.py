"""Runs the whole daemon with the table in memory, and times every turn of its event loop from within.

It is a separate program: `python -m bench.daemon_with_turns TURNS CONFIG`. A turn is what happens between two waits for
sockets and timers. While a turn lasts, everything else in the daemon waits. At the end the program writes one JSON list
to the file TURNS. It has an entry for each turn that took `LONG_S` or more: `[[ended, took, processor], ...]`, in
seconds, where `ended` is a time on CLOCK_MONOTONIC. `processor` is the processor time that the event loop's thread used
in the turn. In the rest of `took`, other programs or other threads of the interpreter ran.
"""

import asyncio
import json
import selectors
import sys
import time
from pathlib import Path

from lvs_healthd.daemon.daemon import Daemon
from lvs_healthd.daemon.parts import Settings
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.log import configure

LONG_S = 0.002
"""Shorter turns are not recorded, seconds."""


class TimedSelector(selectors.EpollSelector):
    """Measures how long the event loop is busy between two waits."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[tuple[float, float, float]] = []
        self._began = time.monotonic()
        self._processor = time.thread_time()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait as usual. The call ends a turn, and its return begins the next one."""
        ended = time.monotonic()
        if (took := ended - self._began) >= LONG_S:
            self.turns.append((ended, took, time.thread_time() - self._processor))
        found = super().select(timeout)
        self._began, self._processor = time.monotonic(), time.thread_time()
        return found


def main() -> None:
    """Run until SIGTERM, then write the turns."""
    turns_file, file = map(Path, sys.argv[1:3])
    log = configure(level="info")
    selector = TimedSelector()

    async def serve() -> None:
        await Daemon(Settings(config_file=file), MemoryTable(keeps_writes=False), log, exclusive=False).run()

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        runner.run(serve())
    turns_file.write_text(json.dumps(selector.turns), encoding="ascii")


if __name__ == "__main__":
    main()
