"""Turns keys of etcd into parts of a configuration, as if each key were an included file. Pure.

A key is one service, one pool or one named check: `PREFIX` + `config/service/NAME`, `config/pool/NAME` or
`config/check/NAME`. Its value is what would stand below that header in a file, as TOML or JSON. No key may hold a
secret, because all directors and everybody with access to etcd read it; and none may name a program to run, because
whoever may write to etcd would run it on every director.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from lvs_healthd.config.errors import ConfigError, Errors, Part, show
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.public import holds_secret
from lvs_healthd.config.text import leaves, toml_document
from lvs_healthd.config.values import listing

FOLDER = "config/"
"""What follows the prefix in the names of the keys that are parts of the configuration."""

KINDS = ("service", "pool", "check")
"""The parts that a store may have. All others are about a director itself, so they are in its own file."""

_HEADERS = {"service": "[[service]]", "pool": "[pool.NAME]", "check": "[check.NAME]"}

_PROGRAM_KEYS = ("command", "environment")
"""The keys of a check that say what is run, and with which variables."""


class Stored(msgspec.Struct, frozen=True):
    """What a store says of the configuration."""

    prefix: str
    values: Mapping[str, bytes] = {}
    """The value of each key, by its whole name."""
    revision: int = 0
    """The revision of etcd at which it says so."""

    @property
    def services(self) -> list[str]:
        """The names of the services that have a key."""
        begin = service_key(self.prefix, "")
        return [key.removeprefix(begin) for key in self.values if key.startswith(begin)]

    def key_of(self, service: str) -> str:
        """Return the key that a service comes from; "" if it comes from none.

        A key may stand for several services, one for each address or protocol, whose names begin with that of the key.
        """
        name = service
        while name:
            if (key := service_key(self.prefix, name)) in self.values:
                return key
            name = name[: max(name.rfind(" "), name.rfind("/"), 0)]
        return ""


def service_key(prefix: str, name: str) -> str:
    """Return the key of a service."""
    return f"{prefix}{FOLDER}service/{name}"


def stored_parts(stored: Stored) -> list[Part]:
    """Return what a store says as parts of a configuration, in the order of the keys. Raises `ConfigError`."""
    found: list[Part] = []
    errors: list[str] = []
    for key, value in sorted(stored.values.items()):
        try:
            found.append(_part(key, key.removeprefix(stored.prefix + FOLDER), value))
        except ConfigError as error:
            errors += error.errors
    if errors:
        raise ConfigError(tuple(errors))
    return found


def stored_bodies(stored: Stored) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
    """Return the body of each key, without the wrong ones, and what is wrong with those. Bodies have no `name`."""
    found: dict[str, dict[str, Any]] = {}
    errors: list[str] = []
    for key, value in sorted(stored.values.items()):
        try:
            part = _part(key, key.removeprefix(stored.prefix + FOLDER), value)
        except ConfigError as error:
            errors += error.errors
            continue
        kind, step = part.inside
        body = part.document[str(kind)][step]
        found[key] = {name: each for name, each in body.items() if name != "name"} if kind == "service" else body
    return found, tuple(errors)


def _part(key: str, name: str, value: bytes) -> Part:
    place = f"etcd {key}"
    kind, _, name = name.partition("/")
    if kind not in KINDS or not name:
        known = listing(f"{FOLDER}{each}/NAME" for each in KINDS)
        raise ConfigError((f"{place}: expected {known} after the prefix; delete it: etcdctl del {key}",))
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise ConfigError((f"{place}: not UTF-8 text: byte 0x{value[error.start]:02x}",)) from None
    is_json = text.lstrip().startswith("{")
    body = _json(text, place) if is_json else toml_document(text, place)
    inside: KeyPath = ("service", 0) if kind == "service" else (kind, name)
    errors = Errors(place, text, [Part(place, text, _document(kind, name, body), inside=inside, is_json=is_json)])
    errors.name_service(0, name)
    for path, message in mistakes(kind, name, body):
        errors.add((*inside, *path), message)
    if found := errors.texts():
        raise ConfigError(found)
    if kind == "service":
        body = {"name": name, **body}
    return Part(place, text, _document(kind, name, body), inside=inside, is_json=is_json)


def _document(kind: str, name: str, body: object) -> dict[str, Any]:
    return {kind: [body] if kind == "service" else {name: body}}


def _json(text: str, place: str) -> dict[str, Any]:
    try:
        body = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ConfigError((f"{place}:{error.lineno}: not JSON: {error.msg}",)) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError((f"{place}: not JSON: {error}",)) from None
    return dict(body)  # it begins with a brace, so it is an object


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{show(key)} is there twice")
        if value is None:
            raise ValueError(f"{show(key)} is null; leave it out")
        found[key] = value
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no number")


def mistakes(kind: str, name: str, body: dict[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yield what a key may not hold although a file may: each key path with the reason, and what to do.

    kind: one of `KINDS`.
    name: the rest of the key.
    body: what it says.
    """
    if isinstance(body.get(kind), list | dict):
        yield (kind,), f"the key itself stands for {_HEADERS[kind]}; leave that line out"
    if kind == "service" and body.get("name", name) != name:
        yield ("name",), f"the key says {show(name)}; leave this out, or write it to the key …/service/{body['name']}"
    for path, value in leaves(body, plain_arrays=False):
        if isinstance(value, str) and value and holds_secret(path, value):
            yield path, f"a secret, which all readers of etcd would see; {_ELSEWHERE}"
    yield from _programs(body, is_check=kind == "check")


_ELSEWHERE = "write this check as a [check.NAME] in the file of each director, and its NAME here"


def _programs(value: object, path: KeyPath = (), *, is_check: bool) -> Iterator[tuple[KeyPath, str]]:
    """Yield the key paths of what would run a program. Only the checks of services and servers can."""
    if isinstance(value, list):
        for index, each in enumerate(value):
            if isinstance(each, dict | list) or is_check:
                yield from _programs(each, (*path, index), is_check=is_check)
    elif isinstance(value, dict):
        if is_check:
            for key in (*_PROGRAM_KEYS, *(("type",) if value.get("type") == "exec" else ())):
                if key in value:
                    yield (*path, key), f"whoever writes to etcd would run programs here; {_ELSEWHERE}"
                    return
        for key in ("check", "real_server", "fallback"):
            if key in value and not (is_check and key != "check"):
                yield from _programs(value[key], (*path, key), is_check=key == "check")
    elif is_check and value == "exec":
        yield path, f"whoever writes to etcd would run programs here; {_ELSEWHERE}"
