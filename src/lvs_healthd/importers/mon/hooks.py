"""What becomes of the scripts that mon calls: when, with which words and variables.

Sources: `do_alert` and `call_alert` of mon 1.3.6. What a hook of mon's convention does otherwise is in docs/hooks.md.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from lvs_healthd.config.hooks import calls_ipvsadm
from lvs_healthd.importers.account import Place
from lvs_healthd.importers.mon import alerts
from lvs_healthd.importers.mon.drafting import text_of
from lvs_healthd.importers.mon.periods import When, when
from lvs_healthd.importers.mon.records import Alert, Configuration, Period, Service
from lvs_healthd.importers.mon.running import script_path, variables
from lvs_healthd.importers.mon.watching import every
from lvs_healthd.importers.mon.words import duration

DOWN, UP = "real_server.down", "real_server.up"

MOST_REPEAT_S = 7 * 86_400
"""The longest `repeat` of a hook, seconds."""

_MOST_ALERTS = 1_000_000
"""The largest `most` of a hook."""

ALL = frozenset(range(1, 256))
"""All exit statuses of a monitor that fails."""

_NATIVE_STATUS = 1
"""The exit status that a check has for a hook if it runs no monitor."""

_NO_IPVSADM = (
    "it must not call ipvsadm: the daemon changes the table itself; remove the hook if that is all that the script does"
)
_HAS_IPVSADM = (
    "{} calls ipvsadm, and the daemon changes the table itself, so it is no hook; if it also tells somebody, let a "
    "script do that alone, and write a [[hook]] (docs/hooks.md, mon)"
)
_NO_PERIODS = "hooks have no periods, and this one is not always; a [[hook]] would call it at all times"
_NO_STATUS = "a native check counts as exit status 1, whatever the monitor's was"


class Script(msgspec.Struct):
    """A script with its arguments, and when mon calls it."""

    service: Service
    command: tuple[str, ...]
    on: tuple[str, ...]
    values: dict[str, Any]
    """Other keys of the hook."""
    places: list[Place]


class Scripts(msgspec.Struct):
    """The scripts of a service that become hooks, and what is to be told of its lines."""

    found: list[Script] = []
    notes: list[tuple[Place, str]] = []
    """What to know about a line that is carried over."""
    losses: list[tuple[Place, str]] = []
    """What of a line is not carried over."""
    has_hooks: set[str] = set()
    """The labels of the periods that have hooks."""


def scripts_of(
    service: Service,
    configuration: Configuration,
    failing_s: float,
    *,
    is_native: bool,
    runs: Callable[[str], bool] | None = None,
) -> Scripts:
    """Return the scripts that mon calls for a service, but for ipvs.alert.

    failing_s: the time between runs of its monitor while it fails, seconds.
    is_native: whether a native check stands for the monitor.
    runs: tells whether a path is a program that can be run. Default: looks on this host.
    """
    maker = _Maker(service, configuration, failing_s, is_native=is_native, runs=runs)
    for period in service.periods.values():
        maker.take(period)
    return maker.scripts


def statuses(alert: Alert, period: Period) -> frozenset[int]:
    """Return for which exit statuses of the monitor an alert is called."""
    exit_range = period.settings["alertexitrange"].value if "alertexitrange" in period.settings else ""
    return _range(alert.exit_range) & _range(exit_range)


def _range(text: str) -> frozenset[int]:
    if not text.strip():
        return ALL
    first, _, last = text.partition("-")
    return frozenset(each for each in ALL if int(first) <= each <= int(last or first))


class _Maker:
    """Makes the scripts of one service."""

    def __init__(
        self,
        service: Service,
        configuration: Configuration,
        failing_s: float,
        *,
        is_native: bool,
        runs: Callable[[str], bool] | None,
    ) -> None:
        self._service, self._configuration = service, configuration
        self._failing_s, self._is_native, self._runs = failing_s, is_native, runs
        self.scripts = Scripts()

    def take(self, period: Period) -> None:
        """Take the scripts of a period."""
        others = [
            each
            for each in period.alerts
            if each.script != alerts.IPVS_ALERT and alerts.is_called(each, period) and each.words is not None
        ]
        if when(period.when) is not When.ALWAYS:
            self.scripts.losses += [(each.places[0], _NO_PERIODS) for each in others]
            return
        downs = [each for each in others if each.kind == "alert"]
        ups = [each for each in others if each.kind == "upalert"]
        for each in others:
            if each not in downs and each not in ups:
                self.scripts.losses.append((each.places[0], f"there is no event for {each.kind}, so no hook is called"))
        for down in downs:
            up = next((each for each in ups if self._is_pair(down, each, period)), None)
            if up is not None:
                ups.remove(up)
            self._add(period, statuses(down, period), down, up)
        for up in ups:
            self._add(period, self._before_up(period), None, up)

    @staticmethod
    def _before_up(period: Period) -> frozenset[int]:
        """Return after which exit statuses the upalerts of a period are called: once any of its alerts was."""
        if "no_comp_alerts" in period.settings:
            return ALL
        called = [each for each in period.alerts if each.kind == "alert" and alerts.is_called(each, period)]
        return frozenset().union(*(statuses(each, period) for each in called))

    def _is_pair(self, down: Alert, up: Alert, period: Period) -> bool:
        """Return whether one hook does what both lines do."""
        is_same = (down.script, down.words) == (up.script, up.words)
        return is_same and statuses(down, period) == self._before_up(period)

    def _add(self, period: Period, given: frozenset[int], down: Alert | None, up: Alert | None) -> None:
        lines = [each for each in (down, up) if each is not None]
        alert = lines[0]
        places = [place for each in lines for place in each.places]
        if not given:
            self.scripts.losses.append(
                (places[0], "no monitor that fails has such an exit status, so mon never calls it")
            )
            return
        path = self._path(alert, lines)
        if path is None or not self._has_status(given, lines):
            return
        on = [name for name, each in ((DOWN, down), (UP, up)) if each is not None]
        values = {**(self._pace(period, alert) if down else {}), **_exit_status(given), **self._environment()}
        self.scripts.found.append(Script(self._service, (path, *(alert.words or ())), tuple(on), values, places))
        self.scripts.has_hooks.add(period.label)
        if not alerts.is_teller(alert.script):
            self.scripts.notes += [(each.places[0], _NO_IPVSADM) for each in lines]

    def _path(self, alert: Alert, lines: list[Alert]) -> str | None:
        """Return the path of a script, or None if it cannot be a hook, which is told."""
        path, doubt = script_path(alert.script, self._configuration.settings, "alertdir", self._runs)
        text = ""
        if calls_ipvsadm(Path(path)):
            text = _HAS_IPVSADM.format(path)
        elif not path.startswith("/"):
            text = f"a hook needs the absolute path of its program, and {path} is none"
        if text:
            self.scripts.losses += [(each.places[0], text) for each in lines]
            return None
        self.scripts.losses += [(alert.places[0], text) for text in doubt]
        return path

    def _has_status(self, given: frozenset[int], lines: list[Alert]) -> bool:
        """Return whether the check ever has one of these exit statuses. What a native check changes is told."""
        if not self._is_native or given == ALL:
            return True
        is_called = _NATIVE_STATUS in given
        text = _NO_STATUS if is_called else f"{_NO_STATUS}, so it would never be called; write an exec check"
        self.scripts.losses += [(each.places[0], text) for each in lines]
        return is_called

    def _pace(self, period: Period, alert: Alert) -> dict[str, Any]:
        """Return how often an alert is called."""
        settings = period.settings
        limit = min(int(settings["numalerts"].value), _MOST_ALERTS) if "numalerts" in settings else 0
        most = {"most": limit} if limit else {}
        given = duration(every(settings["alertevery"].value)[0]) or 0 if "alertevery" in settings else 0
        if limit == 1:
            return most
        if not given:
            text = (
                f"mon calls it at every failure, so repeat is {text_of(self._failing_s)}; remove repeat to call it once"
            )
            self.scripts.notes.append((alert.places[0], text))
        return {"repeat": text_of(min(max(given, self._failing_s), MOST_REPEAT_S)), **most}

    def _environment(self) -> dict[str, Any]:
        own = {key: each.value for key, each in self._service.environment.items()}
        found = variables(self._service, self._configuration) | own
        return {"environment": found} if found else {}


def _exit_status(given: frozenset[int]) -> dict[str, Any]:
    return {} if given == ALL else {"exit_status": list(_ranges(given))}


def _ranges(given: frozenset[int]) -> Iterator[str]:
    numbers = sorted(given)
    first = last = numbers[0]
    for number in [*numbers[1:], 0]:
        if number == last + 1:
            last = number
            continue
        yield str(first) if first == last else f"{first}-{last}"
        first = last = number
