"""What was read the last time, so that a reload reads only the services whose text has changed.

A service stays the same object when nothing it is made of has changed: its table, [defaults] and the ready-made checks.
Whoever compares two configurations sees by `is` what needs no second look, and a reload of a big one stays short.
"""

import hashlib
import secrets

import msgspec

from lvs_healthd.config.model import Service
from lvs_healthd.config.readymade import Shelf


class LastReading:
    """Services by what they were read from. Holds what the last good configuration held; a bad one changes nothing."""

    def __init__(self) -> None:
        self._surroundings = b""
        self._ready_made: dict[str, str] = {}
        self._services: dict[bytes, tuple[Service, ...]] = {}
        self._found: dict[bytes, tuple[Service, ...]] = {}
        """The same for the configuration that is being read."""

    def begin(self, surroundings: object, shelf: Shelf) -> None:
        """Begin to read a configuration; `surroundings` is everything outside a service that its checks depend on."""
        fingerprint = _fingerprint(surroundings)
        if fingerprint != self._surroundings or any(
            shelf.text(name) != text for name, text in self._ready_made.items()
        ):
            self._services = {}
        self._surroundings = fingerprint
        self._found = {}

    def recall(self, entry: object) -> tuple[Service, ...] | None:
        """Return the services that were read from this very table, if some were."""
        services = self._services.get(key := _fingerprint(entry))
        if services is not None:
            self._found[key] = services
        return services

    def note(self, entry: object, services: tuple[Service, ...]) -> None:
        """Take note of what was read anew from one table."""
        self._found[_fingerprint(entry)] = services

    def keep(self, shelf: Shelf) -> None:
        """Keep what was found: the configuration is good."""
        self._services, self._found = self._found, {}
        self._ready_made = shelf.texts


def _fingerprint(value: object) -> bytes:
    try:
        # MessagePack tells 1 from 1.0 and from true, which equality does not.
        packed = msgspec.msgpack.encode(value)
    except (OverflowError, RecursionError):  # numbers and nesting beyond anything that is right: never the same
        packed = secrets.token_bytes()
    return hashlib.blake2b(packed, digest_size=16).digest()
