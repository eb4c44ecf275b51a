"""Describes every key of the configuration file from the code: what it means, what it accepts, and its default.

The meaning is the docstring of the field that the key sets, the accepted values are the parser's shape, and the default
is the record's. The JSON schema and the manual page are made of this.
"""

import enum
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from lvs_healthd.config.check_model import EXEC_INTERVAL, EXEC_TIMEOUT, Check, Kept, Tls
from lvs_healthd.config.check_ways import Way
from lvs_healthd.config.errors import WrongValueError
from lvs_healthd.config.fleet import FLEET_KEYS
from lvs_healthd.config.fleet_model import Fleet
from lvs_healthd.config.general_keys import BRAKE_KEYS, DAEMON_KEYS
from lvs_healthd.config.hook_model import Hook, Mail
from lvs_healthd.config.hooks import HOOK_KEYS, MAIL_KEYS
from lvs_healthd.config.ipvs import IPVS_KEYS, SYNC_KEYS, SYSCTL_KEYS, TIMEOUT_KEYS
from lvs_healthd.config.model import (
    Brake,
    Daemon,
    FallbackServer,
    Ipvs,
    Pair,
    RealServer,
    Service,
    SyncDaemon,
    Timeouts,
)
from lvs_healthd.config.pair import PAIR_KEYS
from lvs_healthd.config.pools import POOL_KEYS
from lvs_healthd.config.schema import (
    CHECK_FIELDS,
    CHECK_KEYS,
    CHECK_TYPES,
    FALLBACK_KEYS,
    REAL_SERVER_KEYS,
    SERVICE_KEYS,
    Key,
)
from lvs_healthd.config.shapes import Shape, shape_of
from lvs_healthd.runtime.docstrings import docs_of, paragraphs

_Record = type[msgspec.Struct]


class KeyReference(msgspec.Struct, frozen=True, kw_only=True):
    """One key of a table."""

    name: str
    text: str
    """What it means, in one paragraph or more."""
    shape: Shape
    default: object = msgspec.UNSET
    """What the file would say; UNSET if the key is required, if its default depends on other keys, or if it is to leave
    the key out."""
    types: tuple[str, ...] = ()
    """The types of checks that have the key; empty for a key of another table, and for one that all types have."""
    exceptions: Mapping[str, object] = {}
    """The default of each type of check that has another one."""


class TableReference(msgspec.Struct, frozen=True, kw_only=True):
    """One table of the file."""

    header: str
    """As it is written: "[daemon]", "[[service]]"."""
    text: str
    """What it is."""
    keys: tuple[KeyReference, ...]


def tables() -> Mapping[str, TableReference]:
    """Return every table, by its header, in the order in which a person would read about them."""
    found = [
        _table("[daemon]", DAEMON_KEYS, Daemon),
        _table("[brake]", BRAKE_KEYS, Brake),
        _table("[pair]", PAIR_KEYS, Pair),
        _table("[fleet]", FLEET_KEYS, Fleet),
        _table("[ipvs]", IPVS_KEYS, Ipvs),
        _table("[ipvs.timeouts]", TIMEOUT_KEYS, Timeouts),
        _table("[ipvs.sync.master]", SYNC_KEYS, SyncDaemon),
        _sysctls(),
        _pools(),
        _table("[[service]]", SERVICE_KEYS, Service, RealServer),
        _table("[[service.real_server]]", REAL_SERVER_KEYS, RealServer),
        _table("[[service.fallback]]", FALLBACK_KEYS, FallbackServer),
        _checks(),
        _table("[[hook]]", HOOK_KEYS, Hook),
        _table("[hook.mail]", MAIL_KEYS, Mail),
    ]
    return {table.header: table for table in found}


CHECKS = "[service.check]"
"""The header of the table of a check."""

SYSCTLS = "[ipvs.sysctl]"

POOL = "[pool.NAME]"


def check_types() -> Mapping[str, str]:
    """Return what each type of check does."""
    return {kind: paragraphs(record.__doc__) for kind, record in CHECK_TYPES.items()}


_ABOUT = {
    (
        "[[service]]",
        "check",
    ): "The checks of its real servers, all of which must pass: one or a list, each a table or a type.",
    (POOL, "real_server"): "The real servers: a list of addresses and tables, as in a service.",
    (POOL, "source"): "Files or names from which it has real servers besides these, as in a service.",
    (
        "[[service]]",
        "pool",
    ): "The `[pool.NAME]` tables whose servers it has besides its own: a name or a list.",
    ("[[service]]", "real_server"): "The real servers: a list of addresses and tables.",
    ("[[service.real_server]]", "check"): "Changes to the service's checks, and checks of its own.",
    ("[[service.fallback]]", "check"): "Its checks. Without one, it counts as up.",
    (CHECKS, "type"): "What is probed, or the name of a ready-made check (see `lvs-healthd checks`).",
    (CHECKS, "through"): 'The way of the probes: "vip" for that of clients\' packets, through the service; "" for the '
    "plain one.",
    (CHECKS, "connection"): 'Whether each probe has a connection of its own ("new", the default), or that of the last '
    'probe ("keep").',
}
"""What keys mean that set no field with a docstring."""


def _table(header: str, keys: Mapping[str, Key], *records: _Record) -> TableReference:
    made = tuple(_key(header, name, key, records) for name, key in keys.items())
    return TableReference(header=header, text=paragraphs(records[0].__doc__), keys=made)


def _pools() -> TableReference:
    keys = tuple(_key(POOL, name, key, ()) for name, key in POOL_KEYS.items())
    text = "Real servers that several services share. A service uses them with `pool`."
    return TableReference(header=POOL, text=text, keys=keys)


def _sysctls() -> TableReference:
    keys = tuple(
        KeyReference(name=name, text=f"/proc/sys/net/ipv4/vs/{name}.", shape=shape_of(key.parse))
        for name, key in SYSCTL_KEYS.items()
    )
    text = "Files in /proc/sys/net/ipv4/vs. One that is not configured is left alone."
    return TableReference(header=SYSCTLS, text=text, keys=keys)


def _checks() -> TableReference:
    records = (*CHECK_TYPES.values(), Tls, Kept, Way)
    made = []
    for name, key in CHECK_KEYS.items():
        field = key.field or name
        types = tuple(kind for kind, fields in CHECK_FIELDS.items() if field in fields)
        of_all = len(types) in {0, len(CHECK_TYPES)}
        found = _key(CHECKS, name, key, records)
        if found.default is not msgspec.UNSET:
            found = msgspec.structs.replace(found, exceptions=dict(_exceptions(field, found, types)))
        made.append(msgspec.structs.replace(found, types=() if of_all else types))
    return TableReference(header=CHECKS, text=paragraphs(Check.__doc__), keys=tuple(made))


def _exceptions(field: str, key: KeyReference, types: Iterable[str]) -> Iterator[tuple[str, object]]:
    own = {("exec", "interval"): EXEC_INTERVAL, ("exec", "timeout"): EXEC_TIMEOUT}
    for kind in types:
        record = CHECK_TYPES[kind]
        if field in record.__struct_fields__:
            written = key.shape.write(own.get((kind, field), _field(record, field).default))
            if written != key.default:
                yield kind, written


def _key(header: str, name: str, key: Key, records: tuple[_Record, ...]) -> KeyReference:
    """Describe a key by the first record that has its field."""
    field = key.field or name
    shape = shape_of(key.parse)
    record = next((each for each in records if field in each.__struct_fields__), None)
    if record is None:
        return KeyReference(name=name, text=_ABOUT.get((header, name), ""), shape=shape)
    text = _ABOUT.get((header, name)) or docs_of(record).get(field) or _enum_doc(record, field)
    is_fixed = not any(word in text for word in ("Default:", "Required"))
    default = _default(key, _field(record, field).default, shape) if is_fixed else msgspec.UNSET
    return KeyReference(name=name, text=text, shape=shape, default=default)


def _default(key: Key, value: object, shape: Shape) -> object:
    """Return a field's default as it is written in the file, if the file may say it."""
    if value is None or value is msgspec.NODEFAULT or not shape.schema:
        return msgspec.UNSET
    written = shape.write(value)
    try:
        return written if key.parse(written) in (value, (value,)) else msgspec.UNSET
    except WrongValueError:
        return msgspec.UNSET


def _field(record: _Record, name: str) -> msgspec.structs.FieldInfo:
    return next(each for each in msgspec.structs.fields(record) if each.name == name)


def _enum_doc(record: _Record, field: str) -> str:
    kind = _field(record, field).type
    return paragraphs(kind.__doc__) if isinstance(kind, type) and issubclass(kind, enum.Enum) else ""
