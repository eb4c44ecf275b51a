"""Reads and writes the file with what has happened to real servers, which `lvs-healthd why` tells.

It is a file of its own beside the state file, because it may be larger than that: the state file would be written with
all of it, every five seconds while anything fails. Nothing depends on it. So an older version leaves it alone, and one
that cannot be read is put aside and counts as empty.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from lvs_healthd.state import checksum
from lvs_healthd.state.safe_file import StateFileError, put_aside, read_regular, replace_file

FORMAT = 1

NAME = "history.json"
"""The name of the file, in the folder of the state file."""


class Happened(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Something that has happened. In a mass failure, thousands of servers share the same object."""

    at: float
    """Unix time."""
    event: str
    """The event's name, such as "real_server.down"."""
    text: str
    """What happened, in words."""


class Place(NamedTuple):
    """Whom something is about."""

    service: str
    """The service's key; "*" for a machine in all services, "" for what is about the whole table or a way."""
    server: str
    """address:port, or the machine's address; "" for the service itself or the whole table, or the name of a way."""


Past = Mapping[Place, tuple[Happened, ...]]
"""What has happened, the oldest first."""


class _Line(msgspec.Struct, frozen=True, array_like=True, gc=False):
    service: str
    server: str
    entries: tuple[int, ...]
    """Places in the list of entries."""


class _File(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    entries: tuple[Happened, ...] = ()
    """Each entry once, because many servers may share it."""
    past: tuple[_Line, ...] = ()
    checksum: str = ""


def history_beside(state: str) -> Path:
    """Return the path of the file that belongs to a state file."""
    return Path(state).with_name(NAME)


def read_history(path: Path, *, rescue: bool = True) -> Past:
    """Read the file. One that does not exist counts as empty. This blocks.

    rescue: whether to rename an unusable file to NAME.bad. Pass False when another process owns the file.

    Raises `StateFileError` when the file cannot be read or its content is unusable.
    """
    try:
        content, _ = read_regular(path)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StateFileError(f"{path}: cannot read: {error.strerror}; {_LOST}") from error
    try:
        file = msgspec.json.decode(content, type=_File)
        wrong = _wrong(file, content)
        if not wrong:
            return dict(_past(file))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, IndexError) as error:
        wrong = f"no file of history ({error})"
    what = put_aside(path) if rescue else "left as it is"
    raise StateFileError(f"{path}: {wrong}; {what}; {_LOST}")


_LOST = "`why` begins with an empty history"


def _wrong(file: _File, content: bytes) -> str:
    if file.format != FORMAT:
        return f"format {file.format}, this version knows {FORMAT}"
    return "" if checksum.fits(content, file.checksum) else "damaged: its checksum does not fit"


def _past(file: _File) -> Iterator[tuple[Place, tuple[Happened, ...]]]:
    entries = [Happened(each.at, sys.intern(each.event), sys.intern(each.text)) for each in file.entries]
    for service, server, numbers in map(msgspec.structs.astuple, file.past):
        if numbers and min(numbers) < 0:
            raise IndexError(f"no entry {min(numbers)}")
        yield Place(sys.intern(service), server), tuple([entries[number] for number in numbers])


def write_history(path: Path, past: Iterable[tuple[Place, tuple[Happened, ...]]]) -> None:
    """Replace the file. This blocks. Raises `StateFileError`."""
    replace_file(path, checksum.summed(_content(list(past))), "the history will not survive a restart")


def _content(past: Iterable[tuple[Place, tuple[Happened, ...]]]) -> Iterator[bytes]:
    """Encode the content in pieces, one line for each entry and each server, up to its checksum.

    A single call would hold the interpreter until it is done, and so block the event loop.
    """
    encode = msgspec.json.Encoder().encode
    numbers: dict[int, int] = {}
    yield b'{"format":%d,\n"entries":[' % FORMAT
    for _, entries in past:
        for entry in entries:
            if id(entry) not in numbers:
                yield b",\n" if numbers else b"\n"
                yield encode(entry)
                numbers[id(entry)] = len(numbers)
    yield b'\n],\n"past":['
    for number, (place, entries) in enumerate(past):
        yield b",\n" if number else b"\n"
        yield encode((*place, [numbers[id(entry)] for entry in entries]))
    yield b"\n]"
