"""Kept connections to real servers: over many probes, when they are reloaded, killed, and end idle connections."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trustme

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import AnyCheck, HttpCheck, HttpsCheck, Kept, TcpCheck, Tls
from lvs_healthd.probes.outcome import Course, Outcome, OutcomeKind, Reason
from lvs_healthd.probes.targets import target
from lvs_healthd.probing.engine import Engine
from lvs_healthd.probing.probe import Probe
from lvs_healthd.probing.scheduler import Scheduler
from tests.ready_made.servers import Server, free_port, running

PATIENCE_S = 30.0
SOON_S = 0.8
"""Within how many seconds three probes fail after a death. An idle machine takes 0.15; one probe in each interval would
take two seconds and more."""
INTERVAL_S = 1.0
KEPT = Kept(reconnect=Seconds(60.0))


class Live:
    """A scheduler on the event loop, with one probe. Notes what it finds and when."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.found: list[tuple[float, Outcome]] = []
        self.warnings = 0
        self.engine = Engine(clock=self.loop.time)
        self.scheduler: Scheduler[str] = Scheduler(self.engine, clock=self.loop.time, random=lambda: 0.5, observer=self)
        self._changed = asyncio.Event()

    def lag(self, seconds: float) -> None: ...
    def loop_lag(self, seconds: float) -> None: ...
    def skipped(self) -> None: ...

    def warned(self) -> None:
        self.warnings += 1

    def outcome(self, outcome: Outcome, course: Course) -> None:
        self.found.append((self.loop.time(), outcome))
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def passes(self, count: int = 2) -> None:
        """Wait for so many more outcomes that are up, without any other."""
        most = len(self.found) + count
        await self.until(lambda: len(self.found) >= most)
        assert self.failures() == []

    def failures(self, since: int = 0) -> list[str]:
        return [outcome.detail for _, outcome in self.found[since:] if outcome.kind is not OutcomeKind.UP]


@contextlib.asynccontextmanager
async def probing(check: AnyCheck) -> AsyncIterator[Live]:
    live = Live()
    live.scheduler.update([Probe("one", target(check), check.interval, live)])
    task = asyncio.create_task(live.scheduler.run())
    try:
        await live.until(lambda: bool(live.found) and live.found[-1][1].kind is OutcomeKind.UP)
        live.found.clear()
        yield live
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def check_of(kind: str, port: int, *, interval_s: float = INTERVAL_S) -> AnyCheck:
    keys = {"name": kind, "address": "127.0.0.1", "port": port, "interval": Seconds(interval_s), "kept": KEPT}
    if kind == "tcp":
        return TcpCheck(**keys)  # type: ignore[arg-type]
    version = "2" if kind.endswith("2") else "1.1"
    if kind.startswith("https"):
        return HttpsCheck(**keys, host="x", http_version=version, tls=Tls(verify=False))  # type: ignore[arg-type]
    return HttpCheck(**keys, host="x", http_version=version)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("key") / "key.pem"
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


def nginx(port: int, directory: Path, key: Path, kind: str, *lines: str) -> list[str | Path]:
    listen = {"http": "", "http2": "http2", "https": "ssl", "https2": "ssl http2"}[kind]
    folders = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    (directory / "nginx.conf").write_text(
        f"daemon off;\npid {directory}/pid;\nerror_log stderr;\nworker_processes 2;\nevents {{ }}\nhttp {{\n"
        + "".join(f" {name}_temp_path {directory}/{name};\n" for name in folders)
        + "".join(f" {line}\n" for line in lines)
        + f' log_format line "$connection";\n access_log {directory}/access.log line;\n'
        f" ssl_certificate {key};\n ssl_certificate_key {key};\n"
        f' server {{ listen 127.0.0.1:{port} {listen}; location / {{ return 200 "ok"; }} }}\n}}\n'
    )
    return ["nginx", "-p", directory, "-e", "stderr", "-c", directory / "nginx.conf"]


def haproxy(port: int, directory: Path, key: Path, kind: str, *, status: int = 200) -> list[str | Path]:
    listen = {"http": "", "http2": "proto h2", "https": f"ssl crt {key}", "https2": f"ssl crt {key} alpn h2"}[kind]
    (directory / "haproxy.cfg").write_text(
        "defaults\n mode http\n timeout client 30s\n"
        f"frontend front\n bind 127.0.0.1:{port} {listen}\n http-request return status {status}\n"
    )
    return ["haproxy", "-W", "-db", "-f", directory / "haproxy.cfg"]


def connections(directory: Path) -> int:
    """Return over how many connections requests have come to nginx."""
    return len(set((directory / "access.log").read_text().split()))


KINDS = ("http", "http2", "https", "https2")


@pytest.mark.parametrize(
    "kind", ["http", "https2", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("http2", "https"))]
)
async def test_nginx_is_asked_over_one_connection_and_may_be_reloaded(kind: str, key: Path, tmp_path: Path) -> None:
    port = free_port()
    with running(nginx(port, tmp_path, key, kind), tmp_path) as server:
        async with probing(check_of(kind, port, interval_s=0.2)) as live:
            await live.passes(10)
            assert connections(tmp_path) <= 2  # one more if nginx did not listen yet at first
            assert live.engine.kept == 1
            for _ in range(3):
                server.notify(signal.SIGHUP)
                await live.passes(5)
            assert 3 <= connections(tmp_path) <= 8
            assert live.engine.kept == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", [nginx, haproxy])
async def test_server_that_is_killed_is_found_out_soon(
    start: Callable[..., list[str | Path]], kind: str, key: Path, tmp_path: Path
) -> None:
    port = free_port()
    with running(start(port, tmp_path, key, kind), tmp_path) as server:
        async with probing(check_of(kind, port)) as live:
            await live.passes(1)
            await death(live, server)


async def death(live: Live, server: Server) -> None:
    """Kill a server in the middle of an interval. Its probe fails three times, soon."""
    await asyncio.sleep(0.2)
    before, died = len(live.found), live.loop.time()
    server.kill()
    await live.until(lambda: len(live.failures(before)) >= 3)
    assert live.found[-1][0] - died <= SOON_S
    assert {outcome.reason for _, outcome in live.found[before:]} <= {Reason.REFUSED, Reason.RESET}
    assert live.warnings == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_haproxy_that_is_reloaded_answers_from_its_new_process(kind: str, key: Path, tmp_path: Path) -> None:
    port = free_port()
    with running(haproxy(port, tmp_path, key, kind), tmp_path) as server:
        async with probing(check_of(kind, port, interval_s=0.3)) as live:
            await live.passes(5)
            haproxy(port, tmp_path, key, kind, status=404)
            server.notify(signal.SIGUSR2)
            # The old process would go on to answer 200 on an HTTP/2 connection for as long as somebody asks.
            await live.until(lambda: live.found[-1][1].detail == "status 404, expected 200-299")
            changed = len(live.found)
            await live.until(lambda: len(live.found) >= changed + 5)
            assert {outcome.detail for _, outcome in live.found[changed:]} == {"status 404, expected 200-299"}


@pytest.mark.parametrize("kind", [pytest.param("http", marks=pytest.mark.long), "https"])
async def test_idle_limit_of_a_server_is_learnt(kind: str, key: Path, tmp_path: Path) -> None:
    port = free_port()
    with running(nginx(port, tmp_path, key, kind, "keepalive_timeout 1s;"), tmp_path):
        async with probing(check_of(kind, port, interval_s=1.5)) as live:
            remark = "status 200, over a new connection each time: the server ends idle ones after 1"
            await live.until(lambda: live.found[-1][1].detail.startswith(remark) if live.found else False)
            assert live.failures() == []
            assert live.warnings <= 2
            probes = len(live.found)
            await asyncio.sleep(3.2)
            assert len(live.found) - probes <= 3
            assert live.engine.kept == 0


async def test_idle_limit_that_a_server_tells_is_believed(key: Path, tmp_path: Path) -> None:
    port = free_port()
    with running(nginx(port, tmp_path, key, "http", "keepalive_timeout 1s 1s;"), tmp_path):
        async with probing(check_of("http", port, interval_s=1.0)) as live:
            await live.passes(3)
            assert {outcome.detail for _, outcome in live.found} == {
                "status 200, over a new connection each time: the server ends idle ones after 1s"
            }
            assert live.warnings == 0


async def test_limit_of_requests_ends_no_probe_with_a_failure(key: Path, tmp_path: Path) -> None:
    port = free_port()
    with running(nginx(port, tmp_path, key, "http", "keepalive_requests 5;"), tmp_path):
        async with probing(check_of("http", port, interval_s=0.1)) as live:
            await live.passes(22)
            assert 4 <= connections(tmp_path) <= 7
            assert live.warnings == 0


async def test_memcached_is_watched(tmp_path: Path) -> None:
    port = free_port()
    user = ["-u", "root"]
    with running(["memcached", "-l", "127.0.0.1", "-p", str(port), *user], tmp_path) as server:
        async with probing(check_of("tcp", port)) as live:
            await live.passes(1)
            assert live.engine.kept == 1
            await death(live, server)
