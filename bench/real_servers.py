"""The real servers of the benchmark: one nginx and one UDP echo that serve every address of 127.0.0.0/8."""

import contextlib
import ipaddress
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bench.outcome import MeasurementError
from bench.processes import PEER_CPU, PYTHON, Program, running, wait_until

HTTP_PORT = 18080
HTTPS_PORT = 18443
UDP_PORT = 18053
HTTP2_PORT = 18081
KEEP_PORT = 18082
KEEP_TLS_PORT = 18444
STATUS_PORT = 18083
RESUMING_PORT = 18445
KEPT = ("http-keep", "https-keep")
"""The kinds whose connections are kept from one probe to the next."""
PORTS = {
    "http": HTTP_PORT,
    "h2": HTTP2_PORT,
    "tcp": HTTP_PORT,
    "https": HTTPS_PORT,
    "https-resumed": RESUMING_PORT,
    "udp": UDP_PORT,
    **dict(zip(KEPT, (KEEP_PORT, KEEP_TLS_PORT), strict=True)),
}
"""The port that a check of each kind probes."""
FIRST = "127.1.0.1"

# The peer's cost must be as small and as steady as possible: no log, one worker, and where connections are not kept no
# keep-alive. Where they are, it keeps them as nginx does by default. One port gives sessions of TLS, as nginx does by
# default too.
_NGINX = """
daemon off;
worker_processes 1;
worker_rlimit_nofile 65536;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 32768; }}
http {{
    access_log off;
    keepalive_timeout 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    ssl_certificate {folder}/certificate.pem;
    ssl_certificate_key {folder}/key.pem;
    ssl_session_cache off;
    ssl_session_tickets off;
    server {{
        listen 0.0.0.0:{http} backlog=32768;
        listen 0.0.0.0:{http2} http2 backlog=32768;
        listen 0.0.0.0:{https} ssl backlog=32768;
        location = /healthz {{ return 200 "ok\\n"; }}
    }}
    server {{
        listen 0.0.0.0:{keep} backlog=32768;
        listen 0.0.0.0:{keep_tls} ssl backlog=32768;
        keepalive_timeout 75;
        location = /healthz {{ return 200 "ok\\n"; }}
    }}
    server {{
        listen 0.0.0.0:{resuming} ssl backlog=32768;
        ssl_session_cache none;
        ssl_session_tickets on;
        location = /healthz {{ return 200 "ok\\n"; }}
    }}
    server {{
        listen 127.0.0.1:{status};
        location = /status {{ stub_status; }}
    }}
}}
"""


class RealServers:
    """The servers behind the addresses, with counts of their requests. Build one with `serving`."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.ca, self.key = folder / "certificate.pem", folder / "key.pem"
        self._folder = folder
        self._stack = stack
        self._web = self._start_web()

    @classmethod
    @contextlib.contextmanager
    def serving(cls) -> Iterator["RealServers"]:
        """Serve HTTP, HTTPS, TCP and UDP on every address of this machine for the length of the block."""
        with tempfile.TemporaryDirectory(prefix="bench-servers-") as name, contextlib.ExitStack() as stack:
            folder = Path(name)
            _make_certificate(folder)
            configuration = _NGINX.format(
                folder=folder,
                http=HTTP_PORT,
                http2=HTTP2_PORT,
                https=HTTPS_PORT,
                keep=KEEP_PORT,
                keep_tls=KEEP_TLS_PORT,
                status=STATUS_PORT,
                resuming=RESUMING_PORT,
            )
            (folder / "nginx.conf").write_text(configuration, encoding="ascii")
            echo = [PYTHON, "-I", "-S", Path(__file__).with_name("udp_echo.py"), str(UDP_PORT)]
            udp = stack.enter_context(running(echo, cpu=PEER_CPU))
            servers = cls(folder, stack)
            wait_until(lambda: servers.datagrams(timeout_s=0.1) == 0 or not udp.alive(), timeout_s=30, what="UDP echo")
            _check_alive(udp)
            yield servers

    def fail(self) -> None:
        """Kill the web server. When this returns, every connection over HTTP, HTTPS and TCP is refused."""
        self._web.kill()
        wait_until(lambda: not _answers(HTTP_PORT), timeout_s=10, what="nginx to be dead", poll_s=0.001)

    def restart(self) -> None:
        """Serve again after `fail`."""
        self._web = self._start_web()

    def _start_web(self) -> Program:
        folder = self._folder
        nginx = ["nginx", "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"]
        web = self._stack.enter_context(running(nginx, cpu=PEER_CPU))
        wait_until(lambda: _answers(HTTP_PORT) or not web.alive(), timeout_s=30, what="nginx to listen")
        _check_alive(web)
        return web

    @staticmethod
    def connections(pid: int | str = "self") -> int:
        """Return how many TCP connections a process's network namespace has begun so far (RFC 4022, tcpActiveOpens).

        nginx's own counter would miss probes that end before nginx can accept them, such as HAProxy's.
        """
        lines = Path(f"/proc/{pid}/net/snmp").read_text(encoding="ascii").splitlines()
        names, values = (line.split() for line in lines if line.startswith("Tcp:"))
        return int(values[names.index("ActiveOpens")])

    @staticmethod
    def requests() -> int:
        """Return how many requests nginx has answered so far. This question is one of them."""
        with urllib.request.urlopen(f"http://127.0.0.1:{STATUS_PORT}/status", timeout=10) as answer:
            return int(answer.read().split(b"\n")[2].split()[2])

    @staticmethod
    def datagrams(*, timeout_s: float = 10.0) -> int:
        """Return how many datagrams the UDP echo has answered so far, or -1 if it does not reply."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(timeout_s)
            asking.connect(("127.0.0.1", UDP_PORT))
            try:
                asking.send(b"count?")
                return int(asking.recv(64))
            except OSError:
                return -1


def address(index: int, *, first: str = FIRST) -> str:
    """Return the address of the real server with this index, from 0."""
    return str(ipaddress.IPv4Address(first) + index)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _check_alive(program: Program) -> None:
    if not program.alive():
        raise MeasurementError(f"a real server has ended:\n{program.last_words()}")


def _make_certificate(folder: Path) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-keyout", folder / "key.pem", "-out", folder / "certificate.pem", "-days", "100"),
            *("-subj", "/CN=bench.test", "-addext", "subjectAltName=DNS:bench.test"),
        ],
        check=True,
        capture_output=True,
    )
