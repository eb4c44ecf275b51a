"""Refuses a configuration that would take out too many of the servers that serve now, unless that is meant.

A file that lost half of its servers by mistake (a template, a merge, the file of another director) must not take them
out of the kernel's table. The check is the same for a reload and for a start on the state of an earlier run.
"""

from collections.abc import Collection, Iterator, Mapping

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.model import Config
from lvs_healthd.daemon.changes import MOST_NAMED, no_services_left
from lvs_healthd.ipvs.records import DestinationKey, ServiceEntry, ServiceKey, Table
from lvs_healthd.plan.records import destination_key, service_key
from lvs_healthd.runtime.pace import paced

LEAST_SERVING = 10
"""With fewer serving servers than this, only a file without services is refused. One of three may well be half."""


async def refuse_loss(
    file: str,
    config: Config,
    present: Table,
    shared: Mapping[ServiceKey, Collection[DestinationKey]],
    if_meant: str,
    *,
    unchanged: Collection[ServiceKey] = (),
) -> None:
    """Raise `ConfigError` if a configuration would empty the table of what is ours, or take out too much of it.

    file: the configuration's path, for the error.
    present: the services of ours that are in the kernel's table.
    shared: our servers in each service in which somebody else may also have some.
    if_meant: what to type if it is meant.
    unchanged: services that are configured as before, so that nothing of them is taken out.
    """
    if not config.services and present:
        raise no_services_left(file, present, if_meant)
    kept = await _configured(config, unchanged)
    lost: list[tuple[ServiceKey, DestinationKey]] = []
    async for key in paced([each for each in present if each not in unchanged]):
        serving_now = _serving(present[key], shared.get(key))
        lost += [(key, server) for server in serving_now if server not in kept.get(key, ())]
    if not lost:
        return
    serving = 0
    async for key, entry in paced(present.items()):
        serving += sum(1 for _ in _serving(entry, shared.get(key)))
    if serving < LEAST_SERVING or 100 * len(lost) <= config.daemon.reload_guard * serving:
        return
    named = [f"{server} of {service}" for service, server in lost[:MOST_NAMED]]
    more = f" and {len(lost) - MOST_NAMED} more" if len(lost) > MOST_NAMED else ""
    what = (
        f"{len(lost)} of the {serving} servers that serve now would be taken out, more than the "
        f"{config.daemon.reload_guard}% of [daemon] reload_guard: {', '.join(named)}{more}"
    )
    raise ConfigError((f"{file}: {what}. If that is meant: {if_meant}",))


def _serving(entry: ServiceEntry, ours: Collection[DestinationKey] | None) -> Iterator[DestinationKey]:
    """Yield our servers of a service that get new connections now.

    ours: all that are ours; None if nobody else has any.
    """
    for server, record in entry.destinations.items():
        if record.weight > 0 and (ours is None or server in ours):
            yield server


async def _configured(config: Config, unchanged: Collection[ServiceKey]) -> dict[ServiceKey, set[DestinationKey]]:
    """Return the servers that a configuration can keep in service: not those whose weight is 0."""
    found = {}
    async for service in paced(config.services):
        key = service_key(service)
        if key not in unchanged:
            found[key] = {destination_key(server) for server in service.servers if server.weight > 0}
    return found
