"""Decides which health a check begins with, at start and on a reload."""

from collections.abc import Mapping

import msgspec

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.config.model import Below, RealServer, Service
from lvs_healthd.decide.held import ServerState, Watch
from lvs_healthd.health.damping import Flaps, Rate
from lvs_healthd.health.machine import Health, Verdict
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey, Table
from lvs_healthd.plan.records import destination_key
from lvs_healthd.probes.outcome import Outcome
from lvs_healthd.state.file import SavedFlaps, SavedVerdict


def is_serving(config: RealServer, service: ServiceKey, server: DestinationKey, actual: Table) -> bool:
    """Return whether the kernel sends this server connections, or would if its configured weight were not 0."""
    entry = actual.get(service)
    record = entry.destinations.get(server) if entry is not None else None
    return record is not None and (record.weight > 0 or config.weight == 0)


def failed_open(
    service: Service, key: ServiceKey, actual: Table, saved: Mapping[tuple[str, str, str], SavedVerdict]
) -> bool:
    """Return whether a service failed open before a restart.

    Then fewer of its servers were up than `min_up`, and the kernel's table has all of them all the same.

    key: the service's key.
    saved: the verdicts in the state file, by service, server and check name.
    """
    if service.below is not Below.FAIL_OPEN or not saved:
        return False
    up: list[int] = []
    servers = [server for server in service.real_servers if server.weight]
    for server in servers:
        server_key = destination_key(server)
        if not is_serving(server, key, server_key, actual):
            return False
        memories = (saved.get((str(key), str(server_key), check.name)) for check in server.checks)
        if all(memory is None or memory.verdict != Verdict.DOWN for memory in memories):
            up.append(server.weight)
    min_up, able = service.min_up, sum(up) if service.min_up.weight else len(up)
    return able < max(1, min_up.needed(server.weight for server in servers) - min_up.hysteresis)


def first_health(
    memory: SavedVerdict | None, known: Health | None, *, present: bool, now: float, shift_s: float
) -> Health:
    """Return the health that a check of a new server begins with.

    1. If the server serves in the kernel's table, the check begins up. But if the service failed open, a server serves
       in any case, and this rule does not count for a check whose saved verdict is down.
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
    - An edited check (same name) keeps its verdict until its own outcomes change it. If it probes the same target in
      the same way, the failures or passes so far count, but they need one more. So a server that dies is found out even
      while its check is edited all the time.
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
            return _continued(check, watch.check, watch.health)
    if old.health.verdict is Verdict.UP:
        return Health(Verdict.UP, now)
    return known or Health(Verdict.UNKNOWN, now)


def _continued(check: AnyCheck, before: AnyCheck, health: Health) -> Health:
    """Return the health of an edited check, which was `before`."""
    plain = Health(health.verdict, health.since, health.reason, health.detail)
    if type(check) is not type(before) or (check.address, check.port) != (before.address, before.port):
        return plain
    if health.verdict is Verdict.DOWN:
        return msgspec.structs.replace(plain, passes=min(health.passes, check.rise - 1))
    return msgspec.structs.replace(
        plain,
        passes=min(health.passes, check.rise - 1) if health.verdict is Verdict.UNKNOWN else 0,
        failures=min(health.failures, check.fall - 1),
        first_failure=health.first_failure,
    )


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
