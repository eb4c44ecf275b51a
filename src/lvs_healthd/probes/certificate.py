"""Reads from a server's certificate when it ends, even if the certificate was not verified.

Python decodes only verified certificates (`SSLObject.getpeercert`). Of other certificates it returns only the bytes. So
this module finds the end date in the bytes, by skipping the fields before it (RFC 5280, section 4.1; X.690 for the
encoding).
"""

import datetime as dt
import hashlib

_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18

_PIVOT_YEAR = 50
"""A two-digit year from this one on is 19xx, and an earlier one is 20xx (RFC 5280, section 4.1.2.5.1)."""

_MOST_KNOWN = 16384
"""How many certificates are remembered, which takes 200 bytes for each. When there are more, all are forgotten."""

_known: dict[bytes, float | None] = {}


def certificate_end(der: bytes) -> float | None:
    """Return when a certificate ends, Unix time; None if its bytes are malformed.

    Each certificate is read only once. From then on its digest identifies it.

    der: the certificate, in DER.
    """
    digest = hashlib.blake2b(der, digest_size=16).digest()
    try:
        return _known[digest]
    except KeyError:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        end = _known[digest] = read_end(der)
        return end


def read_end(der: bytes) -> float | None:
    """Read when a certificate ends, as `certificate_end` does, but without remembering it."""
    try:
        position, _ = _opened(der, 0, _SEQUENCE)  # Certificate
        position, _ = _opened(der, position, _SEQUENCE)  # TBSCertificate
        if der[position] == _VERSION:
            position = _after(der, position)
        for _ in ("serialNumber", "signature", "issuer"):
            position = _after(der, position)
        position, _ = _opened(der, position, _SEQUENCE)  # Validity
        position = _after(der, position)  # notBefore
        begin, end = _content(der, position)
        return _time(der[position], der[begin:end].decode("ascii"))
    except (IndexError, ValueError):
        return None


def _content(der: bytes, position: int) -> tuple[int, int]:
    """Return where the content of the element at `position` begins and ends. Raises `IndexError` or `ValueError`."""
    length, begin = der[position + 1], position + 2
    if length & 0x80:
        size = length & 0x7F
        if not 0 < size <= 4:  # DER does not allow 0 here, and no certificate has 4 GiB
            raise ValueError("no DER")
        length, begin = int.from_bytes(der[begin : begin + size], "big"), begin + size
    if begin + length > len(der):
        raise ValueError("cut off")
    return begin, begin + length


def _opened(der: bytes, position: int, tag: int) -> tuple[int, int]:
    """Return the same for an element that must have this tag. Raises `ValueError` if it has another."""
    if der[position] != tag:
        raise ValueError("another element")
    return _content(der, position)


def _after(der: bytes, position: int) -> int:
    """Return where the element at `position` ends. Raises as `_content` does."""
    return _content(der, position)[1]


def _time(tag: int, text: str) -> float:
    """Return a time as Unix time. Raises `ValueError` for any form that RFC 5280 does not allow."""
    if tag == _UTC_TIME:
        text = ("19" if int(text[:2]) >= _PIVOT_YEAR else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("no time")
    digits = text.removesuffix("Z")
    if len(text) != len("20500101000000Z") or len(digits) != len(text) - 1 or not digits.isdecimal():
        raise ValueError("no such time")
    month, day, hour, minute, second = (int(digits[at : at + 2]) for at in range(4, len(digits), 2))
    return dt.datetime(int(digits[:4]), month, day, hour, minute, second, tzinfo=dt.UTC).timestamp()
