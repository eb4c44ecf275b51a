"""Finds what is wrong in a status and how bad it is, and writes it on one line for a monitoring system.

What only clients of a service would miss is CRITICAL where they are. On a standby director it is a WARNING, because a
takeover would fail; nothing is said of verdicts that are old because the service is not probed there.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

from lvs_healthd.cli.asking import NagiosStatus
from lvs_healthd.runtime.printable import printable
from lvs_healthd.view.status_values import Status
from lvs_healthd.view.words import agreement_trouble, braked, held, remarks, shortage, source_trouble, store_trouble

LONGEST_LINE = 300
"""The maximum length of the line for a monitoring system, characters. Such lines are sent as text messages."""


class Trouble(NamedTuple):
    """One thing that is wrong."""

    severity: NagiosStatus
    text: str


def troubles(status: Status) -> list[Trouble]:
    """List everything that is wrong, the worst first."""
    found = [*_of_daemon(status), *_of_services(status)]
    return sorted(found, key=lambda trouble: -trouble.severity)


def verdict_line(status: Status) -> tuple[NagiosStatus, str]:
    """Return the Nagios status, and a line of at most `LONGEST_LINE` characters that says why."""
    found = [*troubles(status), *_notices(status)]
    servers = [server for service in status.services for server in service.real_servers if not server.fallback]
    up = sum(server.verdict == "up" for server in servers)
    services = f"{len(status.services)} service{'' if len(status.services) == 1 else 's'}"
    line = f"{up} of {len(servers)} real servers up in {services}"
    for number, trouble in enumerate(found):
        rest = f" (+{len(found) - number} more)"
        if len(line) + len(trouble.text) + 2 + len(rest) > LONGEST_LINE:
            line += rest
            break
        line += f"; {trouble.text}"
    return found[0].severity if found else NagiosStatus.OK, line


def _of_daemon(status: Status) -> Iterator[Trouble]:
    daemon = status.daemon
    if daemon.table_error:
        yield Trouble(NagiosStatus.CRITICAL, "table error")
    if daemon.setting_error:
        yield Trouble(NagiosStatus.CRITICAL, "setting error")
    if daemon.config_error:
        yield Trouble(NagiosStatus.WARNING, "configuration rejected")
    for source in daemon.sources:
        if source.error or source.held:
            what = source_trouble(source, time.time())
            yield Trouble(NagiosStatus.WARNING, f"source {printable(source.source)}: {what}")
    if daemon.store is not None and (what := store_trouble(daemon.store, time.time())):
        yield Trouble(NagiosStatus.WARNING, f"etcd {printable(daemon.store.prefix)}: {what}")
    if daemon.state_error:
        yield Trouble(NagiosStatus.WARNING, "state not saved")
    if daemon.hook_errors:
        names = ", ".join(each.partition(": ")[0] for each in daemon.hook_errors)
        yield Trouble(NagiosStatus.WARNING, f"hooks fail: {printable(names)}")
    if daemon.maintenance_error:
        yield Trouble(NagiosStatus.WARNING, f"maintenance folder: {printable(daemon.maintenance_error)}")
    if daemon.table_fights:
        yield Trouble(NagiosStatus.WARNING, "somebody else undoes our writes")
    if daemon.clock_suspected:
        yield Trouble(NagiosStatus.WARNING, "the director's clock is suspected to be wrong")
    if daemon.pair_error:
        yield Trouble(NagiosStatus.WARNING, "the addresses of this host are not known")
    if daemon.track is not None and daemon.track.error:
        yield Trouble(NagiosStatus.CRITICAL, "track file not written")
    if daemon.track is not None and daemon.track.value:
        yield Trouble(NagiosStatus.WARNING, f"the track file says 1: {printable(daemon.track.reason)}")
    if any(each.error and not each.shadow for each in daemon.announced):
        yield Trouble(NagiosStatus.CRITICAL, "addresses are not announced as wanted")
    for each in daemon.announced:
        if each.wanted is False and not each.shadow:
            yield Trouble(NagiosStatus.WARNING, f"{each.vip} is withdrawn: {printable(each.reason)}")
    if daemon.network_faults:
        yield Trouble(NagiosStatus.WARNING, printable("; ".join(daemon.network_faults)))
    serves_nobody = bool(status.services) and all(service.role == "standby" for service in status.services)
    for brake in daemon.brakes:
        severity = NagiosStatus.WARNING if serves_nobody else NagiosStatus.CRITICAL
        yield Trouble(severity, f"brake: {braked(brake)}")
    if (agreement := daemon.agreement) is not None:
        if agreement.vetoed:
            what = "1 server is" if agreement.vetoed == 1 else f"{agreement.vetoed} servers are"
            yield Trouble(NagiosStatus.WARNING, f"veto: {what} down here, and held by other directors")
        if trouble := agreement_trouble(agreement):
            yield Trouble(NagiosStatus.WARNING, f"directors: {trouble}")
    for hold in daemon.holds:
        yield Trouble(NagiosStatus.WARNING, f"held: {held(hold, time.time())}")
    if daemon.probes_unsure:
        yield Trouble(NagiosStatus.WARNING, f"{daemon.probes_unsure} of {daemon.probes} probes cannot tell")


def _notices(status: Status) -> Iterator[Trouble]:
    """List what does no harm now, but needs somebody's attention."""
    daemon = status.daemon
    if daemon.setting_advice:
        sysctls = ", ".join(advice.partition(" ")[0] for advice in daemon.setting_advice)
        yield Trouble(NagiosStatus.WARNING, f"advice on {printable(sysctls)}")
    if daemon.announced_foreign:
        yield Trouble(NagiosStatus.WARNING, f"foreign addresses: {printable(', '.join(daemon.announced_foreign))}")
    if daemon.config_remarks:
        yield Trouble(NagiosStatus.WARNING, "remarks on the configuration")
    if daemon.maintenance_unused_files:
        yield Trouble(NagiosStatus.WARNING, f"maintenance files to look at: {daemon.maintenance_unused_files}")
    for service in status.services:
        for server in service.real_servers:
            for remark in remarks(server):
                yield Trouble(
                    NagiosStatus.WARNING, f"{printable(service.service)}: {server.server}: {printable(remark)}"
                )


def _of_services(status: Status) -> Iterator[Trouble]:
    for service in status.services:
        name = printable(service.service)
        is_standby = service.role == "standby"
        if (lack := shortage(service)) and not service.suspended:
            severity = NagiosStatus.WARNING if is_standby else NagiosStatus.CRITICAL
            yield Trouble(severity, f"{name}: {lack}{', while it is standby' if is_standby else ''}")
        if not service.in_sync and "shadow" not in (status.daemon.mode, service.held_by):
            yield Trouble(NagiosStatus.WARNING, f"{name}: not in sync with the kernel")
        for server in service.real_servers if not service.suspended else ():
            if server.state == "damped":
                yield Trouble(NagiosStatus.WARNING, f"{name}: {server.server} is {printable(server.reason)}")
            if server.verdict == "down" and not server.state:
                yield Trouble(NagiosStatus.WARNING, f"{name}: {server.server} is down: {printable(server.reason)}")
