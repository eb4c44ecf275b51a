"""Remembers the services of the last configuration, so that a reload reads only those that changed.

A service stays the same object while its table, [defaults] and the ready-made checks are unchanged. Code that compares
two configurations can then skip the service after a test with `is`, which keeps the reload of a big configuration
short.
"""

import hashlib
import secrets

import msgspec

from lvs_healthd.config.model import Service
from lvs_healthd.config.readymade import Shelf


class LastReading:
    """Remembers the services of the last valid configuration, by the tables they were read from.

    A configuration with errors does not change what is remembered.
    """

    def __init__(self) -> None:
        self._surroundings = b""
        self._ready_made: dict[str, str] = {}
        self._services: dict[bytes, tuple[Service, ...]] = {}
        self._found: dict[bytes, tuple[Service, ...]] = {}
        """The services of the configuration that is being read."""

    def begin(self, surroundings: object, shelf: Shelf) -> None:
        """Start reading a configuration. Forgets all services if something they depend on has changed.

        surroundings: everything outside a service's table on which the service depends, except the ready-made checks.
        shelf: the ready-made checks.
        """
        fingerprint = _fingerprint(surroundings)
        if fingerprint != self._surroundings or any(
            shelf.text(name) != text for name, text in self._ready_made.items()
        ):
            self._services = {}
        self._surroundings = fingerprint
        self._found = {}

    def recall(self, entry: object) -> tuple[Service, ...] | None:
        """Return the services that the last reading read from a table with the same content, or None."""
        services = self._services.get(key := _fingerprint(entry))
        if services is not None:
            self._found[key] = services
        return services

    def note(self, entry: object, services: tuple[Service, ...]) -> None:
        """Remember the services that were read from a table."""
        self._found[_fingerprint(entry)] = services

    def keep(self, shelf: Shelf) -> None:
        """Keep the services of the configuration that was just read, because it is valid."""
        self._services, self._found = self._found, {}
        self._ready_made = shelf.texts


def _fingerprint(value: object) -> bytes:
    try:
        # Unlike equality, MessagePack distinguishes 1, 1.0 and true.
        packed = msgspec.msgpack.encode(value)
    except (OverflowError, RecursionError):  # no valid file has such numbers or nesting, so it may equal nothing
        packed = secrets.token_bytes()
    return hashlib.blake2b(packed, digest_size=16).digest()
