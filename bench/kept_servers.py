"""Web servers whose clients keep their connections, and that can die, hang, restart and close what is idle."""

import contextlib
import selectors
import socket
import time

from bench.switchable import SwitchableServers

IDLE_S = 2.02
"""How long impatient servers wait for the next request, seconds: a probe's interval of 2 s and its delay."""

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"


class KeptServers(SwitchableServers):
    """The web servers. Build one with `running`."""

    def __init__(self) -> None:
        super().__init__()
        self.impatient: set[int] = set()
        """The ports that close a connection once it has been idle for `IDLE_S`."""
        self.idle_closed = 0
        """How many connections were closed because they were idle."""
        self._port_of: dict[socket.socket, int] = {}
        self._idle: dict[socket.socket, float] = {}
        """Since when each connection of an `impatient` port is idle, monotonic time; the longest first."""
        self._hanging: set[int] = set()

    def off(self, port: int) -> None:
        """Close a port and its connections, as the kernel does for a process that is killed."""
        self.wake(port)
        super().off(port)
        self.restart(port)

    def restart(self, port: int) -> None:
        """Close the connections of a port that goes on listening."""
        with self._lock:
            for connection in self._of(port):
                self._close(connection)

    def hang(self, port: int) -> None:
        """Neither accept nor answer on a port until `wake`, though the kernel still opens connections."""
        with self._lock:
            self._hanging.add(port)
            for file in (self._listening[port], *self._of(port)):
                self._selector.unregister(file)

    def wake(self, port: int) -> None:
        """Answer again, also what was asked meanwhile. Does nothing to a port that does not hang."""
        with self._lock:
            if port not in self._hanging:
                return
            self._hanging.remove(port)
            self._selector.register(self._listening[port], selectors.EVENT_READ, port)
            for connection in self._of(port):
                self._selector.register(connection, selectors.EVENT_READ, connection)

    def _accept(self, port: int) -> None:
        if port not in self._hanging:
            super()._accept(port)

    def _accepted(self, connection: socket.socket) -> None:
        super()._accepted(connection)
        self._port_of[connection] = connection.getsockname()[1]
        self._rest(connection)

    def _answer(self, connection: socket.socket) -> None:
        # Another thread may have closed it, or made it hang, since the selector saw it.
        if self._port_of.get(connection) in {None, *self._hanging}:
            return
        try:
            asked = connection.recv(65536)
            if asked:
                connection.send(_ANSWER)
        except OSError:
            asked = b""
        if asked:
            self._rest(connection)
        else:
            self._close(connection)

    def _tidy(self) -> None:
        long_ago = time.monotonic() - IDLE_S
        with self._lock:
            while self._idle:
                connection, since = next(iter(self._idle.items()))
                if since > long_ago:
                    break
                if self._port_of[connection] in self._hanging:
                    self._rest(connection)
                else:
                    self.idle_closed += 1
                    self._close(connection)

    def _rest(self, connection: socket.socket) -> None:
        if self._port_of[connection] in self.impatient:
            self._idle.pop(connection, None)
            self._idle[connection] = time.monotonic()

    def _of(self, port: int) -> list[socket.socket]:
        return [connection for connection, its in self._port_of.items() if its == port]

    def _close(self, connection: socket.socket) -> None:
        del self._port_of[connection]
        self._idle.pop(connection, None)
        with contextlib.suppress(KeyError):  # a server that hangs watches none
            self._selector.unregister(connection)
        connection.close()
