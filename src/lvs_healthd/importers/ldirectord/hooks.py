"""Turns the mails of ldirectord and its fallback commands into hooks, and tells where they do otherwise.

Sources: ldirectord 4.12.0, `ld_emailalert_send`, `ld_emailalert_resend` and `do_fallback_command`.
"""

import re
import shlex
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from lvs_healthd.config import hook_values
from lvs_healthd.config.basics import canonical_address
from lvs_healthd.config.errors import WrongValueError
from lvs_healthd.importers.account import Account, Place
from lvs_healthd.importers.draft import Part
from lvs_healthd.importers.ldirectord.records import File, Setting, Virtual, bracketed

_CHANGES = ("real_server.down", "real_server.up")
_OF_FALLBACK = ("service.fallback", "service.serving")
"""What ldirectord mails about while it runs: real servers, and the fallback where there is one."""

_ALERTS = ("emailalert", "emailalertfreq", "emailalertstatus", "emailalertfrom", "smtp")
_SMTP_PORT = 25
_SHELL = re.compile(r"[$`|&;<>()*?\[\]{}~#!\\\n]")
"""What has a meaning of its own in a shell."""

_NO_STARTS = "ldirectord also mails about its own starts, stops and reloads; here only about changes"
_AT_START = (
    "ldirectord also calls it at its start; here only when the last server goes or the first one comes back, so what "
    "it sets up must outlast a restart"
)


def name_of(virtual: Virtual) -> str:
    """Return the name that the service of a virtual has by default."""
    if virtual.mark is not None:
        return f"fwmark {virtual.mark}" + (" ipv6" if virtual.is_v6 else "")
    return f"{bracketed(canonical_address(virtual.address))}:{virtual.port}/{virtual.protocol}"


def hooks_of(file: File, virtuals: Sequence[Virtual], account: Account) -> list[Part]:
    """Return the hooks, and account for the lines they come from.

    virtuals: those that are written as services.
    """
    maker = _Maker(file, account)
    for virtual in virtuals:
        maker.add_mail(virtual)
        maker.add_commands(virtual)
    maker.tell_rest(virtuals)
    return maker.parts


class _Maker:
    """Makes hooks. Services with the same mails share one."""

    def __init__(self, file: File, account: Account) -> None:
        self._file = file
        self._account = account
        self._mails: dict[tuple[str, ...], Part] = {}
        self.parts: list[Part] = []

    def add_mail(self, virtual: Virtual) -> None:
        """Add the mails about a virtual, if there are any."""
        alert = self._setting(virtual, "emailalert")
        if alert is None or not alert.value:
            return
        status = self._setting(virtual, "emailalertstatus")
        words = re.split(r"\s*,\s*", status.value) if status else ["all"]
        if not {"all", "running"} & set(words):
            self._tell_none(virtual, words)
            return
        smtp = self._setting(virtual, "smtp")
        on = (*_CHANGES, *(_OF_FALLBACK if self._has_fallback(virtual) else ()))
        key = (alert.value, smtp.value if smtp else "", *on)
        if key not in self._mails and not self._add(key, on, alert, smtp):
            return
        part = self._mails[key]
        part.values["services"].append(name_of(virtual))
        part.places += [each.place for each in self._settings(virtual)]
        self._account.carried(*(each.place for each in self._settings(virtual)))
        if words != ["running"]:
            self._account.dropped((status or alert).place, _NO_STARTS)
        frequency = self._setting(virtual, "emailalertfreq")
        if frequency and frequency.number:
            text = f"ldirectord mails again every {frequency.number} s while a server is down; here a mail comes once"
            self._account.dropped(frequency.place, text)

    def _has_fallback(self, virtual: Virtual) -> bool:
        is_global = virtual.mark is None and virtual.family in self._file.fallbacks
        return virtual.fallback is not None or is_global

    def _add(self, key: tuple[str, ...], on: Sequence[str], alert: Setting, smtp: Setting | None) -> bool:
        """Add a hook. Return whether a hook can send these mails; else it is told."""
        given = self._file.settings.get("emailalertfrom")
        sender = given.value if given else f"root@{socket.gethostname()}"
        relay = f"{smtp.value}:{_SMTP_PORT}" if smtp else ""
        to = re.split(r"[,\s]+", alert.value.strip(", \t"))
        try:
            hook_values.mailboxes(to)
            hook_values.mailbox(sender)
            if relay:
                hook_values.relay(relay)
        except WrongValueError as error:
            self._account.dropped(alert.place, f"{error}; write a [[hook]] with mail (docs/hooks.md)")
            return False
        mail = {"to": to, "from": sender, **({"relay": relay} if relay else {})}
        values = {"on": list(on), "services": [], "every": "0s", "mail": mail}
        self._mails[key] = Part("hook", values)
        self.parts.append(self._mails[key])
        if not given:
            self._account.noted(alert.place, f"its sender is the user at the host's name: {sender}; look at it")
        if not relay:
            self._account.noted(alert.place, "the host's own mail server takes it, at 127.0.0.1:25, and no sendmail")
        return True

    def _tell_none(self, virtual: Virtual, words: Sequence[str]) -> None:
        for each in self._settings(virtual):
            if words == ["none"]:
                self._account.ignored(each.place, "emailalertstatus=none: no mail is sent")
            else:
                self._account.dropped(each.place, "mails are about changes only, and not about a start, stop or reload")

    def _setting(self, virtual: Virtual, key: str) -> Setting | None:
        return virtual.settings.get(key) or self._file.settings.get(key)

    def _settings(self, virtual: Virtual) -> Iterator[Setting]:
        """Yield the settings that count for the mails about a virtual."""
        for key in _ALERTS:
            setting = self._setting(virtual, key)
            if setting is not None:
                yield setting

    def add_commands(self, virtual: Virtual) -> None:
        """Add the fallback command of a virtual, if it has one."""
        setting = self._setting(virtual, "fallbackcommand")
        if setting is None:
            return
        words = _words(setting.value)
        if words and " " in words[0]:
            text = f"ldirectord takes {words[0]!r} for the name of a program; what was meant? Leave the quotes out"
            self._account.refused(setting.place, text)
            return
        if virtual.mark is not None or not words:
            text = "a hook needs a program by its absolute path, without a shell"
            text = "a firewall mark has no address" if words else text
            self._account.dropped(setting.place, f"{text}; write a [[hook]] on service.fallback and service.serving")
            return
        where = [f"{bracketed(virtual.address)}:{virtual.port}", virtual.protocol]
        for word, event in (("start", "service.fallback"), ("stop", "service.serving")):
            values: dict[str, Any] = {"command": [*words, word, *where], "convention": "keepalived", "on": [event]}
            values["services"] = [name_of(virtual)]
            self.parts.append(Part("hook", values, [setting.place]))
        self._account.dropped(setting.place, _AT_START)

    def tell_rest(self, virtuals: Sequence[Virtual]) -> None:
        """Account for the settings that no service uses."""
        for settings in (self._file.settings, *(each.settings for each in virtuals)):
            for key in (*_ALERTS, "fallbackcommand"):
                if key in settings and not self._account.fates(settings[key].place):
                    self._ignore(key, settings[key].place)

    def _ignore(self, key: str, place: Place) -> None:
        text = (
            "no service uses it" if key in {"fallbackcommand", "emailalert"} else "without emailalert no mail is sent"
        )
        self._account.ignored(place, text)


def _words(command: str) -> list[str]:
    """Return the words of a command; none if only a shell could run it, or if its program has no path."""
    if _SHELL.search(command):
        return []
    try:
        words = shlex.split(command)
    except ValueError:
        return []
    return words if words and words[0].startswith("/") else []
