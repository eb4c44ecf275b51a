"""Makes the events about checks and verdicts, and decides which failures are worth one."""

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.decide.held import ServerState, Watch
from lvs_healthd.events.kinds import (
    CheckFailing,
    CheckUnsure,
    FallbackDown,
    FallbackUp,
    RealServerDown,
    RealServerDownAnyway,
    RealServerUp,
    RealServerWeight,
)
from lvs_healthd.health.machine import DOWN, UP, Health
from lvs_healthd.plan.precedence import Special
from lvs_healthd.probes.outcome import Outcome

_CHECK_REMOVED = "the check that decided was removed from the configuration"


def is_news(before: Health, after: Health) -> bool:
    """Return whether a check's failure is worth an event: it is the first of a streak, or its reason is a new one.

    If the check was down already (perhaps since before a restart), only a new reason is worth an event.

    before, after: the check's health before and after the outcome.
    """
    if not after.failures:
        return False
    first = before.failures == 0 and before.verdict is not DOWN
    return first or (before.reason is not None and before.reason is not after.reason)


def failing(watch: Watch, health: Health) -> CheckFailing:
    """Return the event for a failure of a check. `health` is the check's health from now on."""
    server = watch.server
    return CheckFailing(
        service=server.service.config.name,
        server=str(server.key),
        check=watch.check.name,
        reason=health.detail,
        failures=health.failures,
        fall=watch.check.fall,
        verdict=health.verdict,
    )


def not_sure(watch: Watch, outcome: Outcome) -> CheckUnsure:
    """Return the event for an unsure outcome of a check."""
    return CheckUnsure(**_names(watch), reason=outcome.detail)


def weight_changed(watch: Watch, was: Special | None, outcome: Outcome) -> RealServerWeight:
    """Return the event for a server's new weight.

    watch: the check that asks for it. Its server has the new weight already.
    was: what set the server apart before.
    outcome: what the check found.
    """
    configured, now = watch.server.config.weight, watch.server.special
    return RealServerWeight(
        **_names(watch),
        reason=outcome.detail,
        weight=now.weight if now is not None else configured,
        was=was.weight if was is not None else configured,
        configured=configured,
    )


def verdict_changed(
    server: ServerState, was: Health, by: Health, check: AnyCheck | None, now: float
) -> RealServerUp | RealServerDown | FallbackUp | FallbackDown | None:
    """Return the event for a server's new verdict; None when the new verdict is neither up nor down.

    server: the server, with its health from now on.
    was: the server's health before.
    by: the health of the check that changed the verdict.
    check: the check that changed the verdict; None when the verdict changed because a check was removed.
    now: monotonic time, seconds.
    """
    # Thousands of verdicts may change at once, so nothing is gathered in a dictionary first.
    if server.is_spare:
        return _spare_changed(server, was, by, check, now)
    if server.health.verdict is UP:
        return RealServerUp(
            service=server.service.config.name,
            server=str(server.key),
            check=check.name if check else "",
            reason=by.detail if check else _CHECK_REMOVED,
            passes=by.passes if check else 0,
            rise=check.rise if check else 0,
            was=was.verdict,
            after_s=round(max(0.0, now - was.since), 3),
        )
    if server.health.verdict is DOWN:
        kind = RealServerDownAnyway if server.is_ordered_out else RealServerDown
        return kind(
            service=server.service.config.name,
            server=str(server.key),
            check=check.name if check else "",
            reason=by.detail if check else _CHECK_REMOVED,
            failures=by.failures if check else 0,
            fall=check.fall if check else 0,
            was=was.verdict,
            after_s=round(max(0.0, now - was.since), 3),
        )
    return None


def _spare_changed(
    server: ServerState, was: Health, by: Health, check: AnyCheck | None, now: float
) -> FallbackUp | FallbackDown | None:
    is_up = server.health.verdict is UP
    if not is_up and (server.health.verdict is not DOWN or server.is_ordered_out):
        return None
    return (FallbackUp if is_up else FallbackDown)(
        service=server.service.config.name,
        server=str(server.key),
        check=check.name if check else "",
        reason=by.detail if check else _CHECK_REMOVED,
        after_s=round(max(0.0, now - was.since), 3),
    )


def _names(watch: Watch) -> dict[str, str]:
    server = watch.server
    return {"service": server.service.config.name, "server": str(server.key), "check": watch.check.name}
