"""Writes the services that are found: their checks once for all servers, and at a server what is its own."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from lvs_healthd.importers.account import Place
from lvs_healthd.importers.configuration import service_values
from lvs_healthd.importers.draft import Part
from lvs_healthd.importers.mon.checks import HOST
from lvs_healthd.importers.mon.placing import Found, Host, Watched
from lvs_healthd.importers.mon.records import Service
from lvs_healthd.importers.mon.words import seconds
from lvs_healthd.ipvs.records import DestinationKey

MOST_INTERVAL_S = 86400
"""The longest interval of a check, seconds."""

LEAST_INTERVAL_S = 1
"""mon looks once a second whose turn it is."""


def interval_of(service: Service) -> float:
    """Return the time between the starts of a monitor's runs, seconds."""
    return max(seconds(service.settings["interval"].value) or 0, LEAST_INTERVAL_S)


class Times(msgspec.Struct):
    """How often a monitor runs, and after how many failures it counts."""

    interval_s: float
    failing_interval_s: float | None
    """The time between its runs while it fails, or None for the same."""
    fall: int | None
    """None if it is an open question."""


def times_values(times: Times, timeout_s: float) -> dict[str, Any]:
    """Return the times of a check as keys."""
    interval = min(times.interval_s, MOST_INTERVAL_S)
    failing = min(max(times.failing_interval_s or interval, LEAST_INTERVAL_S), MOST_INTERVAL_S)
    values: dict[str, Any] = {"interval": text_of(interval), "timeout": text_of(timeout_s), "rise": 1}
    if times.fall is not None:
        values["fall"] = times.fall
    if times.fall != 1:
        # mon runs no faster while a failure is in doubt, where lvs-healthd does by default.
        values["fast_interval"] = text_of(min(failing, interval))
    if failing != interval:
        values["down_interval"] = text_of(failing)
    return values


def text_of(seconds: float) -> str:
    """Return a duration as the configuration has it. Fractions below a millisecond are rounded up."""
    if seconds == int(seconds):
        return f"{int(seconds)}s"
    return f"{math.ceil(seconds * 1000)}ms"


def part_of(
    found: Found, name: str, times: Mapping[tuple[str, str], Times], *, is_shared: bool, lines: Sequence[Place]
) -> Part:
    """Return a service of the table.

    times: by group and service of mon.
    is_shared: whether servers of it are left to others, because nothing watches them.
    """
    values = service_values(found.key, found.entry)
    servers = values.pop("real_server")
    lacks = {key for server in found.servers.values() for key in server.unknown} | set(found.unknown)
    for key in lacks & _OF_THE_SERVICE.keys():
        for each in _OF_THE_SERVICE[key]:
            values.pop(each, None)
    checks = {
        key: [_check(each, times, key, is_alone=_is_alone(each, server.watched)) for each in server.watched]
        for key, server in found.servers.items()
    }
    common = _common(list(checks.values()))
    written = [
        _with_own(item, checks[key], common) for item, key in zip(servers, found.entry.destinations, strict=True)
    ]
    head = {"name": name} if name else {}
    shared = {"foreign_servers": "keep"} if is_shared else {}
    part = Part(
        "service",
        {**head, **values, **shared, **_list("check", _without_names(common)), "real_server": written},
        sorted(set(lines)),
    )
    part.comments = [_QUESTIONS[key] for key in ("scheduler", "forward", "weight") if key in lacks]
    return part


def draft_of(
    name: str, watched: Sequence[Watched], times: Mapping[tuple[str, str], Times], lines: Sequence[Place]
) -> Part:
    """Return a service of which neither the file nor a table says more than its servers."""
    hosts = {each.host.address: each.host for each in watched}
    checks = {
        address: [
            _check(each, times, _without_port(address), is_alone=True)
            for each in watched
            if each.host.address == address
        ]
        for address in hosts
    }
    common = _common(list(checks.values()))
    written = [_with_own(_bare(host), checks[address], common) for address, host in hosts.items()]
    values = {"name": name, **_list("check", _without_names(common)), "real_server": written}
    part = Part("service", values, sorted(set(lines)))
    part.comments = [
        'missing: address = "VIP:PORT", which clients connect to; scheduler, forward, the servers\' ports and weights.',
        "mon.cf has none of them. Type `ipvsadm -Sn > FILE` on the director, and import again with --table FILE.",
    ]
    return part


_OF_THE_SERVICE = {"scheduler": ("scheduler",), "forward": ("forward", "tun_type", "tun_port", "tun_checksum")}
"""What is left out at a service while it is an open question."""

_QUESTIONS = {
    "scheduler": 'missing: scheduler = "rr", "wrr", ...: ipvs.alert has no -S, or no -B, without which -S does nothing',
    "forward": 'missing: forward = "nat", "dr" or "tun": ipvs.alert has no -F',
    "weight": "missing: weight = ... at the servers: ipvs.alert has no -W",
}


def _without_port(address: str) -> DestinationKey:
    return DestinationKey(0, address, 0)


def _bare(host: Host) -> str:
    return f"[{host.address}]" if ":" in host.address else host.address


def _is_alone(watched: Watched, all_watched: Sequence[Watched]) -> bool:
    """Return whether no other monitor of a server has the same name."""
    return sum(each.service.name == watched.service.name for each in all_watched) == 1


def _check(
    watched: Watched, times: Mapping[tuple[str, str], Times], server: DestinationKey, *, is_alone: bool
) -> dict[str, Any]:
    service, probe, host = watched.service, watched.probe, watched.host
    name = name_of(service, is_alone=is_alone)
    word = _bare(host) if ":" in host.word else host.word
    values = {key: word if value == HOST else value for key, value in probe.values.items()}
    where: dict[str, Any] = {"address": host.address} if host.address != server.address else {}
    if probe.port is not None and probe.port != server.port and not probe.is_program:
        where["port"] = probe.port
    kind = values.pop("type")
    return {"type": kind, "name": name, **where, **values, **times_values(times[key_of(service)], probe.timeout_s)}


def name_of(service: Service, *, is_alone: bool) -> str:
    """Return the name of the check that a service of mon becomes.

    is_alone: whether no other monitor of the same servers has the same name.
    """
    return service.name if is_alone else f"{service.group} {service.name}"


def key_of(service: Service) -> tuple[str, str]:
    """Return what identifies a service of mon: its group and name."""
    return service.group, service.name


def _common(checks: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the checks that all servers have, each with the keys that are the same everywhere."""
    by_name = [{each["name"]: each for each in server} for server in checks]
    found = []
    for name, first in by_name[0].items():
        others = [server[name] for server in by_name if name in server]
        if len(others) == len(by_name) and all(each["type"] == first["type"] for each in others):
            same = {key: value for key, value in first.items() if all(each.get(key) == value for each in others)}
            # An exec check cannot be without its command, not even where each server has its own.
            if first.get("command") == same.get("command"):
                found.append(same)
    return found


def _with_own(
    item: str | dict[str, Any], checks: Sequence[dict[str, Any]], common: Sequence[dict[str, Any]]
) -> str | dict[str, Any]:
    """Return a server with what its checks have of their own."""
    shared = {each["name"]: each for each in common}
    own = []
    for check in checks:
        rest = {key: value for key, value in check.items() if key not in shared.get(check["name"], {})}
        if rest:
            own.append({"name": check["name"], **rest})
    if not own:
        return item
    return {**({"address": item} if isinstance(item, str) else item), **_list("check", own)}


def _list(key: str, values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a key with its only value, or with a list."""
    return {key: values[0] if len(values) == 1 else list(values)} if values else {}


def _without_names(checks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out names that say the same as the type."""
    return [{key: value for key, value in each.items() if key != "name" or value != each["type"]} for each in checks]
