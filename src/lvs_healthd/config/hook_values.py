"""Parses the values of hooks: where to tell, and of which events."""

import fnmatch
import re
import urllib.parse
from collections.abc import Callable

from lvs_healthd.config import exec_values
from lvs_healthd.config.errors import Problem, WrongValueError, expected
from lvs_healthd.config.shapes import shape_of, shaped
from lvs_healthd.config.values import did_you_mean, listed, string
from lvs_healthd.events.kinds import EVENTS

SELECTABLE = tuple(event.name for event in EVENTS if not event.name.startswith("hook."))
"""The events that a hook can be told of. It is not told of what becomes of hooks, because that could go on for ever."""

_MAILBOX = re.compile(r"[^\s@<>,;:\"()\[\]\\\x00-\x1f\x7f]+(@[^\s@<>,;:\"()\\\x00-\x1f\x7f]+)?")
_RELAY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]]+)):([0-9]{1,5})")
_STATUSES = re.compile(r"([0-9]{1,3})(?:-([0-9]{1,3}))?")
_LAST_STATUS = 255


def matching(pattern: str) -> frozenset[str]:
    """Return the names of events that a name, perhaps with wildcards, means."""
    return frozenset(fnmatch.filter(SELECTABLE, pattern))


@shaped("the name of an event", type="string", minLength=1)
def _event(value: object) -> str:
    text = string(value)
    if text.startswith("hook."):
        raise WrongValueError(Problem((), "no hook is told of what becomes of hooks; see the log and the metrics"))
    if not matching(text):
        raise expected("the name of an event of docs/logs.md", value, did_you_mean(text, SELECTABLE))
    return text


@shaped('a name, or a pattern such as "web*"', type="string", minLength=1)
def _pattern(value: object) -> str:
    text = string(value)
    if not text or not text.isprintable():
        raise expected('a name, or a pattern such as "web*"', value)
    return text


events = listed(_event, 'a list of events such as ["real_server.down", "service.*"]')
"""Parses names of events."""

patterns = listed(_pattern, 'a list of names or patterns such as ["web*"]')
"""Parses names of services or servers."""


@shaped("a list of words", **shape_of(exec_values.command).schema)
def command(value: object) -> tuple[str, ...]:
    """Parse a program with its arguments. It has a path, because it is not looked for."""
    words = exec_values.command(value)
    if not words[0].startswith("/"):
        raise expected("the absolute path of a program", words[0], at=(0,))
    return words


@shaped("a URL", type="string", pattern="^https?://")
def url(value: object) -> str:
    """Parse the address of a webhook."""
    text = string(value)
    error = expected('a URL such as "https://hooks.example.org/lvs"', value)
    if not text.isprintable() or " " in text:
        raise error
    try:
        parts = urllib.parse.urlsplit(text)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
            raise error
    except ValueError:
        raise error from None
    if "@" in parts.netloc:
        # The text may be shown to others, and the secret with it.
        raise WrongValueError(Problem((), "expected a URL without a password; sign requests with secret_file"))
    return text


@shaped('an address such as "oncall@example.org"', type="string", minLength=1)
def _mailbox(value: object) -> str:
    text = string(value)
    if not _MAILBOX.fullmatch(text):
        raise expected('an address such as "oncall@example.org"', value)
    return text


mailbox: Callable[[object], str] = _mailbox
"""Parses one mail address, without a name."""

_mailboxes = listed(_mailbox, 'an address, or a list such as ["oncall@example.org"]')


@shaped("an address, or a list", anyOf=[shape_of(_mailbox).schema, shape_of(_mailboxes).schema])
def mailboxes(value: object) -> tuple[str, ...]:
    """Parse one mail address, or a list of them."""
    return _mailboxes([value] if isinstance(value, str) else value)


@shaped("a name", type="string")
def user(value: object) -> str:
    """Parse the name with which to authenticate to a relay, or "" for none."""
    text = string(value)
    if not text.isprintable():
        raise expected("a name without control characters", value)
    return text


@shaped('a host and port such as "mail.example.org:25"', type="string", pattern=":[0-9]{1,5}$")
def relay(value: object) -> str:
    """Parse the name or address of a mail server, with its port."""
    text = string(value)
    match = _RELAY.fullmatch(text)
    if match is None or not 0 < int(match[3]) < 65536 or not text.isprintable():
        raise expected('a host and port such as "mail.example.org:25"', value)
    return text


@shaped('a status such as "1", or a range such as "3-5"', type="string", pattern=f"^{_STATUSES.pattern}$")
def _range(value: object) -> tuple[int, int]:
    match = _STATUSES.fullmatch(value) if isinstance(value, str) else None
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= first <= last <= _LAST_STATUS:
        raise expected(f'a status such as "1" or a range such as "3-5", from 1 to {_LAST_STATUS}', value)
    return first, last


exit_statuses = listed(_range, 'a list of exit statuses such as ["1", "3-5"]')
"""Parses exit statuses: a list of numbers and ranges."""


def is_meant(name: str, pattern: str) -> bool:
    """Return whether a name is meant by another name, or by a pattern. Case matters.

    The bracket of an IPv6 address is no wildcard.
    """
    if name == pattern:
        return True
    pattern = f"[[]{pattern[1:]}" if pattern.startswith("[") and name.startswith("[") else pattern
    return fnmatch.fnmatchcase(name, pattern)
