"""Describes what a reload changed, for the events that report it."""

from collections.abc import Iterable, Iterator

from lvs_healthd.config.model import Config, Service
from lvs_healthd.events.kinds import ConfigReloaded, ConfigRestartNeeded
from lvs_healthd.plan.records import destination_key, service_key


def changes(file: str, old: Config, new: Config) -> ConfigReloaded:
    """Count the differences between two configurations. The order of services and servers does not matter.

    A service that is the same object in both configurations is skipped, because it cannot differ.

    file: the configuration's path, for the event.
    old: the configuration before the reload.
    new: the configuration after the reload.
    """
    same = {id(service) for service in old.services} & {id(service) for service in new.services}
    before = [service for service in old.services if id(service) not in same]
    after = [service for service in new.services if id(service) not in same]
    old_services = {service_key(service) for service in before}
    new_services = {service_key(service) for service in after}
    old_checks, new_checks = _checks(before), _checks(after)
    old_servers = {key[:2] for key in old_checks}
    new_servers = {key[:2] for key in new_checks}
    return ConfigReloaded(
        file=file,
        services_added=len(new_services - old_services),
        services_removed=len(old_services - new_services),
        servers_added=len(new_servers - old_servers),
        servers_removed=len(old_servers - new_servers),
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


def _checks(services: Iterable[Service]) -> dict[tuple[object, object, str], object]:
    return {
        (service_key(service), destination_key(server), check.name): check
        for service in services
        for server in service.real_servers
        for check in server.checks
    }
