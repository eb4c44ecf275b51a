"""Draws the daemon's status. On a terminal it is coloured and grouped by service; in a pipe each server has a line."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from lvs_healthd.cli.drawn_rows import Column, Rows
from lvs_healthd.runtime.printable import printable
from lvs_healthd.view.status_values import DaemonStatus, RealServerStatus, ServiceStatus, Status
from lvs_healthd.view.words import (
    HELD,
    ago,
    alarms,
    announcement,
    directors,
    notices,
    remarks,
    shortage,
    since,
    sourced,
    standby,
    stored,
    verdict_word,
    weight_words,
)

COLOURS = {
    "up": "green",
    "down": "bold red",
    "unknown": "yellow",
    "drained": "cyan",
    "disabled": "cyan",
    "damped": "yellow",
}
ALARM = "bold red"
NOTICE = "bold yellow"

MOST_SHOWN = 10
"""How many announced addresses, and how many sources, are shown above the services, which must stay in sight."""

WEIGHT_LEGEND = "weight: configured/wanted/in the kernel's table; - means not in it"


def draw(status: Status, now: float, *, nothing: str) -> RenderableType:
    """Draw the status for a terminal.

    now: Unix time.
    nothing: what to say if there are no services to show.
    """
    parts: list[RenderableType] = list(header(status.daemon, now))
    if not status.services:
        parts.append(Text(nothing))
    server_width = max((len(server.server) for _, server in _rows(status)), default=0)
    weight_width = max((len(weight_words(server)) for _, server in _rows(status)), default=0)
    for service in status.services:
        parts += [Text(), service_line(service), _servers(service, now, server_width, max(weight_width, 6))]
    if any("/" in weight_words(server) for _, server in _rows(status)):
        parts += [Text(), Text(WEIGHT_LEGEND, style="dim")]
    return Group(*parts)


def plain(status: Status, now: float) -> str:
    """Format the status for a pipe: one line for each server. The line begins with the server's service.

    `now` is Unix time.
    """
    return rows(
        [
            (
                printable(service.service),
                server.server,
                verdict_word(server),
                weight_words(server),
                since(server, now),
                "; ".join([printable(text) for text in (server.reason, *remarks(server), standby(service)) if text]),
            )
            for service, server in _rows(status)
        ]
    )


def rows(cells: Sequence[tuple[str, ...]]) -> str:
    """Format rows of cells as lines for a pipe: columns at least two blanks apart, and "-" for an empty cell."""
    filled = [[cell or "-" for cell in row] for row in cells]
    widths = [max(map(len, column)) for column in zip(*filled, strict=True)]
    return "".join(["  ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in filled])


def header(daemon: DaemonStatus, now: float) -> Iterator[Text]:
    """Yield the lines at the top: the daemon, its table and its configuration, and what is wrong with each of them.

    `now` is Unix time.
    """
    workers = "" if daemon.probe_workers == 1 else f"  probe workers {daemon.probe_workers}"
    read = "never read" if daemon.last_resync is None else f"read {ago(now - daemon.last_resync)} ago"
    yield Text.assemble(
        (f"lvs-healthd {daemon.version}", "bold"),
        f"  mode {daemon.mode}  up {ago(now - daemon.started)}  pid {daemon.pid}{workers}",
    )
    yield Text(f"table {printable(daemon.table)}, {read}")
    for each in daemon.announced[:MOST_SHOWN]:
        yield Text(f"address {announcement(each, now)}")
    if (more := len(daemon.announced) - MOST_SHOWN) > 0:
        yield Text(f"and {more} more addresses: lvs-healthd status --json")
    if daemon.store is not None:
        yield Text(f"services from etcd {printable(daemon.store.prefix)}: {stored(daemon.store, now)}")
    if daemon.agreement is not None:
        yield Text(directors(daemon.agreement))
    for source in daemon.sources[:MOST_SHOWN]:
        used = f" of {printable(', '.join(source.services))}"
        yield Text(f"servers{used} from {sourced(source, now)}")
    if (more := len(daemon.sources) - MOST_SHOWN) > 0:
        yield Text(f"and {more} more sources: lvs-healthd status --json")
    yield Text(f"configuration {printable(daemon.config_file)}, loaded {ago(now - daemon.config_loaded)} ago")
    if daemon.mode == "shadow":
        yield Text("SHADOW MODE: nothing is written to the kernel's table", style=NOTICE)
    yield from (Text(line, style=ALARM) for line in alarms(daemon))
    yield from (Text(line, style=NOTICE) for line in notices(daemon, now))


def reason(server: RealServerStatus) -> Text:
    """Say why a real server has its verdict, and what its checks remark on."""
    text = Text(printable(server.reason))
    for remark in remarks(server):
        text.append(f"; {printable(remark)}", style=NOTICE)
    return text


def _rows(status: Status) -> Iterator[tuple[ServiceStatus, RealServerStatus]]:
    return ((service, server) for service in status.services for server in service.real_servers)


def _flags(service: ServiceStatus) -> list[str]:
    flags = [shortage(service).upper()] if shortage(service) else []
    if service.held_by:
        flags.append(HELD.get(service.held_by, "HELD"))
    return flags if service.in_sync else [*flags, "NOT IN SYNC WITH THE KERNEL"]


def service_line(service: ServiceStatus) -> Text:
    """Draw the line of a service, with what is wrong with it."""
    name, address = printable(service.service), printable(service.address)
    facts = [fact for fact in (address, service.scheduler, service.forward) if fact != name]
    line = Text.assemble((name, "bold"), ("  " + "  ".join(facts), "dim"))
    if aside := standby(service):
        line.append(f"  {aside.upper()}: {printable(service.vip)} is not here", style="cyan")
    for flag in _flags(service):
        line.append("  " + flag, style=NOTICE if aside else ALARM)
    return line


def _servers(service: ServiceStatus, now: float, server_width: int, weight_width: int) -> Rows:
    columns = (
        # It fits any IPv4 address and most IPv6 addresses. A longer address is folded, so that the reason keeps its
        # column.
        Column(min(server_width, 28)),
        Column(8),
        Column(min(weight_width, 17)),
        Column(5, "right"),
        Column(None),
    )
    return Rows(
        columns,
        [
            (
                Text(server.server),
                Text(verdict_word(server), style=verdict_style(server)),
                Text(weight_words(server), style=weights_style(server)),
                Text(since(server, now)),
                reason(server),
            )
            for server in service.real_servers
        ],
    )


def verdict_style(server: RealServerStatus) -> str:
    """Return the style in which the word for a server's verdict is drawn."""
    return "dim" if _is_idle(server) else COLOURS.get(server.state or server.verdict, "")


def weights_style(server: RealServerStatus) -> str:
    """Return the style in which a server's weights are drawn."""
    return "dim" if _is_idle(server) else "yellow" if "/" in weight_words(server) else ""


def _is_idle(server: RealServerStatus) -> bool:
    return server.fallback and server.weight_wanted is None
