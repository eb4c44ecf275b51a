"""What of the kernel's table is ours to change: services we made or took over, and our servers in shared ones."""

from lvs_healthd.ipvs.diff import line_of
from lvs_healthd.ipvs.records import DestinationKey, Operation, ServiceKey, Table, Verb, Wanted
from lvs_healthd.state.file import Ours, Saved, SharedService


class Ownership:
    """Grows with what is wanted, and shrinks with what is taken out of the table."""

    def __init__(self) -> None:
        self.services: set[ServiceKey] = set()
        """Preset from saved state, and every service ever wanted until it is deleted or left to somebody else."""
        self.servers: dict[ServiceKey, set[DestinationKey]] = {}
        """Of services in which somebody else may have servers too: those that are ours. Preset likewise."""

    def saved(self) -> Ours:
        """Return it for the state file."""
        shared = (SharedService(key, tuple(sorted(servers))) for key, servers in sorted(self.servers.items()))
        return Ours(frozenset(self.services), tuple(shared))

    def take_over(self, saved: Saved) -> None:
        """Take as ours what was so before a restart."""
        self.services.update(saved.owned)
        self.servers.update({each.service: set(each.servers) for each in saved.shared})

    def want(self, wanted: Wanted, *, shadow: bool) -> None:
        """Note what is ours from now on. In shadow mode no service becomes so."""
        if not shadow:
            self.services.update(wanted.table)
        for key in self.servers.keys() - wanted.shared.keys():
            # Of a service of ours that is not wanted any more, only these are removed.
            if key in wanted.table or key not in self.services:
                del self.servers[key]
        for key, configured in wanted.shared.items():
            self.servers.setdefault(key, set()).update(configured)

    def wrote(self, operation: Operation, wanted: Wanted) -> None:
        """Give up what has been deleted and is not configured: should somebody else add its like, it is theirs."""
        key, server = line_of(operation)
        if operation.verb is Verb.DELETE_SERVICE and key not in wanted.table:
            self._forget(key)
        if operation.verb is Verb.DELETE_SERVER and server is not None and (key, server) not in wanted.why:
            self.servers.get(key, set()).discard(server)

    def give_up_gone(self, wanted: Wanted, actual: Table) -> None:
        """Give up what is not wanted and has gone, and services that have only servers of somebody else's left."""
        for key in self.services - wanted.table.keys():
            if key not in actual or self._is_left(key, actual):
                self._forget(key)
        for key, configured in wanted.shared.items():
            # One that left the configuration while it was out of the table is theirs, should it come again.
            present = actual[key].destinations if key in actual else {}
            self.servers[key] = {each for each in self.servers.get(key, ()) if each in configured or each in present}

    def _is_left(self, key: ServiceKey, actual: Table) -> bool:
        found = actual[key].destinations
        return bool(found) and key in self.servers and not any(server in found for server in self.servers[key])

    def _forget(self, key: ServiceKey) -> None:
        self.services.discard(key)
        self.servers.pop(key, None)
