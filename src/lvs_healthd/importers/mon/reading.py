"""Reads a mon.cf exactly as mon 1.3.6 does (`read_cf`), with what it refuses and what it passes over."""

import re
from collections.abc import Callable, Sequence

from lvs_healthd.importers.account import Account, Place
from lvs_healthd.importers.mon import watching
from lvs_healthd.importers.mon.lines import Line, joined
from lvs_healthd.importers.mon.mistakes import MistakeError, check_period, superseded
from lvs_healthd.importers.mon.records import Configuration, Group, Setting, Watch
from lvs_healthd.importers.mon.words import blank_words, duration

_ASSIGNMENT = re.compile(r"(\w+)\s*=\s*(.*)\Z", re.ASCII)
_HOSTGROUP = re.compile(r"hostgroup\s+([a-zA-Z0-9_.-]+)\s*(.*)", re.ASCII)
_ALIAS = re.compile(r"alias\s+([a-zA-Z0-9_.-]+)\Z", re.ASCII)
_VIEW = re.compile(r"view\s+([a-zA-Z0-9_.-]+)\s+(.*)\Z", re.ASCII)
_WATCH = re.compile(r"watch\s+([a-zA-Z0-9_.-]+)", re.ASCII)
_RECORD = re.compile(r"(?:watch|service|view|alias|period|monitor)\s", re.ASCII)
"""How lines begin that were hardly meant as hosts."""

FOLDERS = frozenset({"alertdir", "basedir", "cfbasedir", "mondir", "logdir", "statedir"})
RUNNING = frozenset({"histlength", "pidfile", "randstart", "maxprocs", "monerrfile", "syslog_facility"})
CLIENTS = frozenset(
    {"serverport", "trapport", "serverbind", "trapbind", "clientallow", "cltimeout", "monremote"}
    | {"authfile", "authtype", "pamservice", "userfile"}
)
HISTORY = frozenset({"historicfile", "historictime", "dtlogfile", "dtlogging"})
BEHAVIOUR = frozenset(
    {"dep_recur_limit", "dep_behavior", "dep_memory", "unack_summary", "startupalerts_on_reset", "exclude_period"}
)
_GLOBALS = FOLDERS | RUNNING | CLIENTS | HISTORY | BEHAVIOUR
"""The global variables, by what they are about."""
_TIMES = frozenset({"randstart", "historictime", "cltimeout", "dep_memory"})
DEPENDENCIES = ("m", "a", "hm")
_FOR_WHAT_FOLLOWS = frozenset({"dep_behavior", "dep_memory", "unack_summary"})
"""The variables that are valid for the services after them, until they are set again."""
_YES_OR_NO = re.compile(r"[yn]|\A[01]\Z", re.IGNORECASE)


def read(lines: Sequence[str], name: str, account: Account) -> Configuration:
    """Return what mon understands of a file.

    account: is told what mon passes over, and the line for which it refuses the file. Then it is told that all other
        lines are not used, so that none is unmentioned.
    """
    reader = _Reader(account)
    for line in joined(lines, name, account):
        try:
            reader.take(line)
        except MistakeError as error:
            for place in line.places:
                account.refused(place, str(error))
            for place in account.unmentioned():
                account.ignored(place, f"mon refuses the whole file for line {line.places[-1].number}")
            break
    return reader.found


class _Reader:
    """Where mon is in the file. `found` is what it has understood so far."""

    def __init__(self, account: Account) -> None:
        self.found = Configuration()
        self._account = account
        self._outside = _outside_of_records(account, ())
        self._record: Callable[[Line], None] = self._outside
        self._kind = ""
        self._dep_behavior = "a"

    def take(self, line: Line) -> None:
        """Take the next line. Raises `MistakeError`."""
        if "\0" in line.text:
            raise MistakeError("it holds a NUL byte, which ends a word for the programs that mon runs")
        assignment = _ASSIGNMENT.match(line.text) if self._kind != "watch" else None
        if assignment:
            self._global(assignment[1], assignment[2], line.places)
        elif not line.text:
            self._account.empty(*line.places)
            self._enter("", _outside_of_records(self._account, line.places) if self._kind else self._record)
        elif not self._begins_record(line):
            self._record(line)

    def _enter(self, kind: str, record: Callable[[Line], None]) -> None:
        self._kind, self._record = kind, record

    def _begins_record(self, line: Line) -> bool:
        """Enter the record that a line begins, in mon's order: a hostgroup always, a watch not in lists of words."""
        if found := _HOSTGROUP.match(line.text):
            self._hostgroup(found[1], found[2], line)
        elif self._kind == "hostgroup":
            return False
        elif found := _ALIAS.match(line.text):
            self._display("alias", line)
        elif self._kind == "alias":
            return False
        elif found := _VIEW.match(line.text):
            self._display("view", line)
        elif self._kind == "view":
            return False
        elif found := _WATCH.match(line.text):
            self._watch(found[1], line)
        else:
            return False
        return True

    def _global(self, name: str, value: str, places: tuple[Place, ...]) -> None:
        if name not in _GLOBALS:
            raise MistakeError(f"mon knows no variable {name!r}; one of a service has no blank line before it")
        if name in _TIMES and duration(value) is None:
            raise MistakeError(f"{name}: expected a number with a unit of s, m, h or d, got {value!r}")
        if name == "dep_behavior":
            if value not in DEPENDENCIES:
                raise MistakeError(f"dep_behavior: expected a, m or hm, got {value!r}")
            self._dep_behavior = value
        if name == "unack_summary" and not _YES_OR_NO.search(value):
            raise MistakeError(f"unack_summary: expected 0, 1, yes or no, got {value!r}")
        if name == "exclude_period":
            check_period(value)
        before = self.found.settings.get(name)
        if before and name in _FOR_WHAT_FOLLOWS:
            places = (*before.places, *places)
        elif before:
            superseded(self._account, before.places, name, places)
        self.found.settings[name] = Setting(value, places)

    def _hostgroup(self, name: str, hosts: str, line: Line) -> None:
        before = self.found.groups.get(name)
        if before is not None:
            for place, _ in before.places:
                superseded(self._account, (place,), f"hostgroup {name}", line.places)
            self.found.swallowed = [each for each in self.found.swallowed if each[0] != name]
        group = Group(name, list(blank_words(hosts)), [(place, ()) for place in line.places[:-1]])
        group.places.append((line.places[-1], blank_words(hosts)))
        self.found.groups[name] = group

        def more(following: Line) -> None:
            words = blank_words(following.text)
            group.hosts.extend(words)
            group.places.extend((place, words) for place in following.places)
            if _RECORD.match(following.text):
                self.found.swallowed.append((name, following.places))

        self._enter("hostgroup", more)

    def _display(self, kind: str, line: Line) -> None:
        self.found.displays.append((kind, line.places))
        self._enter(kind, lambda following: self.found.displays.append((kind, following.places)))

    def _watch(self, name: str, line: Line) -> None:
        if name not in self.found.groups:
            self.found.groups[name] = Group(name, [name], [])
            self._account.noted(line.places[0], f"there is no hostgroup {name}, so mon watches a host of this name")
        before = self.found.watches.get(name)
        if before is not None and before.services:
            raise MistakeError(f"watch {name} is there already, in line {before.places[0].number}")
        if before is not None:
            superseded(self._account, before.places, f"watch {name}", line.places)
        watch = Watch(name, line.places)
        self.found.watches[name] = watch
        self._enter("watch", watching.Reader(watch, self._dep_behavior, self._account).take)


def _outside_of_records(account: Account, blank: tuple[Place, ...]) -> Callable[[Line], None]:
    """Return what is done with lines that belong to no record.

    blank: the blank line that ended the record before, if one did.
    """
    ended = f"the blank line {blank[0].number} ends the record before it, and " if blank else "it is in no record, and "

    def ignore(line: Line) -> None:
        for place in line.places:
            account.ignored(place, f"{ended}mon passes over such lines; if it is meant, remove the blank line")

    return ignore
