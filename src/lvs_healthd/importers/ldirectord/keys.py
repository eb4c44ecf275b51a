r"""The keys of a file and what their values may be, as `read_config` of ldirectord 4.12.0 takes them.

Each rule gets what follows `key =` on its line. It returns what the program takes of it, or raises `WrongLineError`
with the program's own message. Where the program takes only a part of a value, and the rest looks as if it was meant
too, the rule raises `QuestionError`.
"""

import ipaddress
import re
from collections.abc import Callable

from lvs_healthd.importers.ldirectord.names import MOST_PORT

SERVICES = frozenset(
    {"dns", "ftp", "http", "https", "http_proxy", "imap", "imaps", "ldap", "ldaps", "nntp", "mysql", "none", "oracle"}
    | {"pop", "pops", "radius", "pgsql", "sip", "smtp", "submission", "simpletcp"}
)
_CHECK_TYPES = frozenset({"connect", "negotiate", "ping", "off", "on", "external", "external-perl"})
_ALERT_STATUS = frozenset({"none", "all", "starting", "stopping", "running", "reloading"})
MOST_DIGITS = 18
"""Longer numbers are mistakes, and Perl does not keep all of their digits."""

_SECONDS = re.compile(r"\d+\s*(?:s|secs?|seconds?)?", re.ASCII | re.IGNORECASE)
_TIMES = frozenset({"checktimeout", "negotiatetimeout", "checkinterval", "persistent", "emailalertfreq"})


class WrongLineError(Exception):
    """Raised for a line that the program refuses. The message says why, in its words."""


class UnknownError(Exception):
    """Raised for a value of a form that makes the program take the whole line for an unknown command."""


class QuestionError(Exception):
    """Raised for a value of which the program takes less than its writer must have meant.

    taken: what the program takes.
    """

    def __init__(self, taken: str, text: str) -> None:
        super().__init__(text)
        self.taken = taken


Rule = Callable[[str], str]


def unknown(_value: str) -> str:
    """Raise `UnknownError`: the rule of keys that there are not."""
    raise UnknownError


def first_digits(key: str, wrong: str, *, least: int = 0, most: int | None = None) -> Rule:
    """Return the rule of a number: the program takes the first digits, wherever they are.

    wrong: the message for a value without digits, or out of bounds.
    """

    def rule(value: str) -> str:
        found = re.search(r"\d+", value, re.ASCII)
        if (
            found is None
            or (least and found[0] == "0")
            or (most and len(found[0]) <= MOST_DIGITS and int(found[0]) > most)
        ):
            raise WrongLineError(wrong)
        if len(found[0]) > MOST_DIGITS:
            raise QuestionError(found[0], f"{key} has {len(found[0])} digits: what was meant?")
        if int(found[0]) < least:  # to Perl, "00" is true
            raise QuestionError(found[0], f"{key}={found[0]} is 0 to ldirectord, and it goes on: what was meant?")
        plain = re.sub(r"\s+#.*", "", value).strip()
        if not (_SECONDS if key in _TIMES else re.compile(r"\d+", re.ASCII)).fullmatch(plain):
            unit = " s" if key in _TIMES else ""
            raise QuestionError(found[0], f"{key}={plain} is {int(found[0])}{unit} to ldirectord: what was meant?")
        return found[0]

    return rule


def _quoted(wrong: str) -> Rule:
    def rule(value: str) -> str:
        found = re.match(r'"(.*)"', value)
        if found is None:
            raise UnknownError
        if not found[1]:
            raise WrongLineError(wrong)
        _ask_about(value, found[1], value[found.end() :])
        return found[1]

    return rule


def _quoted_or_empty(value: str) -> str:
    found = re.match(r'"(.*)"', value)
    if found is None:
        raise UnknownError
    return found[1]


def _maybe_quoted(wrong: str) -> Rule:
    def rule(value: str) -> str:
        found = re.match(r'"(.*)"', value)
        taken = found[1] if found else value
        if not taken:
            raise WrongLineError(wrong)
        return taken

    return rule


def _word(pattern: str, wrong: str, accepted: Callable[[str], bool] = lambda _: True) -> Rule:
    """Return the rule of a word: the program takes what first matches, wherever it is."""

    def rule(value: str) -> str:
        found = re.search(pattern, value, re.ASCII)
        if found is None or not accepted(found[0]):
            raise WrongLineError(wrong)
        _ask_about(value, found[0], value[: found.start()] + value[found.end() :])
        return found[0]

    return rule


def _ask_about(value: str, taken: str, rest: str) -> None:
    if re.search(r"\w", re.sub(r"\s+#.*", "", rest)):
        raise QuestionError(taken, f"ldirectord takes only {taken!r} of {value.strip()!r}: what was meant?")


def _load(value: str) -> str:
    taken = _quoted("invalid string for load testing")(value)
    if not re.search(r"\w", taken, re.ASCII):
        raise WrongLineError("invalid string for load testing")
    return taken


def _yes_or_no(key: str) -> Rule:
    def rule(value: str) -> str:
        if value not in {"yes", "no"}:
            raise WrongLineError(f"{key} must be 'yes' or 'no'")
        return value

    return rule


def _check_type(value: str) -> str:
    found = re.search(r"\d+", value, re.ASCII)
    if found is not None:
        if not re.fullmatch(r"\s*\d+\s*", value, re.ASCII):
            text = f"checktype={value.strip()} is {found[0]} to ldirectord: that many connects between two negotiates"
            raise QuestionError(found[0], f"{text}. What was meant?")
        return found[0]
    wrong = f"checktype must be one of {', '.join(sorted(_CHECK_TYPES))}, or a positive number"
    return _word(r"[\w-]+", wrong, _CHECK_TYPES.__contains__)(value)


def netmask(value: str, *, is_v6: bool) -> str:
    """Return the mask of persistence, as the program takes it."""
    if is_v6:
        if not re.fullmatch(r"\d{1,18}", value, re.ASCII) or not 1 <= int(value) <= 128:  # an IPv6 address has 128 bits
            raise WrongLineError("invalid netmask: a prefix length between 1 and 128 is required")
        return value
    if not re.fullmatch(r"\d+\.\d+\.\d+\.\d+", value, re.ASCII):
        raise WrongLineError("invalid netmask: dotted quad notation is required")
    try:
        ipaddress.IPv4Address(value)
    except ValueError:
        raise QuestionError(value, f"ipvsadm refuses the netmask {value}: what was meant?") from None
    return value


def _anything(value: str) -> str:
    return value


def _supervised(value: str) -> str:
    if value not in {"yes", "no"}:
        raise WrongLineError("supervised must be 'yes' or 'no'")
    return value


def _virtual_host(value: str) -> str:
    found = re.search(r'"?([^"]*)"?', value)
    return found[1] if found else ""


def _alert_status(value: str) -> str:
    words = re.split(r"\s*,\s*", value)
    while words and not words[-1]:  # Perl's split leaves out empty words at the end
        words.pop()
    for word in words:
        if word not in _ALERT_STATUS:
            raise WrongLineError(f'invalid email alert status at: "{word}"')
        if word != "none" and "none" in words:
            raise WrongLineError(f'invalid email alert status: "{word}" specified with "none"')
    return value


def _alert(value: str) -> str:
    found = re.fullmatch(r'"([^"]*)"', value)
    return _maybe_quoted("no email address specified")(found[1] if found else value)


def _deprecated(key: str, instead: str) -> Rule:
    def rule(_value: str) -> str:
        raise WrongLineError(f"{key} directive deprecated in favour of {instead}")

    return rule


def _alert_frequency(value: str) -> str:
    if not re.match(r"\d", value, re.ASCII):
        raise WrongLineError("invalid email alert frequency")
    return first_digits("emailalertfreq", "invalid email alert frequency")(value)


_SMTP = _word(r"^[0-9A-Za-z._+-]+", "invalid SMTP server address")

VIRTUAL: dict[str, Rule] = {
    "request": _quoted("no request string specified"),
    "receive": _quoted("invalid receive string"),
    "checktype": _check_type,
    "checkcommand": _maybe_quoted("invalid check command"),
    "checktimeout": first_digits("checktimeout", "invalid check timeout", least=1),
    "connecttimeout": _deprecated("connecttimeout", "negotiatetimeout"),
    "negotiatetimeout": first_digits("negotiatetimeout", "invalid negotiate timeout", least=1),
    "checkcount": first_digits("checkcount", "invalid check count", least=1),
    "failurecount": first_digits("failurecount", "invalid failure count", least=1),
    "checkinterval": first_digits("checkinterval", "invalid checkinterval", least=1),
    "checkport": first_digits("checkport", "checkport must be in range 1..65536", least=1, most=MOST_PORT),
    "login": _quoted("invalid login string"),
    "passwd": _quoted("invalid password"),
    "database": _quoted("invalid database"),
    "secret": _quoted("invalid secret"),
    "load": _load,
    "scheduler": _word(r"[a-z]+", "invalid scheduler, should be only lowercase letters (a-z)"),
    "persistent": first_digits("persistent", "invalid persistent timeout"),
    "schedflags": _word(r"\S+", "invalid sched-flags"),
    "netmask": _anything,
    "protocol": _word(r"\w+", "invalid protocol"),
    "ops": _yes_or_no("ops"),
    "service": _word(r"\w+", f"service must be one of {', '.join(sorted(SERVICES))}", SERVICES.__contains__),
    "httpmethod": _word(r"\w+", "httpmethod must be GET or HEAD", lambda word: word.upper() in {"GET", "HEAD"}),
    "virtualhost": _virtual_host,
    "fallbackcommand": _maybe_quoted("invalid fallback command"),
    "quiescent": _yes_or_no("quiescent"),
    "emailalert": _alert,
    "emailalertfreq": _alert_frequency,
    "emailalertstatus": _alert_status,
    "monitorfile": _maybe_quoted("unable to open monitorfile"),
    "cleanstop": _yes_or_no("cleanstop"),
    "smtp": _SMTP,
    "servicename": _anything,
    "comment": _anything,
}
"""The rules in a block. `real` and `fallback` are not here: see `servers`."""

GLOBAL: dict[str, Rule] = {
    "checktimeout": first_digits("checktimeout", "invalid check timeout value", least=1),
    "connecttimeout": _deprecated("connecttimeout", "negotiatetimeout"),
    "negotiatetimeout": first_digits("negotiatetimeout", "invalid negotiate timeout value", least=1),
    "checkinterval": first_digits("checkinterval", "invalid check interval value", least=1),
    "checkcount": first_digits("checkcount", "invalid check count value", least=1),
    "failurecount": first_digits("failurecount", "invalid failure count value", least=1),
    "fallbackcommand": _word(r".+", "invalid fallback command"),
    "autoreload": _yes_or_no("autoreload"),
    "callback": _quoted_or_empty,
    "logfile": _quoted("unable to open logfile"),
    "execute": _anything,
    "fork": _yes_or_no("fork"),
    "supervised": _supervised,
    "quiescent": _yes_or_no("quiescent"),
    "readdquiescent": _yes_or_no("readdquiescent"),
    "emailalert": _alert,
    "emailalertfreq": _alert_frequency,
    "emailalertstatus": _alert_status,
    "emailalertfrom": _word(r".+", "no email from address specified"),
    "cleanstop": _yes_or_no("cleanstop"),
    "smtp": _SMTP,
    "maintenancedir": _word(r".+", "maintenance directory not specified"),
    "timeout": _deprecated("timeout", "checktimeout and negotiatetimeout"),
}
"""The rules at the top of a file."""
