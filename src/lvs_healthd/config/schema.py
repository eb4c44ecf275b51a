"""Defines the keys of each table in the configuration file, and reads a table by them.

Reading parses every value, and reports every unknown key.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from lvs_healthd.config import (
    addresses,
    conversation,
    damping_values,
    dns_values,
    elsewhere,
    exec_values,
    http_values,
    json_fields,
    min_up_values,
    secret_files,
    sources,
    tls_values,
    values,
)
from lvs_healthd.config.basics import AnnounceWhen, Family, Protocol
from lvs_healthd.config.check_model import (
    AgentCheck,
    AnyCheck,
    Carrier,
    Connection,
    Convention,
    DnsCheck,
    ExecCheck,
    GrpcCheck,
    HttpCheck,
    HttpsCheck,
    Kept,
    Per,
    PingCheck,
    SctpCheck,
    TcpCheck,
    Tls,
    UdpCheck,
)
from lvs_healthd.config.check_ways import Way
from lvs_healthd.config.errors import Errors, WrongValueError, expected
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.model import Below, ForeignServers, Forward, Mode, OnFailure, TunChecksum, TunType
from lvs_healthd.config.sections import known_keys
from lvs_healthd.config.shapes import shape_of, with_shape

SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "mh", "dh", "fo", "ovf", "sed", "nq", "twos")
"""Every scheduler in the kernel's net/netfilter/ipvs/."""

SCHEDULER_FLAGS = ("sh-port", "sh-fallback", "mh-port", "mh-fallback", "flag-1", "flag-2", "flag-3")

CHECK_TYPES: dict[str, type[AnyCheck]] = {
    "http": HttpCheck,
    "https": HttpsCheck,
    "tcp": TcpCheck,
    "udp": UdpCheck,
    "dns": DnsCheck,
    "grpc": GrpcCheck,
    "sctp": SctpCheck,
    "ping": PingCheck,
    "exec": ExecCheck,
    "agent": AgentCheck,
}
WAY_FIELDS = frozenset(field.name for field in msgspec.structs.fields(Way))
"""The fields that say where probes leave. A program leaves as it likes, so exec checks do not have them."""

KEPT_FIELDS = tuple(field.name for field in msgspec.structs.fields(Kept))
"""The fields that mean something only with `connection = "keep"`."""

TLS_FIELDS = tuple(field.name for field in msgspec.structs.fields(Tls))
"""The fields that mean something only with TLS."""

THROUGH_VIP = "vip"
"""The value of `through` with which a check probes the virtual service's own address."""

_WITHOUT_PATH = (ExecCheck, PingCheck, SctpCheck, AgentCheck)
"""The types without `through`: a virtual service answers no pings, a program goes where it likes, and an agent has a
port of its own. Whether the kernel's SCTP accepts answers that come through a mark service is not known."""


def _fields_of(record: type[AnyCheck]) -> frozenset[str]:
    own = frozenset(field.name for field in msgspec.structs.fields(record))
    way = frozenset() if record is ExecCheck else WAY_FIELDS
    path = frozenset() if record in _WITHOUT_PATH else frozenset({"through"})
    kept = frozenset({"connection", *KEPT_FIELDS} if "kept" in own else ())
    return own | way | path | kept | frozenset(TLS_FIELDS if "tls" in own else ())


CHECK_FIELDS = {kind: _fields_of(record) for kind, record in CHECK_TYPES.items()}
"""The fields of each check type. A check may have a key if its type has the field that the key sets."""

MOST_BYTES = 16 * 1024 * 1024
"""The largest `max_body` and `max_answer` that can be configured, bytes."""


class Key(msgspec.Struct, frozen=True):
    """A key of a table: how its value is parsed, and which field it sets."""

    parse: Callable[[object], object]
    field: str = ""
    """The field of the record that the key sets; empty when the field has the key's name."""
    group: str = ""
    """Keys of the same group exclude each other in a table, and replace each other when checks inherit."""
    text_field: str = ""
    """The field that the key sets instead if its parsed value is text; empty when there is none."""
    entries: Mapping[str, "Key"] | None = None
    """The keys of each table if the value is a list of tables; None when it is not. The field is then set to a tuple of
    `TomlTable`."""


_FORWARD_ELSEWHERE = {
    **dict.fromkeys(("masq", "masquerade", "masquerading", "-m"), Forward.NAT),
    **dict.fromkeys(("gate", "gateway", "gatewaying", "droute", "route", "direct", "-g"), Forward.DR),
    **dict.fromkeys(("tunnel", "tunneling", "-i"), Forward.TUN),
}
"""What ipvsadm, ldirectord and keepalived call the forwarding methods."""


def _forward(value: object) -> Forward:
    """Parse a forwarding method. A tunnel's type is no method, and has a key of its own."""
    if isinstance(value, str) and value.lower() in set(TunType):
        raise expected(values.listing(Forward), value, f'write forward = "tun" and tun_type = "{value.lower()}"')
    return _FORWARD(value)


_FORWARD = values.member(Forward, _FORWARD_ELSEWHERE)
with_shape(_forward, shape_of(_FORWARD))

SERVER_KEYS = {
    "forward": Key(_forward),
    "tun_type": Key(values.member(TunType)),
    "tun_port": Key(values.integer(1, 65535)),
    "tun_checksum": Key(values.member(TunChecksum)),
    "upper_threshold": Key(values.integer(0, 2**31 - 1)),
    "lower_threshold": Key(values.integer(0, 2**31 - 1)),
}
"""The keys that a service passes on to its servers. Each server may override them."""

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
    "on_failure": Key(values.member(OnFailure, elsewhere.ON_FAILURE)),
    "foreign_servers": Key(values.member(ForeignServers)),
    "damping": Key(damping_values.damping),
    "min_up": Key(min_up_values.min_up),
    "below": Key(values.member(Below)),
    "slow_start": Key(values.duration("0s", "1h")),
    "mode": Key(values.member(Mode)),
    "brake": Key(values.boolean),
    "vip": Key(addresses.optional_address),
    "announce": Key(values.optional_interface),
    "announce_when": Key(values.member(AnnounceWhen)),
    "announce_after": Key(values.duration("0s", "1h")),
    "withdraw_after": Key(values.duration("0s", "10m")),
    "synproxy": Key(values.boolean),
    "synproxy_mss": Key(values.integer(536, 65495)),
    "synproxy_wscale": Key(values.integer(0, 14)),
    "check": Key(values.anything),
    "fallback": Key(values.anything),
    "real_server": Key(values.anything),
    "pool": Key(values.one_or_more(values.label)),
    "source": Key(sources.sources, "sources"),
}

NOT_INHERITED_BY_SERVICES = ("name", "endpoint", "fwmark", "family", "vip", "real_server", "sources")
"""The fields of a service that `[defaults.service]` cannot set: what tells one service from another."""

REAL_SERVER_KEYS = {
    "address": Key(addresses.server_addresses, "endpoint"),
    "weight": Key(values.integer(0, 65535)),
    **SERVER_KEYS,
    "check": Key(values.anything),
}

FALLBACK_KEYS = {
    "address": Key(addresses.server_addresses, "endpoint"),
    "weight": Key(values.integer(1, 65535)),
    "tier": Key(values.integer(1, 100)),
    **SERVER_KEYS,
    "check": Key(values.anything),
}

CHECK_KEYS = {
    "type": Key(values.string),
    "name": Key(values.label),
    "interval": Key(values.duration("50ms", "24h")),
    "fast_interval": Key(values.duration("50ms", "24h")),
    "down_interval": Key(values.duration("50ms", "24h")),
    "timeout": Key(values.duration("10ms", "1h")),
    "rise": Key(values.integer(1, 1000)),
    "fall": Key(values.integer(1, 1000)),
    "address": Key(addresses.address),
    "port": Key(values.integer(1, 65535)),
    "connection": Key(values.member(Connection)),
    "reconnect": Key(values.duration("1s", "24h")),
    "confirm_interval": Key(values.duration("50ms", "24h")),
    "proxy_protocol": Key(values.integer(0, 2)),
    "method": Key(http_values.method),
    "path": Key(http_values.request_target),
    "http_version": Key(http_values.http_version),
    "host": Key(http_values.host),
    "headers": Key(http_values.headers),
    "send_body": Key(values.string),
    "user": Key(http_values.user),
    "password_file": Key(secret_files.password_file, group="secret"),
    "token_file": Key(secret_files.token_file, group="secret"),
    "redirects": Key(values.integer(0, 10)),
    "websocket": Key(values.boolean),
    "status": Key(http_values.status),
    "expect_headers": Key(http_values.expect_headers),
    "expect_headers_regex": Key(http_values.expect_headers_regex),
    "body": Key(values.string, group="body"),
    "body_regex": Key(values.regex, group="body"),
    "absent": Key(values.string, group="absent"),
    "absent_regex": Key(values.regex, group="absent"),
    "json": Key(json_fields.json_fields),
    "digest": Key(http_values.digest),
    "max_body": Key(values.integer(1, MOST_BYTES)),
    "sni": Key(http_values.server_name),
    "verify": Key(values.boolean),
    "ca": Key(tls_values.ca_file),
    "client_cert": Key(tls_values.client_cert),
    "client_key": Key(tls_values.client_key),
    "min_tls": Key(tls_values.min_tls),
    "alpn": Key(tls_values.alpn),
    "expires_within": Key(values.duration("0s", "3650d")),
    "expires_fail": Key(values.duration("0s", "3650d")),
    "send": Key(values.text_bytes, group="send"),
    "send_hex": Key(values.hex_bytes, "send", group="send"),
    "expect": Key(values.text_bytes, group="expect"),
    "expect_hex": Key(values.hex_or_pattern, "expect", group="expect", text_field="expect_regex"),
    "expect_regex": Key(values.regex, group="expect"),
    "max_answer": Key(values.integer(1, MOST_BYTES)),
    "steps": Key(conversation.steps),
    "any_port": Key(values.boolean),
    "service": Key(http_values.grpc_service),
    "authority": Key(http_values.host),
    "query": Key(dns_values.name),
    "query_type": Key(dns_values.record_type),
    "over": Key(values.member(Carrier)),
    "rcode": Key(values.one_or_more(dns_values.answer_code)),
    "recursion": Key(values.boolean),
    "authoritative": Key(values.boolean),
    "answer": Key(values.string),
    "min_answers": Key(values.integer(0, 1000)),
    "source": Key(addresses.address),
    "interface": Key(values.interface),
    "mark": Key(values.integer(1, 2**32 - 1)),
    "dscp": Key(values.integer(0, 63)),
    "through": Key(values.one_of(("", THROUGH_VIP))),
    "command": Key(exec_values.command),
    "dynamic_weight": Key(values.boolean),
    "convention": Key(values.member(Convention)),
    "per": Key(values.member(Per)),
    "environment": Key(exec_values.variables),
}
"""The keys of all check types. A key means the same in every type that has it."""

REQUEST_KEYS = {
    key: CHECK_KEYS[key]
    for key in (
        *("method", "path", "host", "headers", "send_body", "status", "expect_headers", "expect_headers_regex"),
        *("body", "body_regex", "absent", "absent_regex", "json", "digest", "max_body"),
    )
}
"""The keys of each entry of `requests`. Everything else belongs to the connection, or is the same for all of them."""

CHECK_KEYS["requests"] = Key(http_values.request_list, entries=REQUEST_KEYS)

SHORT_FORM = ("send", "expect", "expect_regex")
"""The fields that `steps` excludes."""

OF_READY_MADE = frozenset({"type", "description", "min_interval", "min_interval_reason", "never_keep"})
"""The keys of a ready-made check's file that set no field of its check."""

GROUP_OF_FIELD = {key.field or name: key.group or key.field or name for name, key in CHECK_KEYS.items()}


@dataclasses.dataclass(frozen=True, slots=True)
class TomlTable:
    """A table after parsing. It maps fields of the record to their values, and to the keys that were written."""

    path: KeyPath
    values: dict[str, Any]
    """The value of each field that was written with a valid value."""
    written: dict[str, str]
    """The key of each field that was written, whether its value is valid or not. Empty for an entry that is a bare
    value instead of a table."""
    elsewhere: Mapping[str, KeyPath] = dataclasses.field(default_factory=dict)
    """Where each field is that the table inherits: its key path in another table."""

    def __contains__(self, field: str) -> bool:
        return field in self.written

    def is_wrong(self, field: str) -> bool:
        """Return whether the field was written with a wrong value. Its error has already been reported."""
        return field in self.written and field not in self.values

    def at(self, field: str) -> KeyPath:
        """Return the key path of a field, or the table's own path when the field was not written."""
        if field in self.elsewhere:
            return self.elsewhere[field]
        key = self.written.get(field)
        return (*self.path, key) if key else self.path


def read_table(table: object, path: KeyPath, keys: Mapping[str, Key], errors: Errors) -> TomlTable:
    """Parse the values of a table.

    path: where the table is in the file.
    keys: the keys that the table may have.
    errors: errors are added here. A value that is wrong is missing from the result's `values`.
    """
    if not isinstance(table, dict):
        errors.add_all(path, expected("a table", table))
        return TomlTable(path, {}, {})
    fields: dict[str, Any] = {}
    written: dict[str, str] = {}
    groups: dict[str, str] = {}
    for name, value in table.items():
        key = keys.get(name)
        if key is None:
            errors.add((*path, name), _misplaced_key(name, path, errors) or _stray_key(name, path, keys))
            continue
        field = key.field or name
        other = groups.setdefault(key.group or field, name)
        if other != name:
            errors.add((*path, name), f"{other} and {name} exclude each other; keep one of them")
            continue
        try:
            parsed = key.parse(value)
        except WrongValueError as error:
            written[field] = name
            errors.add_all((*path, name), error)
            continue
        if key.text_field and isinstance(parsed, str):
            field = key.text_field
        if key.entries is not None:
            found = errors.count()
            listed: tuple[object, ...] = parsed  # type: ignore[assignment]  # the parser has made sure of it
            parsed = tuple(read_table(each, (*path, name, at), key.entries, errors) for at, each in enumerate(listed))
            if errors.count() > found:
                written[field] = name
                continue
        written[field], fields[field] = name, parsed
    return TomlTable(path, fields, written)


def _misplaced_key(name: str, path: KeyPath, errors: Errors) -> str:
    """Return the message for a key of a service or of a check that stands in another table; empty for other keys."""
    if path[-2:-1] == ("requests",) and name in CHECK_KEYS:
        return "a key of the whole check, not of one of its requests"
    if name == "include" and path:
        return "a key of the file itself, and in TOML it belongs to the table above it: move it above the first table"
    if path[:1] != ("service",):
        return ""
    is_service = len(path) == len(("service", 0))
    if is_service and name in CHECK_KEYS:
        return f"a key of a check, not of a service: check = {{ type = …, {name} = … }}, or [defaults.check] for all"
    above = errors.line(path)
    if not is_service and name in SERVICE_KEYS and errors.line((*path, name)) > above:
        header = ".".join(part for part in path if isinstance(part, str))
        header = f"[[{header}]]" if isinstance(path[-1], int) else f"[{header}]"
        return f"a key of the service, and in TOML it belongs to {header} above it: move it above line {above}"
    return ""


def _stray_key(name: str, path: KeyPath, keys: Mapping[str, Key]) -> str:
    """Return the message for an unknown key. It suggests the key that was probably meant, or says which there are."""
    key, example = elsewhere.KEYS.get(name.lower(), ("", ""))
    if key in keys:
        return f"unknown key; write {key} = {example}"
    if "check" in keys and key in CHECK_KEYS:
        return f"unknown key; write {key} = {example} in a check: check = {{ type = …, {key} = {example} }}"
    guess = values.did_you_mean(name, keys)
    return f"unknown key; {guess or known_keys(path, keys)}"


def refuse_foreign_keys(table: TomlTable, kind: str, errors: Errors) -> None:
    """Add an error for every key of a check's table that checks of type `kind` do not have."""
    for field in table.written:
        if kind == "ping" and field == "port":
            errors.add(table.at(field), "ping checks have no port: ICMP knows none; leave it out")
        elif field not in CHECK_FIELDS[kind] and field not in OF_READY_MADE:
            owners = values.listing((owner for owner, fields in CHECK_FIELDS.items() if field in fields), "and")
            errors.add(table.at(field), f"{kind} checks have no such key; it belongs to {owners} checks; leave it out")
