"""Keeps what the files of the maintenance folder say, and which servers they drain. Times are Unix time.

A file is named as ldirectord has it: an address or a host's name, perhaps with a port. An IPv6 address with a port is
in brackets.
"""

import itertools
import re
import socket
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from lvs_healthd.config.basics import Endpoint, canonical_address
from lvs_healthd.ipvs.records import DestinationKey
from lvs_healthd.runtime.utc import utc
from lvs_healthd.state.file import SavedDrain

_BRACKETED = re.compile(r"\[([^\[\]]+)\](?::(.*))?", re.DOTALL)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
"""A part of a host's name (RFC 1123, and `_`, which people use all the same)."""
_LONGEST_HOST = 253
"""The longest name of a host, characters (RFC 1035, 2.3.4, without the lengths of the first label and of the root)."""
_PORT = re.compile(r"[0-9]{1,5}")
_MOST_PORT = 65535

_LEFTOVERS = ("~", ".swp", ".swo", ".swx")
"""How the names end that editors leave behind."""

PENDING = "its name has not been looked up yet"

NO_NAME = "it is named neither after an address nor after a host, perhaps with a port"


class Name(NamedTuple):
    """What a file's name means."""

    address: str = ""
    """The address, as the kernel's tools print it; empty if the name is that of a host."""
    host: str = ""
    """The name of the host, in lower case; empty if there is an address."""
    port: int | None = None
    """None for all ports."""


class Resolved(NamedTuple):
    """What the system's resolver says of a host's name."""

    addresses: tuple[str, ...] = ()
    """As the kernel's tools print them."""
    problem: str = ""
    """Why there are none; empty if there are some."""


def counts(name: str) -> bool:
    """Return whether a file of this name is meant: it is neither hidden nor left behind by an editor."""
    return not name.startswith((".", "#")) and not name.endswith(_LEFTOVERS)


def meaning(name: str) -> Name | None:
    """Return what a file's name means; None if it means nothing."""
    bracketed = _BRACKETED.fullmatch(name)
    if bracketed is not None:
        word, port_text = bracketed[1], bracketed[2]
    elif name.count(":") > 1:
        word, port_text = name, None
    else:
        word, colon, after = name.partition(":")
        port_text = after if colon else None
    port = _port(port_text)
    if port_text is not None and port is None:
        return None
    try:
        address = canonical_address(word)
    except ValueError:
        return Name(host=word.lower(), port=port) if bracketed is None and _is_host(word.lower()) else None
    return Name(address=address, port=port) if bracketed is None or ":" in address else None


def _port(text: str | None) -> int | None:
    return int(text) if text and _PORT.fullmatch(text) and 1 <= int(text) <= _MOST_PORT else None


def _is_host(text: str) -> bool:
    """Return whether a text may be a host's name. Misspelt and short forms of IPv4 addresses ("10.1") are none."""
    labels = text.removesuffix(".").split(".")
    if len(text) > _LONGEST_HOST or labels[-1].isdigit() or not all(map(_LABEL.fullmatch, labels)):
        return False
    try:
        socket.inet_aton(text)
    except OSError:
        return True
    return False


class MaintenanceFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the folder."""

    path: str
    """Printable, for the operator."""
    since: float
    """When it was made or last changed."""
    seen: float
    """Since when this daemon drains what it means."""
    host: str = ""
    """The host's name that it bears; empty if it bears an address, or nothing that could be understood."""
    port: int | None = None
    """None for all ports."""
    addresses: tuple[str, ...] = ()
    """What it drains."""
    problem: str = ""
    """Why it drains nothing, or no longer what it should; empty if nothing is known to be wrong."""

    @property
    def places(self) -> tuple[str, ...]:
        """What it drains, in the operator's words: addresses, with the port if there is one."""
        if self.port is None:
            return self.addresses
        return tuple([str(Endpoint(each, self.port)) for each in self.addresses])


def new_file(path: str, name: str, since: float, seen: float) -> MaintenanceFile:
    """Describe a file that has just been found.

    path: printable.
    """
    meant = meaning(name)
    if meant is None:
        return MaintenanceFile(path=path, since=since, seen=seen, problem=NO_NAME)
    return MaintenanceFile(
        path=path,
        since=since,
        seen=seen,
        host=meant.host,
        port=meant.port,
        addresses=(meant.address,) if meant.address else (),
        problem=PENDING if meant.host else "",
    )


def with_addresses(file: MaintenanceFile, resolved: Resolved | None) -> MaintenanceFile:
    """Return a file that bears a host's name, with what the resolver says of it now.

    When the name cannot be resolved any more, the file goes on draining what it drained.

    resolved: None if it has not been asked yet.
    """
    if resolved is None:
        return file
    if not resolved.problem:
        addresses, problem = resolved.addresses, ""
    elif file.addresses:
        addresses = file.addresses
        problem = f"{resolved.problem}; it goes on draining {', '.join(addresses)}, which the name meant before"
    else:
        addresses, problem = (), resolved.problem
    if (addresses, problem) == (file.addresses, file.problem):
        return file
    return msgspec.structs.replace(file, addresses=addresses, problem=problem)


class Drain(NamedTuple):
    """Since when a server is drained, and until when its connections may live."""

    since: float
    deadline: float | None = None
    """None for as long as they like."""


class Folder:
    """What the files of the folder say, at one moment.

    files: the files by their paths.
    """

    def __init__(self, files: Mapping[str, MaintenanceFile]) -> None:
        self.files = files
        self.saved = tuple(
            [
                SavedDrain(path=file.path, since=file.since, host=file.host, port=file.port, addresses=file.addresses)
                for file in files.values()
                if file.addresses
            ]
        )
        """What a restart needs to know while the folder cannot be read."""
        self._by_place: dict[tuple[str, int | None], list[MaintenanceFile]] = defaultdict(list)
        for file in files.values():
            for address in file.addresses:
                self._by_place[address, file.port].append(file)

    def of(self, server: DestinationKey) -> list[MaintenanceFile]:
        """Return the files that drain a server."""
        if not self._by_place:
            return []
        alike, own = (server.address, None), (server.address, server.port)
        return [*self._by_place.get(alike, ()), *self._by_place.get(own, ())]

    def touched(self, before: "Folder") -> frozenset[str]:
        """Return the addresses about which this says something else than before."""
        changed = {path for path in {*self.files, *before.files} if self.files.get(path) is not before.files.get(path)}
        both = [folder.files[path] for folder in (self, before) for path in changed if path in folder.files]
        return frozenset(address for file in both for address in file.addresses)


NOTHING = Folder({})


def restored(saved: Iterable[SavedDrain], now: float) -> Folder:
    """Return what the folder said before a restart."""
    return Folder(
        {
            each.path: MaintenanceFile(
                path=each.path,
                since=max(0.0, min(each.since, now)),
                seen=now,
                host=each.host,
                port=each.port,
                addresses=each.addresses,
            )
            for each in saved
        }
    )


MOST_SHOWN = 20
"""How many files that drain nobody a status names."""


class Maintenance:
    """What the maintenance folder says now."""

    def __init__(self) -> None:
        self.folder = NOTHING
        self.error = ""
        """Why it cannot be read, so that what it said before is in force; empty while it can."""
        self.drains: dict[str, int] = {}
        """How many configured servers each file drains, by its path, if it drains any."""
        self.unused: dict[str, str] = {}
        """Why a file drains nothing, or not what it should, by its path."""

    @property
    def complaints(self) -> tuple[str, ...]:
        """What is wrong with files, in words. If they are many, the last entry says how many more there are."""
        shown = [f"{path}: {why}" for path, why in itertools.islice(self.unused.items(), MOST_SHOWN)]
        more = len(self.unused) - len(shown)
        return (*shown, f"and {more} more: lvs-healthd status --overrides") if more else tuple(shown)

    def drain_of(self, server: DestinationKey) -> Drain | None:
        """Return since when files drain a server; None if none do."""
        files = self.folder.of(server)
        return Drain(min(each.seen for each in files)) if files else None

    def in_words(self, server: DestinationKey) -> str:
        """Say which files drain a server and since when: "drained by the file …"; empty for none."""
        files = self.folder.of(server)
        if not files:
            return ""
        named = " and ".join(f"{each.path} since {utc(each.since)}" for each in files)
        return f"drained by the file{'s' if len(files) > 1 else ''} {named}"

    def still_drained(self, server: DestinationKey) -> str:
        """Say what an operator who enables a server has to do besides; empty for nothing."""
        files = self.folder.of(server)
        if not files:
            return ""
        named = " and ".join(each.path for each in files)
        what, them = ("the file", "that file") if len(files) == 1 else ("the files", "those files")
        unread = f" (the folder cannot be read now: {self.error})" if self.error else ""
        return f"{server} is still drained by {what} {named}: remove {them} to end that{unread}"
