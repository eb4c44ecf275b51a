"""`lvs-healthd hold`: makes the running daemon write nothing to the table, or to one service, until it is released."""

from typing import Annotated
from urllib.parse import urlencode

import typer

from lvs_healthd.cli.asking import ConfigOption, ControlOption, RunningDaemon, decoded, end, explained
from lvs_healthd.view.hold_values import HoldOutcome

TIMEOUT_S = 30.0
"""How long to wait for the answer, seconds. The daemon writes the hold to its disk first."""

ServiceArgument = Annotated[
    str, typer.Argument(help="The service: its name, address or firewall mark.", metavar="[SERVICE]")
]


def hold(
    service: ServiceArgument = "",
    *,
    reason: Annotated[str, typer.Option(help="Why, for whoever meets it; at most 200 characters.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print the daemon's answer as JSON.")] = False,
    config: ConfigOption = None,
    control: ControlOption = None,
) -> None:
    """Make the running daemon write nothing to the whole table, or to one service, until it is released.

    The daemon goes on probing and deciding, and tells of drift. The hold survives restarts.

    Exit status: 0 it is held, 1 refused, or a restart would forget it, 4 no daemon was reached.
    """
    ask("hold", RunningDaemon("hold", config, control), {"service": service, "reason": reason}, json=json)


def ask(verb: str, daemon: RunningDaemon, query: dict[str, str], *, json: bool) -> None:
    """Ask the daemon to hold or to release, and show what is held now.

    verb: "hold" or "release".
    query: the request's parameters. Empty ones are left out.
    """
    given = urlencode({name: value for name, value in query.items() if value})
    with explained(verb):
        body = daemon.post(f"/api/v1/{verb}?{given}" if given else f"/api/v1/{verb}", timeout_s=TIMEOUT_S)
        outcome = decoded(body, HoldOutcome)
    if json:
        typer.echo(body.decode())
    else:
        typer.echo(f"held: {', '.join(name or 'the whole table' for name in outcome.held) or 'nothing'}")
    if outcome.not_kept:
        end(verb, f"this is in force, but a restart would forget it: {outcome.not_kept}")
