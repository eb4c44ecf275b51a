"""Checks of ldap and ldaps: a bind and a search, as bytes (RFC 4511)."""

import re

from lvs_healthd.importers.ldirectord.subject import AskError, Check, Subject

_SEQUENCE, _INTEGER, _OCTETS, _ENUMERATED, _BOOLEAN = 0x30, 0x02, 0x04, 0x0A, 0x01
_BIND, _SEARCH, _PRESENT, _SIMPLE = 0x60, 0x63, 0x87, 0x80
_VERSION = 3
_BASE_OBJECT = 0
"""The scope: only the entry itself."""
_DEREFERENCE_TO_FIND = 2
"""Aliases are followed while the base is looked for, as Net::LDAP asks."""
_NO_ATTRIBUTES = b"1.1"
"""Asks for the entry without its attributes (RFC 4511, section 4.5.1.8). ldirectord asks for all, and reads none."""

_BOUND = r"\A0.{1,5}\x02\x01\x01a.{1,5}\x0a\x01\x00"
_FOUND = r"0.{1,5}\x02\x01\x02d.*0.{1,5}\x02\x01\x02e.{1,5}\x0a\x01\x00"
"""An entry, and then the result `success`, both to message 2."""

_SHORT = 0x80
"""Lengths below this take one byte (X.690, section 8.1.3)."""


def ldap(subject: Subject) -> Check:
    """Return the check of a server of ldap or ldaps: the entry that `request` names must be there."""
    base = subject.request[1:]
    _look_at_receive(subject, base)
    login, password = subject.text("login"), subject.text("passwd")
    if not (login and password):
        login = password = ""
    else:
        subject.note("passwd", "the password is in what send_hex of the check holds")
    steps: list[Check] = [
        {"send_hex": _bind(login, password).hex()},
        {"expect_regex": _BOUND},
        {"send_hex": _search(base).hex()},
        {"expect_regex": _FOUND},
    ]
    check: Check = {"type": "tcp", "name": subject.virtual.service}
    if subject.virtual.service == "ldaps":
        check["verify"] = False
        steps.insert(0, {"starttls": True})
    return check | {"steps": steps}


def _look_at_receive(subject: Subject, base: str) -> None:
    """Compare `receive` with the name of the entry that is found, which is the one that was asked for."""
    if not subject.receive:
        return
    try:
        is_met = re.search(subject.receive, base) is not None
    except re.error:
        is_met = False
    if not is_met:
        raise AskError(
            f"receive is compared with the name of the entry that is found, which is {base!r}: what was meant? Without "
            'receive, or with check = "ldap", this can be checked'
        )


def _bind(name: str, password: str) -> bytes:
    content = _value(_INTEGER, bytes([_VERSION])) + _value(_OCTETS, name.encode()) + _value(_SIMPLE, password.encode())
    return _message(1, _value(_BIND, content))


def _search(base: str) -> bytes:
    content = [
        _value(_OCTETS, base.encode()),
        _value(_ENUMERATED, bytes([_BASE_OBJECT])),
        _value(_ENUMERATED, bytes([_DEREFERENCE_TO_FIND])),
        _value(_INTEGER, b"\0"),
        _value(_INTEGER, b"\0"),
        _value(_BOOLEAN, b"\0"),
        _value(_PRESENT, b"objectClass"),
        _value(_SEQUENCE, _value(_OCTETS, _NO_ATTRIBUTES)),
    ]
    return _message(2, _value(_SEARCH, b"".join(content)))


def _message(number: int, operation: bytes) -> bytes:
    return _value(_SEQUENCE, _value(_INTEGER, bytes([number])) + operation)


def _value(tag: int, content: bytes) -> bytes:
    """Return a value in BER: its tag, its length and its content."""
    length = len(content)
    if length < _SHORT:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, _SHORT | len(size)]) + size + content
