"""Turns a file of services into keys of etcd, and keys of etcd into such a file. Pure.

The file has the services, pools and named checks that directors share, as a configuration has them, and nothing else.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import tomli_w

from lvs_healthd.config.errors import ConfigError, Errors, Part, show
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.parts import Whole, joined
from lvs_healthd.config.stored import FOLDER, KINDS, Stored, mistakes, stored_bodies
from lvs_healthd.config.text import toml_document

Bodies = Mapping[str, Mapping[str, Any]]
"""What each key says, by its name after the prefix and `config/`, such as "service/web"."""

_OF_REVISION = re.compile(r"# etcd revision (\d{1,19})\b")

NO_REVISION = 0


class SharedFile(NamedTuple):
    """A file of services for etcd."""

    part: Part
    bodies: Bodies
    revision: int
    """The revision of etcd of which it is, if its first line says so; else `NO_REVISION`."""

    def beside(self, files: Whole) -> Whole:
        """Return the whole configuration that a director with these files would have."""
        return joined([*files.parts, self.part])


def shared_file(text: str, name: str) -> SharedFile:
    """Read a file of services. Raises `ConfigError` for what may not be in etcd.

    name: the file, for messages.
    """
    document = toml_document(text, name)
    part = Part(name, text, document)
    errors = Errors(name, text, [part])
    bodies: dict[str, Mapping[str, Any]] = {}
    for path, key, body in _entries(document, errors):
        if key in bodies:
            errors.add(path, f"{show(key)} is there twice; keep one of them")
        bodies[key] = body
        kind, _, own = key.partition("/")
        for at, message in mistakes(kind, own, body):
            errors.add((*path, *at), message)
    if found := errors.texts():
        raise ConfigError(found)
    match = _OF_REVISION.match(text)
    return SharedFile(part, bodies, int(match[1]) if match else NO_REVISION)


def _entries(document: Mapping[str, Any], errors: Errors) -> Iterator[tuple[KeyPath, str, dict[str, Any]]]:
    """Yield the key path, the key and the body of each service, pool and check."""
    for key in document.keys() - {*KINDS}:
        errors.add((key,), "only [[service]], [pool.NAME] and [check.NAME] are shared; this is of each director's file")
    services = document.get("service", [])
    for index, body in enumerate(services if isinstance(services, list) else []):
        path: KeyPath = ("service", index)
        if not isinstance(body, dict):
            continue  # which the reading of the whole tells
        name = body.get("name")
        if not isinstance(name, str) or not name:
            errors.add(path, 'name is missing: the key of a service is called after it: name = "web"')
            continue
        errors.name_service(index, name)
        yield path, f"service/{name}", {key: value for key, value in body.items() if key != "name"}
    for kind in ("pool", "check"):
        table = document.get(kind, {})
        for name, body in table.items() if isinstance(table, dict) else ():
            if isinstance(body, dict):
                yield (kind, name), f"{kind}/{name}", body


def content(body: Mapping[str, Any]) -> bytes:
    """Return what is written to a key."""
    return tomli_w.dumps(body, multiline_strings=False).encode()


def bodies_of(stored: Stored) -> tuple[Bodies, tuple[str, ...]]:
    """Return what each key says, without the wrong ones, and what is wrong with those."""
    found, errors = stored_bodies(stored)
    return {key.removeprefix(stored.prefix + FOLDER): body for key, body in found.items()}, errors


def file_of(bodies: Bodies, revision: int) -> str:
    """Write keys as a file of services, which `shared_file` reads.

    revision: the revision of etcd of which they are.
    """
    document: dict[str, Any] = {"pool": {}, "check": {}, "service": []}
    for key, body in bodies.items():
        kind, _, name = key.partition("/")
        if kind == "service":
            document[kind].append({"name": name, **body})
        else:
            document[kind][name] = dict(body)
    begin = (
        f"# etcd revision {revision}. `lvs-healthd fleet put` refuses this file if somebody has put another since.\n"
    )
    return begin + tomli_w.dumps({kind: value for kind, value in document.items() if value})


class Difference(NamedTuple):
    """How two sets of keys differ in one key."""

    how: str
    """"added", "changed" or "deleted"."""
    key: str
    fields: tuple[str, ...] = ()
    """The keys of its table that are different, if it has changed."""

    def __str__(self) -> str:
        """Say it on one line."""
        return f"{self.how} {self.key}" + (f": {', '.join(self.fields)}" if self.fields else "")


def differences(old: Bodies, new: Bodies) -> list[Difference]:
    """Return how the new keys differ from the old ones."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        if key not in new:
            found.append(Difference("deleted", key))
        elif key not in old:
            found.append(Difference("added", key))
        elif old[key] != new[key]:
            before, after = old[key], new[key]
            names = [name for name in (*before, *after) if before.get(name) != after.get(name)]
            found.append(Difference("changed", key, tuple(dict.fromkeys(names))))
    return found
