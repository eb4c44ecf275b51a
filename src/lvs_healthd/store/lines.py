"""Splits a stream into lines. Pure.

aiohttp's own reading by lines ends with an error at 512 KiB, and one change in etcd may be larger: a value of 1.5 MiB
is a line of more than 2 MiB.
"""

LONGEST = 32 * 1024 * 1024
"""The longest line, bytes: many changes that come at once after a break."""


class LongLineError(Exception):
    """Raised when a line does not end."""


class LineSplitter:
    """Takes bytes as they arrive, and returns whole lines without their ends.

    longest: the longest line, bytes.
    """

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self._begun: list[bytes] = []
        self._size = 0

    def take(self, data: bytes) -> list[bytes]:
        """Return the lines that end in these bytes. Empty lines are left out. Raises `LongLineError`."""
        *ended, rest = data.split(b"\n")
        lines = []
        for each in ended:
            self._add(each)
            line = b"".join(self._begun).removesuffix(b"\r")
            self._begun, self._size = [], 0
            if line:
                lines.append(line)
        self._add(rest)
        return lines

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._longest:
            raise LongLineError
        if piece:
            self._begun.append(piece)
