"""`lvs-healthd weight`: gives real servers another weight than the configured one."""

from typing import Annotated

import typer

from lvs_healthd.cli.asking import ConfigOption, ControlOption, RunningDaemon, end
from lvs_healthd.cli.exit_status import ExitStatus
from lvs_healthd.cli.ordering import (
    EverywhereOption,
    FleetOption,
    ForceOption,
    ForOption,
    JsonOption,
    ReasonOption,
    UntilOption,
    end_of,
    give,
)
from lvs_healthd.view.override_values import OverrideRequest

AUTO = "auto"


def weight(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[SERVICE [SERVER]...] WEIGHT", help='The service, its real servers, and the weight, or "auto".'
        ),
    ],
    *,
    everywhere: EverywhereOption = "",
    reason: ReasonOption = "",
    for_: ForOption = "",
    until: UntilOption = "",
    force: ForceOption = False,
    fleet: FleetOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
    control: ControlOption = None,
) -> None:
    """Give real servers another weight than the configured one; "auto" gives the configured one back.

    The weight stays over reloads, restarts and crashes. A share for which a server's agent asks is taken of it.

    Exit status: 0 done, 1 refused, 2 wrong usage or no such server, 4 no daemon was reached.
    """
    *names, wanted = words
    if wanted != AUTO and not wanted.isdecimal():
        end("weight", f'the last word is the weight, a number or "{AUTO}", not "{wanted}"', ExitStatus.USAGE)
    service, *servers = names or ("",)
    request = OverrideRequest(
        verb="weight",
        service=service,
        servers=tuple(servers),
        everywhere=everywhere,
        weight=None if wanted == AUTO else int(wanted),
        reason=reason,
        until=end_of("weight", for_, until),
        force=force,
        fleet=fleet,
    )
    give(RunningDaemon("weight", config, control), request, json=json)
