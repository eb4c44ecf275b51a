"""The status page's parts: one for the director, one for each service, one for each real server. Pure.

Every part is HTML with an id, and says all that it says in words; colours and scripts only add to that.
"""

import hashlib
from collections.abc import Generator, Iterator, Sequence
from html import escape
from typing import NamedTuple
from urllib.parse import urlencode

from lvs_healthd.runtime.printable import printable
from lvs_healthd.view.status_values import DaemonStatus, RealServerStatus, ServiceStatus, Status
from lvs_healthd.view.words import (
    HELD,
    alarms,
    is_bad,
    notices,
    remarks,
    shortage,
    standby,
    time_of_day,
    verdict_word,
    weight_words,
)

EMPTY_TIME = '<td class="time"></td>'
"""Where a row shows how long the last probe took. It is empty in the part, which would change with every probe."""

MOST_ROWS = 500
"""How many real servers one page shows. A browser lays out so many at once, and one update stays small."""


class Asked(NamedTuple):
    """What a visitor wants to see."""

    text: str = ""
    """Only services and real servers whose name, address or reason contains this, in any case."""
    only_bad: bool = False
    first: int = 0
    """How many real servers to leave out before the first."""

    def query(self, first: int | None = None) -> str:
        """Return the query of the page that shows this, from `first` on; "" for everything."""
        start = self.first if first is None else first
        words = {"q": self.text, "bad": "1" if self.only_bad else "", "from": str(start) if start else ""}
        kept = {name: word for name, word in words.items() if word}
        return f"?{urlencode(kept)}" if kept else ""


class Part(NamedTuple):
    """One part of the page."""

    name: str
    """Its id in the document."""
    html: str


class Block(NamedTuple):
    """One service on the page: its heading, and the rows of its real servers."""

    heading: Part
    rows: tuple[Part, ...]
    latencies: tuple[float | None, ...]
    """For each row, how long its last probe took, milliseconds; None if it has none."""


class Shown(NamedTuple):
    """What one page shows."""

    top: Part
    blocks: tuple[Block, ...]
    servers: int
    """How many real servers match what was asked for, on all pages."""
    asked: Asked

    @classmethod
    def nothing(cls, asked: Asked) -> "Shown":
        """Return an empty page, which every other differs from."""
        return cls(Part("top", ""), (), 0, asked)


class _Found(NamedTuple):
    """A service of which something is shown."""

    service: ServiceStatus
    servers: list[RealServerStatus]
    """Its real servers that match what was asked for, bad ones first."""
    is_wrong: bool


class _Counts:
    """How many real servers there are, whether they are shown or not."""

    def __init__(self) -> None:
        self.ours = 0
        """Without those of fallbacks."""
        self.up = 0
        self.bad = 0
        """With those of fallbacks."""


def shown(status: Status, asked: Asked, now: float) -> Shown:
    """Return what a page shows, at once. The arguments are those of `making`."""
    steps = making(status, asked, now)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            made: Shown = end.value
            return made


def making(status: Status, asked: Asked, now: float) -> Generator[None, None, Shown]:
    """Make what a page shows: services with something wrong first, and in each of them bad servers first.

    It yields after each small step, of which there are tens of thousands if there are so many servers, and returns the
    page at the end.

    now: Unix time.
    """
    counts, found = _Counts(), []
    for service in status.services:
        one = yield from _looking(service, asked, counts, is_written=status.daemon.mode != "shadow")
        if one is not None:
            found.append(one)
    found.sort(key=lambda each: (not _lacks(each.service), not each.is_wrong))
    blocks, left_out, room = [], asked.first, MOST_ROWS
    for service, servers, _ in found:
        if left_out and left_out >= len(servers):
            left_out -= len(servers)
            continue
        kept = servers[left_out : left_out + room]
        left_out = 0
        if not kept and servers:
            break
        room -= len(kept)
        blocks.append((yield from _block(service, kept, status.daemon, now)))
    total = sum(len(each.servers) for each in found)
    return Shown(_top(status, counts, now), tuple(blocks), total, asked)


def _looking(
    service: ServiceStatus, asked: Asked, counts: _Counts, *, is_written: bool
) -> Generator[None, None, _Found | None]:
    """Count a service's real servers, and find those that are asked for. The result is None if it is not shown."""
    wanted = asked.text.casefold()
    is_named = not wanted or wanted in f"{service.service} {service.address}".casefold()
    bad: list[RealServerStatus] = []
    good: list[RealServerStatus] = []
    has_bad = False
    for each in service.real_servers:
        is_it_bad = is_bad(each, is_written=is_written)
        counts.bad += is_it_bad
        counts.ours += not each.fallback
        counts.up += not each.fallback and each.verdict == "up"
        has_bad = has_bad or is_it_bad
        if is_named or wanted in f"{each.server} {each.reason} {each.override}".casefold():
            (bad if is_it_bad else good).append(each)
        yield
    servers = bad if asked.only_bad else bad + good
    is_wrong = has_bad or bool(shortage(service)) or (is_written and not service.in_sync)
    if servers or (not wanted and (is_wrong or not asked.only_bad)):
        return _Found(service, servers, is_wrong)
    return None


def _lacks(service: ServiceStatus) -> bool:
    return bool(shortage(service)) and not service.suspended


def _top(status: Status, counts: _Counts, now: float) -> Part:
    daemon, bad = status.daemon, counts.bad
    read = "never read" if daemon.last_resync is None else f"read at {time_of_day(daemon.last_resync, now)}"
    about = (
        f"lvs-healthd {escape(daemon.version)}, mode <b>{escape(daemon.mode)}</b>, "
        f"since {time_of_day(daemon.started, now)}; table {escape(printable(daemon.table))}, {read}; "
        f"configuration {escape(printable(daemon.config_file))}, loaded at {time_of_day(daemon.config_loaded, now)}"
    )
    those = f'; <a href="./?bad=1">{bad} {"is" if bad == 1 else "are"} bad</a>' if bad else ""
    lines = [
        f'<p class="sum">{counts.up} of {counts.ours} real servers up in {len(status.services)} services{those}</p>',
        f"<p>{about}</p>",
    ]
    if daemon.mode == "shadow":
        lines.append('<p class="notice">SHADOW MODE: nothing is written to the kernel\'s table</p>')
    lines += [f'<p class="alarm" role="alert">{escape(each)}</p>' for each in alarms(daemon)]
    lines += [f'<p class="notice">{escape(each)}</p>' for each in notices(daemon, now)]
    return Part("top", "".join(lines))


def _block(
    service: ServiceStatus, servers: Sequence[RealServerStatus], daemon: DaemonStatus, now: float
) -> Generator[None, None, Block]:
    name, rows = name_of(service.service), []
    for each in servers:
        rows.append(_row(service, each, now, is_written=daemon.mode != "shadow"))
        yield
    latencies = tuple(_latency_ms(each) for each in servers)
    return Block(Part(name, _heading(service, daemon)), tuple(rows), latencies)


def _heading(service: ServiceStatus, daemon: DaemonStatus) -> str:
    title = printable(service.service)
    facts = [each for each in (service.address, service.scheduler, service.forward) if each and each != title]
    ours = [each for each in service.real_servers if not each.fallback]
    up = sum(each.verdict == "up" for each in ours)
    flags = list(_flags(service, daemon))
    marks = "".join(f' <strong class="{kind}">{escape(text)}</strong>' for kind, text in flags)
    return f"{escape(title)} <small>{escape(printable('  '.join(facts)))}; {up} of {len(ours)} up</small>{marks}"


def _flags(service: ServiceStatus, daemon: DaemonStatus) -> Iterator[tuple[str, str]]:
    aside = standby(service)
    if aside:
        yield "notice", f"{aside.upper()}: {printable(service.vip)} is not here"
    if lack := shortage(service):
        yield ("notice" if aside else "alarm"), lack.upper()
    if service.held_by and daemon.mode != "shadow":
        yield "notice", HELD.get(service.held_by, "HELD")
    if not service.in_sync and "shadow" not in (daemon.mode, service.held_by):
        yield "alarm", "NOT IN SYNC WITH THE KERNEL"


def _row(service: ServiceStatus, server: RealServerStatus, now: float, *, is_written: bool) -> Part:
    word = verdict_word(server)
    since = "" if server.since is None else time_of_day(server.since, now)
    targets = dict.fromkeys(each.target for each in server.checks if each.target and each.target != server.server)
    notes = [printable(each) for each in (server.reason, server.override, *remarks(server)) if each]
    if targets:
        notes.append(f"probed at {', '.join(targets)}")
    kind = "bad" if is_bad(server, is_written=is_written) else "aside" if server.state or server.fallback else "good"
    link = f"server?{urlencode({'service': service.service, 'server': server.server})}"
    cells = (
        f'<th scope="row"><a href="{escape(link)}">{escape(server.server)}</a></th>',
        f'<td class="verdict {escape(word)}">{escape(word)}</td>',
        f"<td>{escape(weight_words(server))}</td>",
        f"<td>{since}</td>",
        EMPTY_TIME,
        f"<td>{escape('; '.join(notes))}</td>",
    )
    return Part(name_of(service.service, server.server), f'<tr class="{kind}">{"".join(cells)}</tr>')


def _latency_ms(server: RealServerStatus) -> float | None:
    latencies = [each.latency_s for each in server.checks if each.latency_s is not None]
    return float(f"{max(latencies) * 1000:.3g}") if latencies else None


def name_of(*words: str) -> str:
    """Return an id for what these names mean. It has only letters and digits, whatever the names are."""
    return "x" + hashlib.blake2b("\0".join(words).encode(errors="surrogateescape"), digest_size=6).hexdigest()
