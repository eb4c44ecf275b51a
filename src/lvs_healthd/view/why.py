"""Explains one real server: its verdict, its line in the table, and what its checks found lately."""

from collections.abc import Iterable, Iterator

from lvs_healthd.config.basics import Endpoint
from lvs_healthd.decide.held import ServerState, ServiceState, Watch
from lvs_healthd.ipvs.records import Table, Wanted
from lvs_healthd.probes.outcome import Course, OutcomeKind
from lvs_healthd.state.history import Happened
from lvs_healthd.view.layers import Around, layers, ways_to
from lvs_healthd.view.naming import spellings
from lvs_healthd.view.past import Past
from lvs_healthd.view.reasons import reason_of
from lvs_healthd.view.status import ordered, weight_in
from lvs_healthd.view.why_values import CheckWhy, CourseValues, Layers, PastWhy, ServerWhy, StreakValues


def explained_servers(service: ServiceState, which: str, around: Around, past: Past) -> Iterator[ServerWhy]:
    """Explain the servers of a service that have an address, the fallback servers too.

    which: the address, with or without a port, in the daemon's spelling.
    past: what has happened to each server.
    """
    reconciler = around.reconciler
    for server in service.members:
        if which in spellings(str(server.key)):
            yield explained(
                server,
                reconciler.wanted,
                reconciler.actual,
                around.shift_s,
                through=layers(server, around),
                history=past.of(service.key, server.key, ways_to(server, around.ways)),
            )


def explained(
    server: ServerState,
    wanted: Wanted | None,
    actual: Table,
    shift_s: float,
    *,
    through: Layers | None = None,
    history: Iterable[Happened] = (),
) -> ServerWhy:
    """Explain one real server.

    actual: the kernel's table, as last read or written.
    shift_s: what to add to the monotonic clock to get Unix time, seconds.
    through: what lies between its verdict and its line in the kernel.
    history: what has happened to it.
    """
    key, health = server.service.key, server.health
    reason = reason_of(server)
    is_checked = bool(server.watches)
    line = wanted.why.get((key, server.key)) if wanted is not None else None
    return ServerWhy(
        service=server.service.config.name,
        server=str(server.key),
        verdict=health.verdict if is_checked else "unchecked",
        reason=reason if is_checked or server.hand is not None or through is None else through.plan.reason,
        since=health.since + shift_s if is_checked else None,
        override=ordered(server),
        weight_configured=server.config.weight,
        weight_wanted=weight_in(wanted.table.get(key), server.key) if wanted is not None else None,
        weight_actual=weight_in(actual.get(key), server.key),
        table_reason="" if line is None or line.reason in (reason, health.detail) else line.reason,
        checks=tuple([_check(watch, shift_s) for watch in server.watches]),
        is_fallback=server.is_spare,
        layers=through,
        history=_past(history),
    )


def _past(history: Iterable[Happened]) -> tuple[PastWhy, ...]:
    return tuple([PastWhy(at=each.at, event=each.event, text=each.text) for each in history])


def _check(watch: Watch, shift_s: float) -> CheckWhy:
    check, probe, health = watch.check, watch.probe, watch.health
    is_failing = probe.last is not None and probe.last.kind is not OutcomeKind.UP
    failed = probe.course if is_failing else probe.failed
    return CheckWhy(
        name=check.name,
        type=watch.type,
        target=Endpoint(check.address, check.port).shown,
        verdict=health.verdict,
        since=health.since + shift_s,
        passes=health.passes,
        failures=health.failures,
        rise=check.rise,
        fall=check.fall,
        interval_s=check.interval,
        pace_s=probe.pace_s,
        timeout_s=check.timeout,
        last_probe=None if probe.last_at is None else probe.last_at + shift_s,
        course=_course(probe.course),
        last_failed=_course(failed),
        streaks=tuple(
            [
                StreakValues(
                    outcome=each.outcome.kind,
                    reason=each.outcome.reason,
                    detail=each.outcome.detail,
                    began=each.began + shift_s,
                    ended=each.ended + shift_s,
                    times=each.times,
                )
                for each in probe.streaks()
            ]
        ),
    )


def _course(course: Course | None) -> CourseValues | None:
    if course is None:
        return None
    return CourseValues(
        total_s=course.total_s,
        connected_s=course.connected_s,
        secured_s=course.secured_s,
        answered_s=course.answered_s,
        heard=course.heard,
    )
