"""Ends a JSON file with a checksum of everything before it, so that damage is noticed that leaves valid JSON.

The checksum is the last field of the object. A reader that does not know the field passes over it. It is a CRC-32,
which finds what disks and file systems do to a file. It does not protect from people: an empty one counts as none, so
that somebody can correct a file by hand.
"""

import zlib
from collections.abc import Iterable, Iterator

_FIELD = b'"checksum":"'


def summed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces of a JSON object, and then its checksum and its end.

    pieces: the object without the brace that closes it. There must be a field before the checksum.
    """
    checksum = 0
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
        yield piece
    yield b",\n%b%08x" % (_FIELD, checksum) + b'"}\n'


def fits(content: bytes, checksum: str) -> bool:
    """Return whether a file's content is what was written, as far as its checksum can tell.

    checksum: the field's value; "" counts as none, and fits.
    """
    end = content.rfind(b",\n" + _FIELD)
    return not checksum or (end >= 0 and checksum == f"{zlib.crc32(memoryview(content)[:end]):08x}")
