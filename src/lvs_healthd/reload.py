"""What a reload changed, for the one event that tells of it. Pure."""

from lvs_healthd.config.model import Config
from lvs_healthd.events import ConfigReloaded
from lvs_healthd.plan import destination_key, service_key


def changes(file: str, old: Config, new: Config) -> ConfigReloaded:
    """Count what differs between two configurations, by what things are and not by their place in the file."""
    old_services = {service_key(service) for service in old.services}
    new_services = {service_key(service) for service in new.services}
    old_checks, new_checks = _checks(old), _checks(new)
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


def _checks(config: Config) -> dict[tuple[object, object, str], object]:
    return {
        (service_key(service), destination_key(server), check.name): check
        for service in config.services
        for server in service.real_servers
        for check in server.checks
    }
