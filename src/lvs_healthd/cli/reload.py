"""`lvs-healthd reload`: puts a changed configuration into force, and shows what changed or why it was rejected."""

import http
from typing import Annotated

import typer

from lvs_healthd.cli.asking import (
    ConfigOption,
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
    json: Annotated[bool, typer.Option("--json", help="Print the daemon's answer as JSON.")] = False,
    config: ConfigOption = None,
    control: ControlOption = None,
) -> None:
    """Make the running daemon read its configuration again, wait for it, and show what changed.

    Exit status: 0 the configuration is in force, 1 it was rejected and the old one stays in force, 4 no daemon was
    reached.
    """
    with explained("reload"):
        try:
            body = RunningDaemon("reload", config, control).post("/api/v1/reload", timeout_s=TIMEOUT_S)
        except RefusedError as error:
            if error.code != http.HTTPStatus.UNPROCESSABLE_ENTITY:
                raise
            body = error.body
        outcome = decoded(body, ReloadOutcome)
    if json:
        typer.echo(body.decode())
    if outcome.errors:
        if not json:
            typer.echo("\n".join(outcome.errors), err=True)
        end("reload", f"{outcome.file} is rejected, and the old configuration stays in force")
    if not json:
        typer.echo(f"{outcome.file}: {_changes(outcome)}")
        for each in outcome.restart_needed:
            typer.echo(f"{each.key}: {each.configured} needs a restart; {each.in_force} stays in force until then")


def _changes(outcome: ReloadOutcome) -> str:
    counts = [(getattr(outcome, field), what, how) for field, what, how in _COUNTS]
    told = [f"mode {outcome.mode} (before: {outcome.was})"] if outcome.mode != outcome.was else []
    told += [f"{count} {what}{'' if count == 1 else 's'} {how}" for count, what, how in counts if count]
    return ", ".join(told) or "no service, real server or check changed"
