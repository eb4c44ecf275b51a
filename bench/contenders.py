"""Configures and runs the programs that are compared with each other. All of them probe the same servers."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.healthd import SERVERS_PER_SERVICE, Load, configuration, running_daemon
from bench.outcome import MeasurementError
from bench.processes import PYTHON, ROOT, Program, running
from bench.real_servers import PORTS

Contender = Callable[[Load, Path], contextlib.AbstractContextManager[Program]]
"""Runs a program that probes a load for the length of the block, in its own folder."""

Prefix = Sequence[str]
"""Words before a command that make it run elsewhere, for example in another network namespace."""


@contextlib.contextmanager
def daemon(load: Load, folder: Path, *, prefix: Prefix = (), table: str = "memory") -> Iterator[Program]:
    """Run the whole of lvs-healthd."""
    command = [*prefix, Path(PYTHON).with_name("lvs-healthd"), "run", "--table", table, "--config"]
    with running_daemon(configuration(load, folder), folder, command=command) as healthd:
        yield healthd.program
        # If a server had gone down for a while, its probes would have been cheaper.
        healthd.check_quiet()


@contextlib.contextmanager
def floor(load: Load, _folder: Path, *, prefix: Prefix = (), again: bool = False) -> Iterator[Program]:
    """Run the bare loop. With `again` it reuses its TCP sockets, as the daemon does."""
    arguments = [load.kind, load.address(0), str(load.count), str(PORTS[load.kind]), str(load.interval_s), str(load.ca)]
    arguments += ["again"] if again else []
    with running([*prefix, PYTHON, "-I", "-S", ROOT / "bench/floor.py", *arguments]) as program:
        yield program


_HAPROXY = """
global
    nbthread 1
    maxconn 2000
    ca-base /
    stats socket {folder}/admin.sock level admin
defaults
    mode {mode}
    timeout connect 1s
    timeout client 1s
    timeout server 1s
    timeout check 1s
backend bench
    {options}
"""
_HTTP_OPTIONS = """option httpchk
    http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host bench.test hdr Connection close
    http-check expect status 200-299
"""
_HAPROXY_OPTIONS = {
    "http": ("http", _HTTP_OPTIONS),
    "https": ("http", _HTTP_OPTIONS),
    "https-resumed": ("http", _HTTP_OPTIONS),
    "tcp": ("tcp", ""),
}


@contextlib.contextmanager
def haproxy(
    load: Load, folder: Path, *, more: Sequence[str] = (), fall: int = 3, may_fail: bool = False
) -> Iterator[Program]:
    """Run HAProxy's own checks in one thread. It has none for UDP. What it thinks is asked over `folder`/admin.sock.

    more: the endpoints of further servers, which it calls victim0, victim1 and so on.
    may_fail: whether servers may go down meanwhile.
    """
    mode, options = _HAPROXY_OPTIONS[load.kind]
    tls = {
        "https": f" check-ssl verify required ca-file {load.ca} sni str(bench.test) check-sni bench.test",
        "https-resumed": " check-ssl verify none check-sni bench.test",
    }.get(load.kind, "")
    endpoints = {f"s{index}": load.server(index) for index in range(load.count)}
    endpoints |= {f"victim{index}": endpoint for index, endpoint in enumerate(more)}
    servers = "".join(
        f"    server {name} {endpoint} check inter {round(load.interval_s * 1000)}ms fall {fall}{tls}\n"
        for name, endpoint in endpoints.items()
    )
    # Without a frontend, HAProxy would say that there is nothing to do.
    frontend = f"frontend nobody\n    bind unix@{folder}/haproxy.sock\n    default_backend bench\n"
    file = folder / "haproxy.cfg"
    text = _HAPROXY.format(mode=mode, options=options, folder=folder)
    file.write_text(text + servers + frontend, encoding="ascii")
    with running(["haproxy", "-db", "-f", file]) as program:
        yield program
        if not may_fail and " is DOWN" in program.output():
            raise MeasurementError(f"HAProxy's checks fail:\n{program.last_words()}")


_KEEPALIVED_CHECKS = {
    "http": "HTTP_GET {\n      url {\n        path /healthz\n        status_code 200\n      }\n"
    "      connect_timeout 1\n    }",
    "tcp": "TCP_CHECK {\n      connect_timeout 1\n    }",
}


@contextlib.contextmanager
def keepalived(load: Load, folder: Path, *, prefix: Prefix = ()) -> Iterator[Program]:
    """Run keepalived's checkers, on the kernel's own table. Intervals are whole seconds."""
    parts = ["global_defs {\n  router_id bench\n}\n"]
    for start in range(0, load.count, SERVERS_PER_SERVICE):
        servers = "".join(
            f"  real_server {load.server(index).replace(':', ' ')} {{\n    weight 1\n"
            f"    {_KEEPALIVED_CHECKS[load.kind]}\n  }}\n"
            for index in range(start, min(start + SERVERS_PER_SERVICE, load.count))
        )
        vip = load.vip(start // SERVERS_PER_SERVICE).replace(":", " ")
        parts.append(
            f"virtual_server {vip} {{\n  delay_loop {load.interval_s:g}\n  lb_algo rr\n  lb_kind NAT\n"
            f"  protocol TCP\n{servers}}}\n"
        )
    file = folder / "keepalived.conf"
    file.write_text("".join(parts), encoding="ascii")
    options = ["-n", "-l", "-C", "-f", file, "-p", folder / "pid", "-c", folder / "checkers.pid"]
    with running([*prefix, "keepalived", *options]) as program:
        yield program
        if "failed" in program.output():
            raise MeasurementError(f"keepalived's checks fail:\n{program.last_words()}")
