"""Draws the daemon's status. On a terminal it is coloured and grouped by service; in a pipe each server has a line."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from lvs_healthd.runtime.printable import printable
from lvs_healthd.view.hold_values import BrakeStatus, HoldStatus
from lvs_healthd.view.status_values import DaemonStatus, RealServerStatus, ServiceStatus, Status

_HELD = {"shadow": "SHADOW MODE", "operator": "HELD BY AN OPERATOR", "brake": "HELD BY THE BRAKE"}
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

MOST_REMARKS = 10
"""How many remarks are shown above the services, which must stay in sight."""

_WEIGHT_LEGEND = "weight: configured/wanted/in the kernel's table; - means not in it"


def draw(status: Status, now: float, *, nothing: str) -> RenderableType:
    """Draw the status for a terminal.

    now: Unix time.
    nothing: what to say if there are no services to show.
    """
    parts: list[RenderableType] = list(header(status.daemon, now))
    if not status.services:
        parts.append(Text(nothing))
    server_width = max((len(server.server) for _, server in _rows(status)), default=0)
    weight_width = max((len(_weight(server)) for _, server in _rows(status)), default=0)
    for service in status.services:
        parts += [Text(), _service_line(service), _servers(service, now, server_width, max(weight_width, 6))]
    if any("/" in _weight(server) for _, server in _rows(status)):
        parts += [Text(), Text(_WEIGHT_LEGEND, style="dim")]
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
                _verdict(server),
                _weight(server),
                _since(server, now),
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
    yield Text(f"configuration {printable(daemon.config_file)}, loaded {ago(now - daemon.config_loaded)} ago")
    if daemon.mode == "shadow":
        yield Text("SHADOW MODE: nothing is written to the kernel's table", style=NOTICE)
    yield from (Text(line, style=ALARM) for line in alarms(daemon))
    yield from (Text(line, style=NOTICE) for line in notices(daemon, now))


def alarms(daemon: DaemonStatus) -> Iterator[str]:
    """Yield what is wrong with the daemon, its table and its configuration."""
    if daemon.table_error:
        yield f"TABLE ERROR: {printable(daemon.table_error)}"
    if daemon.setting_error:
        yield f"SETTING ERROR: {printable(daemon.setting_error)}"
    if daemon.table_fights:
        lines = "1 line" if daemon.table_fights == 1 else f"{daemon.table_fights} lines"
        yield f"FIGHT: somebody else undoes {lines} of the table; table.fight in the log says who"
    for brake in daemon.brakes:
        cause = f": {printable(brake.cause)}" if brake.cause else ""
        yield f"BRAKE: {braked(brake)}, so none of them is taken out{cause}"
    yield from (f"NETWORK FAULT: {printable(fault)}" for fault in daemon.network_faults)
    if daemon.probes_unsure:
        yield f"BLIND: {daemon.probes_unsure} of {daemon.probes} probes cannot tell: {printable(daemon.unsure_reason)}"
    if daemon.pair_error:
        why = printable(daemon.pair_error)
        yield f"PAIR: the addresses of this host are not known, so every service counts as active: {why}"
    if daemon.track is not None and daemon.track.error:
        yield f"TRACK FILE: {printable(daemon.track.error)}"
    if daemon.track is not None and daemon.track.value:
        yield f"TRACK FILE says 1, so VRRP keeps the addresses away from here: {printable(daemon.track.reason)}"
    if daemon.clock_suspected:
        yield f"CLOCK SUSPECTED: {printable(daemon.clock_suspected)}"
    if daemon.config_error:
        yield "CONFIGURATION REJECTED, the old one is in force:"
        yield from (f"  {printable(line)}" for line in daemon.config_error.splitlines())


def notices(daemon: DaemonStatus, now: float) -> Iterator[str]:
    """Yield what does not stop the daemon's work but needs somebody's attention.

    `now` is Unix time.
    """
    for hold in daemon.holds:
        release = f"lvs-healthd release {hold.service}".rstrip()
        yield f"HELD: {held(hold, now)}; nothing is written to it until `{printable(release)}`"
    if daemon.state_error:
        yield f"STATE NOT SAVED: {printable(daemon.state_error)}"
    yield from (f"HOOK FAILS: {printable(each)}" for each in daemon.hook_errors)
    if daemon.maintenance_error:
        yield f"MAINTENANCE FOLDER: {printable(daemon.maintenance_error)}"
    if daemon.maintenance_unused:
        yield "MAINTENANCE FILES that do not drain what they should:"
        yield from (f"  {printable(each)}" for each in daemon.maintenance_unused)
    yield from (f"ADVICE: {printable(advice)}" for advice in daemon.setting_advice)
    if daemon.config_remarks:
        yield "REMARKS on the configuration in force:"
        yield from (f"  {printable(remark)}" for remark in daemon.config_remarks[:MOST_REMARKS])
        if len(daemon.config_remarks) > MOST_REMARKS:
            rest = len(daemon.config_remarks) - MOST_REMARKS
            yield f"  and {rest} more: lvs-healthd validate {printable(daemon.config_file)}"


def braked(brake: BrakeStatus) -> str:
    """Say in words on which way the brake is on, and why."""
    return f"{brake.silent} of {brake.targets} targets behind {printable(brake.way)} fell silent together"


def held(hold: HoldStatus, now: float) -> str:
    """Say in words what is held, by whom, for how long and why.

    `now` is Unix time.
    """
    what = printable(hold.service) or "the whole table"
    by = f" by user {hold.uid}" if hold.uid >= 0 else ""
    why = f": {printable(hold.reason)}" if hold.reason else ""
    return f"{what} for {ago(now - hold.since)}{by}{why}"


def remarks(server: RealServerStatus) -> list[str]:
    """Return what the checks of a real server remark on, each remark once."""
    return list(dict.fromkeys(check.remark for check in server.checks if check.remark))


def _reason(server: RealServerStatus) -> Text:
    reason = Text(printable(server.reason))
    for remark in remarks(server):
        reason.append(f"; {printable(remark)}", style=NOTICE)
    return reason


def _rows(status: Status) -> Iterator[tuple[ServiceStatus, RealServerStatus]]:
    return ((service, server) for service in status.services for server in service.real_servers)


def _flags(service: ServiceStatus) -> list[str]:
    flags = [shortage(service).upper()] if shortage(service) else []
    if service.held_by:
        flags.append(_HELD.get(service.held_by, "HELD"))
    return flags if service.in_sync else [*flags, "NOT IN SYNC WITH THE KERNEL"]


_DONE = {"fail_open": "it fails open", "fallback": "the fallback serves"}


def shortage(service: ServiceStatus) -> str:
    """Say in words that no real server of a service may serve, or fewer than `min_up`; empty if enough may."""
    done = _DONE.get(service.below, "")
    if service.below and (service.min_up > 1 or service.below == "fail_open"):
        unit = "weight " if service.counts_weight else ""
        return f"only {unit}{service.able} of at least {service.min_up} may serve{f', and {done}' if done else ''}"
    return "no real server may serve" if service.in_fallback else ""


def standby(service: ServiceStatus) -> str:
    """Say in words that a service's clients are on the other director of a pair; empty if they are here."""
    if service.role != "standby":
        return ""
    return "standby, not probed" if service.suspended else "standby"


def _service_line(service: ServiceStatus) -> Text:
    name, address = printable(service.service), printable(service.address)
    facts = [fact for fact in (address, service.scheduler, service.forward) if fact != name]
    line = Text.assemble((name, "bold"), ("  " + "  ".join(facts), "dim"))
    if aside := standby(service):
        line.append(f"  {aside.upper()}: {printable(service.vip)} is not here", style="cyan")
    for flag in _flags(service):
        line.append("  " + flag, style=NOTICE if aside else ALARM)
    return line


def _servers(service: ServiceStatus, now: float, server_width: int, weight_width: int) -> Grid:
    table = Grid(box=None, pad_edge=False, show_header=False, expand=True, padding=(0, 1, 0, 0))
    table.add_column(width=1)
    # The column fits any IPv4 address and most IPv6 addresses. A longer address is folded, so that the reason keeps its
    # column.
    table.add_column(width=min(server_width, 28), overflow="fold")
    table.add_column(width=8)
    table.add_column(width=min(weight_width, 17), overflow="fold")
    table.add_column(width=5, justify="right")
    table.add_column(ratio=1, overflow="fold")
    for server in service.real_servers:
        idle = server.fallback and server.weight_wanted is None
        table.add_row(
            "",
            Text(server.server),
            Text(_verdict(server), style="dim" if idle else COLOURS.get(server.state or server.verdict, "")),
            Text(_weight(server), style="dim" if idle else "yellow" if "/" in _weight(server) else ""),
            Text(_since(server, now)),
            _reason(server),
        )
    return table


def _verdict(server: RealServerStatus) -> str:
    if server.fallback and not server.state and server.verdict in {"up", "unchecked"}:
        return "fallback"
    return server.state or server.verdict


def _weight(server: RealServerStatus) -> str:
    """Write the configured, wanted and actual weight, or a single number if all three are equal."""
    weights = (server.weight_configured, server.weight_wanted, server.weight_actual)
    if len(set(weights)) == 1:
        return str(server.weight_configured)
    return "/".join("-" if weight is None else str(weight) for weight in weights)


def _since(server: RealServerStatus, now: float) -> str:
    return "" if server.since is None else ago(now - server.since)


def ago(seconds: float) -> str:
    """Write a duration of `seconds` in its largest unit, such as "3h"."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"
