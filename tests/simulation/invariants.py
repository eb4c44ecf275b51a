"""What must always be so, each as a function that returns what is wrong, or "".

The first part is about each write, just before it takes effect. The second part is about the table when everything has
had the time to settle.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from lvs_healthd.config.model import ForeignServers
from lvs_healthd.ipvs.records import (
    DestinationKey,
    Operation,
    ServiceEntry,
    ServiceKey,
    Table,
    Verb,
)
from tests.simulation.model import DOWN, LATE_S, UNKNOWN, UP, Due, Model, Server, Virtual


class Write(NamedTuple):
    """A write that is about to take effect, and what there is to know about it."""

    operation: Operation
    model: Model
    entry: ServiceEntry | None
    """The service as it is in the kernel's table now."""
    now: float
    """Monotonic time, seconds."""
    is_asked: bool
    """Whether a request of an operator is being carried out at this moment, so that the model does not know it yet."""
    is_disturbed: bool
    """Whether somebody else has edited the service since the daemon has read it."""
    strangers: frozenset[DestinationKey]
    """The servers in the service that somebody else has added."""

    @property
    def key(self) -> ServiceKey:
        return self.operation.service.key

    @property
    def place(self) -> Virtual | None:
        return self.model.services.get(self.key)

    @property
    def server(self) -> Server | None:
        """The configured server that is written; None if it is another server, or no server."""
        place, record = self.place, self.operation.destination
        return None if place is None or record is None else place.members.get(record.key)

    @property
    def weights(self) -> dict[DestinationKey, int]:
        """The weights of all servers of the service before the write."""
        return {} if self.entry is None else {each.key: each.weight for each in self.entry.destinations.values()}

    @property
    def after(self) -> dict[DestinationKey, int]:
        """The same after the write."""
        found, record = self.weights, self.operation.destination
        if self.operation.verb is Verb.DELETE_SERVICE:
            return {}
        if record is not None:
            if self.operation.verb is Verb.DELETE_SERVER:
                found.pop(record.key, None)
            else:
                found[record.key] = record.weight
        return found

    @property
    def takes_out(self) -> bool:
        """Whether it ends the new connections of a server."""
        record = self.operation.destination
        return record is not None and self.weights.get(record.key, 0) > 0 and not self.after.get(record.key, 0)

    @property
    def brings_in(self) -> bool:
        """Whether it gives a server new connections."""
        record = self.operation.destination
        return record is not None and not self.weights.get(record.key, 0) and self.after.get(record.key, 0) > 0

    def is_recent(self, server: Server) -> bool:
        """Whether something about a server has changed so lately that the daemon may not know it yet."""
        return self.now <= server.unsettled_until


def writes_only_to_what_is_ours(write: Write) -> str:
    """A service that was never configured to be written is left alone."""
    return "" if write.key in write.model.ours else "it was never configured"


def writes_nothing_that_is_held(write: Write) -> str:
    """What an operator holds is not written."""
    return "an operator holds it" if write.model.is_held(write.key) and not write.is_asked else ""


def writes_nothing_in_shadow_mode(write: Write) -> str:
    """A service in shadow mode is not written."""
    return "it is in shadow mode" if write.place is not None and write.place.is_shadow else ""


def leaves_strangers_alone(write: Write) -> str:
    """In a shared service, nobody else's servers are written."""
    place, record = write.place, write.operation.destination
    if place is None or record is None or place.config.foreign_servers is not ForeignServers.KEEP:
        return ""
    is_theirs = record.key in write.strangers and record.key not in place.members
    return "somebody else has added it, and may" if is_theirs else ""


def takes_nobody_out_without_a_reason(write: Write) -> str:
    """Who serves goes out for a proven failure, an order, or the configuration; never because a probe is unsure, and
    never so that fewer than `min_up` are left."""
    place, server, record = write.place, write.server, write.operation.destination
    if not write.takes_out or place is None or record is None or write.is_asked:
        return ""
    if server is not None:
        is_ordered = write.model.state_of(write.key, server.key) or not write.model.weight_of(write.key, server)
        if is_ordered or write.is_recent(server):
            return ""
    if _any_recent(write):
        is_own = server is not None and server.verdict == UP and not server.is_damped and not place.spares
        return "nothing has proven that it is down, and nobody has ordered that" if is_own else ""
    dues = _dues(write, place)
    if record.key not in place.members:
        if dues[0].waits and not place.fell_back and record.key not in write.strangers:
            return "it is to serve until the servers that take over are proven"
        return ""
    if not all(record.key in due.everybody for due in dues):
        return ""
    return "nothing has proven that it is down, and nobody has ordered that"


def brings_nobody_in_without_a_reason(write: Write) -> str:
    """A server comes in when it is proven, not ordered out, and has a weight; or when too few may serve, and it is what
    the service has for that."""
    place, record = write.place, write.operation.destination
    if not write.brings_in or place is None or record is None or write.is_asked or _any_recent(write):
        return ""
    dues = _dues(write, place)
    if any(record.key in due.everybody for due in dues):
        return ""
    if record.key not in place.members:
        # It was there when a reload dropped it, and serves until another is proven.
        return "" if dues[0].waits else "it is not configured"
    server = place.members[record.key]
    order = write.model.state_of(write.key, server.key)
    return f"its verdict is {server.verdict}, the order {order or 'none'}, damped {server.is_damped}"


def writes_the_weight_that_counts(write: Write) -> str:
    """A server that serves has the operator's weight, or else the configured one, or less while it comes slowly."""
    server, record, place = write.server, write.operation.destination, write.place
    if server is None or record is None or place is None or write.operation.verb is Verb.DELETE_SERVER:
        return ""
    if not record.weight or write.is_asked or write.is_recent(server):
        return ""
    ought = write.model.weight_of(write.key, server)
    comes_slowly = bool(place.config.slow_start) and record.key in place.servers and 1 <= record.weight <= ought
    return "" if record.weight == ought or comes_slowly else f"its weight is {ought}, not {record.weight}"


def never_empties_a_service(write: Write) -> str:
    """No write of ours leaves a service without anybody who gets new connections, if anybody may or a fallback is
    there."""
    place = write.place
    if place is None or not any(write.weights.values()) or any(write.after.values()) or write.is_disturbed:
        return ""
    if _any_recent(write) or write.is_asked:
        return ""
    due = write.model.due(place, has_left=False)
    if due.everybody:
        return f"it would leave nobody, and {', '.join(map(str, due.everybody))} may serve"
    record = write.operation.destination
    if due.waits and record is not None and record.key not in place.members and record.key not in write.strangers:
        return "it would leave nobody, while the servers that are to take over are not proven yet"
    return ""


def _dues(write: Write, place: Virtual) -> list[Due]:
    """Return who ought to serve: if that depends on servers that are not configured, both with and without them."""
    alone = write.model.dues(place, has_left=False)
    return [*alone, *write.model.dues(place, has_left=True)] if alone[0].waits else alone


def obeys_the_brake(write: Write) -> str:
    """While the brake holds a way, no server behind it goes out because of silence."""
    server, place = write.server, write.place
    if server is None or place is None or not write.takes_out or not server.braked or write.is_asked:
        return ""
    if server.verdict != DOWN or not server.is_silent or write.model.state_of(write.key, server.key):
        return ""
    is_excused = place.spares or not write.model.weight_of(write.key, server) or not place.config.brake
    return "" if is_excused else f"the brake holds {server.braked}"


def _any_recent(write: Write) -> bool:
    place = write.place
    return place is not None and any(write.is_recent(server) for server in place.members.values())


OF_WRITES: tuple[Callable[[Write], str], ...] = (
    writes_only_to_what_is_ours,
    writes_nothing_that_is_held,
    writes_nothing_in_shadow_mode,
    leaves_strangers_alone,
    takes_nobody_out_without_a_reason,
    brings_nobody_in_without_a_reason,
    writes_the_weight_that_counts,
    never_empties_a_service,
    obeys_the_brake,
)


class Settled(NamedTuple):
    """A service after everything has had the time to settle."""

    model: Model
    place: Virtual
    table: Table
    fought: frozenset[DestinationKey | None]
    """The lines that somebody else keeps undoing, and that are left alone for a while; None is the service itself."""
    now: float
    """Monotonic time, seconds."""


def is_as_it_ought_to_be(settled: Settled) -> Iterator[str]:
    """The table converges within one resync: those who may serve do, with their weights, and nobody else does."""
    model, place = settled.model, settled.place
    entry = settled.table.get(place.key)
    if entry is None:
        yield "it is not in the table"
        return
    found = {key: record.weight for key, record in entry.destinations.items()}
    leaving = {key for key in found if key not in place.members and found[key]}
    wrong = [list(_lines(settled, due, found, leaving)) for due in model.dues(place, has_left=bool(leaving))]
    yield from min(wrong, key=len)


def _lines(settled: Settled, due: Due, found: dict[DestinationKey, int], leaving: set[DestinationKey]) -> Iterator[str]:
    """Say what is wrong with the lines of the table if this is due.

    found: the weights in the table.
    leaving: the servers in it that are not configured.
    """
    kept = leaving if due.waits else set()
    for key in found.keys() | settled.place.members.keys():
        if key not in settled.fought and not (kept & settled.fought):
            yield from _line(settled, due, key, found.get(key), is_leaving=bool(kept))


def _line(settled: Settled, due: Due, key: DestinationKey, found: int | None, *, is_leaving: bool) -> Iterator[str]:
    """Say what is wrong with one line of the table.

    found: its weight; None if it is not there.
    is_leaving: whether servers that a reload has dropped serve.
    """
    place = settled.place
    if key not in place.members:
        if place.config.foreign_servers is not ForeignServers.KEEP and not is_leaving:
            yield f"{key} is in it, and is not configured"
        return
    server = place.members[key]
    ought = due.everybody.get(key)
    if ought is None:
        if found:
            yield f"{key} has weight {found}, and ought not to serve"
        elif key in place.servers and not found:
            yield from _at_rest(settled, server, found is not None, is_held_out=key in due.held_out)
        return
    is_slow = settled.now - server.came_at <= place.config.slow_start + LATE_S and key in place.servers
    if found != ought and not (is_slow and found and found <= ought):
        yield f"{key} has weight {found}, and ought to have {ought}"


def _ordered(settled: Settled, server: Server) -> str:
    return settled.model.state_of(settled.place.key, server.key)


def _at_rest(settled: Settled, server: Server, is_there: bool, *, is_held_out: bool) -> Iterator[str]:
    """Say what is wrong about a server that ought not to serve."""
    order, place = _ordered(settled, server), settled.place
    if order == "disable" and is_there:
        yield f"{server.key} is disabled, and still in the table"
    if is_held_out and not is_there and not server.is_damped:
        yield f"{server.key} waits for others, and is not in the table"
    if is_held_out or order or server.verdict == UNKNOWN or (server.verdict == UP and server.is_damped):
        return
    if not settled.model.weight_of(place.key, server):
        return  # it is there with those that serve although they are not up, and makes no difference
    is_down = server.verdict == DOWN
    if is_down and is_there is not place.quiesces:
        yield f"{server.key} is {'' if is_there else 'not '}in the table although it is down, and on_failure says else"
    if not is_down and not is_there:
        yield f"{server.key} has weight 0, and is not in the table"
