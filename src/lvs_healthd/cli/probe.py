"""`lvs-healthd probe`: runs the checks of a configuration once, without a daemon and without touching IPVS."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import typer
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from lvs_healthd.cli.asking import FileOption, end
from lvs_healthd.cli.choosing import DownOption, WhatArgument, chosen
from lvs_healthd.cli.draw_status import rows
from lvs_healthd.cli.exit_status import ExitStatus
from lvs_healthd.cli.loading import loaded
from lvs_healthd.config.check_model import AnyCheck, data_path
from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.load import DEFAULT_FILE
from lvs_healthd.config.model import RealServer, Service
from lvs_healthd.decide.blame import blamed_together
from lvs_healthd.plan.records import service_key
from lvs_healthd.probes.outcome import NO_COURSE, Course, OutcomeKind, Reason, unsure
from lvs_healthd.probes.targets import ProbeKey, probe_key
from lvs_healthd.probing.descriptors import probes_within_limit, raise_descriptor_limit
from lvs_healthd.probing.once import ProbeResult, run_once
from lvs_healthd.probing.without_daemon import runnable
from lvs_healthd.runtime.printable import printable
from lvs_healthd.view.naming import UnknownNameError

_COLOURS = {OutcomeKind.UP: "green", OutcomeKind.DOWN: "red", OutcomeKind.UNSURE: "yellow"}


_NOT_RUN = ProbeResult(
    unsure(Reason.NOT_RUN, "not run: only a running daemon has its mark service: lvs-healthd status"), NO_COURSE
)
"""What there is to say about a check that goes through its service."""


class ProbeLine(msgspec.Struct, frozen=True):
    """One line of the output: what one check of one real server found."""

    service: str
    server: str
    check: str
    status: OutcomeKind
    reason: str
    detail: str
    latency_s: float
    course: Course
    """How the probe went, and what it heard if it did not pass."""


class _Member(NamedTuple):
    """One real server of one service."""

    service: Service
    server: RealServer


def probe(
    what: WhatArgument = None,
    *,
    down: DownOption = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: FileOption = DEFAULT_FILE,
) -> None:
    """Run every check once, or only the checks of the named services and servers, and show what they found.

    A check that goes through its service is not run, and does not count.

    Exit status: 0 all are up, 1 the file has errors, 2 wrong usage, 3 some are down, or a fault on this host
    left their state unknown.
    """
    try:
        raise_descriptor_limit()
        whole = loaded("probe", config)
        members = list(_members(whole.services, what or []))
        room = probes_within_limit(whole.daemon.max_probes)
        checks = [check for check in _checks(members) if data_path(check) is None]
        probed = asyncio.run(_probed(checks, room, has_own_unit=bool(whole.daemon.exec_socket)))
    except UnknownNameError as error:
        # The file was an argument in former versions.
        hint = "; name a file with --config" if any(Path(word).is_file() for word in what or []) else ""
        end("probe", f"{error}{hint}", ExitStatus.USAGE)
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitStatus.FAILED) from None
    except OSError as error:
        end("probe", f"{config}: a file of a check cannot be used: {error}")
    asked = {probe_key(check): check for check in checks}
    blamed = blamed_together({asked[key]: result.outcome for key, result in probed.items()})
    results = {key: ProbeResult(blamed[asked[key]], result.course) for key, result in probed.items()}
    found = list(_found(members, results))
    bad = [each for each in found if each.status is not OutcomeKind.UP and each.reason != Reason.NOT_RUN]
    _show(bad if down else found, json=json)
    if bad:
        raise typer.Exit(ExitStatus.TROUBLE)


async def _probed(checks: Sequence[AnyCheck], room: int, *, has_own_unit: bool) -> dict[ProbeKey, ProbeResult]:
    """Run the checks once.

    has_own_unit: whether programs run in a unit of their own. If that does not run, it is what the operator must know.
    """
    if has_own_unit:
        return await run_once(checks, max_in_flight=room)
    async with runnable(checks) as served:
        found = await run_once(served.values(), max_in_flight=room)
        return {key: found[probe_key(check)] for key, check in served.items()}


def _members(services: Iterable[Service], words: Sequence[str]) -> Iterator[_Member]:
    """Yield the real servers that the operator named. Raises `UnknownNameError`."""
    known = {
        each.name: (str(service_key(each)), [str(server.endpoint) for server in _checked(each)]) for each in services
    }
    is_meant = chosen(words, known)
    for service in services:
        for server in _checked(service):
            if is_meant(service.name, str(server.endpoint)):
                yield _Member(service, server)


def _checked(service: Service) -> tuple[RealServer, ...]:
    """Return the servers of a service that have checks: its real servers, and some of its fallback servers."""
    return tuple(server for server in service.servers if server.checks)


def _checks(members: Iterable[_Member]) -> list[AnyCheck]:
    return [check for member in members for check in member.server.checks]


def _found(members: Iterable[_Member], probed: dict[ProbeKey, ProbeResult]) -> Iterator[ProbeLine]:
    for service, server in members:
        for check in server.checks:
            outcome, course = probed.get(probe_key(check), _NOT_RUN)
            yield ProbeLine(
                service.name,
                str(server.endpoint),
                check.name,
                outcome.kind,
                outcome.reason,
                printable(outcome.detail),
                round(course.total_s, 6),
                course,
            )


def _show(found: list[ProbeLine], *, json: bool) -> None:
    console = Console()
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    elif console.is_terminal:
        console.print(_grid(found))
    else:
        typer.echo(rows([(*_cells(each), f"{each.latency_s * 1000:.1f}ms", each.detail) for each in found]), nl=False)


def _cells(line: ProbeLine) -> tuple[str, str, str, str]:
    return printable(line.service), line.server, line.check, str(line.status)


def _grid(found: list[ProbeLine]) -> Grid:
    table = Grid(box=None, pad_edge=False, header_style="bold")
    for heading in ("SERVICE", "REAL SERVER", "CHECK", "OUTCOME"):
        table.add_column(heading, overflow="fold")
    table.add_column("LATENCY", justify="right", no_wrap=True)
    table.add_column("DETAIL", overflow="fold")
    for each in found:
        service, server, check, status = _cells(each)
        table.add_row(
            Text(service),
            Text(server),
            Text(check),
            Text(status, style=_COLOURS[each.status]),
            f"{each.latency_s * 1000:.1f} ms",
            Text(each.detail),
        )
    return table
