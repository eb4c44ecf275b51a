"""Says what of a verdict survives a restart. What a check begins with afterwards, `beginnings` says. Pure."""

from lvs_healthd.decide.held import Watch
from lvs_healthd.health.damping import Flaps
from lvs_healthd.state.file import SavedFlaps, SavedVerdict


def saved_verdict(watch: Watch, rising: float | None, shift_s: float) -> SavedVerdict:
    """Return the line of a check in the state file. What is about its server is in the line of the server's first.

    rising: when its server began to come back, seconds on the monotonic clock; None if it has its whole weight.
    shift_s: Unix time minus monotonic time, seconds.
    """
    health, server = watch.health, watch.server
    is_first = bool(server.watches) and watch is server.watches[0]
    return SavedVerdict(
        service=str(server.service.key),
        server=str(server.key),
        check=watch.check.name,
        verdict=health.verdict,
        detail=health.detail,
        since=health.since + shift_s,
        asks=None if watch.asks is None else (watch.asks.value, watch.asks.is_share),
        flaps=_flaps(server.flaps, shift_s) if is_first and server.flaps is not None else None,
        rising=rising + shift_s if is_first and rising is not None else None,
    )


def _flaps(flaps: Flaps, shift_s: float) -> SavedFlaps:
    return SavedFlaps(
        falls=tuple(at + shift_s for at in flaps.falls),
        since=None if flaps.since is None else flaps.since + shift_s,
        last=flaps.last + shift_s,
        holds=flaps.holds,
        until=None if flaps.until is None else flaps.until + shift_s,
    )
