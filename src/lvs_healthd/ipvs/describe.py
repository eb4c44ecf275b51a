"""Describes IPVS records and their differences for people: "weight 1 -> 0", "weight 7, expected 1".

The texts are for logs and are not meant to be parsed.
"""

import functools
import ipaddress
from collections.abc import Mapping

from lvs_healthd.ipvs.records import DestinationRecord, Operation, ServiceRecord
from lvs_healthd.ipvs.words import (
    AF_INET,
    METHOD_NAMES,
    SVC_F_PERSISTENT,
    TUNNEL_NAMES,
    ForwardingMethod,
    plain_flag_names,
)


def describe(operation: Operation) -> str:
    """Describe which fields an operation sets.

    An edit lists each changed field with its old and new value. An add or delete lists the fields that matter most.
    """
    record = operation.destination or operation.service
    if operation.was is None or operation.was is record or operation.was == record:
        return _summary(record)
    return ", ".join(f"{name} {old} -> {new}" for name, old, new in differences(operation.was, record))


def surprise(expected: ServiceRecord | DestinationRecord, found: ServiceRecord | DestinationRecord) -> str:
    """Describe how a record in the kernel differs from the one that the daemon wrote: "weight 7, expected 1"."""
    return "; ".join(f"{name} {new}, expected {old}" for name, old, new in differences(expected, found))


def differences(
    old: ServiceRecord | DestinationRecord, new: ServiceRecord | DestinationRecord
) -> list[tuple[str, str, str]]:
    """List the fields that differ, each as (name, old value, new value)."""
    before = fields(old)
    return [(name, before[name], value) for name, value in fields(new).items() if before[name] != value]


def _summary(record: ServiceRecord | DestinationRecord) -> str:
    """List the fields that an operator always wants to see, and any other field that is set."""
    shown = ("weight", "forward") if isinstance(record, DestinationRecord) else ("scheduler",)
    quiet = {"off", "none", "0", "/32", "/128"}
    return ", ".join(f"{name} {value}" for name, value in fields(record).items() if name in shown or value not in quiet)


def fields(record: ServiceRecord | DestinationRecord) -> Mapping[str, str]:
    """Return the fields of a record by name, each value written for people."""
    if isinstance(record, ServiceRecord):
        return {
            "scheduler": record.scheduler,
            "persistence": _persistence(record),
            "netmask": _netmask(record),
            "flags": ",".join(plain_flag_names(record.flags)) or "none",
            "engine": record.persistence_engine or "none",
        }
    return _server_fields(
        record.forward,
        record.weight,
        (record.upper_threshold, record.lower_threshold),
        (record.tunnel_type, record.tunnel_port, record.tunnel_flags),
    )


@functools.lru_cache(maxsize=1024)
def _server_fields(
    forward: ForwardingMethod, weight: int, thresholds: tuple[int, int], tunnel: tuple[int, int, int]
) -> Mapping[str, str]:
    """Return a server's fields, written for people.

    The result is cached, because the servers of a service usually have the same values, and may all fail at once.
    """
    upper, lower = thresholds
    return {
        "weight": str(weight),
        "forward": METHOD_NAMES[forward],
        "upper threshold": str(upper),
        "lower threshold": str(lower),
        "tunnel": _tunnel(forward, *tunnel),
    }


def _persistence(record: ServiceRecord) -> str:
    if record.flags & SVC_F_PERSISTENT:
        return f"{record.timeout}s"
    return f"off ({record.timeout}s)" if record.timeout else "off"


def _netmask(record: ServiceRecord) -> str:
    if record.netmask < 0 and record.key.family == AF_INET:
        return str(ipaddress.IPv4Address(-record.netmask))
    return f"/{record.netmask}"


def _tunnel(forward: ForwardingMethod, kind: int, port: int, flags: int) -> str:
    extra = [f"port {port}"] if port else []
    extra += [f"flags {flags:#x}"] if flags else []
    text = " ".join([TUNNEL_NAMES.get(kind, str(kind)), *extra])
    return "none" if text == "ipip" and forward is not ForwardingMethod.TUNNEL else text
