"""Describes what a reload changed, for the events that report it."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Generic, Literal, TypeVar

import msgspec

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.model import Config, Mode, RealServer, Service
from lvs_healthd.events.kinds import ConfigReloaded, ConfigRemarks, ConfigRestartNeeded
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey
from lvs_healthd.plan.records import destination_key, service_key
from lvs_healthd.view.past import ReloadChange
from lvs_healthd.view.reload_values import Change

MOST_FINDINGS = 100
"""How many errors, remarks or changes of a configuration are listed at most. journald splits lines above 48 KiB."""

MOST_NAMED = 3
"""How many services an error names at most."""


def changes(file: str, old: Config, new: Config, *, was: Mode, mode: Mode) -> ConfigReloaded:
    """Count the differences between two configurations. The order of services and servers does not matter.

    A service that is the same object in both configurations is skipped, because it cannot differ.

    file: the configuration's path, for the event.
    was: the mode in force before.
    mode: the mode in force from now on.
    """
    return counted(Differences(old, new), file, was=was, mode=mode)


def counted(differences: "Differences", file: str, *, was: Mode, mode: Mode) -> ConfigReloaded:
    """Count the differences between two configurations. `file`, `was` and `mode` are those of `changes`."""
    services, servers, checks = differences.services, differences.servers, differences.checks
    return ConfigReloaded(
        file=file,
        mode=mode,
        was=was,
        services_added=len(services.added),
        services_removed=len(services.removed),
        services_changed=len(services.changed),
        servers_added=len(servers.added),
        servers_removed=len(servers.removed),
        servers_changed=len(servers.changed),
        checks_changed=len(checks.added) + len(checks.removed) + len(checks.changed),
        hooks_changed=len({each.name for each in differences.hooks}),
    )


def named_changes(old: Config, new: Config) -> tuple[Change, ...]:
    """Return the differences that `changes` counts, at most `MOST_FINDINGS` of them.

    Services come first, then servers, then checks. In each group the removed ones come first, because they matter most.
    """
    differences = Differences(old, new)
    return tuple(itertools.islice(differences.named(), MOST_FINDINGS))


def not_tried(old: Config, new: Config, *, takes_lock: bool) -> tuple[str, ...]:
    """Return the changed keys that a dry run cannot check, because only a real change would show whether they work.

    takes_lock: whether the daemon would begin to write to the table. For that it must be the only daemon.
    """
    keys = ("listen", "control", "state", "maintenance_dir")
    changed = [f"daemon.{key}" for key in keys if getattr(old.daemon, key) != getattr(new.daemon, key)]
    return (*(["daemon.mode"] if takes_lock else []), *changed)


def restart_needed(file: str, started: Config, new: Config) -> Iterator[ConfigRestartNeeded]:
    """Yield an event for each key whose new value needs a restart to take effect.

    file: the configuration's path, for the event.
    started: the configuration with which the daemon started.
    new: the configuration after the reload.
    """
    keys = {
        "probe_workers": (started.daemon.probe_workers, new.daemon.probe_workers),
        "max_exec": (started.daemon.max_exec, new.daemon.max_exec),
        "ipvs.netns": (started.ipvs.netns, new.ipvs.netns),
    }
    for key, (in_force, configured) in keys.items():
        if configured != in_force:
            yield ConfigRestartNeeded(file=file, key=key, configured=str(configured), in_force=str(in_force))


def no_services_left(file: str, present: Iterable[ServiceKey], if_meant: str) -> ConfigError:
    """Return the error for a configuration without services while the kernel's table contains services of ours.

    The error is there so that a file that was emptied by mistake does not empty the table.

    present: the services of ours in the kernel's table.
    if_meant: what to type if the file is meant to have no services.
    """
    named = [str(key) for key in sorted(present)]
    shown = ", ".join(named[:MOST_NAMED]) + (f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else "")
    what = f"no [[service]], and services of ours are in the kernel's table, which would be removed: {shown}"
    return ConfigError((f"{file}: {what}. If that is meant: {if_meant}",))


def remarks(file: str, config: Config) -> Iterator[ConfigRemarks]:
    """Yield the event for the remarks on a configuration, if it has any."""
    if config.remarks:
        yield ConfigRemarks(file=file, remarks=shortened(config.remarks, file))


def shortened(findings: tuple[str, ...], file: str) -> tuple[str, ...]:
    """Return the first `MOST_FINDINGS` findings. If there are more, a last entry tells how to see them."""
    if len(findings) <= MOST_FINDINGS:
        return findings
    return (*findings[:MOST_FINDINGS], f"and {len(findings) - MOST_FINDINGS} more: lvs-healthd validate {file}")


_Key = TypeVar("_Key")
_Server = tuple[ServiceKey, DestinationKey]
_Check = tuple[ServiceKey, DestinationKey, str]


class _Kind(Generic[_Key]):
    """What differs among services, among servers, or among checks."""

    def __init__(self, old: Mapping[_Key, object], new: Mapping[_Key, object]) -> None:
        self.added = [key for key in new if key not in old]
        self.removed = [key for key in old if key not in new]
        self.changed = [key for key, value in new.items() if key in old and old[key] != value]

    def listed(self) -> Iterator[tuple[Literal["removed", "changed", "added"], _Key]]:
        for key in self.removed:
            yield "removed", key
        for key in self.changed:
            yield "changed", key
        for key in self.added:
            yield "added", key


class Differences:
    """The differences between two configurations. A service that is the same object in both is skipped."""

    def __init__(self, old: Config, new: Config) -> None:
        same = {id(service) for service in old.services} & {id(service) for service in new.services}
        before = [service for service in old.services if id(service) not in same]
        after = [service for service in new.services if id(service) not in same]
        old_services, new_services = _services(before), _services(after)
        old_servers, new_servers = _servers(before), _servers(after)
        self._services, self._servers = (old_services, new_services), (old_servers, new_servers)
        self.services = _Kind(old_services, new_services)
        self.servers = _Kind(old_servers, new_servers)
        # When a server is added or removed, its checks are not counted as well.
        both = old_servers.keys() & new_servers.keys()
        self.checks = _Kind(_checks(before, both), _checks(after, both))
        self.hooks = {*old.hooks} ^ {*new.hooks}
        """The hooks that are only in one of the two."""
        self._names = {key: service.name for key, service in (old_services | new_services).items()}

    def of_servers(self) -> Iterator[ReloadChange]:
        """Yield what is different about each server, fallback servers too, and which services came or left."""
        for how, service in self.services.listed():
            if how != "changed":
                yield ReloadChange(service, None, how)
        before, after = self._servers
        for line in _spares(self._services[0]) - _spares(self._services[1]) - after.keys():
            yield ReloadChange(*line, "removed")
        for line in _spares(self._services[1]) - _spares(self._services[0]):
            yield ReloadChange(*line, "added")
        for how, line in self.servers.listed():
            yield ReloadChange(*line, how, _edited(before[line], after[line]) if how == "changed" else "")
        for how, (service, server, check) in self.checks.listed():
            yield ReloadChange(service, server, "changed", f"check {check} {how}")

    def named(self) -> Iterator[Change]:
        """Yield each difference: those of services, then of servers, then of checks."""
        for how, service in self.services.listed():
            yield Change(how=how, service=self._names[service])
        for how, (service, server) in self.servers.listed():
            yield Change(how=how, service=self._names[service], server=str(server))
        for how, (service, server, check) in self.checks.listed():
            yield Change(how=how, service=self._names[service], server=str(server), check=check)


def _edited(before: RealServer, after: RealServer) -> str:
    """Say which keys of a server are different, each with its old and new value. Both are without checks."""
    values = ((name, getattr(before, name), getattr(after, name)) for name in before.__struct_fields__)
    return ", ".join(f"{name} {old} -> {new}" for name, old, new in values if old != new)


def _spares(services: Mapping[ServiceKey, Service]) -> set[_Server]:
    """Return the keys of all fallback servers of these services."""
    return {(key, destination_key(spare)) for key, service in services.items() for spare in service.fallback}


def _services(services: Iterable[Service]) -> dict[ServiceKey, Service]:
    """Return each service by its key, without its real servers, and without what servers from its sources get."""
    return {
        service_key(service): msgspec.structs.replace(service, real_servers=(), pattern=None) for service in services
    }


def _servers(services: Iterable[Service]) -> dict[_Server, RealServer]:
    """Return each real server by its key, without its checks."""
    return {
        (service_key(service), destination_key(server)): msgspec.structs.replace(server, checks=())
        for service in services
        for server in service.real_servers
    }


def _checks(services: Iterable[Service], among: AbstractSet[_Server]) -> dict[_Check, AnyCheck]:
    """Return each check of these servers by its key."""
    return {
        (*key, check.name): check
        for service in services
        for server in service.real_servers
        if (key := (service_key(service), destination_key(server))) in among
        for check in server.checks
    }
