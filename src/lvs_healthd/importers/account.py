"""Accounts for every line of a configuration of another program: what became of it, and why.

An importer must never lose a line silently. It gives each line at least one `Fate`, and `Account.unmentioned` names the
lines that it has forgotten. That is a fault of the importer.
"""

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from lvs_healthd.runtime.exceptions import InputError
from lvs_healthd.runtime.printable import printable


class Place(NamedTuple):
    """One line of one file. Places are ordered by file and line."""

    file: str
    """The file's name as the operator gave it, or as an include in that file leads to it."""
    number: int
    """The line's number, from 1."""

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"


class Fate(enum.Enum):
    """What became of a line."""

    CARRIED = "carried over"
    EMPTY = "nothing in it"
    """A blank line or a comment."""
    IGNORED = "ignored, as by the program"
    """The program does not use it either, whatever its writer meant. It never comes to life in what is written."""
    DROPPED = "not carried over"
    """The program uses it, and the new configuration does not."""
    REFUSED = "refused"
    """The program refuses the file for it, or takes it for something that its writer cannot have meant."""


class Entry(msgspec.Struct, frozen=True):
    """What became of a line, or a note on one that is carried over."""

    place: Place
    fate: Fate
    text: str
    """Why, and what to do. Empty where nothing is to be told."""

    def __str__(self) -> str:
        fate = "" if self.fate is Fate.CARRIED else f"{self.fate.value}: "
        return printable(f"{self.place}: {fate}{self.text}")


class RefusedError(InputError):
    """Raised when a file is refused. `errors` holds one text for each reason, with file and line."""

    def __init__(self, errors: tuple[str, ...]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


class Account:
    """What became of each line of the files that are imported.

    files: each file's name, with its lines.
    """

    def __init__(self, files: Mapping[str, Sequence[str]]) -> None:
        self._files = dict(files)
        self._entries: dict[Place, list[Entry]] = {}

    def add_file(self, name: str, lines: Sequence[str]) -> None:
        """Add a file that another one includes."""
        self._files.setdefault(name, lines)

    def carried(self, *places: Place) -> None:
        """Record that these lines are carried over exactly."""
        for place in places:
            self._add(place, Fate.CARRIED, "")

    def empty(self, *places: Place) -> None:
        """Record that nothing is in these lines."""
        for place in places:
            self._add(place, Fate.EMPTY, "")

    def noted(self, place: Place, text: str) -> None:
        """Record that a line is carried over, with something the operator should know about it."""
        self._add(place, Fate.CARRIED, text)

    def ignored(self, place: Place, why: str, *more: Place) -> None:
        """Record that the program itself does not use a line.

        why: the reason in words.
        more: further lines, such as those of a block, that are ignored for the same reason and not told one by one.
        """
        self._add(place, Fate.IGNORED, why)
        for other in more:
            self._add(other, Fate.IGNORED, "")

    def dropped(self, place: Place, why: str, *more: Place) -> None:
        """Record that a line is understood but cannot be carried over.

        why: the reason, and what the operator should do instead. "" if the reason is told at another line, such as the
            first one of its record.
        more: further lines, such as those of a block, that are dropped for the same reason and not told one by one.
        """
        self._add(place, Fate.DROPPED, why)
        for other in more:
            self._add(other, Fate.DROPPED, "")

    def refused(self, place: Place, why: str, *more: Place) -> None:
        """Record that the file must be refused for a line.

        why: what is wrong, or the question what was meant.
        more: further lines, such as those of a block, that are refused for the same reason and not told one by one.
        """
        self._add(place, Fate.REFUSED, why)
        for other in more:
            self._add(other, Fate.REFUSED, "")

    def check(self) -> None:
        """Raise `RefusedError`, with every reason, if any line has been refused."""
        errors = tuple(str(entry) for entry in self._told() if entry.fate is Fate.REFUSED)
        if errors:
            raise RefusedError(errors)

    @property
    def has_refused(self) -> bool:
        """Whether any line has been refused."""
        return any(entry.fate is Fate.REFUSED for entry in self._told())

    @property
    def is_lossless(self) -> bool:
        """Whether all that the program uses is carried over."""
        lost = {Fate.DROPPED, Fate.REFUSED}
        return not any(entry.fate in lost for entries in self._entries.values() for entry in entries)

    def remarks(self) -> tuple[str, ...]:
        """Return what the operator is to be told, in the order of files and lines."""
        return tuple(str(entry) for entry in self._told())

    def fates(self, place: Place) -> frozenset[Fate]:
        """Return what became of a line. It is empty if nothing is recorded."""
        return frozenset(entry.fate for entry in self._entries.get(place, ()))

    def unmentioned(self) -> tuple[Place, ...]:
        """Return the lines that nothing is recorded about: a fault of the importer."""
        every = (Place(file, number) for file, lines in self._files.items() for number in range(1, len(lines) + 1))
        return tuple(place for place in every if place not in self._entries)

    def _told(self) -> Iterable[Entry]:
        for file, lines in self._files.items():
            for number in range(1, len(lines) + 1):
                for entry in self._entries.get(Place(file, number), ()):
                    if entry.text:
                        yield entry

    def _add(self, place: Place, fate: Fate, text: str) -> None:
        entry = Entry(place, fate, text)
        entries = self._entries.setdefault(place, [])
        if entry not in entries:
            entries.append(entry)
