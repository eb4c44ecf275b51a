"""Remembers the services of the last configuration, so that a reload reads only those that changed.

A service stays the same object while its table, [defaults] and the ready-made checks are unchanged. Code that compares
two configurations can then skip the service after a test with `is`, which keeps the reload of a big configuration
short.
"""

import copy
import hashlib
import secrets

import msgspec

from lvs_healthd.config.errors import Problem
from lvs_healthd.config.model import Service
from lvs_healthd.config.parts import Whole
from lvs_healthd.config.readymade import Shelf


class Reading(msgspec.Struct, frozen=True):
    """What was read from one `[[service]]` table."""

    services: tuple[Service, ...]
    remarks: tuple[Problem, ...] = ()
    """The remarks on the table. Their key paths are relative to it, because the table may move within the file."""
    ready_made: frozenset[str] = frozenset()
    """The names of the ready-made checks that the table uses."""
    remarks_elsewhere: tuple[Problem, ...] = ()
    """Remarks on what the service has from another table, such as `[defaults.service]`. Their key paths are whole."""


class LastReading:
    """Remembers the services of the last valid configuration, by the tables they were read from.

    A configuration with errors does not change what is remembered.
    """

    def __init__(self) -> None:
        self._surroundings = b""
        self._ready_made: dict[str, str] = {}
        self._readings: dict[bytes, Reading] = {}
        self._found: dict[bytes, Reading] = {}
        """The readings of the configuration that is being read."""
        self._shelf = Shelf(())
        self.whole: Whole | None = None
        """The last valid configuration itself, if it has sources; None if it has none."""

    def copy(self) -> "LastReading":
        """Return a memory of the same configuration. What is read with it does not change this one."""
        return copy.copy(self)  # each reading replaces the dictionaries of the last one, and changes only its own

    def begin(self, surroundings: object, shelf: Shelf) -> None:
        """Start reading a configuration. Forgets all services if something they depend on has changed.

        surroundings: everything outside a service's table on which the service depends, except the ready-made checks.
        shelf: the ready-made checks.
        """
        found = fingerprint(surroundings)
        if found != self._surroundings or any(shelf.text(name) != text for name, text in self._ready_made.items()):
            self._readings = {}
        self._surroundings = found
        self._found = {}
        self._shelf = shelf

    def recall(self, entry: object) -> Reading | None:
        """Return what was last read from a table with the same content, or None.

        entry: the table, with all that it stands for.
        """
        reading = self._readings.get(key := fingerprint(entry))
        if reading is not None:
            self._found[key] = reading
            for name in reading.ready_made:
                self._shelf.use(name)  # so that remarks on the check's file are found
        return reading

    def note(self, entry: object, reading: Reading) -> None:
        """Remember what was read from a table."""
        self._found[fingerprint(entry)] = reading

    def keep(self, whole: Whole | None = None) -> None:
        """Keep the readings of the configuration that was just read, because it is valid.

        whole: the configuration itself, to be read again when its sources list other servers.
        """
        self.whole = whole
        self._readings, self._found = self._found, {}
        self._ready_made = self._shelf.texts


def fingerprint(value: object) -> bytes:
    """Return a short digest of a value of the file, which another value does not have."""
    try:
        # Unlike equality, MessagePack distinguishes 1, 1.0 and true.
        packed = msgspec.msgpack.encode(value)
    except (OverflowError, RecursionError):  # not in a valid file: make it differ from every other value
        packed = secrets.token_bytes()
    return hashlib.blake2b(packed, digest_size=16).digest()
