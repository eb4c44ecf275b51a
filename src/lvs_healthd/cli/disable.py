"""`lvs-healthd disable`: takes real servers out of the kernel's table at once."""

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
)
from lvs_healthd.view.override_values import OverrideRequest


def disable(
    service: ServiceArgument = "",
    servers: ServersArgument = None,
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
    """Take real servers out of the kernel's table at once, which cuts their connections off. `drain` is gentler.

    They stay out over reloads, restarts and crashes, until `enable` or the end of their time. While a server is
    disabled, failures of its checks alarm nobody.

    Exit status: 0 done, 1 refused, 2 wrong usage or no such server, 4 no daemon was reached.
    """
    request = OverrideRequest(
        verb="disable",
        service=service,
        servers=tuple(servers or ()),
        everywhere=everywhere,
        reason=reason,
        until=end_of("disable", for_, until),
        force=force,
        fleet=fleet,
    )
    give(RunningDaemon("disable", config, control), request, json=json)
