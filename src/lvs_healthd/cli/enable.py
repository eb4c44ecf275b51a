"""`lvs-healthd enable`: ends what `drain` and `disable` have ordered."""

from lvs_healthd.cli.asking import ConfigOption, ControlOption, RunningDaemon
from lvs_healthd.cli.ordering import EverywhereOption, FleetOption, JsonOption, ServersArgument, ServiceArgument, give
from lvs_healthd.view.override_values import OverrideRequest


def enable(
    service: ServiceArgument = "",
    servers: ServersArgument = None,
    *,
    everywhere: EverywhereOption = "",
    fleet: FleetOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
    control: ControlOption = None,
) -> None:
    """End `drain` and `disable`: from now on the checks alone decide whether the real servers serve.

    Exit status: 0 done, 1 refused, 2 wrong usage or no such server, 4 no daemon was reached.
    """
    request = OverrideRequest(
        verb="enable", service=service, servers=tuple(servers or ()), everywhere=everywhere, fleet=fleet
    )
    give(RunningDaemon("enable", config, control), request, json=json)
