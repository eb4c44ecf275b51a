"""Measures kept connections to servers that end them all the time although they are well: nobody may be taken for down.

Two cases, each beside the same servers at rest:

- idle limits about as long as the interval: nginx with 5 s and 6 s, and Node with TLS and its default of 5 s. No
  connection lasts until the next probe then, so keeping them should cost hardly more than new ones do
- storms: nginx and HAProxy (HTTP/2) are reloaded every 5 s, and an nginx has fewer `worker_connections` than clients,
  so that it ends idle connections to be able to accept others
"""

import contextlib
import itertools
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.context import Context, Scenario
from bench.figures import number
from bench.healthd import Healthd, folder, head, running_daemon, service
from bench.outcome import Claim, Outcome, Table
from bench.processes import PEER_CPU, Cpu, Program, running, wait_until
from bench.real_servers import RealServers, address

RELOAD_EVERY_S = 5.0

_WARM_S = 20.0
"""How long the daemon may take to learn, and for its start to be over, seconds."""
_FIRST_PORT = 18600
_NGINX, _OTHER_NGINX, _NODE, _HAPROXY = range(_FIRST_PORT, _FIRST_PORT + 4)
_PER_SERVICE = 100
_SCARCE = 200
"""How many connections the nginx accepts that has too few, for 300 clients. It needs some for itself."""

_NGINX_FILE = """
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/pid;
error_log {folder}/error.log crit;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    keepalive_timeout {idle_s}s;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 0.0.0.0:{port} backlog=4096;
        location = /healthz {{ return 200 "ok\\n"; }}
    }}
}}
"""

_NODE_FILE = """
const https = require("https"), fs = require("fs")
const [certificate, key, port, idle] = process.argv.slice(2)
const files = { cert: fs.readFileSync(certificate), key: fs.readFileSync(key) }
const server = https.createServer(files, (_, answer) => answer.end("ok\\n"))
if (idle) server.keepAliveTimeout = Number(idle)
server.listen({ port: Number(port), host: "0.0.0.0", backlog: 4096 })
"""

_HAPROXY_FILE = """
global
    nbthread 1
    maxconn 4000
    hard-stop-after 20s
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 5s
    timeout http-keep-alive 60s
frontend bench
    bind 0.0.0.0:{port} proto h2
    http-request return status 200 content-type text/plain string ok
"""


class Group(NamedTuple):
    """Some servers that are one program, on addresses of their own."""

    port: int
    members: int
    """How many servers they are."""
    check: str


class Case(NamedTuple):
    """What is tried, beside the same servers at rest."""

    what: str
    groups: tuple[Group, ...]
    interval_s: float
    tried: str
    """The name of the run that is not at rest."""
    beside: str
    """The name of the run whose processor time it is compared with."""
    limit: float
    """The target: processor time as a multiple of that."""

    @property
    def servers(self) -> int:
        """How many servers there are."""
        return sum(group.members for group in self.groups)


class Found(NamedTuple):
    """What one run of the daemon has shown."""

    seconds: float
    """How long it was measured."""
    cpu: Cpu
    downs: int
    """How many servers were taken for down."""
    opened: int
    """How many connections were opened."""
    probes: float
    failed: float
    """How many of the probes failed."""

    @property
    def share(self) -> float:
        """Share of one processor."""
        return self.cpu.total / self.seconds


_KEEP = ', connection = "keep"'
_HTTP = '{ type = "http", path = "/healthz", host = "bench.test", connection = "keep" }'
_HTTPS = '{ type = "https", path = "/healthz", host = "bench.test", verify = false, connection = "keep" }'
_HTTP2 = '{ type = "http", path = "/healthz", host = "bench.test", http_version = "2", connection = "keep" }'

_REST = "at rest"
IDLE = Case(
    "idle limits of 5 and 6 s",
    (Group(_NGINX, 400, _HTTP), Group(_OTHER_NGINX, 400, _HTTP), Group(_NODE, 200, _HTTPS)),
    interval_s=5.0,
    tried="idle limits",
    beside="new connections",
    limit=1.3,
)
STORM = Case(
    "reloads and a lack of connections",
    (Group(_NGINX, 400, _HTTP), Group(_OTHER_NGINX, 300, _HTTP), Group(_HAPROXY, 300, _HTTP2)),
    interval_s=2.0,
    tried="storm",
    beside=_REST,
    limit=1.5,
)


def idle(context: Context) -> Outcome:
    """Find out what idle limits as long as the interval cost."""
    short, long = context.pick((60.0, 600.0), (30.0, 40.0))
    runs = {}
    for name, limits, seconds in (
        (_REST, (75, 75, "75000"), short),
        (IDLE.beside, (5, 6, ""), short),
        (IDLE.tried, (5, 6, ""), long),
    ):
        with folder() as place, contextlib.ExitStack() as stack:
            ours = context.servers
            _nginx(stack, place / "one", _NGINX, idle_s=limits[0])
            _nginx(stack, place / "two", _OTHER_NGINX, idle_s=limits[1])
            (place / "server.js").write_text(_NODE_FILE, encoding="ascii")
            node = ["node", place / "server.js", ours.ca, ours.key, str(_NODE), limits[2]]
            stack.enter_context(running(node, cpu=PEER_CPU))
            runs[name] = _run(IDLE, seconds, lambda: None, are_kept=name != IDLE.beside)
            context.say(f"{name}: {_words(runs[name])}")
    return _outcome(IDLE, runs)


def storms(context: Context) -> Outcome:
    """Find out what reloads and a lack of connections cost."""
    seconds = context.pick(120.0, 30.0)
    runs = {}
    for name, connections in ((_REST, 2000), (STORM.tried, _SCARCE)):
        with folder() as place, contextlib.ExitStack() as stack:
            nginx = _nginx(stack, place / "one", _NGINX)
            _nginx(stack, place / "two", _OTHER_NGINX, connections=connections)
            (place / "haproxy.cfg").write_text(_HAPROXY_FILE.format(port=_HAPROXY), encoding="ascii")
            haproxy = stack.enter_context(running(["haproxy", "-W", "-db", "-f", place / "haproxy.cfg"], cpu=PEER_CPU))

            def reload(nginx: Program = nginx, haproxy: Program = haproxy) -> None:
                nginx.signal(signal.SIGHUP)
                haproxy.signal(signal.SIGUSR2)

            runs[name] = _run(STORM, seconds, reload if name == STORM.tried else lambda: None)
            context.say(f"{name}: {_words(runs[name])}")
    return _outcome(STORM, runs)


def _outcome(case: Case, runs: dict[str, Found]) -> Outcome:
    found, rest = runs[case.tried], runs[_REST]
    ratio = found.share / runs[case.beside].share
    more = found.opened - rest.opened * found.seconds / rest.seconds
    claim = Claim(
        what=f"{case.what}, {case.servers} servers kept at {case.interval_s:g} s for {found.seconds:g} s",
        measured=f"{found.downs} taken for down, {more:.0f} more connections than at rest",
        beside=f"processor time {ratio:.2f} x that with {case.beside}, {found.share / rest.share:.2f} x that at rest"
        if case.beside != _REST
        else f"processor time {ratio:.2f} x that at rest",
        target=f"none down, <= {case.limit:g} x",
        holds=not found.downs and ratio <= case.limit,
    )
    table = Table(
        case.what,
        ("", "% of the core", "connections opened in a second", "probes", "of them failed", "taken for down"),
        [
            (
                name,
                number(100 * each.share),
                number(each.opened / each.seconds),
                number(each.probes),
                number(each.failed),
                str(each.downs),
            )
            for name, each in runs.items()
        ],
    )
    return Outcome([claim], [table])


def _words(found: Found) -> str:
    return (
        f"{found.share:.1%} of the core, {found.opened} connections opened, {found.downs} down, "
        f"{found.failed:.0f} of {found.probes:.0f} probes failed in {found.seconds:g} s"
    )


def _run(case: Case, seconds: float, disturb: Callable[[], None], *, are_kept: bool = True) -> Found:
    """Run the daemon on some servers, and disturb these every `RELOAD_EVERY_S`."""
    with folder() as place:
        text = _configuration(case.groups, place, case.interval_s)
        if not are_kept:
            text = text.replace(_KEEP, "")
        with running_daemon(text, place) as healthd:
            healthd.wait_for("daemon.started")
            healthd.wait_until_up(case.servers)
            _disturb_for(_WARM_S, disturb)
            after, before, cpu = len(healthd.lines()), healthd.metrics(), healthd.program.cpu()
            opened = RealServers.connections(healthd.program.pid)
            _disturb_for(seconds, disturb)
            healthd.check_alive()
            cpu, metrics = healthd.program.cpu().since(cpu), healthd.metrics()
            opened = RealServers.connections(healthd.program.pid) - opened
            probes = metrics.sum("lvs_healthd_probes_total") - before.sum("lvs_healthd_probes_total")
            passed = metrics.sum("lvs_healthd_probes_total", status="up")
            passed -= before.sum("lvs_healthd_probes_total", status="up")
            return Found(seconds, cpu, _downs(healthd, after), opened, probes, probes - passed)


def _downs(healthd: Healthd, after: int) -> int:
    """Return how many servers were taken for down since the log had `after` lines. Some may be told in one line."""
    suppressed = healthd.select("log.suppressed", after=after)
    held_back = sum(int(line["counts"].get("real_server.down", 0)) for line in suppressed)
    return len(healthd.select("real_server.down", after=after)) + held_back


def _disturb_for(seconds: float, disturb: Callable[[], None]) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        disturb()
        time.sleep(min(left, RELOAD_EVERY_S))


def _configuration(groups: Sequence[Group], place: Path, interval_s: float) -> str:
    numbers, indices = itertools.count(), itertools.count()
    parts = [head(place, interval_s)]
    for group in groups:
        servers = [f"{address(next(indices))}:{group.port}" for _ in range(group.members)]
        for start in range(0, group.members, _PER_SERVICE):
            number_ = next(numbers)
            vip = f"127.128.{number_}.1:{group.port}"
            parts.append(service(f"s{number_}", vip, "http", group.check, servers[start : start + _PER_SERVICE]))
    return "\n".join(parts)


def _nginx(
    stack: contextlib.ExitStack, place: Path, port: int, *, idle_s: int = 75, connections: int = 4000
) -> Program:
    place.mkdir()
    text = _NGINX_FILE.format(folder=place, port=port, idle_s=idle_s, connections=connections)
    (place / "nginx.conf").write_text(text, encoding="ascii")
    nginx = ["nginx", "-p", place, "-e", place / "error.log", "-c", place / "nginx.conf"]
    program = stack.enter_context(running(nginx, cpu=PEER_CPU))
    wait_until((place / "pid").exists, timeout_s=30, what="nginx to listen")
    return program


SCENARIOS = (
    Scenario("idle", "kept connections with idle limits as long as the interval", idle, is_slow=True),
    Scenario("storms", "kept connections while servers are reloaded", storms, is_slow=True),
)
