"""One real server of a virtual, as the builders of checks see it. It notes which lines they use."""

from typing import Any

from lvs_healthd.importers.account import Place
from lvs_healthd.importers.ldirectord.records import Real, Setting, Virtual
from lvs_healthd.importers.ldirectord.servers import SERVICE_PORTS
from lvs_healthd.importers.ldirectord.timing import Timing

Check = dict[str, Any]
"""A check as the configuration has it, without the times that all checks of a virtual share."""


class AskError(Exception):
    """Raised when it is not known which check to write. The message says what ldirectord does, and what to write."""


class Findings:
    """What the builders have found out about the lines of a virtual."""

    def __init__(self) -> None:
        self.used: set[Setting] = set()
        """The settings that the checks come from."""
        self.notes: list[tuple[Place, str]] = []
        """Lines that are carried over, with what the operator should know."""
        self.dropped: list[tuple[Place, str]] = []
        """Lines that are not carried over, with why."""


class Subject:
    """One real server and its virtual."""

    def __init__(self, virtual: Virtual, real: Real, timing: Timing, findings: Findings) -> None:
        self.virtual = virtual
        self.real = real
        self._timing = timing
        self._findings = findings

    def text(self, key: str, default: str = "") -> str:
        """Return the value of a key of the virtual, and note that it is used."""
        self.use(self.virtual.settings.get(key))
        return self.virtual.text(key, default)

    def use(self, setting: Setting | None) -> None:
        """Note that a setting is used."""
        if setting is not None:
            self._findings.used.add(setting)

    def note(self, key: str, text: str) -> None:
        """Say something about a line that is carried over. Without such a line, about the virtual's first."""
        note = (self._place(key), text)
        if note not in self._findings.notes:
            self._findings.notes.append(note)

    def drop(self, key: str, text: str) -> None:
        """Say that a line is not carried over. Without such a line, about the virtual's first."""
        drop = (self._place(key), text)
        if drop not in self._findings.dropped:
            self._findings.dropped.append(drop)

    def _place(self, key: str) -> Place:
        setting = self.virtual.settings.get(key)
        return setting.place if setting else self.virtual.place

    @property
    def request(self) -> str:
        """The request, with the slash that ldirectord puts before it: the real server's own, or the virtual's."""
        if self.real.request is not None:
            return self.real.request
        request = self.text("request", "/")
        return request if request.startswith("/") else f"/{request}"

    @property
    def receive(self) -> str:
        """The Perl expression for the answer: the real server's own, or the virtual's. "" for none."""
        return self.text("receive") if self.real.receive is None else self.real.receive

    @property
    def port(self) -> int:
        """The port that is probed (`ld_checkport`). Raises `AskError` when there is none."""
        own = self.virtual.settings.get("checkport")
        if own is not None:
            self.use(own)
            return own.number
        port = self.real.port or SERVICE_PORTS.get(self.virtual.service)
        if port is None:
            raise AskError(
                "ldirectord has no port to probe here, so its servers never come up: write checkport, or choose a "
                'check such as check = { type = "tcp", port = 80 }'
            )
        return port

    @property
    def check_timeout_s(self) -> int:
        """The time for connects, pings and programs, seconds."""
        seconds, setting = self._timing.check_timeout
        self.use(setting)
        return seconds

    @property
    def negotiate_timeout_s(self) -> int:
        """The time for negotiate checks, seconds."""
        seconds, setting = self._timing.negotiate_timeout
        self.use(setting)
        return seconds

    @property
    def pings(self) -> int:
        """How many pings one ping check sends at most."""
        count, setting = self._timing.pings
        self.use(setting)
        return count
