"""Describes what a reload changed, for the events that report it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import msgspec

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.model import AnyCheck, Config, Mode, RealServer, Service
from lvs_healthd.events.kinds import ConfigReloaded, ConfigRemarks, ConfigRestartNeeded
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey
from lvs_healthd.plan.records import destination_key, service_key

MOST_FINDINGS = 100
"""How many errors or remarks of a configuration go into one log line. journald splits lines longer than 48 KiB."""

MOST_NAMED = 3
"""How many services an error names."""


def changes(file: str, old: Config, new: Config, *, was: Mode, mode: Mode) -> ConfigReloaded:
    """Count the differences between two configurations. The order of services and servers does not matter.

    A service that is the same object in both configurations is skipped, because it cannot differ.

    file: the configuration's path, for the event.
    was: the mode in force before.
    mode: the mode in force from now on.
    """
    same = {id(service) for service in old.services} & {id(service) for service in new.services}
    before = [service for service in old.services if id(service) not in same]
    after = [service for service in new.services if id(service) not in same]
    old_services, new_services = _services(before), _services(after)
    old_servers, new_servers = _servers(before), _servers(after)
    old_checks, new_checks = _checks(before), _checks(after)
    return ConfigReloaded(
        file=file,
        mode=mode,
        was=was,
        services_added=len(new_services.keys() - old_services.keys()),
        services_removed=len(old_services.keys() - new_services.keys()),
        services_changed=_changed(old_services, new_services),
        servers_added=len(new_servers.keys() - old_servers.keys()),
        servers_removed=len(old_servers.keys() - new_servers.keys()),
        servers_changed=_changed(old_servers, new_servers),
        checks_changed=sum(old_checks.get(key) != check for key, check in new_checks.items() if key[:2] in old_servers)
        + sum(key not in new_checks for key in old_checks if key[:2] in new_servers),
    )


def restart_needed(file: str, started: Config, new: Config) -> Iterator[ConfigRestartNeeded]:
    """Yield an event for each key whose new value needs a restart to take effect.

    file: the configuration's path, for the event.
    started: the configuration with which the daemon started.
    new: the configuration after the reload.
    """
    keys = {
        "probe_workers": (started.daemon.probe_workers, new.daemon.probe_workers),
        "ipvs.netns": (started.ipvs.netns, new.ipvs.netns),
    }
    for key, (in_force, configured) in keys.items():
        if configured != in_force:
            yield ConfigRestartNeeded(file=file, key=key, configured=str(configured), in_force=str(in_force))


def no_services_left(file: str, present: Iterable[ServiceKey]) -> ConfigError:
    """Return the error for a configuration without services while there are services of ours in the kernel's table.

    A file that was emptied by mistake must not empty the table.

    present: the services of ours in the kernel's table.
    """
    named = [str(key) for key in sorted(present)]
    shown = ", ".join(named[:MOST_NAMED]) + (f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else "")
    what = f"no [[service]], and services of ours are in the kernel's table, which would be removed: {shown}"
    return ConfigError((f"{file}: {what}. If that is meant: stop the daemon, then lvs-healthd flush",))


def remarks(file: str, config: Config) -> Iterator[ConfigRemarks]:
    """Yield the event for the remarks on a configuration, if it has any."""
    if config.remarks:
        yield ConfigRemarks(file=file, remarks=shortened(config.remarks, file))


def shortened(findings: tuple[str, ...], file: str) -> tuple[str, ...]:
    """Return as many findings as fit into a log line, and how to see the others."""
    if len(findings) <= MOST_FINDINGS:
        return findings
    return (*findings[:MOST_FINDINGS], f"and {len(findings) - MOST_FINDINGS} more: lvs-healthd validate {file}")


_Key = TypeVar("_Key")
_Server = tuple[ServiceKey, DestinationKey]


def _services(services: Iterable[Service]) -> dict[ServiceKey, Service]:
    """Return each service by its key, without its real servers."""
    return {service_key(service): msgspec.structs.replace(service, real_servers=()) for service in services}


def _servers(services: Iterable[Service]) -> dict[_Server, RealServer]:
    """Return each real server by its key, without its checks."""
    return {
        (service_key(service), destination_key(server)): msgspec.structs.replace(server, checks=())
        for service in services
        for server in service.real_servers
    }


def _checks(services: Iterable[Service]) -> dict[tuple[ServiceKey, DestinationKey, str], AnyCheck]:
    return {
        (service_key(service), destination_key(server), check.name): check
        for service in services
        for server in service.real_servers
        for check in server.checks
    }


def _changed(old: Mapping[_Key, object], new: Mapping[_Key, object]) -> int:
    return sum(key in old and old[key] != value for key, value in new.items())
