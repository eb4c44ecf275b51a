"""The process that runs programs, on the requests that come through a Unix socket.

Started by the daemon, it gives up all capabilities, makes its socket itself and ends with the daemon. Started by
systemd, it is given the socket (sd_listen_fds(3)), and its unit says which user and rights programs have.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from lvs_healthd.programs.messages import MOST_BYTES, GarbledMessageError, NotRun, Started, line, request
from lvs_healthd.programs.running import NotRunError, Running
from lvs_healthd.runtime.capabilities import give_up_capabilities

MOST_PROGRAMS = 16
"""How many programs run at once unless told otherwise. The default of the configuration's `max_exec`."""

MOST_HOOKS = 16
"""How many programs of hooks run at once, besides those of checks. A hook runs four at most."""

GRACE_S = 2.0
"""How much longer than until SIGTERM the daemon's child serves, seconds. systemd signals every process of a unit at
once, but the daemon may have something to tell yet, and stops within two seconds."""

_FIRST_PASSED = 3
"""The first descriptor that systemd passes (SD_LISTEN_FDS_START)."""
_BACKLOG = 4096


class Helper:
    """Runs programs for whoever connects.

    most: how many programs of checks may run at once. Further requests wait for their turn.
    folder: where programs may keep files; "" if nowhere.
    """

    def __init__(self, most: int, folder: str) -> None:
        self._folder = folder
        self._places = {False: asyncio.Semaphore(most), True: asyncio.Semaphore(MOST_HOOKS)}
        """The places of checks' programs, and those of hooks."""
        self._running: set[Running] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            with contextlib.suppress(OSError, ValueError):  # whoever asked has gone, or sent a line without end
                await self._serve(reader, writer)
        finally:
            writer.close()

    def close(self) -> None:
        """Kill every program that still runs."""
        for each in self._running:
            each.signal(signal.SIGKILL)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = request(await reader.readline())
        except GarbledMessageError as error:
            writer.write(line(NotRun(f"not a request: {error}")))
            return
        gone = asyncio.ensure_future(reader.read(1))
        places = self._places[asked.is_hook]
        place = asyncio.ensure_future(places.acquire())
        try:
            await asyncio.wait((gone, place), return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                return
            writer.write(line(Started()))
            try:
                running = Running(asked, self._folder)
            except NotRunError as error:
                writer.write(line(error.answer()))
                return
            with self._counted(running):
                writer.write(line(await running.finish(gone)))
        finally:
            gone.cancel()
            if place.done() and not place.cancelled():
                places.release()
            place.cancel()

    @contextlib.contextmanager
    def _counted(self, running: Running) -> Iterator[None]:
        self._running.add(running)
        try:
            yield
        finally:
            self._running.discard(running)


def main() -> None:
    """Run until SIGTERM, or until standard input ends if the daemon has started this process."""
    parser = argparse.ArgumentParser(prog="lvs-healthd-exec")
    parser.add_argument("--max", type=int, default=MOST_PROGRAMS, help="how many programs may run at once")
    parser.add_argument("--socket", help="path of the socket to make; without it, systemd passes one")
    parser.add_argument("--folder", help="where programs may keep files; without it, systemd's StateDirectory=")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGHUP):  # only the daemon decides when this process ends
        signal.signal(number, signal.SIG_IGN)
    try:
        if arguments.socket:  # a unit of systemd says itself what programs may do
            give_up_capabilities()
    except OSError as error:
        sys.stderr.write(f"lvs-healthd-exec: keeps its capabilities: {error.strerror}\n")
    try:
        listener = _bound(Path(arguments.socket)) if arguments.socket else _passed()
    except OSError as error:
        sys.exit(f"lvs-healthd-exec: cannot serve {arguments.socket or 'the passed socket'}: {error.strerror}")
    helper = Helper(arguments.max, _made(arguments.folder or os.environ.get("STATE_DIRECTORY", "")))
    asyncio.run(_run(listener, helper, follows_stdin=bool(arguments.socket)))


async def _run(listener: socket.socket, helper: Helper, *, follows_stdin: bool) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    if follows_stdin:
        loop.add_reader(sys.stdin.fileno(), ended.set)
    loop.add_signal_handler(signal.SIGTERM, loop.call_later, GRACE_S if follows_stdin else 0.0, ended.set)
    server = await asyncio.start_unix_server(helper.serve, sock=listener, limit=MOST_BYTES, backlog=_BACKLOG)
    try:
        await ended.wait()
    finally:
        server.close()
        helper.close()


def _made(folder: str) -> str:
    """Make the folder for the files of programs, unless it is there. Return it; "" if that does not work."""
    if folder:
        try:
            Path(folder).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            sys.stderr.write(f"lvs-healthd-exec: programs cannot keep files in {folder}: {error.strerror}\n")
            return ""
    return folder


def _bound(path: Path) -> socket.socket:
    """Make a socket that only this user can connect to, in place of one that nobody serves any more."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
    finally:
        os.umask(before)
    return listener


def _passed() -> socket.socket:
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        sys.exit("lvs-healthd-exec: no --socket, and systemd has passed none")
    return socket.socket(fileno=_FIRST_PASSED)


if __name__ == "__main__":
    main()
