"""`lvs-healthd drain`: sends no new connections to real servers, and removes them when their connections are gone."""

import time
from typing import Annotated

import typer

from lvs_healthd.cli.asking import ConfigOption, ControlOption, RunningDaemon
from lvs_healthd.cli.ordering import (
    EverywhereOption,
    FleetOption,
    ForceOption,
    ForOption,
    JsonOption,
    ReasonOption,
    ServersArgument,
    ServiceArgument,
    UntilOption,
    end_of,
    give,
    seconds,
    wait_until_empty,
)
from lvs_healthd.view.override_values import OverrideRequest


def drain(
    service: ServiceArgument = "",
    servers: ServersArgument = None,
    *,
    everywhere: EverywhereOption = "",
    reason: ReasonOption = "",
    for_: ForOption = "",
    until: UntilOption = "",
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until no connections are left; show how many there are.")
    ] = False,
    deadline: Annotated[
        str,
        typer.Option(metavar="10m", help="Remove them after so long, with any connections.", show_default="never"),
    ] = "",
    force: ForceOption = False,
    fleet: FleetOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
    control: ControlOption = None,
) -> None:
    """Give real servers weight 0, so that their connections live on and no new ones come. Without any left, they leave.

    They stay drained over reloads, restarts and crashes, until `enable` or the end of their time. While a server is
    drained, failures of its checks alarm nobody.

    Exit status: 0 done, 1 refused, 2 wrong usage or no such server, 4 no daemon was reached.
    """
    ends = end_of("drain", for_, until)
    request = OverrideRequest(
        verb="drain",
        service=service,
        servers=tuple(servers or ()),
        everywhere=everywhere,
        reason=reason,
        until=ends,
        deadline=time.time() + seconds("drain", "--deadline", deadline) if deadline else None,
        force=force,
        fleet=fleet,
    )
    daemon = RunningDaemon("drain", config, control)
    outcome = give(daemon, request, json=json)
    if wait:
        wait_until_empty(daemon, outcome)
