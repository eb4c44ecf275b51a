"""An nginx on loopback, with the locations that a test wants. It runs as whoever runs the tests."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {http}
    server {{
        listen 127.0.0.1:{port} {listen};
        {server}
    }}
}}
"""

_STARTS_WITHIN_S = 30.0
"""How long nginx may take to listen, seconds. It takes milliseconds, but the machine may be busy."""


@contextlib.contextmanager
def nginx(folder: Path, server: str, *, listen: str = "", http: str = "") -> Iterator[int]:
    """Serve on loopback, and yield the port.

    folder: where nginx keeps its files.
    server: directives inside `server`.
    listen: further parameters of `listen`.
    http: directives inside `http`.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    user = "user root;" if os.geteuid() == 0 else ""
    text = CONFIGURATION.format(folder=folder, user=user, port=port, listen=listen, server=server, http=http)
    (folder / "nginx.conf").write_text(text)
    command = ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + _STARTS_WITHIN_S
            while not (folder / "pid").exists() or not (folder / "pid").read_text().strip():
                log = folder / "error.log"
                assert process.poll() is None, log.read_text() if log.exists() else "nginx ended"
                assert time.monotonic() < end, "nginx does not listen"
                time.sleep(0.01)
            yield port
        finally:
            process.terminate()
