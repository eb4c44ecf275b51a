"""Measures how much servers that misbehave disturb the probes of good servers beside them."""

import time
from collections.abc import Iterator
from typing import NamedTuple

from bench.context import Context, Scenario
from bench.exposition import Scrape
from bench.figures import number
from bench.healthd import Healthd, check_of, folder, head, running_daemon, service
from bench.hostile_servers import BEHIND_TLS, DATAGRAMS, KINDS, UNDER_TLS, port_of
from bench.outcome import Claim, MeasurementError, Outcome, Table
from bench.processes import PEER_CPU, PYTHON, running, wait_until
from bench.real_servers import PORTS, RealServers, address
from bench.steady import LAG, LOOP_LAG

INTERVAL_S = 1.0
GOOD = {"http": 40, "tcp": 20, "udp": 20, "https": 20}
"""How many good servers have a check of each kind. Together they are a hundred."""
HOSTILE = 100
"""How many servers misbehave at the same time, all in the same way."""
WORKERS = (1, 2)

LAG_LIMIT_S = 0.1
"""How late a probe may start, seconds."""
MEMORY_LIMIT = 2_000_000
"""By how many bytes resident memory may rise or fall after the warm-up."""

_WARM_S = 10.0
_LATER_S = 50.0
"""How long the run continues after the warm-up, seconds. Together they take a minute for each kind."""
_QUICK_WARM_S, _QUICK_LATER_S = 5.0, 5.0
_FIRST_HOSTILE = "127.50.0.1"
_START_S = 30.0
_BODY_REGEX = "(a+)+b"
"""A pattern that never matches, and on which an engine that backtracks would take very long."""


class Found(NamedTuple):
    """What happened in one run with hostile servers of one kind."""

    kind: str
    workers: int
    lag_s: float
    """An upper bound of how late any probe started, of good and of hostile servers, seconds."""
    loop_s: float
    """An upper bound of how late any tick of an event loop came, seconds."""
    moved_bytes: int
    """By how much resident memory rose or fell after the warm-up."""
    disturbed: float
    """How many probes of good servers did not pass."""
    good_passes: float
    """How many probes of good servers passed."""
    hostile_down: float
    """How many of the `HOSTILE` servers were down at the end."""

    @property
    def is_harmless(self) -> bool:
        """Whether lag and memory are within their limits, all good probes passed and all hostile servers are down."""
        return (
            self.lag_s <= LAG_LIMIT_S
            and self.moved_bytes <= MEMORY_LIMIT
            and not self.disturbed
            and self.hostile_down == HOSTILE
        )


def run(context: Context) -> Outcome:
    """Let each kind of server misbehave for a minute, once with a daemon of one process and once with workers."""
    key = context.servers.ca.with_name("key.pem")
    command = [PYTHON, "-m", "bench.hostile_servers", context.servers.ca, key]
    with running(command, cpu=PEER_CPU) as hostile:
        wait_until(lambda: "listening" in hostile.output() or not hostile.alive(), timeout_s=_START_S, what="servers")
        found = []
        for workers in WORKERS:
            for kind in KINDS:
                found.append(_beside(context, kind, workers))
                if not hostile.alive():
                    raise MeasurementError(f"the hostile servers have ended:\n{hostile.last_words()}")
                context.say(" ".join(_row(found[-1])))
    return Outcome([_claim(each, workers) for workers, each in _by_workers(found)], [_table(found)])


def _by_workers(found: list[Found]) -> Iterator[tuple[int, list[Found]]]:
    for workers in WORKERS:
        yield workers, [each for each in found if each.workers == workers]


def _beside(context: Context, kind: str, workers: int) -> Found:
    """Run the daemon for a while with good servers, and with hostile servers of one kind beside them."""
    warm_s, later_s = context.pick((_WARM_S, _LATER_S), (_QUICK_WARM_S, _QUICK_LATER_S))
    with folder() as place:
        daemon = f"probe_workers = {workers}"
        text = "\n".join(
            [head(place, INTERVAL_S, daemon=daemon), *_good(context.servers), _hostile(kind, context.servers)]
        )
        with running_daemon(text, place) as healthd:
            healthd.wait_for("daemon.started")
            healthd.wait_until_up(sum(GOOD.values()))
            began = healthd.metrics()
            time.sleep(warm_s)
            memory = healthd.program.resident_bytes()
            time.sleep(later_s)
            moved = abs(healthd.program.resident_bytes() - memory)
            return _found(kind, workers, began, healthd, moved)


def _found(kind: str, workers: int, began: Scrape, healthd: Healthd, moved: int) -> Found:
    ended = healthd.metrics()
    disturbed = passed = 0.0
    for name in GOOD:
        before, after = (scrape.sum("lvs_healthd_probes_total", service=f"good-{name}") for scrape in (began, ended))
        passes = ended.sum("lvs_healthd_probes_total", service=f"good-{name}", status="up") - began.sum(
            "lvs_healthd_probes_total", service=f"good-{name}", status="up"
        )
        disturbed += after - before - passes
        passed += passes
    return Found(
        kind,
        workers,
        ended.buckets(LAG).since(began.buckets(LAG)).bound(1.0),
        ended.buckets(LOOP_LAG).since(began.buckets(LOOP_LAG)).bound(1.0),
        moved,
        disturbed,
        passed,
        ended.sum("lvs_healthd_service_real_servers", service="hostile", state="down"),
    )


def _good(servers: RealServers) -> Iterator[str]:
    first = 0
    for position, (kind, count) in enumerate(GOOD.items()):
        members = [f"{address(index)}:{PORTS[kind]}" for index in range(first, first + count)]
        vip = f"127.128.{position}.1:{PORTS[kind]}"
        yield service(f"good-{kind}", vip, kind, check_of(kind, servers.ca), members)
        first += count


def _hostile(kind: str, servers: RealServers) -> str:
    members = [f"{address(index, first=_FIRST_HOSTILE)}:{port_of(kind)}" for index in range(HOSTILE)]
    if kind == DATAGRAMS:
        check, protocol = check_of("udp", servers.ca), "udp"
    else:
        is_tls = kind in UNDER_TLS or kind in BEHIND_TLS
        check = check_of("https" if is_tls else "http", servers.ca)
        check, protocol = check.replace(" }", f", body_regex = '{_BODY_REGEX}' }}"), "tcp"
    return service("hostile", f"127.128.9.1:{port_of(kind)}", protocol, check, members)


def _claim(found: list[Found], workers: int) -> Claim:
    bad = [each.kind for each in found if not each.is_harmless]
    return Claim(
        what=f"{len(KINDS)} kinds of {HOSTILE} hostile servers beside {sum(GOOD.values())} good ones, "
        + ("one process" if workers == 1 else f"{workers} workers"),
        measured=f"probes late by <= {max(each.lag_s for each in found) * 1000:g} ms, "
        f"{sum(each.disturbed for each in found):.0f} of {sum(each.good_passes for each in found):.0f} good probes "
        f"did not pass, memory moved by {number(max(each.moved_bytes for each in found) / 1e6)} MB",
        beside=f"not harmless: {', '.join(bad)}" if bad else "all harmless",
        target=f"<= {LAG_LIMIT_S * 1000:g} ms, none, <= {MEMORY_LIMIT / 1e6:g} MB; every hostile server down",
        holds=not bad,
    )


def _table(found: list[Found]) -> Table:
    columns = (
        "kind",
        "workers",
        "probes late by",
        "loop late by",
        "memory moved",
        "good probes not passed",
        "hostile down",
    )
    return Table(
        f"{HOSTILE} hostile servers beside {sum(GOOD.values())} good ones", columns, [_row(each) for each in found]
    )


def _row(found: Found) -> tuple[str, ...]:
    return (
        found.kind,
        str(found.workers),
        f"<= {found.lag_s * 1000:g} ms",
        f"<= {found.loop_s * 1000:g} ms",
        f"{number(found.moved_bytes / 1e6)} MB",
        f"{found.disturbed:.0f} of {found.good_passes + found.disturbed:.0f}",
        f"{found.hostile_down:.0f}",
    )


SCENARIOS = (Scenario("hostile", "hostile servers beside good ones", run, is_slow=True),)
