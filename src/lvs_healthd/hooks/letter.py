"""Writes mail about events: what has happened in the subject, and every field in the text."""

import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

import msgspec

from lvs_healthd.config.hook_model import Mail
from lvs_healthd.hooks.digest import Gathered
from lvs_healthd.hooks.facts import Told, about
from lvs_healthd.runtime.printable import printable

LONGEST_SUBJECT = 200
"""The longest subject, characters."""
_MOST_TEXT = 256 * 1024
"""The longest text, characters."""

_LONGEST_LINE = 900
"""The longest line that is sent as it is, characters. SMTP allows 998 (RFC 5322, section 2.1.1)."""

_NOT_A_NAME = re.compile(r"[^A-Za-z0-9.-]")


def letter(mail: Mail, gathered: Gathered) -> EmailMessage:
    """Return the mail about one event or several."""
    host = os.uname().nodename
    message = EmailMessage()
    message["From"] = mail.sender
    message["To"] = ", ".join(mail.to)
    message["Subject"] = printable(f"[{host}] {_subject(gathered)}")[:LONGEST_SUBJECT]
    message["Date"] = formatdate(gathered.events[-1].at)
    message["Message-ID"] = make_msgid(domain=_NOT_A_NAME.sub("-", host) or "localhost")
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no absence notes in return
    lines = list(_text(gathered))
    text = "\n".join(lines) + "\n"
    # So it can be read as it is, and searched, wherever it is kept.
    is_plain = text.isascii() and max(map(len, lines)) <= _LONGEST_LINE
    message.set_content(text, cte="7bit" if is_plain else None)
    return message


def _subject(gathered: Gathered) -> str:
    if gathered.total == 1:
        event = gathered.events[0].event
        reason = getattr(event, "reason", "") or getattr(event, "cause", "")
        return f"{about(event)}: {reason}" if reason else about(event)
    return ", ".join(f"{count} {name}" for name, count in gathered.counts.items())


def _text(gathered: Gathered) -> Iterable[str]:
    left, named = _MOST_TEXT, 0
    for told in gathered.events:
        line = _line(told)
        left -= len(line)
        if left < 0:
            break
        named += 1
        yield line
    if gathered.total > named:
        yield f"and {gathered.total - named} more: journalctl -u lvs-healthd"


def _line(told: Told) -> str:
    at = datetime.fromtimestamp(told.at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    fields = msgspec.structs.asdict(told.event)
    words = (f"{name}={value}" for name, value in fields.items() if value not in (None, "", ()))
    return printable(f"{at} {told.event.level} {told.event.name}  {'  '.join(words)}")
