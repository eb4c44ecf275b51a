"""Draws the IPVS table. On a terminal it is coloured and grouped by service; in a pipe each entry has a line."""

from collections import Counter
from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from lvs_healthd.cli.draw_status import ALARM, COLOURS, header
from lvs_healthd.cli.drawn_rows import Column, Rows
from lvs_healthd.ipvs.kernel.connections import Connection
from lvs_healthd.ipvs.kernel.statistics import Statistics
from lvs_healthd.runtime.printable import printable
from lvs_healthd.view.table_values import WRONG, Difference, ListedServer, ListedService, Listing, ServiceFields, State

Counters = tuple[tuple[str, str], ...]
"""Columns of numbers. Each column consists of a heading and a field of `Statistics`."""

STATS: Counters = (
    ("CONNS", "connections"),
    ("INPKTS", "in_packets"),
    ("OUTPKTS", "out_packets"),
    ("INBYTES", "in_bytes"),
    ("OUTBYTES", "out_bytes"),
)
RATE: Counters = (
    ("CPS", "connections_per_s"),
    ("INPPS", "in_packets_per_s"),
    ("OUTPPS", "out_packets_per_s"),
    ("INBPS", "in_bytes_per_s"),
    ("OUTBPS", "out_bytes_per_s"),
)
"""The columns of `--rate`. The headings here and in `STATS` are ipvsadm's; BPS means bytes per second."""
_NOW: Counters = (("ACTIVE", "active_connections"), ("INACT", "inactive_connections"))

CONNECTION_HEADINGS = ("PROTO", "EXPIRES", "STATE", "CLIENT", "VIRTUAL", "REAL SERVER", "ENGINE")

_TERMINAL_HEADINGS = ("METHOD", "WEIGHT", *(heading for heading, _ in _NOW), "VERDICT", "WHY")
_PLAIN_HEADINGS = (*_TERMINAL_HEADINGS[:-1], "STATE", "WHY")
"""The headings in a pipe. A terminal has no column for the state: there, a state that is wrong is written before the
reason."""

_LARGE = 100_000_000
"""Numbers of at least this size are scaled, as in ipvsadm."""
_SCALES = ((10**14, 10**12, "T"), (10**11, 10**9, "G"), (10**9, 10**6, "M"), (_LARGE, 10**3, "K"))

_SERVER_WIDTH = 28
"""Width of the column for servers. It fits any IPv4 address and most IPv6 addresses; a longer address is folded."""
_NUMBER_WIDTH = 9
_NONE = "-"
_OF_SERVICE = "(service)"
_STYLES = dict.fromkeys(WRONG, "yellow") | {State.FOREIGN: "dim", State.OUT: "dim"}
_WORDS = {
    State.MISSING: "NOT IN THE KERNEL'S TABLE",
    State.EXTRA: "NOT CONFIGURED ANY MORE",
    State.FOREIGN: "foreign: left alone",
}


def draw(listing: Listing, now: float, counters: Counters, *, exact: bool) -> RenderableType:
    """Draw the table for a terminal.

    listing: the daemon's answer.
    now: Unix time.
    counters: the columns of numbers to show instead of the usual columns; () for the usual columns.
    exact: whether to show whole numbers instead of scaled ones.
    """
    parts: list[RenderableType] = [*header(listing.daemon, now), _summary(listing)]
    rows = [_terminal_rows(service, counters, exact=exact) for service in listing.services]
    titles = _headings(counters) or _TERMINAL_HEADINGS
    headings = [Text(each, style="dim") for each in ("REAL SERVER", *titles)]
    everything = [headings, *(row for of_service in rows for row in of_service)]
    widths = [max(len(row[column].plain) for row in everything) for column in range(len(headings))]
    widths[0] = min(widths[0], _SERVER_WIDTH)
    if listing.services:
        parts += [Text(), _drawn([headings], widths, counters)]
    for service, of_service in zip(listing.services, rows, strict=True):
        parts += [Text(), _service_line(service), _drawn(of_service, widths, counters)]
    return Group(*parts)


def plain(listing: Listing, now: float, counters: Counters) -> str:
    """Write the table for a pipe: each server shares a line with its service, so that grep finds both.

    The arguments are those of `draw`. Numbers are always whole.
    """
    lines = [line.plain for line in header(listing.daemon, now)]
    lines.append(_summary(listing).plain)
    rows = [("SERVICE", "NAME", "REAL SERVER", *(_headings(counters) or _PLAIN_HEADINGS))]
    for service in listing.services:
        which = (service.address, printable(service.service) or _NONE)
        rows.append((*which, _NONE, *_service_cells(service, counters, exact=True)))
        rows += [(*which, server.server, *_server_cells(server, counters, exact=True)) for server in service.servers]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join(lines) + "\n"


def connection(found: Connection) -> tuple[str, ...]:
    """Return a connection's columns, in the order of `CONNECTION_HEADINGS`."""
    minutes, seconds = divmod(found.expires_s, 60)
    expires = f"{minutes:02}:{seconds:02}"
    engine = printable(found.engine)
    return found.protocol, expires, printable(found.state), found.client, found.virtual, found.destination, engine


def scaled(number: int) -> str:
    """Format a number so that it stays short: 100 million becomes 100000K (ipvsadm.c, print_largenum)."""
    for least, unit, letter in _SCALES:
        if number >= least:
            return f"{number // unit}{letter}"
    return str(number)


def _headings(counters: Counters) -> tuple[str, ...]:
    return tuple(heading for heading, _ in counters)


def _service_cells(service: ListedService, counters: Counters, *, exact: bool) -> tuple[str, ...]:
    if counters:
        return _numbers(service.statistics, counters, exact=exact)
    fields = service.actual or service.wanted
    method = printable(fields.scheduler) if fields is not None else _NONE
    now = _numbers(service.statistics, _NOW, exact=exact)
    return method, _NONE, *now, _NONE, service.state, _changes(service.differences)


def _server_cells(server: ListedServer, counters: Counters, *, exact: bool) -> tuple[str, ...]:
    if counters:
        return _numbers(server.statistics, counters, exact=exact)
    fields = server.actual or server.wanted
    return (
        fields.forward if fields is not None else _NONE,
        str(server.actual.weight) if server.actual is not None else _NONE,
        *_numbers(server.statistics, _NOW, exact=exact),
        "fallback" if server.verdict == "unchecked" else server.verdict or _NONE,
        server.state,
        "; ".join(filter(None, (_change(server), printable(server.reason)))),
    )


def _change(server: ListedServer) -> str:
    """Describe how a server's line in the kernel's table differs from the wanted one."""
    if server.state is State.MISSING and server.wanted is not None:
        return f"weight {server.wanted.weight} is wanted"
    if server.state is State.EXTRA:
        return "not wanted"
    return _changes(server.differences)


def _changes(differences: Iterable[Difference]) -> str:
    return ", ".join(f"{each.field.replace('_', ' ')} {each.actual} -> {each.wanted}" for each in differences)


def _numbers(statistics: Statistics | None, counters: Counters, *, exact: bool) -> tuple[str, ...]:
    if statistics is None:
        return (_NONE,) * len(counters)
    numbers = [getattr(statistics, field) for _, field in counters]
    return tuple(map(str if exact else scaled, numbers))


def _summary(listing: Listing) -> Text:
    """Write the line that says whether the kernel's table differs from the wanted one."""
    states = Counter(service.state for service in listing.services)
    states.update(server.state for service in listing.services for server in service.servers)
    wrong = [f"{states[state]} {state}" for state in WRONG if states[state]]
    foreign = sum(service.state is State.FOREIGN for service in listing.services)
    left_alone = f"; {foreign} foreign service{'s' if foreign > 1 else ''} left alone" if foreign else ""
    if wrong:
        return Text.assemble((f"NOT AS WANTED: {', '.join(wrong)}", "bold yellow"), left_alone)
    return Text(f"as wanted{left_alone}")


def _service_line(service: ListedService) -> Text:
    name, address = printable(service.service), service.address
    fields = service.actual or service.wanted
    facts = [fact for fact in (address if name else "", *_facts(fields)) if fact and fact != name]
    line = Text.assemble((name or address, "bold"), ("  " + "  ".join(facts), "dim"))
    word = _WORDS.get(service.state, _changes(service.differences))
    if word:
        line.append("  " + word, style="dim" if service.state is State.FOREIGN else ALARM)
    return line


def _facts(fields: ServiceFields | None) -> Iterator[str]:
    if fields is None:
        return
    yield printable(fields.scheduler)
    if fields.persistence != "off":
        yield f"persistent {fields.persistence}"
    if fields.netmask not in ("/32", "/128"):
        yield f"mask {fields.netmask}"
    yield from (word for word in (fields.flags, printable(fields.engine)) if word != "none")


def _terminal_rows(service: ListedService, counters: Counters, *, exact: bool) -> list[list[Text]]:
    rows = []
    if counters:
        rows.append([Text(cell) for cell in (_OF_SERVICE, *_service_cells(service, counters, exact=exact))])
    for server in service.servers:
        style = _STYLES.get(server.state, "")
        row = [Text(cell, style=style) for cell in (server.server, *_server_cells(server, counters, exact=exact))]
        if not counters:
            _state, why = row[-2:]
            row[-2:] = [Text.assemble((f"{server.state}: ", "bold yellow"), why) if server.state in WRONG else why]
            row[5].style = COLOURS.get(server.verdict, style)
        rows.append(row)
    return rows


def _drawn(rows: list[list[Text]], widths: list[int], counters: Counters) -> Rows:
    columns = [Column(widths[0])]
    if counters:
        columns += [Column(max(width, _NUMBER_WIDTH), "right", is_cut=True) for width in widths[1:]]
    else:
        method, weight, active, inactive, verdict, _why = widths[1:]
        numbers = [Column(width, "right", is_cut=True) for width in (weight, active, inactive)]
        columns += [Column(method), *numbers, Column(verdict), Column(None)]
    return Rows(columns, rows)
