"""Reads the maintenance folder, and asks the system's resolver about hosts. Both may block, so they run on threads."""

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping

from lvs_healthd.config.basics import canonical_address
from lvs_healthd.decide.maintenance import Folder, MaintenanceFile, Resolved, counts, new_file, with_addresses
from lvs_healthd.runtime.exceptions import HostError
from lvs_healthd.runtime.printable import printable

MOST_FILES = 10_000
"""How many entries the folder may have, so that something that fills it by mistake cannot keep a thread busy."""


class CrowdedError(HostError):
    """Raised when the folder has more entries than `MOST_FILES`."""


def look(folder: str, known: Folder, resolved: Mapping[str, Resolved], now: float) -> tuple[Folder, frozenset[str]]:
    """Read the folder. Return what it says, and the addresses about which that is something else than before.

    If nothing has changed, what is known is returned, the same object.

    resolved: the hosts that the resolver has been asked about.
    now: Unix time.

    Raises `OSError` and `CrowdedError`.
    """
    found = {file.path: file for file in _files(folder, known, resolved, now)}
    if len(found) == len(known.files) and all(known.files.get(path) is file for path, file in found.items()):
        return known, frozenset()
    after = Folder(found)
    return after, after.touched(known)


def _files(folder: str, known: Folder, resolved: Mapping[str, Resolved], now: float) -> Iterator[MaintenanceFile]:
    with os.scandir(folder) as scanned:
        entries: list[os.DirEntry[str]] = []
        for entry in scanned:
            entries.append(entry)
            if len(entries) > MOST_FILES:
                raise CrowdedError(f"it has more than {MOST_FILES} entries")
    for entry in sorted(entries, key=lambda each: each.name):
        if not counts(entry.name) or entry.is_dir(follow_symlinks=False):
            continue
        path = path_in(folder, entry.name)
        file = known.files.get(path) or new_file(path, entry.name, _changed(entry, now), now)
        yield with_addresses(file, resolved.get(file.host)) if file.host else file


def path_in(folder: str, name: str) -> str:
    """Return the path of a file, in printable characters."""
    return printable(os.path.join(folder, name))  # noqa: PTH118  # `Path` takes too long for thousands


def _changed(entry: "os.DirEntry[str]", now: float) -> float:
    """Return when a file came into the folder or was last changed, Unix time.

    That is its inode's change time, because a file that is moved or copied there may keep its time of modification.
    """
    try:
        changed = entry.stat(follow_symlinks=False).st_ctime
    except OSError:  # it has gone, which the next reading finds
        return now
    return max(0.0, min(now, changed))


def resolve(host: str) -> Resolved:
    """Ask the system's resolver for a host's addresses."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return Resolved(problem=f"its name cannot be resolved: {error.strerror}")
    except (OSError, UnicodeError) as error:
        return Resolved(problem=f"its name cannot be resolved: {error}")
    return Resolved(tuple(dict.fromkeys(_plain(str(address[0])) for *_, address in found)))


def _plain(address: str) -> str:
    """Return an address as the kernel's tools print it, without an interface."""
    return canonical_address(address.partition("%")[0])


def resolve_all(
    hosts: Iterable[str], answers: MutableMapping[str, Resolved], ask: Callable[[str], Resolved], longest_s: float
) -> None:
    """Ask about hosts, one after another, until the time is over.

    answers: takes each answer as it comes, so that none is lost when a later one hangs.
    ask: such as `resolve`.
    """
    end = time.monotonic() + longest_s
    for host in hosts:
        answers[host] = ask(host)
        if time.monotonic() >= end:
            return
