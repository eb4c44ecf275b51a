"""`lvs-healthd release`: ends a hold, so that the running daemon writes what is wanted."""

from typing import Annotated

import typer

from lvs_healthd.cli.asking import ConfigOption, ControlOption, RunningDaemon
from lvs_healthd.cli.hold import ServiceArgument, ask


def release(
    service: ServiceArgument = "",
    *,
    json: Annotated[bool, typer.Option("--json", help="Print the daemon's answer as JSON.")] = False,
    config: ConfigOption = None,
    control: ControlOption = None,
) -> None:
    """Make the running daemon write again: to one service, or to everything that is held.

    Exit status: 0 released, 1 nothing was held, or a restart would forget it, 4 no daemon was reached.
    """
    ask("release", RunningDaemon("release", config, control), {"service": service}, json=json)
