"""Keeps track of what we may change in the kernel's table.

That is every service that we made or took over, and our own servers in shared services, in which somebody else may also
have servers.
"""

from collections.abc import Collection

from lvs_healthd.ipvs.diff import line_of
from lvs_healthd.ipvs.records import DestinationKey, Operation, ServiceKey, Table, Verb, Wanted
from lvs_healthd.state.file import Ours, Saved, SharedService


class Ownership:
    """The services and servers that are ours. What is wanted becomes ours, and what is removed stops being ours."""

    def __init__(self) -> None:
        self.services: set[ServiceKey] = set()
        """The services that are ours: those from the saved state, and every one that was ever wanted.

        A service leaves the set when it is deleted or left to somebody else.
        """
        self.servers: dict[ServiceKey, set[DestinationKey]] = {}
        """Our servers in each shared service, where somebody else may also have some. Preset from the saved state."""

    def copy(self) -> "Ownership":
        """Return an ownership of the same services and servers that can be changed without any effect on this one."""
        other = Ownership()
        other.services = set(self.services)
        other.servers = {key: set(servers) for key, servers in self.servers.items()}
        return other

    def saved(self) -> Ours:
        """Return what is ours, for the state file."""
        shared = (SharedService(key, tuple(sorted(servers))) for key, servers in sorted(self.servers.items()))
        return Ours(frozenset(self.services), tuple(shared))

    def take_over(self, saved: Saved) -> None:
        """Take over what was ours before a restart."""
        self.services.update(saved.owned)
        self.servers.update({each.service: set(each.servers) for each in saved.shared})

    def want(self, wanted: Wanted, *, shadow: bool, shadowed: Collection[ServiceKey] = ()) -> None:
        """Note what is ours from now on. In shadow mode no service becomes ours.

        shadow: whether everything is in shadow mode.
        shadowed: the services that are by themselves.
        """
        if not shadow:
            self.services.update(key for key in wanted.table if key not in shadowed)
        for key in self.servers.keys() - wanted.shared.keys():
            # Of a shared service that is no longer wanted, only our servers are removed, so remember which are ours.
            if key in wanted.table or key not in self.services:
                del self.servers[key]
        for key, configured in wanted.shared.items():
            self.servers.setdefault(key, set()).update(configured)

    def wrote(self, operation: Operation, wanted: Wanted) -> None:
        """Give up a line that was deleted and is not configured. If somebody else adds it again, it is theirs."""
        key, server = line_of(operation)
        if operation.verb is Verb.DELETE_SERVICE and key not in wanted.table:
            self._forget(key)
        if operation.verb is Verb.DELETE_SERVER and server is not None and (key, server) not in wanted.why:
            self.servers.get(key, set()).discard(server)

    def give_up_gone(self, wanted: Wanted, actual: Table) -> None:
        """Give up unwanted services that are gone, or that contain only somebody else's servers."""
        for key in self.services - wanted.table.keys():
            if key not in actual or self._is_left(key, actual):
                self._forget(key)
        for key, configured in wanted.shared.items():
            # A server that left the configuration while it was not in the table is not ours if it appears again.
            present = actual[key].destinations if key in actual else {}
            self.servers[key] = {each for each in self.servers.get(key, ()) if each in configured or each in present}

    def _is_left(self, key: ServiceKey, actual: Table) -> bool:
        found = actual[key].destinations
        return bool(found) and key in self.servers and not any(server in found for server in self.servers[key])

    def _forget(self, key: ServiceKey) -> None:
        self.services.discard(key)
        self.servers.pop(key, None)
