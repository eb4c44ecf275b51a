"""Reads and writes the state file: a JSON file with the verdicts, their reasons, and the daemon's own services.

The kernel's table shows which servers serve, and this file adds what the kernel cannot know. The file is replaced by a
rename, so a crash leaves either the old file or the new one. A file whose content is unusable is renamed, and not lost.
A checksum at its end tells of damage that leaves valid JSON.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from lvs_healthd.ipvs.records import DestinationKey, ServiceKey
from lvs_healthd.state import checksum, safe_file
from lvs_healthd.state.safe_file import StateFileError, read_regular, replace_file

FORMAT = 1


class SavedFlaps(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What is remembered of a server that flaps. Times are Unix time. `health.damping` says what the fields mean."""

    falls: tuple[float, ...] = ()
    since: float | None = None
    last: float = 0.0
    holds: int = 0
    until: float | None = None


class SavedVerdict(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """The last known verdict of one check."""

    service: str
    server: str
    check: str
    verdict: str
    detail: str
    since: float
    """When the verdict was reached, Unix time."""
    asks: tuple[int, bool] | None = None
    """The weight that the target has asked for last in this check: the value, and whether it is a percentage."""
    flaps: SavedFlaps | None = None
    """With the first check of a server: what is remembered of the server's falls."""
    rising: float | None = None
    """With the first check of a server that has not its whole weight yet: when its slow start began, Unix time."""


class SharedService(msgspec.Struct, frozen=True):
    """A service in which somebody else may also have servers."""

    service: ServiceKey
    servers: tuple[DestinationKey, ...]
    """The daemon's own servers in the service. The daemon never removes any others."""


class Lease(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A number of a range, such as a firewall mark, and who holds it (see `plan.leases`)."""

    holder: str
    number: int
    until: float = 0.0
    """When a number that was given back has rested enough; 0 while it is held."""


class SavedDrain(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A file of the maintenance folder and what it drained, for a restart while the folder cannot be read."""

    path: str
    since: float
    """When the file was made or last changed, Unix time."""
    host: str = ""
    """The host's name that it bears; empty if it bears an address."""
    port: int | None = None
    addresses: tuple[str, ...]


class SavedPlace(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An address that the daemon has put on an interface, so that BGP announces it."""

    interface: str
    address: str


class Ours(msgspec.Struct, frozen=True):
    """What belongs to the daemon: its part of the kernel's table, addresses, and the marks and ports of path probes.

    Also what the maintenance folder drained, which must not be put back while the folder cannot be read.
    """

    services: frozenset[ServiceKey] = frozenset()
    shared: tuple[SharedService, ...] = ()
    path_marks: tuple[Lease, ...] = ()
    path_ports: tuple[Lease, ...] = ()
    maintenance: tuple[SavedDrain, ...] = ()
    announced: tuple[SavedPlace, ...] = ()


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the state file."""

    format: int = FORMAT
    owned: tuple[ServiceKey, ...] = ()
    """The services that the daemon has created or taken over. When they leave the configuration, they are deleted from
    the kernel's table; other services never are."""
    shared: tuple[SharedService, ...] = ()
    path_marks: tuple[Lease, ...] = ()
    """The firewall marks of path probes, by the ways that they stand for."""
    path_ports: tuple[Lease, ...] = ()
    """The source ports of path probes over udp."""
    maintenance: tuple[SavedDrain, ...] = ()
    """The files of the maintenance folder that drained servers."""
    announced: tuple[SavedPlace, ...] = ()
    """The addresses that the daemon has put on interfaces. When they leave the configuration, they are taken off."""
    verdicts: tuple[SavedVerdict, ...] = ()
    written: float = 0.0
    """The latest time at which the file was written, Unix time. One without it has that of the file system instead."""
    checksum: str = ""
    """See `state.checksum`. Files of older versions have none."""

    def by_check(self) -> dict[tuple[str, str, str], SavedVerdict]:
        """Index the verdicts by service, server and check name."""
        return {(verdict.service, verdict.server, verdict.check): verdict for verdict in self.verdicts}


def read_state(path: Path, *, put_aside: bool = True) -> Saved:
    """Read the state file. A file that does not exist counts as empty.

    put_aside: whether to rename an unusable file to NAME.bad. Pass False when another process owns the file.

    Raises `StateFileError` when the file cannot be read or its content is unusable.
    """
    rescue = safe_file.put_aside if put_aside else _left_alone
    try:
        content, modified = read_regular(path)
    except FileNotFoundError:
        return Saved()
    except OSError as error:
        raise StateFileError(f"{path}: cannot read: {error.strerror}; starting without saved reasons") from error
    try:
        saved = msgspec.json.decode(content, type=Saved)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StateFileError(f"{path}: not a state file ({error}); {rescue(path)}") from error
    if saved.format != FORMAT:
        raise StateFileError(f"{path}: format {saved.format}, this version knows {FORMAT}; {rescue(path)}")
    if not checksum.fits(content, saved.checksum):
        raise StateFileError(f"{path}: damaged: its checksum does not fit; {rescue(path)}")
    return msgspec.structs.replace(saved, written=saved.written or modified, checksum="")


def write_state(path: Path, ours: Ours, verdicts: Iterable[SavedVerdict], written: float = 0.0) -> None:
    """Replace the state file.

    written: the time to write into it, Unix time; 0 to leave it to the file system.

    Raises `StateFileError`.
    """
    content = checksum.summed(_content(ours, verdicts, written))
    replace_file(path, content, "reasons and ownership will not survive a restart")


def _content(ours: Ours, verdicts: Iterable[SavedVerdict], written: float) -> Iterator[bytes]:
    """Encode the content of the file in pieces, one line for each verdict, up to its checksum.

    A single call that encodes fifty thousand verdicts would hold the interpreter until it is done, and so block the
    event loop.
    """
    encode = msgspec.json.Encoder().encode
    yield b'{"format":%d,\n"written":%b,\n"owned":%b,\n"shared":%b,\n' % (
        FORMAT,
        encode(written),
        encode(sorted(ours.services)),
        encode(ours.shared),
    )
    if ours.path_marks or ours.path_ports:
        yield b'"path_marks":%b,\n"path_ports":%b,\n' % (encode(ours.path_marks), encode(ours.path_ports))
    if ours.maintenance:
        yield b'"maintenance":%b,\n' % encode(ours.maintenance)
    if ours.announced:
        yield b'"announced":%b,\n' % encode(ours.announced)
    yield b'"verdicts":['
    for number, verdict in enumerate(verdicts):
        yield b",\n" if number else b"\n"
        yield encode(verdict)
    yield b"\n]"


def _left_alone(_path: Path) -> str:
    return "left as it is"
