"""Web servers that can be switched on and off one by one. Each has its own port, and one thread serves them all."""

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from typing import Self

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"
_BACKLOG = 1024
_POLL_S = 0.1


class SwitchableServers:
    """The web servers. While a port is on, it answers on every address of this machine. Build one with `running`."""

    def __init__(self) -> None:
        self.first_asked: dict[int, float] = {}
        """When each port was first asked since it was last switched on, Unix time."""
        self._selector = selectors.DefaultSelector()
        self._listening: dict[int, socket.socket] = {}
        self._lock = threading.Lock()
        self._is_ending = False

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Iterator[Self]:
        """Answer for the length of the block. All ports are off at first."""
        servers = cls()
        thread = threading.Thread(target=servers._serve, name="switchable", daemon=True)
        thread.start()
        try:
            yield servers
        finally:
            servers._is_ending = True
            thread.join()
            for port in list(servers._listening):
                servers.off(port)
            servers._selector.close()

    def on(self, port: int) -> None:
        """Listen on a port."""
        listening = socket.create_server(("", port), backlog=_BACKLOG)
        listening.setblocking(False)
        with self._lock:
            self.first_asked.pop(port, None)
            self._listening[port] = listening
            self._selector.register(listening, selectors.EVENT_READ, port)

    def off(self, port: int) -> None:
        """Close a port: connections are refused from now on."""
        with self._lock:
            listening = self._listening.pop(port)
            self._selector.unregister(listening)
            listening.close()

    def _serve(self) -> None:
        while not self._is_ending:
            for key, _ in self._selector.select(_POLL_S):
                with self._lock:
                    if isinstance(key.data, int):
                        self._accept(key.data)
                    else:
                        self._answer(key.data)
            self._tidy()

    def _accept(self, port: int) -> None:
        # The port may have been switched off since the selector saw it.
        listening = self._listening.get(port)
        with contextlib.suppress(BlockingIOError):
            while listening is not None:
                connection, _ = listening.accept()
                self.first_asked.setdefault(port, time.time())
                self._accepted(connection)

    def _accepted(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_READ, connection)

    def _answer(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        # A request fits into one segment. A probe that has gone away needs no answer.
        with contextlib.closing(connection), contextlib.suppress(OSError):
            if connection.recv(65536):
                connection.send(_ANSWER)

    def _tidy(self) -> None:
        """Do what is due whether or not a client has asked, at least ten times a second."""
