"""Turns a monitor into a check: a native one where it finds the same, else a program in mon's convention.

Sources: the monitors of Debian's packages mon 1.3.6 and mon-contrib 1.0.
"""

import math
import re
import socket
from collections.abc import Callable
from typing import Any

import msgspec

from lvs_healthd.importers.mon.records import Configuration, Service
from lvs_healthd.importers.mon.running import is_program, monitor_words, script_path, variables
from lvs_healthd.importers.mon.words import options

HOST = "{host}"
"""Stands in a value for the server as the hostgroup names it."""

MARGIN_S = 5
"""How much longer than its own timeout a monitor may run, seconds: it has to start, and to say what it found."""

UNKNOWN_TIMEOUT_S = 60
"""How long a monitor may run whose own timeout is not known, seconds. mon itself waits for ever."""

MOST_TIMEOUT_S = 3600
"""The longest timeout of a check, seconds."""

PING_TIMEOUT_S = 10
"""How long Linux's ping waits for the answer to its only request, seconds (MAXWAIT of iputils)."""

_MOST_RETRIES = 10
"""So many retries are counted; more of them would take hours."""

_NUMBER = re.compile(r"[0-9]{1,5}\Z")
_LAST_PORT = 65535
_LAST_TIMEOUT = 99999
"""The longest timeout of a monitor that is looked at, seconds."""


class Probe(msgspec.Struct):
    """The check that stands for a monitor."""

    values: dict[str, Any]
    """Its keys in the configuration, without its name, port and times. `HOST` may stand in values."""
    port: int | None = None
    """The port that the monitor asks, or None if it is not known or there is none."""
    timeout_s: float = UNKNOWN_TIMEOUT_S
    notes: list[str] = []
    """What the operator should know about it."""
    doubts: list[str] = []
    """What is not the same as in mon."""
    is_ipv4_only: bool = False
    """Whether the monitor itself could only reach servers by IPv4."""

    @property
    def is_program(self) -> bool:
        """Whether it runs the monitor itself."""
        return bool(self.values["type"] == "exec")


class UnclearError(Exception):
    """Raised when a monitor cannot have done what its writer meant. The message asks what was meant."""


class _Known(msgspec.Struct, frozen=True):
    """A monitor of Debian's whose options are known. It reads none of mon's variables."""

    options: str
    port: int
    timeout_s: float
    native: Callable[[dict[str, str]], dict[str, Any] | None] | None = None
    longest: Callable[[dict[str, str]], float] | None = None
    """How long it may take, seconds, by its options; by default its `-t`."""

    def timeout(self, values: dict[str, str]) -> float:
        """Return how long it may take for one host, seconds."""
        return self.longest(values) if self.longest else _timeout(values.get("t"), self.timeout_s)


def probe_of(service: Service, configuration: Configuration, runs: Callable[[str], bool] | None = None) -> Probe:
    """Return the check for a service's monitor.

    runs: tells whether a path is a program that can be run. Default: looks on this host.

    Raises `UnclearError`.
    """
    probe = _probe_of(service, configuration, runs or is_program)
    if probe.timeout_s > MOST_TIMEOUT_S:
        probe.timeout_s = MOST_TIMEOUT_S
        probe.doubts.append(f"the longest timeout is {MOST_TIMEOUT_S}s, which is written")
    return probe


def _probe_of(service: Service, configuration: Configuration, runs: Callable[[str], bool]) -> Probe:
    words, has_hosts = monitor_words(service.monitor)
    if words is None:
        raise UnclearError(
            "a quote or backslash is left over, so mon has no words here and runs the first host as a program; "
            "what was meant? Close the quote"
        )
    name, *arguments = words
    if not service.monitor.startswith(name):
        raise UnclearError(
            "mon takes quotes for a part of the monitor's name and never finds it; write it without them"
        )
    if name.startswith("/"):
        raise UnclearError(f"mon looks for monitors in mondir only, and never finds {name}; write its name alone")
    if any("{address}" in word or "{port}" in word for word in arguments):
        raise UnclearError("{address} and {port} mean something to lvs-healthd; write a script around this monitor")
    known = _KNOWN.get(name)
    given = options(arguments, known.options) if known else None
    is_plain = given is not None and not given.unknown and not given.rest and has_hosts
    native = known.native(given.values) if known and known.native and given and is_plain else None
    if known and given and native is not None:
        port = _port(given.values.get("p"), known.port)
        notes = list(_NOTES.get(name, ()))
        is_ipv4_only = bool(known.port)
        return Probe(native, port or None, known.timeout(given.values), notes, is_ipv4_only=is_ipv4_only)
    path, doubt = script_path(name, configuration.settings, "mondir", runs)
    probe = _program([path, *arguments, *(() if has_hosts else (";;",))], service)
    probe.notes.extend(_PROGRAM_NOTES.get(name, ()))
    probe.doubts.extend(doubt)
    if known and given and is_plain:
        probe.port = _port(given.values.get("p"), known.port) or None
        probe.timeout_s = known.timeout(given.values) + MARGIN_S
    elif not known:
        probe.notes.append(f"mon waits for it for ever; here it may run for {UNKNOWN_TIMEOUT_S} s (timeout)")
        probe.values["environment"] = (
            {"MON_GROUP": service.group} | variables(service, configuration) | probe.values.get("environment", {})
        )
    return probe


def _program(command: list[str], service: Service) -> Probe:
    values: dict[str, Any] = {"type": "exec", "command": command, "convention": "mon"}
    if service.environment:
        values["environment"] = {key: each.value for key, each in service.environment.items()}
    return Probe(values)


def _port(text: str | None, default: int) -> int:
    """Return the port of an option as Perl does: an empty value and 0 are false. A name is looked up."""
    if text in {None, "", "0"}:
        return default
    if _NUMBER.match(str(text)):
        return int(str(text))
    try:
        return socket.getservbyname(str(text), "tcp")
    except (OSError, UnicodeError):
        return 0


def _timeout(text: str | None, default: float) -> float:
    return float(text) if text and _NUMBER.match(text) and int(text) else default


def _has_whole_values(values: dict[str, str], *, names: bool = False) -> bool:
    """Return whether port and timeout are whole numbers. names: whether a port may be a name too."""
    port, timeout = (values.get(key) or "0" for key in "pt")
    is_named = names and not port.isdecimal() and _port(port, 0) > 0
    return (is_named or _is_number(port, _LAST_PORT)) and _is_number(timeout, _LAST_TIMEOUT)


def _is_number(text: str, most: int) -> bool:
    """Return whether an option is "0", which stands for the default, or a number from 1 to `most`."""
    return text == "0" or bool(_NUMBER.match(text) and 1 <= int(text) <= most)


def _tcp(values: dict[str, str]) -> dict[str, Any] | None:
    return {"type": "tcp"} if _has_whole_values(values) else None


def _http(values: dict[str, str]) -> dict[str, Any] | None:
    path = values.get("u", "")
    path = "/" if path in {"", "0"} else path
    agent = values.get("a", "")
    agent = "mon.d/http.monitor" if agent in {"", "0"} else agent
    is_printable = path.isascii() and agent.isascii() and path.isprintable() and agent.isprintable()
    is_path = path.startswith("/") and " " not in path and "#" not in path
    if values.get("m") or not is_path or not is_printable or not _has_whole_values(values, names=True):
        return None  # -m looks at the headers too, and at no status
    return {
        "type": "http",
        "http_version": "1.0",
        "path": path,
        "host": HOST,
        "headers": {"User-Agent": agent},
        "status": ["200", "301", "302", "401"],
    }


def _pop3(values: dict[str, str]) -> dict[str, Any] | None:
    steps = [{"expect_regex": r"\A\+OK[^\n]*\n"}, {"send": "quit\r\n"}, {"expect_regex": r"\A\+OK"}]
    return {"type": "tcp", "steps": steps} if _has_whole_values(values, names=True) else None


def _smtp(values: dict[str, str]) -> dict[str, Any] | None:
    steps = [
        {"expect_regex": r"\A(?:220-[^\n]*\n)*220 [^\n]*\n"},
        {"send": "HELO lvs-healthd\r\n"},
        {"expect_regex": r"\A(?:250-[^\n]*\n)*250 [^\n]*\n"},
        {"send": "quit\r\n"},
        {"expect_regex": r"\A221 "},
    ]
    return {"type": "tcp", "steps": steps} if _has_whole_values(values, names=True) else None


def _ping(values: dict[str, str]) -> dict[str, Any] | None:
    return {"type": "ping"} if values.get("c", "1") == "1" and "6" not in values else None


def _fping(values: dict[str, str]) -> float:
    """Return how long fping waits for a host: each of its tries is given half as long again as the one before."""
    first_ms, retries = _timeout(values.get("t"), 2000), _timeout(values.get("r"), 3)
    tries = range(min(int(retries), _MOST_RETRIES) + 1)
    return math.ceil(sum(first_ms / 1000 * 1.5**attempt for attempt in tries))


_KNOWN = {
    "tcp.monitor": _Known("p:t:", 23, 10, _tcp),
    "http.monitor": _Known("p:t:u:a:m:o", 80, 30, _http),
    "pop3.monitor": _Known("p:t:", 110, 30, _pop3),
    "smtp.monitor": _Known("p:t:", 25, 30, _smtp),
    "ping.monitor": _Known("c:6", 0, PING_TIMEOUT_S, _ping),
    "fping.monitor": _Known("ahr:s:t:T", 0, 0, longest=_fping),
    "ftp.monitor": _Known("p:t:", 21, 30),
    "imap.monitor": _Known("m:p:t:", 143, 30),
    "nntp.monitor": _Known("fg:p:t:d:u:a:", 119, 30),
    "telnet.monitor": _Known("l:p:t:", 23, 10),
    "udp.monitor": _Known("p:r:t:", 23, 10),
}
"""Monitors by name: their options, port (0 for none) and timeout."""

_NEEDS_OLD_PERL = (
    'it always fails with the Perl of Debian 12 and 13, also in mon; see docs/checks.md, "Monitors of Debian\'s mon"'
)
_NOTES = {
    "smtp.monitor": ("it says HELO lvs-healthd, where smtp.monitor gives the name of its host",),
    "ping.monitor": ("a ping needs CAP_NET_RAW, see docs/systemd.md",),
}
_PROGRAM_NOTES = {
    "imap.monitor": (_NEEDS_OLD_PERL,),
    "nntp.monitor": (_NEEDS_OLD_PERL,),
    "fping.monitor": ("fping needs CAP_NET_RAW, which the unit for programs gives: see docs/systemd.md",),
    "ping.monitor": ("ping needs CAP_NET_RAW, which the unit for programs gives: see docs/systemd.md",),
}
