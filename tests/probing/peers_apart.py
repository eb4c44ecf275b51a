"""Servers on loopback that do not lag with the loop under test: the kernel alone, or threads."""

import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """Yield a port whose queue of connections is full, so that it answers nothing."""
    with socket.socket() as listening, contextlib.ExitStack() as fillers:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


@contextlib.contextmanager
def mute_listener() -> Iterator[int]:
    """Yield a port that the kernel connects to, and on which no program ever answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        yield listening.getsockname()[1]


@contextlib.contextmanager
def mute_datagrams() -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        yield mute.getsockname()[1]


@contextlib.contextmanager
def on_threads(kind: type[socketserver.TCPServer], handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    """Serve on threads, which do not lag with the loop, and yield the port."""
    server = kind(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Threaded(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: probes end with a reset."""


@contextlib.contextmanager
def answering_streams(context: ssl.SSLContext | None = None) -> Iterator[int]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                peer = context.wrap_socket(self.request, server_side=True) if context else self.request
                with peer:
                    if peer.recv(4096):
                        peer.sendall(OK)

    with on_threads(Threaded, Handler) as port:
        yield port


@contextlib.contextmanager
def answering_datagrams() -> Iterator[int]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request[1].sendto(b"!", self.client_address)

    with on_threads(socketserver.ThreadingUDPServer, Handler) as port:
        yield port
