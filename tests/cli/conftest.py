"""A stand-in for the daemon that the command line asks: the real API server on a real socket, on its own thread."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from lvs_healthd.api import ApiServer
from tests import statuses
from tests.shown import Shown, shown_app


class Daemon(Shown):
    """Where the daemon listens, and what it shows. Tests change what it shows."""

    control: Path = Path()
    listen: str = ""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    shown = Daemon(status=statuses.status(), listing=statuses.listing(), control=tmp_path / "control.sock")
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async def metrics() -> AsyncIterator[bytes]:
            yield b""

        server = ApiServer(shown_app(shown, metrics))
        await server.start("127.0.0.1:0", str(shown.control))
        shown.listen = str(server.address)
        ready.set()
        await stop.wait()
        await server.stop()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    yield shown
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


@pytest.fixture
def answering() -> Iterator[Callable[[Path, bytes], None]]:
    """Return a function that listens on a socket and gives the same answer to every request."""
    started: list[tuple[threading.Thread, socket.socket]] = []

    def listen(path: Path, answer: bytes) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        started.append((thread, listener))

    yield listen
    for thread, listener in started:
        thread.join(5)
        listener.close()
