"""The configuration file as a JSON schema (draft 7), for editors that complete and check TOML.

A file that the daemon accepts fits the schema. A file that fits may still be wrong, because most rules about several
keys together are left to `lvs-healthd validate`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from lvs_healthd.config.general_keys import TOP_KEYS
from lvs_healthd.config.reference import CHECKS, SYSCTLS, KeyReference, TableReference, check_types, tables
from lvs_healthd.config.schema import (
    CHECK_FIELDS,
    CHECK_KEYS,
    NOT_INHERITED_BY_SERVICES,
    REQUEST_KEYS,
    SERVICE_KEYS,
)
from lvs_healthd.config.shapes import shape_of

_Schema = dict[str, Any]

_NOT_INHERITED = ("type", "name")
"""The keys of a check that `[defaults.check]` does not have."""


def json_schema() -> _Schema:
    """Return the schema of the configuration file."""
    found = tables()
    sync = _table(found["[ipvs.sync.master]"], required=["interface"])
    ipvs = _table(
        found["[ipvs]"],
        timeouts=_table(found["[ipvs.timeouts]"]),
        sync=_closed({"master": sync, "backup": sync}),
        sysctl=_table(found[SYSCTLS]),
    )
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of lvs-healthd",
        **_closed(
            {
                "include": {"description": _INCLUDE, **shape_of(TOP_KEYS["include"].parse).schema},
                "daemon": _table(found["[daemon]"]),
                "brake": _table(found["[brake]"]),
                "pair": _table(found["[pair]"]),
                "fleet": _table(found["[fleet]"]),
                "ipvs": ipvs,
                "defaults": _closed({"check": _defaults(found[CHECKS]), "service": _service_defaults(found)}),
                "pool": _named(_pool(found)),
                "check": _named(_CHECK),
                "service": {"type": "array", "items": _service(found)},
                "hook": {"type": "array", "items": _hook(found)},
            }
        ),
        "definitions": {"check": _check(found[CHECKS]), "checks": _ONE_OR_MORE_CHECKS},
    }


_INCLUDE = "More files of this configuration, relative to this one. The last part of a path may have *, ? and [."

_CHECK: _Schema = {"$ref": "#/definitions/check"}
_CHECKS: _Schema = {"$ref": "#/definitions/checks"}
_ONE_OR_MORE_CHECKS: _Schema = {"anyOf": [_CHECK, {"type": "array", "items": _CHECK, "minItems": 1}]}


def _service(found: Mapping[str, TableReference]) -> _Schema:
    servers = {header: _servers(found[f"[[service.{header}]]"]) for header in ("real_server", "fallback")}
    service = _table(found["[[service]]"], check=_CHECKS, **servers)
    return service | {"oneOf": [{"required": ["address"]}, {"required": ["fwmark"]}]}


def _named(schema: _Schema) -> _Schema:
    """Return the schema of a table of tables with names of their own."""
    return {"type": "object", "additionalProperties": schema}


def _pool(found: Mapping[str, TableReference]) -> _Schema:
    pool = _table(found["[pool.NAME]"], real_server=_servers_of(found))
    return pool | {"anyOf": [{"required": [key]} for key in ("real_server", "source")]}


def _servers_of(found: Mapping[str, TableReference]) -> _Schema:
    return _servers(found["[[service.real_server]]"])


def _service_defaults(found: Mapping[str, TableReference]) -> _Schema:
    table = found["[[service]]"]
    keys = tuple(key for key in table.keys if _field(key) not in NOT_INHERITED_BY_SERVICES)
    fallback = _servers(found["[[service.fallback]]"])
    return _table(msgspec.structs.replace(table, keys=keys), check=_CHECKS, fallback=fallback)


def _field(key: KeyReference) -> str:
    return SERVICE_KEYS[key.name].field or key.name


def _servers(table: TableReference) -> _Schema:
    address = next(dict(key.shape.schema) for key in table.keys if key.name == "address")
    return {"type": "array", "items": {"anyOf": [address, _table(table, required=["address"], check=_CHECKS)]}}


def _hook(found: Mapping[str, TableReference]) -> _Schema:
    hook = _table(found["[[hook]]"], mail=_table(found["[hook.mail]"], required=["to", "from"]))
    return hook | {"oneOf": [{"required": [way]} for way in ("command", "url", "mail", "fifo")]}


def _check(table: TableReference) -> _Schema:
    """Return the schema of one check: the name of its type, or a table."""
    known = check_types()
    kind = {"anyOf": [{"const": name, "description": text} for name, text in known.items()] + [{"type": "string"}]}
    whole = _table(table, type=kind, requests=_requests(table))
    whole["allOf"] = [_rule(name, _keys_of(name)) for name in known]
    return {"anyOf": [kind, whole]}


def _defaults(table: TableReference) -> _Schema:
    keys = tuple(key for key in table.keys if key.name not in _NOT_INHERITED)
    return _table(msgspec.structs.replace(table, keys=keys), requests=_requests(table))


def _requests(table: TableReference) -> _Schema:
    written = next(key for key in table.keys if key.name == "requests")
    keys = tuple(key for key in table.keys if key.name in REQUEST_KEYS)
    return {**written.shape.schema, "items": _closed({key.name: _value(key) for key in keys})}


def _keys_of(kind: str) -> list[str]:
    """Return the keys that checks of a type may have."""
    fields = CHECK_FIELDS[kind] | {"type"}
    return [name for name, key in CHECK_KEYS.items() if (key.field or name) in fields]


def _rule(kind: str, keys: list[str]) -> _Schema:
    return {
        "if": {"properties": {"type": {"const": kind}}, "required": ["type"]},
        "then": {"propertyNames": {"enum": keys}},
    }


def _table(table: TableReference, /, required: Iterable[str] = (), **others: _Schema) -> _Schema:
    """Return the schema of a table.

    required: the keys that it must have.
    others: the schemas of keys that are tables or lists of tables themselves.
    """
    properties = {key.name: _value(key, others.get(key.name)) for key in table.keys}
    properties |= {name: schema for name, schema in others.items() if name not in properties}
    return {"description": table.text, **_closed(properties), **({"required": [*required]} if required else {})}


def _value(key: KeyReference, schema: Mapping[str, Any] | None = None) -> _Schema:
    described: _Schema = {"description": key.text} if key.text else {}
    if key.default is not msgspec.UNSET and not key.exceptions:
        described["default"] = key.default
    schema = dict(schema or key.shape.schema)
    if "$ref" in schema and described:
        # In draft 7, words beside a reference do not count.
        return {**described, "allOf": [schema]}
    return {**schema, **described}


def _closed(properties: _Schema) -> _Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}
