"""Refuses a configuration that would take out too many of the servers that serve now, unless that is meant.

A file that lost half of its servers by mistake (a template, a merge, the file of another director) must not take them
out of the kernel's table. The check is the same for a reload and for a start on the state of an earlier run.
"""

from collections.abc import Collection, Iterator, Mapping

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.model import Config
from lvs_healthd.daemon.changes import MOST_NAMED, no_services_left
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey, Table
from lvs_healthd.plan.records import destination_key, service_key

LEAST_SERVING = 10
"""With fewer serving servers than this, only a file without services is refused. One of three may well be half."""


def refuse_loss(
    file: str,
    config: Config,
    present: Table,
    shared: Mapping[ServiceKey, Collection[DestinationKey]],
    if_meant: str,
) -> None:
    """Raise `ConfigError` if a configuration would empty the table of what is ours, or take out too much of it.

    file: the configuration's path, for the error.
    present: the services of ours that are in the kernel's table.
    shared: our servers in each service in which somebody else may also have some.
    if_meant: what to type if it is meant.
    """
    if not config.services and present:
        raise no_services_left(file, present, if_meant)
    serving = [*_serving(present, shared)]
    kept = {*_configured(config)}
    lost = [line for line in serving if line not in kept]
    if len(serving) < LEAST_SERVING or 100 * len(lost) <= config.daemon.reload_guard * len(serving):
        return
    named = [f"{server} of {service}" for service, server in lost]
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    what = (
        f"{len(lost)} of the {len(serving)} servers that serve now would be taken out, more than the "
        f"{config.daemon.reload_guard}% of [daemon] reload_guard: {', '.join(named[:MOST_NAMED])}{more}"
    )
    raise ConfigError((f"{file}: {what}. If that is meant: {if_meant}",))


def _serving(
    present: Table, shared: Mapping[ServiceKey, Collection[DestinationKey]]
) -> Iterator[tuple[ServiceKey, DestinationKey]]:
    """Yield the lines of our servers that get new connections now."""
    for key, entry in present.items():
        for server, record in entry.destinations.items():
            if record.weight > 0 and (key not in shared or server in shared[key]):
                yield key, server


def _configured(config: Config) -> Iterator[tuple[ServiceKey, DestinationKey]]:
    """Yield the lines that a configuration can keep in service: not those of servers whose weight is 0."""
    for service in config.services:
        key = service_key(service)
        for server in service.servers:
            if server.weight > 0:
                yield key, destination_key(server)
