"""Reads the lines of a watch: its services, their keys and their periods (the second half of mon's `read_cf`)."""

import re
from collections.abc import Callable

from lvs_healthd.importers.account import Account, Place
from lvs_healthd.importers.mon.lines import Line
from lvs_healthd.importers.mon.mistakes import MistakeError, check_period, superseded
from lvs_healthd.importers.mon.records import Alert, Period, Service, Setting, Watch
from lvs_healthd.importers.mon.words import duration, seconds

_VARIABLE = re.compile(r"([A-Z_][A-Z0-9_]*)=(.*)\Z", re.ASCII)
_KEY = re.compile(r"(\w+)\s*(.*)\Z", re.ASCII)
_NAME = re.compile(r"[a-zA-Z0-9_.-]+\Z", re.ASCII)
_LABELLED = re.compile(r"([a-zA-Z_]\w*)\s*:\s*(.*)\Z", re.ASCII)
_EXIT_RANGE = re.compile(r"\s*(?:\d+|\d+-\d+)\s*\Z", re.ASCII)
_EVERY = re.compile(r"(\S+)\s+(observe_detail\s*\Z|ignore_summary\s*\Z|summary|strict\s*\Z)", re.ASCII | re.IGNORECASE)
_AFTER_COUNT = re.compile(r"\d+\Z", re.ASCII)
_AFTER_TIME = re.compile(r"\d+[hms]\Z", re.ASCII)
_AFTER_BOTH = re.compile(r"(\d+)\s+(\d+[hms])\Z", re.ASCII)

ALERTS = ("alert", "upalert", "startupalert", "ackalert", "disablealert")
_PLAIN = frozenset(
    {"monitor", "redistribute", "allow_empty_group", "description", "exclude_hosts"}
    | {"depend", "alertdepend", "monitordepend", "hostdepend"}
)
_TIMES = frozenset({"interval", "failure_interval", "traptimeout", "trapduration", "randskew", "dep_memory"})
_FLAGS = frozenset({"no_comp_alerts", "alerts_dont_count"})
_DEPENDENCIES = ("m", "a", "hm")
_BOOLEAN = re.compile(r"[yn]|\A[01]\Z", re.IGNORECASE)


class Reader:
    """Where mon is in a watch."""

    def __init__(self, watch: Watch, dep_behavior: str, account: Account) -> None:
        self._watch, self._dep_behavior, self._account = watch, dep_behavior, account
        self._service: Service | None = None
        self._period: Period | None = None

    def take(self, line: Line) -> None:
        """Take the next line. Raises `MistakeError`."""
        variable, key = _VARIABLE.match(line.text), _KEY.match(line.text)
        if variable:
            if self._service is None:
                raise MistakeError("a variable of the environment belongs into a service")
            self._set(self._service.environment, variable[1], variable[2], line.places)
        elif key and key[1] == "service":
            self._begin_service(key[2], line.places)
        elif self._service is None:
            raise MistakeError(f"expected a service first, got {line.text!r}")
        elif key and key[1] == "period":
            self._begin_period(self._service, key[2], line.places)
        elif not key:
            raise MistakeError(f"unknown syntax {line.text!r}")
        elif self._period is not None:
            self._period_key(self._service, self._period, key[1], key[2], line.places)
        else:
            check_key(key[1], key[2], line.text)
            self._set(self._service.settings, key[1], key[2], line.places)

    def _begin_service(self, name: str, places: tuple[Place, ...]) -> None:
        if not _NAME.match(name):
            raise MistakeError(f"a service's name is one word of letters, digits, _, . and -, got {name!r}")
        if name in self._watch.services:
            raise MistakeError(f"watch {self._watch.group} has a service {name} already")
        self._service = Service(self._watch.group, name, places, self._dep_behavior)
        self._watch.services[name] = self._service
        self._period = None

    def _begin_period(self, service: Service, text: str, places: tuple[Place, ...]) -> None:
        labelled = _LABELLED.match(text)
        label, spec = (labelled[1], labelled[2]) if labelled else (text, text)
        if label in service.periods:
            raise MistakeError(f"service {service.name} has a period {label!r} already")
        check_period(spec)
        self._period = Period(label, spec, places)
        service.periods[label] = self._period

    def _period_key(self, service: Service, period: Period, key: str, text: str, places: tuple[Place, ...]) -> None:
        if key in ALERTS:
            period.alerts.append(Alert(key, text, places))
        elif key == "alertafter":
            _check_after(text, service)
            period.after.append(Setting(text, places))
        elif key in _PERIOD_KEYS:
            _PERIOD_KEYS[key](text)
            self._set(period.settings, key, text, places)
        else:
            more = "; it belongs before the first period of its service" if key in _PLAIN | _TIMES else ""
            raise MistakeError(f"unknown syntax {f'{key} {text}'.strip()!r} in a period{more}")

    def _set(self, settings: dict[str, Setting], key: str, text: str, places: tuple[Place, ...]) -> None:
        if key in settings:
            superseded(self._account, settings[key].places, key, places)
        settings[key] = Setting(text, places)


def check_key(key: str, text: str, line: str) -> None:
    """Raise `MistakeError` if a service cannot have this key or value."""
    if key in _TIMES:
        _check_time(key, text)
    elif key == "dep_behavior":
        if text not in _DEPENDENCIES:
            raise MistakeError(f"dep_behavior: expected a, m or hm, got {text!r}")
    elif key == "unack_summary":
        if not _BOOLEAN.search(text):
            raise MistakeError(f"unack_summary: expected 0, 1, yes or no, got {text!r}")
    elif key == "exclude_period":
        check_period(text)
    elif key not in _PLAIN:
        raise MistakeError(f"unknown syntax {line!r}")


def every(text: str) -> tuple[str, str]:
    """Return the time of an `alertevery`, and how it is meant, such as "strict"."""
    found = _EVERY.search(text)
    return (found[1], found[2].strip().lower()) if found else (text, "")


def _check_time(key: str, text: str) -> None:
    if seconds(text) is None:
        raise MistakeError(f"{key}: expected a number with a unit of s, m, h or d, and nothing after it, got {text!r}")


def _check_after(text: str, service: Service) -> None:
    if _AFTER_COUNT.match(text):
        return
    if _AFTER_TIME.match(text):
        _check_time("alertafter", text)
        return
    both = _AFTER_BOTH.search(text)
    if both is None:
        raise MistakeError(
            f"alertafter: expected a number, a time of whole s, m or h, or both in this order, got {text!r}"
        )
    interval = seconds(service.settings["interval"].value) if "interval" in service.settings else 0
    if (int(both[1]) - 1) * (interval or 0) >= (duration(both[2]) or 0):
        raise MistakeError(
            f"alertafter: {both[1]} failures do not fit into {both[2]}, so there would never be an alert"
        )


def _check_number(text: str) -> None:
    if not _AFTER_COUNT.match(text):
        raise MistakeError(f"numalerts: expected a number, got {text!r}")


def _check_exit_range(text: str) -> None:
    if not _EXIT_RANGE.match(text):
        raise MistakeError(f"alertexitrange: expected N or N-M, got {text!r}")


_PERIOD_KEYS: dict[str, Callable[[str], None]] = {
    "alertevery": lambda text: _check_time("alertevery", every(text)[0]),
    "upalertafter": lambda text: _check_time("upalertafter", text),
    "numalerts": _check_number,
    "alertexitrange": _check_exit_range,
    **dict.fromkeys(_FLAGS, lambda _: None),
}
"""The other keys of a period, each with what raises `MistakeError` for a wrong value."""
