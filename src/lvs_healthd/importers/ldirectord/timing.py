"""Times and counts of a virtual's checks, from its own keys and the global ones (`ld_setup`, `ld_main`)."""

import msgspec

from lvs_healthd.importers.ldirectord.records import File, Setting, Virtual

INTERVAL_S = 10
"""Pause between rounds of checks, seconds, if the file has no `checkinterval`."""
CHECK_TIMEOUT_S = 5
"""Time for connects, pings and programs, seconds, if the file says nothing."""
NEGOTIATE_TIMEOUT_S = 30
"""Time for negotiate checks, seconds, if the file says nothing."""


class Timing(msgspec.Struct, frozen=True):
    """What counts for a virtual. Each value is there with the line that it comes from, if any."""

    interval: tuple[int, Setting | None]
    """Seconds."""
    check_timeout: tuple[int, Setting | None]
    """Seconds."""
    negotiate_timeout: tuple[int, Setting | None]
    """Seconds."""
    failures: tuple[int, Setting | None]
    """How many failures in succession take a server out. One pass brings it back."""
    pings: tuple[int, Setting | None]
    """How many pings one ping check sends at most."""

    @property
    def settings(self) -> frozenset[Setting]:
        """The lines that these values come from."""
        every = (self.interval, self.check_timeout, self.negotiate_timeout, self.failures, self.pings)
        return frozenset(setting for _, setting in every if setting is not None)


def timing(virtual: Virtual, file: File) -> Timing:
    """Return the times and counts of a virtual.

    Each timeout stands in for the other: negotiate takes its own, the virtual's `checktimeout`, then the global ones in
    the same order; check begins with its own.
    """
    own, top = virtual.settings.get, file.settings.get
    negotiate = (own("negotiatetimeout"), own("checktimeout"), top("negotiatetimeout"), top("checktimeout"))
    check = (own("checktimeout"), own("negotiatetimeout"), top("checktimeout"), top("negotiatetimeout"))
    fork = top("fork")
    own_interval = own("checkinterval") if fork is not None and fork.value == "yes" else None
    return Timing(
        _first((own_interval, top("checkinterval")), INTERVAL_S),
        _first(check, CHECK_TIMEOUT_S),
        _first(negotiate, NEGOTIATE_TIMEOUT_S),
        _first((own("failurecount"), top("failurecount")), 1),
        _first((own("checkcount"), top("checkcount")), 1),
    )


def _first(candidates: tuple[Setting | None, ...], default: int) -> tuple[int, Setting | None]:
    setting = next((each for each in candidates if each is not None), None)
    return (default, None) if setting is None else (setting.number, setting)
