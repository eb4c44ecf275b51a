"""Reads a file line by line as ldirectord does (`read_config`, 4.12.0), and tells the account what the program refuses.

The program ends at its first error. Here the lines after it are read as well, so that the operator sees all errors at
once.
"""

import re
from collections.abc import Sequence

from lvs_healthd.importers.account import Account, Place
from lvs_healthd.importers.ldirectord import keys
from lvs_healthd.importers.ldirectord.keys import QuestionError, Rule, UnknownError, WrongLineError
from lvs_healthd.importers.ldirectord.names import Lookup, port_of
from lvs_healthd.importers.ldirectord.records import Fallback, File, Setting, Settings, Virtual
from lvs_healthd.importers.ldirectord.servers import RealLine, fallback_of, fallback_words, service_of, virtual_of
from lvs_healthd.ipvs.words import AF_INET, AF_INET6

_VIRTUAL = re.compile(r"virtual(6)?\s*=\s*(.*)", re.ASCII)
_BODY = re.compile(r" {4,}(.+)")
_KEY = re.compile(r"([a-z0-9-]+)\s*=\s*(.*)", re.ASCII)
_BLANKS_OF_TAB = " " * 4
"""The program replaces each tab by this."""

_PORTS_OF_FALLBACK = ("tcp", "udp")
"""The global fallback serves services of both protocols, so its port's name must be known in both."""


def lines_of(text: str) -> list[str]:
    """Return a file's lines without their ends. Only a line feed ends a line, as in Perl."""
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


class Reader:
    """Reads one file.

    name: the file's name.
    """

    def __init__(self, name: str, lines: Sequence[str], account: Account, lookup: Lookup) -> None:
        self._name = name
        self._lines = lines
        self._account = account
        self._lookup = lookup
        self._file = File({}, [], {})
        self._seen: set[str] = set()

    def read(self) -> File:
        """Return what the file says. What is wrong in it is in the account, as refused lines."""
        index = 0
        while index < len(self._lines):
            found = _VIRTUAL.match(self._lines[index])
            if found is None:
                self._read_top(index)
                index += 1
            else:
                index = self._read_block(index, found)
        return self._file

    def _place(self, index: int) -> Place:
        return Place(self._name, index + 1)

    def _read_top(self, index: int) -> None:
        line, place = self._lines[index], self._place(index)
        if re.match(r"\s*(#|$)", line, re.ASCII):
            self._account.empty(place)
            return
        if re.fullmatch(r"supervised\s*", line, re.ASCII):
            self._keep(self._file.settings, Setting("supervised", "yes", place))
            return
        found = _KEY.match(line)
        key, value = (found[1], found[2]) if found else ("", "")
        if key in {"fallback", "fallback6"}:
            family = AF_INET6 if key == "fallback6" else AF_INET
            fallback = self._fallback(place, value, family, _PORTS_OF_FALLBACK)
            if fallback is not None:
                self._ignore_earlier(self._file.fallbacks.get(family), place)
                self._file.fallbacks[family] = fallback
            return
        setting = self._setting(place, key, value, keys.GLOBAL, line)
        if setting is not None and key != "execute":
            self._keep(self._file.settings, setting)
        elif setting is not None:
            text = f"lvs-healthd has one configuration: import {setting.value.strip()} too, and put both together"
            self._account.dropped(place, text)

    def _read_block(self, start: int, found: re.Match[str]) -> int:
        """Read a block, and return the index of the line after it."""
        place = self._place(start)
        index = start + 1
        virtual: Virtual | None = None
        host = port = ""
        try:
            virtual, host, port = virtual_of(place, found[2], is_v6=bool(found[1]))
        except (WrongLineError, QuestionError) as error:
            self._account.refused(place, str(error))
        # A line that cannot be read does not hide what is wrong further down.
        protocol = "tcp" if ":" in found[2] else "fwm"
        block = virtual or Virtual(place, AF_INET6 if found[1] else AF_INET, None, protocol=protocol)
        real_lines: list[tuple[Place, str]] = []
        fallback: tuple[Place, str] | None = None
        while index < len(self._lines):
            line, body = self._lines[index], self._place(index)
            if re.match(r"\s*#", line, re.ASCII):
                self._account.empty(body)
                index += 1
                continue
            command = _BODY.match(re.sub(r"#.*", "", line).replace("\t", _BLANKS_OF_TAB))
            if command is None:
                break
            index += 1
            key, value = self._command(command[1])
            if key in {"real", "real6", "fallback", "fallback6"} and key.endswith("6") is not block.is_v6:
                instead = key.removesuffix("6") + ("6" if block.is_v6 else "")
                self._account.refused(body, f'cannot specify "{key}" here. please use "{instead}" instead')
            elif key in {"real", "real6"}:
                real_lines.append((body, value))
            elif key in {"fallback", "fallback6"}:
                fallback = self._later(fallback, body, value)
            else:
                self._read_key(block, body, key, value, line)
        if index == start + 1 and index == len(self._lines):
            self._account.refused(place, "duplicate virtual server: a virtual on the last line is read twice")
            return index
        if virtual is not None:
            self._resolve(virtual, host, port, index)
        for body, value in real_lines:
            self._read_real(block, body, value, block.family)
        if fallback is not None:
            block.fallback = self._fallback(*fallback, block.family, (block.protocol,))
        if virtual is not None:
            self._file.virtuals.append(virtual)
        return index

    def _later(self, earlier: tuple[Place, str] | None, place: Place, value: str) -> tuple[Place, str] | None:
        """Return the line of a block's fallback that counts so far."""
        try:
            fallback_words(value)
        except WrongLineError as error:
            self._account.refused(place, str(error))
            return earlier
        if earlier is not None:
            self._account.ignored(earlier[0], f"line {place.number} says it again, and the last one counts")
        return place, value

    def _command(self, command: str) -> tuple[str, str]:
        found = _KEY.match(command)
        return (found[1], found[2]) if found else ("", "")

    def _read_key(self, block: Virtual, place: Place, key: str, value: str, line: str) -> None:
        setting = self._setting(place, key, value, keys.VIRTUAL, line)
        if setting is None:
            return
        try:
            if key == "netmask":
                keys.netmask(value, is_v6=block.is_v6)
            elif key == "protocol":
                self._set_protocol(block, setting.value)
        except (WrongLineError, QuestionError) as error:
            self._account.refused(place, str(error))
            return
        self._keep(block.settings, setting)

    def _set_protocol(self, block: Virtual, protocol: str) -> None:
        if block.protocol == "fwm":
            if protocol != "fwm":
                raise WrongLineError("protocol must be fwm if the virtual service is a fwmark (a number)")
        elif protocol not in {"tcp", "udp"}:
            raise WrongLineError("protocol must be tcp or udp if the virtual service is an address and port")
        else:
            block.protocol = protocol

    def _setting(self, place: Place, key: str, value: str, rules: dict[str, Rule], line: str) -> Setting | None:
        """Return a setting, or None if the line is refused."""
        rule = rules.get(key, keys.unknown)
        try:
            return Setting(key, rule(value), place)
        except UnknownError:
            hint = self._hint(key, value, line, rules)
            self._account.refused(place, f"Unknown command {line.strip()!r}{hint}")
        except (WrongLineError, QuestionError) as error:
            self._account.refused(place, str(error))
        return None

    def _hint(self, key: str, value: str, line: str, rules: dict[str, Rule]) -> str:
        """Say why a line is unknown, where it looks as if it should be known."""
        if key in rules and "#" in line:
            return r": a # cuts the line, also in quotes. Write \x23 for it in receive, and %23 in request"
        if key in rules:
            return f": it needs double quotes on one line: {key}={_in_quotes(value)}"
        is_indented = line[:1] in {" ", "\t"}
        if rules is keys.GLOBAL and is_indented:
            first = line.strip().partition("=")[0].strip()
            if first in {"virtual", "virtual6", *keys.GLOBAL}:
                return f": {first} must be in the first column"
            return ": a line of a block has four blanks or a tab before it, and a blank line ends the block"
        if rules is keys.GLOBAL and key in keys.VIRTUAL:
            return f": {key} belongs into a block, with a tab before it"
        return ""

    def _resolve(self, virtual: Virtual, host: str, port_text: str, end: int) -> None:
        """Look up the address of a virtual, once its protocol is known. `end` is the index of the line after it."""
        if virtual.mark is None:
            address = self._lookup.host(host, virtual.family)
            port = port_of(port_text, virtual.protocol, self._lookup)
            if address is None or port is None:
                what = f"host {host}" if address is None else f"port {port_text}"
                text = f"invalid address for virtual service: the {what} is not known here; run this on the director"
                self._account.refused(virtual.place, text)
                return
            virtual.address, virtual.port = address, port
        service = virtual.settings.get("service")
        virtual.service = service.value if service else service_of(virtual.port)
        if virtual.identity in self._seen:
            line = min(end + 1, len(self._lines))
            self._account.refused(virtual.place, f"duplicate virtual server (ldirectord names line {line} for it)")
        self._seen.add(virtual.identity)

    def _read_real(self, block: Virtual, place: Place, value: str, family: int) -> None:
        try:
            line = RealLine(place, value, family, self._lookup)
        except (WrongLineError, QuestionError) as error:
            self._account.refused(place, str(error))
            return
        block.reals.extend(line.servers)
        for words in line.ignored:
            self._account.ignored(place, f"{words!r} stands where ldirectord does not look for it")

    def _fallback(self, place: Place, value: str, family: int, protocols: tuple[str, ...]) -> Fallback | None:
        try:
            return fallback_of(place, value, family=family, protocols=protocols, lookup=self._lookup)
        except (WrongLineError, QuestionError) as error:
            self._account.refused(place, str(error))
            return None

    def _keep(self, settings: Settings, setting: Setting) -> None:
        self._ignore_earlier(settings.get(setting.key), setting.place)
        settings[setting.key] = setting

    def _ignore_earlier(self, earlier: Setting | Fallback | None, place: Place) -> None:
        if earlier is not None:
            self._account.ignored(earlier.place, f"line {place.number} says it again, and the last one counts")


def _in_quotes(value: str) -> str:
    return f'"{value.strip().strip(chr(39)).strip(chr(34))}"'
