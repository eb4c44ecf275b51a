"""What a service's alerts do to the IPVS table, and after how many failures."""

import enum
import math
from collections.abc import Iterator

import msgspec

from lvs_healthd.importers.account import Place
from lvs_healthd.importers.mon.periods import When, when
from lvs_healthd.importers.mon.records import Alert, Period, Service, Setting
from lvs_healthd.importers.mon.words import options, seconds

IPVS_ALERT = "ipvs.alert"
"""The script of mon-contrib that changes the table."""

_OPTIONS = "uDBs:g:h:t:l:P:V:R:W:F:S:"
_METHODS = {"nat": "-m", "tun": "-i", "dr": "-g"}
_PROTOCOLS = {"tcp": "-t", "udp": "-u"}

_TELLERS = frozenset(
    f"{name}.alert"
    for name in (
        *("aim", "bugzilla", "file", "gnats", "hpov", "irc", "mail", "mailxmpp", "netpage", "qpage"),
        *("slackxmpp", "sms", "snapdelete", "snpp", "trap", "winpopup"),
    )
)
"""The scripts of Debian's that leave the table alone. test.alert is none: articles about LVS replace it."""


class Effect(enum.IntEnum):
    """What the alerts of a service do when it fails, the strongest last."""

    NOTHING = 0
    TELLS = 1
    SCRIPT = 2
    """They run a script that may change the table."""
    CHANGES = 3
    """They run ipvs.alert."""


class Link(msgspec.Struct):
    """A real server that ipvs.alert takes out of a virtual service, and puts back. Values are as they stand."""

    protocol: str
    """ipvsadm's option for it."""
    service: str
    server: str = ""
    weight: str = ""
    method: str = ""
    """ipvsadm's option for it."""
    scheduler: str = ""
    removes_service: bool = False
    comes_back: bool = False
    places: list[Place] = []


def is_called(alert: Alert, period: Period) -> bool:
    """Return whether mon ever calls an alert."""
    if when(period.when) is When.NEVER or not alert.script.strip("="):
        return False
    if alert.kind != "upalert":
        return True
    has_pair = any(each.kind == "alert" for each in period.alerts) or "no_comp_alerts" in period.settings
    return has_pair and alert.exit_range.partition("-")[0] in {"", "0"}


def effect(service: Service) -> Effect:
    """Return what a service's alerts do to the table."""
    return max((_effect(alert) for _, alert in _called(service, "alert")), default=Effect.NOTHING)


def deciding(service: Service) -> list[Period]:
    """Return the periods whose alerts have the service's strongest effect."""
    strongest = effect(service)
    return [
        period
        for period in service.periods.values()
        if any(
            each.kind == "alert" and is_called(each, period) and _effect(each) is strongest for each in period.alerts
        )
    ]


def is_one_way(alert: Alert, service: Service) -> bool:
    """Return whether a script may take a server out of the table, and none is called when the server is back."""
    return _effect(alert) is Effect.SCRIPT and not any(True for _ in _called(service, "upalert"))


class IncompleteError(Exception):
    """Raised for a line with ipvs.alert that does nothing. The message says what it lacks."""


def links(service: Service) -> list[Link]:
    """Return what a service's ipvs.alert lines say, each real server once.

    Raises `IncompleteError`.
    """
    found: list[Link] = []
    for _, alert in _called(service):
        if alert.script != IPVS_ALERT or alert.kind not in {"alert", "upalert"}:
            continue
        link = _link(alert)
        same = [
            each
            for each in found
            if (each.protocol, each.service) == (link.protocol, link.service)
            and (each.server == link.server or not each.server or not link.server)
        ]
        if not same:
            found.append(link)
        for each in same:
            _merge(each, link)
    for each in found:
        if not each.server:
            raise IncompleteError(f"-R is missing: which real server of {each.service}?")
    return found


def _link(alert: Alert) -> Link:
    given = options(alert.words or (), _OPTIONS)
    values = given.values
    if given.unknown or given.rest:
        raise IncompleteError(f"ipvs.alert does not understand {' '.join((*given.unknown, *given.rest))}")
    if values.get("P") not in _PROTOCOLS or not values.get("V"):
        raise IncompleteError("ipvs.alert needs -P tcp or udp, and -V with the address and port of the virtual service")
    link = Link(_PROTOCOLS[values["P"]], values["V"], values.get("R", ""), places=list(alert.places))
    if alert.kind == "alert":
        link.removes_service = "D" in values
        return link
    link.comes_back = True
    link.weight = values.get("W", "")
    link.method = _METHODS.get(values.get("F", ""), "")
    link.scheduler = values.get("S", "") if "B" in values else ""
    return link


def _merge(link: Link, other: Link) -> None:
    """Add what another line says of the same server."""
    link.server = link.server or other.server
    link.weight = other.weight or link.weight
    link.method = other.method or link.method
    link.scheduler = other.scheduler or link.scheduler
    link.removes_service |= other.removes_service
    link.comes_back |= other.comes_back
    link.places = sorted({*link.places, *other.places})


class Fall(msgspec.Struct):
    """After how many failures in succession a server is out."""

    count: int | None
    """None if the periods say different things."""
    notes: list[tuple[Setting, str]] = []
    """What to know about a line that is carried over."""
    losses: list[tuple[Setting, str]] = []
    """What of a line is not carried over."""


def fall(service: Service, interval_s: float) -> Fall:
    """Return after how many failures the service's alerts change the table.

    interval_s: the time between its checks, seconds.
    """
    found = Fall(1)
    counts = {}
    for period in deciding(service):
        counts[period.label] = _count(period, interval_s, found)
    different = set(counts.values())
    if len(different) == 1:
        found.count = different.pop()
    elif different:
        said = ", ".join(f"{count} in {label or 'the period without a name'!r}" for label, count in counts.items())
        found.count = None
        lines = [setting for period in deciding(service) for setting in period.after]
        question = f"how many failures take a server out? The periods differ ({said}); write fall"
        found.losses = [(each, question) for each in lines]
        found.notes = []
    return found


def count_of(period: Period, interval_s: float) -> int:
    """Return after how many failures a period's alert is called."""
    return _count(period, interval_s, Fall(1))


def _count(period: Period, interval_s: float, found: Fall) -> int:
    """Return after how many failures a period's alert is called, as `do_alert` counts.

    Only failures after those of `alertafter N` start the clock of a time, or count for `alertafter N T`.
    """
    before, more = 0, 1
    for setting in period.after:
        number, time, both = _after(setting.value)
        if both:
            more = number
            found.losses.append((setting, "fall counts failures in succession only, and not those within a time"))
        elif time:
            # The first failure starts the clock, and the alert waits until more than the time has passed.
            more = math.floor(time / interval_s) + 2
            found.notes.append((setting, f"{more} failures at this interval last longer than {setting.value}"))
        else:
            before = max(number, 1) - 1
    return before + more


def _after(text: str) -> tuple[int, float, bool]:
    """Return the number and the time (seconds) of an `alertafter`, and whether it has both."""
    words = text.split()
    if text.isdecimal():
        return int(text), 0, False
    if len(words) == 1:
        return 0, seconds(text) or 0, False
    digits = "".join(character if character.isdecimal() else " " for character in words[-2]).split()
    return int(digits[-1]), seconds(words[-1]) or 0, True


def is_teller(script: str) -> bool:
    """Return whether a script is known to tell somebody, and to leave the table alone."""
    return script in _TELLERS


def _effect(alert: Alert) -> Effect:
    if alert.script == IPVS_ALERT:
        return Effect.CHANGES
    return Effect.TELLS if is_teller(alert.script) else Effect.SCRIPT


def _called(service: Service, kind: str = "") -> Iterator[tuple[Period, Alert]]:
    for period in service.periods.values():
        for alert in period.alerts:
            if (not kind or alert.kind == kind) and is_called(alert, period):
                yield period, alert
