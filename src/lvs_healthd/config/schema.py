"""Which keys each table of the file may hold, and how a table is read: every value checked, every stray key told."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from lvs_healthd.config import addresses, http_values, values
from lvs_healthd.config.errors import Errors, WrongValueError, expected
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.model import (
    AnyCheck,
    Family,
    ForeignServers,
    Forward,
    HttpCheck,
    HttpsCheck,
    Mode,
    OnFailure,
    Protocol,
    TcpCheck,
    TunChecksum,
    TunType,
    UdpCheck,
)

SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "mh", "dh", "fo", "ovf", "sed", "nq", "twos")
"""Every scheduler in the kernel's net/netfilter/ipvs/."""

SCHEDULER_FLAGS = ("sh-port", "sh-fallback", "mh-port", "mh-fallback", "flag-1", "flag-2", "flag-3")

CHECK_TYPES: dict[str, type[AnyCheck]] = {"http": HttpCheck, "https": HttpsCheck, "tcp": TcpCheck, "udp": UdpCheck}
CHECK_FIELDS = {
    kind: frozenset(field.name for field in msgspec.structs.fields(record)) for kind, record in CHECK_TYPES.items()
}
"""Which fields the record of each check type has; a key belongs to a type if its field does."""

MOST_BYTES = 16 * 1024 * 1024


class Key(msgspec.Struct, frozen=True):
    """One key: how its value is read, and where it goes."""

    parse: Callable[[object], object]
    field: str = ""
    """The record's field; default: the key's own name."""
    group: str = ""
    """Keys of one group exclude each other in a table, and replace each other where checks inherit."""


TOP_KEYS = {
    "daemon": Key(values.anything),
    "ipvs": Key(values.anything),
    "defaults": Key(values.anything),
    "service": Key(values.anything),
}

DEFAULTS_KEYS = {"check": Key(values.anything)}

DAEMON_KEYS = {
    "listen": Key(addresses.listen),
    "control": Key(values.socket_path),
    "state": Key(values.absolute_path),
    "mode": Key(values.member(Mode)),
    "resync": Key(values.duration("1s", "1h")),
    "max_probes": Key(values.integer(1, 100_000)),
    "probe_workers": Key(values.integer(1, 64)),
}

SERVER_KEYS = {
    "forward": Key(values.member(Forward)),
    "tun_type": Key(values.member(TunType)),
    "tun_port": Key(values.integer(1, 65535)),
    "tun_checksum": Key(values.member(TunChecksum)),
    "upper_threshold": Key(values.integer(0, 2**31 - 1)),
    "lower_threshold": Key(values.integer(0, 2**31 - 1)),
}
"""What a service hands down to its servers, each of which may have it otherwise."""

SERVICE_KEYS = {
    "name": Key(values.label),
    "address": Key(addresses.endpoints, "endpoint"),
    "protocol": Key(values.one_or_more(values.member(Protocol))),
    "fwmark": Key(values.integer(1, 2**32 - 1)),
    "family": Key(values.member(Family)),
    "scheduler": Key(values.one_of(SCHEDULERS)),
    "scheduler_flags": Key(values.several(values.one_of(SCHEDULER_FLAGS))),
    **SERVER_KEYS,
    "persistence": Key(values.duration("0s", "744h", whole=True)),  # 31 days, ipvsadm's limit
    "persistence_mask": Key(addresses.mask),
    "persistence_engine": Key(values.one_of(("", "sip"))),
    "one_packet": Key(values.boolean),
    "on_failure": Key(values.member(OnFailure)),
    "foreign_servers": Key(values.member(ForeignServers)),
    "synproxy": Key(values.boolean),
    "synproxy_mss": Key(values.integer(536, 65495)),
    "synproxy_wscale": Key(values.integer(0, 14)),
    "check": Key(values.anything),
    "fallback": Key(values.anything),
    "real_server": Key(values.anything),
}

REAL_SERVER_KEYS = {
    "address": Key(addresses.server_addresses, "endpoint"),
    "weight": Key(values.integer(0, 65535)),
    **SERVER_KEYS,
    "check": Key(values.anything),
}

FALLBACK_KEYS = {
    "address": Key(addresses.server_addresses, "endpoint"),
    "weight": Key(values.integer(1, 65535)),
    **SERVER_KEYS,
}

CHECK_KEYS = {
    "type": Key(values.string),
    "name": Key(values.label),
    "interval": Key(values.duration("50ms", "24h")),
    "timeout": Key(values.duration("10ms", "1h")),
    "rise": Key(values.integer(1, 1000)),
    "fall": Key(values.integer(1, 1000)),
    "address": Key(addresses.address),
    "port": Key(values.integer(1, 65535)),
    "method": Key(http_values.method),
    "path": Key(http_values.request_target),
    "host": Key(http_values.host),
    "headers": Key(http_values.headers),
    "status": Key(http_values.status),
    "body": Key(values.string, group="body"),
    "body_regex": Key(values.regex, group="body"),
    "max_body": Key(values.integer(1, MOST_BYTES)),
    "sni": Key(http_values.server_name),
    "verify": Key(values.boolean),
    "ca": Key(http_values.ca_file),
    "send": Key(values.text_bytes, group="send"),
    "send_hex": Key(values.hex_bytes, "send", group="send"),
    "expect": Key(values.text_bytes, group="expect"),
    "expect_hex": Key(values.hex_bytes, "expect", group="expect"),
    "expect_regex": Key(values.regex, group="expect"),
    "max_answer": Key(values.integer(1, MOST_BYTES)),
}
"""The keys of every type of check: no key means two things."""

GROUP_OF_FIELD = {key.field or name: key.group or key.field or name for name, key in CHECK_KEYS.items()}


@dataclasses.dataclass(frozen=True, slots=True)
class TomlTable:
    """A table as read: the values that are right, by record field, and which were written but are wrong."""

    path: KeyPath
    values: dict[str, Any]
    written: dict[str, str]
    """The key each field was written as, right or wrong; empty where the table was written as just that value."""

    def __contains__(self, field: str) -> bool:
        return field in self.written

    def is_wrong(self, field: str) -> bool:
        """Tell whether the field was written with a value that cannot be used (and was told about)."""
        return field in self.written and field not in self.values

    def at(self, field: str) -> KeyPath:
        """Key path of a field as it was written, or of the table where it was not."""
        key = self.written.get(field)
        return (*self.path, key) if key else self.path


def read_table(table: object, path: KeyPath, keys: Mapping[str, Key], errors: Errors) -> TomlTable:
    """Read a table by its keys. Errors are noted; what is wrong is missing from the values."""
    if not isinstance(table, dict):
        errors.add_all(path, expected("a table", table))
        return TomlTable(path, {}, {})
    fields: dict[str, Any] = {}
    written: dict[str, str] = {}
    groups: dict[str, str] = {}
    for name, value in table.items():
        key = keys.get(name)
        if key is None:
            errors.add((*path, name), stray_key(name, keys))
            continue
        field = key.field or name
        other = groups.setdefault(key.group or field, name)
        if other != name:
            errors.add((*path, name), f"{other} and {name} exclude each other")
            continue
        written[field] = name
        try:
            fields[field] = key.parse(value)
        except WrongValueError as error:
            errors.add_all((*path, name), error)
    return TomlTable(path, fields, written)


def stray_key(name: str, keys: Mapping[str, Key]) -> str:
    """Say that a key does not exist, and which was likely meant."""
    guess = values.did_you_mean(name, keys)
    return f"unknown key; {guess}" if guess else f"unknown key; known here: {', '.join(keys)}"


def refuse_foreign_keys(table: TomlTable, kind: str, errors: Errors) -> None:
    """Note every key of a check's table that its type does not have."""
    for field in table.written:
        if field not in CHECK_FIELDS[kind] and field not in {"type", "description"}:
            owners = " and ".join(owner for owner, fields in CHECK_FIELDS.items() if field in fields)
            errors.add(table.at(field), f"{kind} checks have no such key; it belongs to {owners} checks")
