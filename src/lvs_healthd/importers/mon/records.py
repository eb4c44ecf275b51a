"""What mon has understood of its configuration, with the lines that it comes from."""

import re
from typing import NamedTuple

import msgspec

from lvs_healthd.importers.account import Place
from lvs_healthd.importers.mon.words import quoted_words

_EXIT = re.compile(r"exit\s*=\s*(\d+-\d+|\d+)\s", re.ASCII | re.IGNORECASE)


class Setting(NamedTuple):
    """A value, and the lines that set it."""

    value: str
    places: tuple[Place, ...]


class Group(msgspec.Struct):
    """A hostgroup. A watch without a hostgroup has one whose only host has its name."""

    name: str
    hosts: list[str]
    """As they stand, `*` for disabled ones included."""
    places: list[tuple[Place, tuple[str, ...]]]
    """Each of its lines, with the hosts that stand there."""


class Alert(msgspec.Struct, frozen=True):
    """A line that calls a script."""

    kind: str
    """Its keyword: alert, upalert, startupalert, ackalert or disablealert."""
    text: str
    """What follows it."""
    places: tuple[Place, ...]

    @property
    def exit_range(self) -> str:
        """The exit statuses for which it is called, or "" for all."""
        found = _EXIT.match(self.text)
        return found[1] if found else ""

    @property
    def script(self) -> str:
        """The name of the script that mon looks for."""
        return self._parts[0]

    @property
    def words(self) -> tuple[str, ...] | None:
        """The script's arguments, or None if a quote is left over."""
        return quoted_words(self._parts[1])

    @property
    def _parts(self) -> tuple[str, str]:
        if self.exit_range:
            words = [*re.split(r"\s+", self.text, maxsplit=2, flags=re.ASCII), "", ""]
            return words[1], words[2]
        script, *rest = re.split(r"\s+", self.text, maxsplit=1, flags=re.ASCII)
        return script, rest[0] if rest else ""


class Period(msgspec.Struct):
    """A period of a service."""

    label: str
    when: str
    places: tuple[Place, ...]
    settings: dict[str, Setting] = {}
    """Its other keys. `alertafter` is not among them."""
    after: list[Setting] = []
    """The lines with `alertafter`."""
    alerts: list[Alert] = []


class Service(msgspec.Struct):
    """A service of a watch: what is monitored, how often, and who is told."""

    group: str
    name: str
    places: tuple[Place, ...]
    dep_behavior: str
    settings: dict[str, Setting] = {}
    environment: dict[str, Setting] = {}
    periods: dict[str, Period] = {}

    @property
    def monitor(self) -> str:
        """The monitor with its arguments, as they stand, or "" if there is none."""
        return self.settings["monitor"].value if "monitor" in self.settings else ""

    def lines(self) -> list[Place]:
        """Return the lines of its own, without those of its periods."""
        settings = [*self.settings.values(), *self.environment.values()]
        return sorted({*self.places, *(place for setting in settings for place in setting.places)})

    def all_lines(self) -> list[Place]:
        """Return all its lines."""
        lines = set(self.lines())
        for period in self.periods.values():
            lines.update(period.places)
            for setting in (*period.settings.values(), *period.after):
                lines.update(setting.places)
            for alert in period.alerts:
                lines.update(alert.places)
        return sorted(lines)


class Watch(msgspec.Struct):
    """What is watched of a group."""

    group: str
    places: tuple[Place, ...]
    services: dict[str, Service] = {}


class Configuration(msgspec.Struct):
    """A whole mon.cf, as mon understands it."""

    settings: dict[str, Setting] = {}
    """The global variables."""
    groups: dict[str, Group] = {}
    watches: dict[str, Watch] = {}
    displays: list[tuple[str, tuple[Place, ...]]] = []
    """The lines of aliases and views, which are for mon's own displays."""
    swallowed: list[tuple[str, tuple[Place, ...]]] = []
    """Lines that mon takes for more hosts of the named group although they begin like something else."""
