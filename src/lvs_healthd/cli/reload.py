"""`lvs-healthd reload`: puts a changed configuration into force, and shows what changed or why it was rejected."""

import http
from collections.abc import Iterator
from typing import Annotated

import typer

from lvs_healthd.cli.asking import (
    ConfigOption,
    ControlError,
    ControlOption,
    RefusedError,
    RunningDaemon,
    decoded,
    end,
    explained,
)
from lvs_healthd.view.reload_values import ReloadOutcome

TIMEOUT_S = 120.0
"""How long to wait for the reload, seconds. Half a million real servers take a while to read."""

_COUNTS = (
    ("services_added", "service", "added"),
    ("services_removed", "service", "removed"),
    ("services_changed", "service", "changed"),
    ("servers_added", "real server", "added"),
    ("servers_removed", "real server", "removed"),
    ("servers_changed", "real server", "changed"),
    ("checks_changed", "check", "changed"),
)


def reload(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what would change, also in the table, or be rejected.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Accept a file that takes out too many serving servers, or all."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the daemon's answer as JSON.")] = False,
    config: ConfigOption = None,
    control: ControlOption = None,
) -> None:
    """Make the running daemon reload its configuration, wait until it has, and show what changed.

    Exit status: 0 the configuration is in force (with --dry-run: would be), 1 it was rejected and the old one stays in
    force, 4 no daemon was reached.
    """
    with explained("reload"):
        body = _answer(RunningDaemon("reload", config, control), dry_run=dry_run, force=force)
        outcome = decoded(body, ReloadOutcome)
    if json:
        typer.echo(body.decode())
    if outcome.errors:
        if not json:
            typer.echo("\n".join(outcome.errors), err=True)
        rejected = "would be rejected" if dry_run else "is rejected, and the old configuration stays in force"
        end("reload", f"{outcome.file} {rejected}")
    if not json:
        typer.echo("\n".join(_lines(outcome)))


def _answer(daemon: RunningDaemon, *, dry_run: bool, force: bool) -> bytes:
    """Return the daemon's answer, whether it accepts the file or rejects it. Raises `ControlError`."""
    path = "/api/v1/reload/dry-run" if dry_run else "/api/v1/reload"
    try:
        return daemon.post(f"{path}?force=true" if force else path, timeout_s=TIMEOUT_S)
    except RefusedError as error:
        if error.code == http.HTTPStatus.UNPROCESSABLE_ENTITY:
            return error.body
        if dry_run and error.code == http.HTTPStatus.NOT_FOUND:
            raise ControlError("this daemon is older and knows no --dry-run; nothing was changed") from error
        raise


def _lines(outcome: ReloadOutcome) -> Iterator[str]:
    would = "would change: " if outcome.dry_run else ""
    yield f"{outcome.file}: {would}{_changes(outcome)}"
    for change in outcome.would_change:
        server = f" real server {change.server}" if change.server else ""
        check = f' check "{change.check}"' if change.check else ""
        yield f'service "{change.service}":{server}{check} {change.how}'
    if outcome.dry_run and (unnamed := _count(outcome) - len(outcome.would_change)) > 0:
        yield f"and {unnamed} more"
    yield from _table_lines(outcome) if outcome.dry_run else ()
    yield from _address_lines(outcome)
    for each in outcome.restart_needed:
        yield f"{each.key}: {each.configured} needs a restart; {each.in_force} stays in force until then"
    for key in outcome.not_tried:
        yield f"{key} changes: only the reload shows what comes of it"


def _table_lines(outcome: ReloadOutcome) -> Iterator[str]:
    for line in outcome.table:
        server = f" {line.server} of" if line.server else ""
        reason = f" ({line.reason})" if line.reason else ""
        when = f", but only {line.when}" if line.when else ""
        yield f'table: {line.operation}{server} "{line.service}": {line.fields}{reason}{when}'
    if (unnamed := outcome.table_count - len(outcome.table)) > 0:
        yield f"table: and {unnamed} more"
    if not outcome.table_count:
        yield "table: no line would change"


def _address_lines(outcome: ReloadOutcome) -> Iterator[str]:
    for each in outcome.addresses:
        when = f", but only {each.when}" if each.when else ""
        yield f"address: {' '.join(filter(None, (each.address, each.change)))}{when}"
    if (unnamed := outcome.addresses_count - len(outcome.addresses)) > 0:
        yield f"address: and {unnamed} more"


def _count(outcome: ReloadOutcome) -> int:
    return sum(getattr(outcome, field) for field, _, _ in _COUNTS)


def _changes(outcome: ReloadOutcome) -> str:
    counts = [(getattr(outcome, field), what, how) for field, what, how in _COUNTS]
    told = [f"mode {outcome.mode} (before: {outcome.was})"] if outcome.mode != outcome.was else []
    counts.append((outcome.hooks_changed, "hook", "changed"))
    told += [f"{count} {what}{'' if count == 1 else 's'} {how}" for count, what, how in counts if count]
    return ", ".join(told) or "no service, real server, check or hook" + ("" if outcome.dry_run else " changed")
