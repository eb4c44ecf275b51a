"""Decodes a body that a server has compressed (RFC 9110, section 8.4), within limits. Sans-I/O."""

import zlib

from lvs_healthd.probes.http_answer import AnswerError

MOST_DECODED = 1024 * 1024
"""The largest body that is decoded, bytes, even if `max_body` is larger. A server need not send more than a thousandth
of it, so it may arrive all at once. Decoding and examining it then takes up to 5 ms of CPU."""

_DECODED = ("gzip", "x-gzip", "deflate")
_MAGIC_BYTES = 2
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
"""Makes zlib tell by the first bytes which of the two it is. RFC 9110 calls zlib's format deflate."""


def unknown_coding(values: list[bytes]) -> str:
    """Return the coding of a body that cannot be decoded here; empty when it can.

    values: the values of the Content-Encoding header.
    """
    codings = _codings(values)
    return "" if not codings or (len(codings) == 1 and codings[0] in _DECODED) else ", ".join(codings)


def decoder(values: list[bytes], most: int) -> "Decoder | None":
    """Return the decoder for a body; None when the body is not encoded.

    values: the values of the Content-Encoding header, of which `unknown_coding` has found none unknown.
    most: how many bytes of the decoded body are needed at most.
    """
    codings = _codings(values)
    return Decoder(most, may_be_plain=codings != ["deflate"]) if codings else None


def _codings(values: list[bytes]) -> list[str]:
    written = b",".join(values).decode("latin-1").lower().split(",")
    return [coding for each in written if (coding := each.strip()) not in {"", "identity"}]


class Decoder:
    """Decodes one body, up to one byte beyond `most`. That byte shows that the body goes on.

    What follows the end of the compressed data is ignored, as in browsers.

    may_be_plain: whether to pass on a body as it is that does not begin like compressed data, as curl does. Some
        servers send deflate without zlib's beginning, so there it would not show that the body is plain.
    """

    __slots__ = ("_is_plain", "_left", "_may_be_plain", "_start", "_zlib", "is_complete")

    def __init__(self, most: int, *, may_be_plain: bool = True) -> None:
        self._may_be_plain = may_be_plain
        self._zlib = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._left = most + 1
        self._start = b""
        """The first bytes, until there are enough of them."""
        self._is_plain: bool | None = None
        """Whether the body is not compressed; None until that is known."""
        self.is_complete = False
        """Whether the compressed data has ended."""

    @property
    def is_plain(self) -> bool:
        """Whether nothing that looks like compressed data has arrived, so that the body ends as others do."""
        return self._is_plain is not False

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the encoded body, and return those of the decoded one.

        Raises `AnswerError` for bytes that are not compressed as the header says.
        """
        if self._is_plain is None:
            data = self._start = self._start + data
            if len(data) < _MAGIC_BYTES:
                return b""
            self._is_plain = self._may_be_plain and not _is_compressed(data)
        if self._is_plain:
            return data
        if not data or not self._left or self.is_complete:
            return b""
        try:
            decoded = self._zlib.decompress(data, self._left)
        except zlib.error as error:
            raise AnswerError(f"not compressed as Content-Encoding says ({_reason(error)})", data) from error
        self._left -= len(decoded)
        self.is_complete = self._zlib.eof
        return decoded

    def rest(self) -> bytes:
        """Return what was held back of a body that ends before it shows whether it is compressed."""
        return self._start if self._is_plain is None else b""


def _is_compressed(start: bytes) -> bool:
    """Return whether a body begins like gzip (RFC 1952, section 2.3.1) or zlib (RFC 1950, section 2.2)."""
    return start.startswith(b"\x1f\x8b") or (start[0] & 0x0F == zlib.DEFLATED and int.from_bytes(start[:2]) % 31 == 0)


def _reason(error: zlib.error) -> str:
    return str(error).rpartition(": ")[2]
