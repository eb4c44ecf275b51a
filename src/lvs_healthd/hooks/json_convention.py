"""Tells of events as JSON: the fields of the log's line, and the host; several together in one object.

docs/hooks.md describes both.
"""

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from lvs_healthd.events.kinds import Event, RealServerDownAnyway
from lvs_healthd.hooks.digest import Gathered
from lvs_healthd.hooks.facts import Facts, Told

DIGEST = "hook.digest"
"""What stands for the name of an event in a message about several."""

MOST_BYTES = 256 * 1024
"""How much JSON one message has about single events, bytes. The helper that runs programs takes 1 MiB."""

_encode = msgspec.json.Encoder().encode


def is_told(event: Event) -> bool:
    """Return whether to tell of an event. A server that operators have taken out alarms nobody."""
    return not isinstance(event, RealServerDownAnyway)


def of_event(told: Told) -> bytes:
    """Return one event as JSON."""
    return _encode(_fields(told, host=os.uname().nodename))


def of_many(gathered: Gathered) -> bytes:
    """Return several events as JSON."""
    named = list(_that_fit(gathered.events))
    first, last = gathered.events[0], gathered.events[-1]
    return _encode(
        {
            "timestamp": _time(last.at),
            "event": DIGEST,
            "host": os.uname().nodename,
            "since": _time(first.at),
            "total": gathered.total,
            "counts": gathered.counts,
            "left_out": gathered.total - len(named),
            "events": named,
        }
    )


def variables(event: Event, facts: Facts | None) -> dict[str, str]:
    """Return the variables by which a script learns what an event is about."""
    found = {"LVS_EVENT": event.name}
    for name, field in (("LVS_SERVICE", "service"), ("LVS_SERVER", "server"), ("LVS_REASON", "reason")):
        if value := getattr(event, field, ""):
            found[name] = _text(str(value)).replace("\0", "")
    return found | (of_facts(facts) if facts is not None else {})


def of_facts(facts: Facts) -> dict[str, str]:
    """Return the variables about a service and its server. They have the names that scripts for IPVS use."""
    service, server = facts.service, facts.server
    found = {"LVS_PROTO": "fwmark" if service.endpoint is None else str(service.protocol)}
    if service.endpoint is None:
        found["LVS_FWMARK"] = str(service.fwmark)
    else:
        found |= {"LVS_VIP": service.endpoint.address, "LVS_VPORT": str(service.endpoint.port)}
    if server is not None:
        found |= {
            "LVS_RIP": server.endpoint.address,
            "LVS_RPORT": str(server.endpoint.port or ""),
            "LVS_FWD": str(server.forward),
            "LVS_WEIGHT": str(server.weight),
        }
    return found


def _that_fit(events: Iterable[Told]) -> Iterable[msgspec.Raw]:
    left = MOST_BYTES
    for each in events:
        encoded = _encode(_fields(each))
        left -= len(encoded)
        if left < 0:
            return
        yield msgspec.Raw(encoded)


def _fields(told: Told, **more: str) -> dict[str, Any]:
    event = told.event
    head = {"timestamp": _time(told.at), "level": event.level, "event": event.name, **more}
    return head | {name: _plain(value) for name, value in msgspec.structs.asdict(event).items()}


def _plain(value: object) -> object:
    """Return a value as JSON can hold it: milliseconds of durations, and text."""
    match value:
        case float():
            return round(value, 3)
        case str():
            return _text(value)
        case tuple():
            return [_plain(each) for each in value]
        case _:
            return value


def _text(value: str) -> str:
    """Return text without lone surrogates, which a file's name may have, and which no encoding can express."""
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
