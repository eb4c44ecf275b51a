"""Turns a configuration of ldirectord (ldirectord.cf) into one that does the same.

The file is read as ldirectord 4.12.0 reads it (Debian 12 and 13), with its own expressions. What it refuses is refused
with its line. What it takes for something that its writer cannot have meant is refused with a question.
"""

from typing import Any

import msgspec

from lvs_healthd.importers.account import Account
from lvs_healthd.importers.draft import Imported, Part, written
from lvs_healthd.importers.ldirectord.carrying import Carrier
from lvs_healthd.importers.ldirectord.hooks import hooks_of
from lvs_healthd.importers.ldirectord.names import Lookup, SystemLookup
from lvs_healthd.importers.ldirectord.reading import Reader, lines_of
from lvs_healthd.importers.ldirectord.records import File
from lvs_healthd.importers.ldirectord.telling import tell_of_globals, tell_of_virtual
from lvs_healthd.importers.source import Source

FORM = "ldirectord"
"""The name of the format."""

_UNREAD = "the file is refused for other lines"


class Reading(msgspec.Struct, frozen=True):
    """A file that has been read."""

    account: Account
    """What became of its lines."""
    text: str
    """The configuration; "" if a line is refused."""


def imported(source: Source) -> Imported:
    """Return the configuration that a file of ldirectord stands for.

    Raises `RefusedError` with every line that ldirectord refuses, or takes for something that its writer cannot have
    meant.
    """
    reading = read(source, SystemLookup())
    reading.account.check()
    return Imported(reading.text, reading.account.remarks(), reading.account.is_lossless)


def read(source: Source, lookup: Lookup) -> Reading:
    """Read a file, and write the configuration unless a line is refused.

    lookup: where the names of hosts and ports are looked up.
    """
    lines = lines_of(source.text)
    account = Account({source.name: lines})
    file = Reader(source.name, lines, account, lookup).read()
    if not account.has_refused:
        parts, general = _parts(file, account)
        if not account.has_refused:
            return Reading(account, written(parts, source.name, FORM, general))
    for place in account.unmentioned():
        account.ignored(place, _UNREAD)
    return Reading(account, "")


def _parts(file: File, account: Account) -> tuple[list[Part], dict[str, Any]]:
    """Return the services and hooks, and the keys of other tables. All lines are accounted for afterwards."""
    carrier = Carrier(file, account)
    parts, virtuals = [], []
    for virtual in file.virtuals:
        part = carrier.service(virtual)
        if part is not None:
            parts.append(part)
            virtuals.append(virtual)
            tell_of_virtual(virtual, account)
    return [*parts, *hooks_of(file, virtuals, account)], tell_of_globals(file, account, carrier.used)
