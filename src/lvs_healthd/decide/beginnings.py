"""Decides which health a check begins with, at start and on a reload."""

from collections.abc import Iterable

from lvs_healthd.config.check_model import AgentCheck, AnyCheck
from lvs_healthd.config.model import RealServer
from lvs_healthd.decide.held import ServerState, Watch
from lvs_healthd.health.damping import Flaps, Rate
from lvs_healthd.health.machine import Health, Verdict
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey, Table
from lvs_healthd.probes.outcome import Outcome
from lvs_healthd.state.file import SavedFlaps, SavedVerdict


def is_serving(config: RealServer, service: ServiceKey, server: DestinationKey, actual: Table) -> bool:
    """Return whether the kernel sends this server connections, or would if its configured weight were not 0."""
    entry = actual.get(service)
    record = entry.destinations.get(server) if entry is not None else None
    return record is not None and (record.weight > 0 or config.weight == 0)


def first_health(
    memory: SavedVerdict | None, known: Health | None, *, present: bool, now: float, shift_s: float
) -> Health:
    """Return the health that a check of a new server begins with.

    1. If the server serves in the kernel's table, the check begins up.
    2. Otherwise, if the check's probe already runs for other checks, its streak decides (`known`).
    3. Otherwise the check begins down, with the saved detail, if its saved verdict is down.
    4. Otherwise it begins with the verdict unknown.

    The time of the last change is the saved one if the check begins with its saved verdict (but not in case 2).

    memory: the check's verdict in the state file; None if it has none.
    known: the health that follows from the streak of the check's probe, if the probe already runs for other checks;
        otherwise None.
    present: whether the server serves in the kernel's table.
    now: monotonic time, seconds.
    shift_s: Unix time minus monotonic time, seconds.
    """
    since = now if memory is None else min(now, memory.since - shift_s)
    if present:
        same = memory is not None and memory.verdict == Verdict.UP
        return Health(Verdict.UP, since if same else now)
    if known is not None:
        return known
    if memory is not None and memory.verdict == Verdict.DOWN:
        return Health(Verdict.DOWN, since, detail=memory.detail)
    return Health(Verdict.UNKNOWN, now)


def carried_over(check: AnyCheck, old: ServerState, known: Health | None, now: float) -> Health:
    """Return the health that a check of a known server begins with after a reload.

    - An unchanged check keeps its health.
    - An edited check (same name) keeps its verdict until its own outcomes change it.
    - A new check begins up if the server is up, so that adding it interrupts no service.
    - Otherwise it begins with `known`, or with the verdict unknown.

    known: the health that follows from the streak of the check's probe, if the probe already runs for other checks;
        otherwise None.
    now: monotonic time, seconds.
    """
    for watch in old.watches:
        if watch.check.name == check.name:
            if watch.check == check:
                return watch.health
            return Health(watch.health.verdict, watch.health.since, watch.health.reason, watch.health.detail)
    if old.health.verdict is Verdict.UP:
        return Health(Verdict.UP, now)
    return known or Health(Verdict.UNKNOWN, now)


def silent_agent(health: Health, check: AnyCheck, checks: Iterable[AnyCheck]) -> Health:
    """Return the health with which a check begins, given the health of any other check in its place.

    An agent that has said nothing yet says nothing against its server, as long as another check proves the server.

    checks: all checks of the server.
    """
    if health.verdict is not Verdict.UNKNOWN or not isinstance(check, AgentCheck):
        return health
    is_proven_otherwise = any(not isinstance(each, AgentCheck) for each in checks)
    return Health(Verdict.UP, health.since) if is_proven_otherwise else health


def remarked(check: AnyCheck, old: ServerState) -> tuple[float, ...]:
    """Return the ends of certificates that a check of a known server has remarked on before a reload, Unix time."""
    return next((watch.remarked for watch in old.watches if watch.check.name == check.name), ())


def rate_before(check: AnyCheck, old: ServerState) -> Rate | None:
    """Return how many probes of a check of a known server failed before a reload."""
    return next((watch.rate for watch in old.watches if watch.check.name == check.name), None)


def presumed(watch: Watch, outcome: Outcome, now: float) -> Health:
    """Return the health of an unproven path check whose probe is unsure.

    If all plain checks of the server are up, the check counts as up, as a new check of such a server would. The
    director cannot probe the way to the server, but clients' packets may well take it. A later failure counts as usual.

    now: monotonic time, seconds.
    """
    plain = [each.health.verdict for each in watch.server.watches if not each.probe.is_path]
    if not plain or any(verdict is not Verdict.UP for verdict in plain):
        return watch.health
    return Health(Verdict.UP, now, detail=f"presumed up: {outcome.detail}")


def to_saved(flaps: Flaps, shift_s: float) -> SavedFlaps:
    """Return what is remembered of a server's falls, for the state file.

    shift_s: Unix time minus monotonic time, seconds.
    """
    return SavedFlaps(
        falls=tuple(at + shift_s for at in flaps.falls),
        since=None if flaps.since is None else flaps.since + shift_s,
        last=flaps.last + shift_s,
        holds=flaps.holds,
        until=None if flaps.until is None else flaps.until + shift_s,
    )


def from_saved(saved: SavedFlaps, shift_s: float) -> Flaps:
    """Return what the state file says of a server's falls.

    shift_s: Unix time minus monotonic time, seconds.
    """
    return Flaps(
        falls=tuple(at - shift_s for at in saved.falls),
        since=None if saved.since is None else saved.since - shift_s,
        last=saved.last - shift_s,
        holds=saved.holds,
        until=None if saved.until is None else saved.until - shift_s,
    )
