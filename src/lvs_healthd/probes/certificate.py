"""Reads from a server's certificate when it ends and for whom it is, even if the certificate was not verified.

Python decodes only verified certificates (`SSLObject.getpeercert`). Of other certificates it returns only the bytes. So
this module finds both in the bytes, by skipping the fields before them (RFC 5280, section 4.1; X.690 for the encoding).
"""

import datetime as dt
import hashlib
import ipaddress
from collections.abc import Iterator

_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
_EXTENSIONS, _BOOLEAN, _OCTETS = 0xA3, 0x01, 0x04
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
_ALTERNATIVE_NAMES = bytes.fromhex("0603551d11")
"""The object identifier of the extension subjectAltName, 2.5.29.17 (RFC 5280, section 4.2.1.6)."""

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
        position, _ = _opened(der, _validity(der), _SEQUENCE)
        position = _after(der, position)  # notBefore
        begin, end = _content(der, position)
        return _time(der[position], der[begin:end].decode("ascii"))
    except (IndexError, ValueError):
        return None


def read_names(der: bytes) -> tuple[str, ...]:
    """Return the DNS names (in lower case) and IP addresses for which a certificate is valid; none if it is malformed.

    The common name does not count: clients ignore it (RFC 9110, section 4.3.4).

    der: the certificate, in DER.
    """
    try:
        position, end = _opened(der, 0, _SEQUENCE)  # Certificate
        _, end = _opened(der, position, _SEQUENCE)  # TBSCertificate
        position = _validity(der)
        for _ in ("validity", "subject", "subjectPublicKeyInfo"):
            position = _after(der, position)
        while position < end and der[position] != _EXTENSIONS:
            position = _after(der, position)
        if position >= end:
            return ()
        position, end = _opened(der, position, _EXTENSIONS)
        names: list[str] = []
        for start, _ in _elements(der, *_opened(der, position, _SEQUENCE)):
            names += _alternative_names(der, start)
        return tuple(names)
    except (IndexError, ValueError):
        return ()


def _validity(der: bytes) -> int:
    """Return where a certificate's validity begins. Raises as `_content` does."""
    position, _ = _opened(der, 0, _SEQUENCE)  # Certificate
    position, _ = _opened(der, position, _SEQUENCE)  # TBSCertificate
    if der[position] == _VERSION:
        position = _after(der, position)
    for _ in ("serialNumber", "signature", "issuer"):
        position = _after(der, position)
    return position


def _alternative_names(der: bytes, position: int) -> Iterator[str]:
    """Yield the names of the extension at `position`, if it has any."""
    position, _ = _opened(der, position, _SEQUENCE)
    if not der.startswith(_ALTERNATIVE_NAMES, position):
        return
    position += len(_ALTERNATIVE_NAMES)
    if der[position] == _BOOLEAN:  # whether it is critical
        position = _after(der, position)
    position, _ = _opened(der, position, _OCTETS)
    for start, _ in _elements(der, *_opened(der, position, _SEQUENCE)):
        begin, end = _content(der, start)
        if der[start] == _DNS_NAME:
            yield der[begin:end].decode("ascii").lower()
        elif der[start] == _IP_ADDRESS:
            yield str(ipaddress.ip_address(der[begin:end]))


def _elements(der: bytes, position: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where each element from `position` to `end` begins and ends."""
    while position < end:
        yield position, _after(der, position)
        position = _after(der, position)


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
