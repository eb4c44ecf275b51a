"""The status page's parts: one for the director, one for each service, one for each real server. Pure.

Every part is HTML with an id, and says all that it says in words; colours and scripts only add to that.
"""

import hashlib
from collections.abc import Iterator, Sequence
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


def shown(status: Status, asked: Asked, now: float) -> Shown:
    """Return what a page shows: services with something wrong first, and in each of them bad servers first.

    now: Unix time.
    """
    wanted = asked.text.casefold()
    is_written = status.daemon.mode != "shadow"
    found: list[tuple[bool, ServiceStatus, list[RealServerStatus]]] = []
    for service in status.services:
        is_named = wanted in f"{service.service} {service.address}".casefold()
        servers = [
            each
            for each in service.real_servers
            if (is_named or wanted in f"{each.server} {each.reason} {each.override}".casefold())
            and (not asked.only_bad or is_bad(each, is_written=is_written))
        ]
        is_wrong = _is_wrong(service, is_written=is_written)
        if servers or (is_named and not asked.text and (is_wrong or not asked.only_bad)):
            servers.sort(key=lambda each: not is_bad(each, is_written=is_written))
            found.append((is_wrong, service, servers))
    found.sort(key=lambda each: (not _lacks(each[1]), not each[0]))
    blocks, left_out, room = [], asked.first, MOST_ROWS
    for _, service, servers in found:
        if left_out and left_out >= len(servers):
            left_out -= len(servers)
            continue
        kept = servers[left_out : left_out + room]
        left_out = 0
        if not kept and servers:
            break
        room -= len(kept)
        blocks.append(_block(service, kept, status.daemon, now))
    total = sum(len(servers) for _, _, servers in found)
    return Shown(_top(status, now), tuple(blocks), total, asked)


def _lacks(service: ServiceStatus) -> bool:
    return bool(shortage(service)) and not service.suspended


def _is_wrong(service: ServiceStatus, *, is_written: bool) -> bool:
    is_lacking = bool(shortage(service)) or (is_written and not service.in_sync)
    return is_lacking or any(is_bad(each, is_written=is_written) for each in service.real_servers)


def _top(status: Status, now: float) -> Part:
    daemon = status.daemon
    servers = [each for service in status.services for each in service.real_servers if not each.fallback]
    up = sum(each.verdict == "up" for each in servers)
    read = "never read" if daemon.last_resync is None else f"read at {time_of_day(daemon.last_resync, now)}"
    about = (
        f"lvs-healthd {escape(daemon.version)}, mode <b>{escape(daemon.mode)}</b>, "
        f"since {time_of_day(daemon.started, now)}; table {escape(printable(daemon.table))}, {read}; "
        f"configuration {escape(printable(daemon.config_file))}, loaded at {time_of_day(daemon.config_loaded, now)}"
    )
    is_written = daemon.mode != "shadow"
    bad = sum(is_bad(each, is_written=is_written) for service in status.services for each in service.real_servers)
    those = f'; <a href="./?bad=1">{bad} {"is" if bad == 1 else "are"} bad</a>' if bad else ""
    lines = [
        f'<p class="sum">{up} of {len(servers)} real servers up in {len(status.services)} services{those}</p>',
        f"<p>{about}</p>",
    ]
    if daemon.mode == "shadow":
        lines.append('<p class="notice">SHADOW MODE: nothing is written to the kernel\'s table</p>')
    lines += [f'<p class="alarm" role="alert">{escape(each)}</p>' for each in alarms(daemon)]
    lines += [f'<p class="notice">{escape(each)}</p>' for each in notices(daemon, now)]
    return Part("top", "".join(lines))


def _block(service: ServiceStatus, servers: Sequence[RealServerStatus], daemon: DaemonStatus, now: float) -> Block:
    name = name_of(service.service)
    rows = tuple(_row(service, each, now, is_written=daemon.mode != "shadow") for each in servers)
    latencies = tuple(_latency_ms(each) for each in servers)
    return Block(Part(name, _heading(service, daemon)), rows, latencies)


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
