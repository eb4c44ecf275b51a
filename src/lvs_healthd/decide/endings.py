"""Remarks on certificates that end soon, so that somebody renews them before clients meet an expired one.

Each check remarks once on each end that it was shown. A remark changes no verdict; `expires_fail` does, and it is up to
the probe itself (`probes/tls.py`).

The time passes even while every outcome is the same, and such outcomes are not looked at any more. So the daemon asks
every second which certificates have come so close to their end.
"""

import math
from collections.abc import Iterator

from lvs_healthd.config.check_model import uses_tls
from lvs_healthd.decide.held import ProbeState, Watch
from lvs_healthd.events.kinds import CertificateEnding
from lvs_healthd.runtime.utc import utc

AT_ONCE = 64
"""How many remarks are made in one go. They take 2 ms."""

MOST_REMEMBERED = 4
"""How many ends a check remembers to have remarked on. Two are enough for a server behind which one of two hosts has
a new certificate, so that both ends are seen in turn."""


def within_s(probe: ProbeState) -> float:
    """Return how long before the end of a certificate a probe's checks remark on it, seconds; 0 for never."""
    return probe.check.tls.expires_within if uses_tls(probe.check) else 0.0


def is_ending(probe: ProbeState, wall: float) -> bool:
    """Return whether there is a remark to make on the certificate that a probe was presented last.

    wall: Unix time.
    """
    end = probe.certificate_end
    if end is None:
        return False
    within = within_s(probe)
    return within > 0 and end - wall < within


def remark_on(probe: ProbeState, wall: float) -> str:
    """Return the remark on the certificate that a probe was presented last; empty if there is none to make.

    wall: Unix time, seconds.
    """
    end = probe.certificate_end
    if end is None or not is_ending(probe, wall):
        return ""
    return f"the certificate {'ends' if end > wall else 'ended'} on {utc(end)}"


class Endings:
    """Knows which certificates end soon, and which checks have remarked on that."""

    def __init__(self) -> None:
        self._due: dict[ProbeState, float] = {}
        """When each probe's checks remark on the certificate that the probe was presented last, Unix time."""
        self._next = math.inf
        """The earliest of these times, or an earlier one."""

    def presented(self, probe: ProbeState) -> None:
        """Note that a probe was presented a certificate with another end than before, or has other checks now."""
        self._due.pop(probe, None)
        if probe.certificate_end is not None and within_s(probe):
            due = self._due[probe] = probe.certificate_end - within_s(probe)
            self._next = min(self._next, due)

    def forget(self, probe: ProbeState) -> None:
        """Make no more remarks for a probe."""
        self._due.pop(probe, None)

    def remarks(self, wall: float) -> Iterator[CertificateEnding]:
        """Yield the remarks to make now, at most `AT_ONCE`. The others come with the next calls.

        wall: Unix time, seconds.
        """
        if wall < self._next:
            return
        left = AT_ONCE
        for probe in [probe for probe, due in self._due.items() if due <= wall]:
            for watch in probe.watches:
                if not left:
                    return
                if (remark := _remark(watch, wall)) is not None:
                    left -= 1
                    yield remark
            del self._due[probe]
        self._next = min(self._due.values(), default=math.inf)


def _remark(watch: Watch, wall: float) -> CertificateEnding | None:
    """Return a check's remark on the certificate that its probe was presented last; None if it has made it already."""
    end = watch.probe.certificate_end
    if end is None or end in watch.remarked:
        return None
    watch.remarked = (*watch.remarked[1 - MOST_REMEMBERED :], end)
    return CertificateEnding(
        service=watch.server.service.config.name,
        server=str(watch.server.key),
        check=watch.check.name,
        ends=utc(end),
        days=math.floor((end - wall) / 86400),
    )
