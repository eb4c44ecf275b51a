"""Carries a mon.cf over: finds the service of each monitor, writes it, and tells what became of every line."""

import msgspec

from lvs_healthd.importers.account import Account, Place, RefusedError
from lvs_healthd.importers.draft import Imported, Part, written
from lvs_healthd.importers.mon import surroundings, telling
from lvs_healthd.importers.mon.alerts import Effect, IncompleteError, Link, effect, fall, links
from lvs_healthd.importers.mon.calling import Members, Placed, hooks_of, placed_in_draft, placed_in_table
from lvs_healthd.importers.mon.checks import Probe, UnclearError, probe_of
from lvs_healthd.importers.mon.drafting import (
    LEAST_INTERVAL_S,
    MOST_INTERVAL_S,
    Times,
    draft_of,
    interval_of,
    key_of,
    part_of,
)
from lvs_healthd.importers.mon.hooks import Script, scripts_of
from lvs_healthd.importers.mon.lines import lines_of
from lvs_healthd.importers.mon.placing import (
    Found,
    Host,
    LookUp,
    Services,
    UnusableError,
    Watched,
    address_of,
    lines_with_hosts,
    look_up,
)
from lvs_healthd.importers.mon.reading import read
from lvs_healthd.importers.mon.records import Configuration, Group, Service
from lvs_healthd.importers.mon.words import blank_words
from lvs_healthd.importers.source import Source
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey

M4 = ".m4"
"""How the names of files end that mon gives to m4 first."""

_MOST_PROGRAMS = 1000
"""The most that `max_exec` of the configuration may be."""

_ASK_FOR_TABLE = (
    "mon.cf does not say which virtual service this is; type on the director, while all servers are up: "
    "ipvsadm -Sn > FILE, and import again with --table FILE"
)


class Carried(msgspec.Struct):
    """What is made of a file."""

    text: str
    """The configuration. Not to be used if the account has refused a line."""
    account: Account
    questions: list[str]
    """What is missing, and belongs to no line."""
    notes: list[str]
    """What else is to be told that belongs to no line."""


def imported(given: Source, name_to_address: LookUp = look_up) -> Imported:
    """Return the configuration that does what mon does with a file.

    name_to_address: looks hosts up.

    Raises `RefusedError`.
    """
    if given.name.endswith(M4):
        text = f"mon gives such a file to m4 first; type: m4 {given.name} | lvs-healthd import mon -"
        raise RefusedError((f"{given.name}: {text}",))
    found = carried(given, name_to_address)
    found.account.check()
    remarks = (*found.account.remarks(), *found.questions, *found.notes)
    return Imported(found.text, remarks, found.account.is_lossless and not found.questions)


def carried(given: Source, name_to_address: LookUp = look_up) -> Carried:
    """Return what is made of a file, also if a line of it is refused."""
    lines = lines_of(given.text)
    account = Account({given.name: lines})
    configuration = read(lines, given.name, account)
    if not account.unmentioned():  # mon refuses the file, or there is nothing in it
        return Carried(written((), given.name, "mon"), account, [], [])
    carrier = Carrier(given, configuration, account, name_to_address)
    parts = carrier.parts()
    surroundings.tell_globals(configuration, account, parts)
    surroundings.tell_groups(configuration, account)
    text = written(parts, given.name, "mon", _general(configuration, parts))
    return Carried(text, account, carrier.questions, carrier.notes)


def _general(configuration: Configuration, parts: list[Part]) -> dict[str, dict[str, int]] | None:
    """Return the keys of `[daemon]`: how many programs may run at once."""
    limit = configuration.settings.get("maxprocs")
    if limit is None or not surroundings.has_programs(parts) or not limit.value.isdecimal():
        return None
    return {"daemon": {"max_exec": min(int(limit.value), _MOST_PROGRAMS)}} if int(limit.value) else None


def _spellings(host: Host) -> frozenset[str]:
    return frozenset({host.word, host.address, f"[{host.address}]"})


class Carrier:
    """Carries the watches of a configuration over.

    `questions` and `notes` hold what is to be told that belongs to no line.
    """

    def __init__(self, given: Source, configuration: Configuration, account: Account, name_to_address: LookUp) -> None:
        self._configuration, self._account, self._look_up = configuration, account, name_to_address
        self._services = Services(given.table)
        self._has_table = given.table is not None
        self.notes = self._services.remarks
        self._times: dict[tuple[str, str], Times] = {}
        self._drafts: dict[str, list[Watched]] = {}
        self._lines: dict[tuple[str, str], list[Place]] = {}
        self._scripts: list[Script] = []
        self._known: dict[str, str] = {}
        """The addresses of hosts, by their words."""
        self.questions: list[str] = []

    def parts(self) -> list[Part]:
        """Return the services in the order of their lines, and tell what became of the lines of all watches."""
        services = [each for watch in self._configuration.watches.values() for each in watch.services.values()]
        for watch in self._configuration.watches.values():
            self._account.carried(*watch.places)
        # Those that decide about a server come first: beside one of them, a monitor that only tells is left out.
        for service in sorted(services, key=lambda each: -effect(each)):
            telling.refuse_unclear_alerts(service, self._account)
            self._carry(service)
        parts = [self._part(found) for found in self._services.found.values()]
        names = {part.values.get("name") for part in parts}
        for group, watched in self._drafts.items():
            parts.append(self._draft(f"{group} (2)" if group in names else group, watched))
        return [*sorted(parts, key=lambda part: part.places), *self._hooks(parts)]

    def _hooks(self, parts: list[Part]) -> list[Part]:
        """Return the hooks in the order of their lines. parts: the services, the drafts last."""
        found = self._services.found.values()
        every = [placed_in_table(*each) for each in zip(found, parts, strict=False)]
        every += [placed_in_draft(*each) for each in zip(self._drafts.values(), parts[len(found) :], strict=True)]
        placed: dict[tuple[str, str], list[Placed]] = {}
        for places in every:
            for key, place in places.items():
                placed.setdefault(key, []).append(place)
        members = {name: self._members(group) for name, group in self._configuration.groups.items()}
        self._scripts.sort(key=lambda each: each.places)
        return hooks_of(self._scripts, placed, members, self._account)

    def _members(self, group: Group) -> Members:
        """Return what `-h` of mon names for a group."""
        words = [word for word in group.hosts if not word.startswith("*")]
        addresses = tuple(self._known.get(word, word) for word in words)
        return Members(addresses, has_names=addresses != tuple(words))

    def _carry(self, service: Service) -> None:
        probe = self._probe(service)
        if probe is None:
            return
        interval_s = interval_of(service)
        hosts = self._hosts(service)
        found_fall = fall(service, interval_s)
        self._times[key_of(service)] = Times(interval_s, telling.failing_interval(service), found_fall.count)
        watched = [Watched(host, service, probe) for host in hosts]
        for host in hosts:
            if ":" in host.address and probe.is_ipv4_only:
                self._account.noted(
                    host.places[0], f"the monitor of {service.name} knows no IPv6, so in mon it always fails"
                )
        if not watched:
            telling.tell_lost(service, "no host of its hostgroup is left that could be checked", self._account)
            return
        reason = self._place(service, watched)
        if reason is not None:
            telling.tell_lost(service, reason, self._account)
            return
        self._lines[key_of(service)] = [*service.all_lines(), *(place for each in hosts for place in each.places)]
        failing_s = min(max(telling.failing_interval(service) or interval_s, LEAST_INTERVAL_S), MOST_INTERVAL_S)
        scripts = scripts_of(service, self._configuration, failing_s, is_native=not probe.is_program)
        self._scripts += scripts.found
        telling.tell_carried(service, probe, found_fall, scripts, self._account)

    def _probe(self, service: Service) -> Probe | None:
        """Return the check of a service, or None if there is none, which is told."""
        lacking = [key for key in ("interval", "monitor") if not self._has(service, key)]
        if lacking:
            text = f"it has no {' and no '.join(lacking)}, so mon never checks it itself; is one meant?"
            telling.tell_lost(service, text, self._account)
            return None
        try:
            return probe_of(service, self._configuration)
        except UnclearError as error:
            telling.tell_lost(service, "", self._account)
            for place in service.settings["monitor"].places:
                self._account.refused(place, str(error))
            return None

    @staticmethod
    def _has(service: Service, key: str) -> bool:
        return key in service.settings and bool(service.settings[key].value)

    def _hosts(self, service: Service) -> list[Host]:
        """Return the hosts that a service's monitor is given, and tell of those that cannot be found."""
        excluded = blank_words(service.settings["exclude_hosts"].value) if "exclude_hosts" in service.settings else ()
        group = self._configuration.groups[service.group]
        # A group without a line of its own is named by its watch.
        named = lines_with_hosts(group) or {group.name: self._configuration.watches[group.name].places}
        hosts: list[Host] = []
        for word, places in named.items():
            if word.startswith("*") or word in excluded:
                continue
            if "#" in word:
                text = f"mon takes {word!r} and what follows for hosts; was a comment meant? It needs a line of its own"
                self._account.refused(places[0], text)
                continue
            try:
                address = address_of(word, self._look_up)
            except OSError:
                for place in places:
                    self._account.dropped(
                        place, f"{word} cannot be looked up here; write its address instead of its name"
                    )
                continue
            self._known[word] = address
            if any(each.address == address for each in hosts):
                self._account.noted(places[0], f"{word} is {address}, which is in the hostgroup already")
                continue
            if address != word and ":" not in word:
                self._account.noted(places[0], f"{word} is {address} now; a change of it in DNS will not be followed")
            hosts.append(Host(word, address, places))
        return hosts

    def _place(self, service: Service, watched: list[Watched]) -> str | None:
        """Find the virtual services of a service's hosts.

        Return why there are none ("" if that is told at its lines), or None if there is one.
        """
        try:
            given = links(service)
        except IncompleteError as error:
            return f"{error}; what was meant?"
        if given:
            return self._place_linked(service, given, watched)
        if not self._has_table and not any(self._services.candidates(each) for each in watched):
            deciding = [each for each in self._drafts.get(service.group, []) if effect(each.service) >= Effect.SCRIPT]
            if deciding and effect(service) < Effect.SCRIPT:
                return telling.ONLY_TELLS
            self._drafts.setdefault(service.group, []).extend(watched)
            self._account.dropped(service.places[0], _ASK_FOR_TABLE)
            return None
        return self._place_in_table(service, watched)

    def _place_linked(self, service: Service, given: list[Link], watched: list[Watched]) -> str | None:
        reasons, placed = [], False
        for link in given:
            one = watched[0] if len(watched) == 1 else self._watched_of(link, watched)
            if one is None:
                reasons.append(f"which host of hostgroup {service.group} is {link.server}? Write its address there")
                continue
            try:
                different = list(self._services.add_linked(link, one))
            except UnusableError as error:
                reasons.append(str(error))
                continue
            placed = True
            for text in different:
                self._account.dropped(link.places[0], f"it says {text}, which counts here; correct it if not")
            for text in telling.losses_of(link, one, watched):
                self._account.dropped(link.places[0], text)
        if not placed:
            return "; ".join(reasons)
        for text in reasons:
            self._account.dropped(service.places[0], text)
        return None

    def _watched_of(self, link: Link, watched: list[Watched]) -> Watched | None:
        """Return which host of a group is the real server of ipvs.alert's arguments."""
        address = link.server.rpartition(":")[0] or link.server
        return next((each for each in watched if address in _spellings(each.host)), None)

    def _place_in_table(self, service: Service, watched: list[Watched]) -> str | None:
        is_telling = effect(service) < Effect.SCRIPT
        placed, is_left_out = False, False
        for each in watched:
            lines = self._services.candidates(each)
            several = {key for key, _ in lines}
            if not lines:
                self._tell_absent(each)
            elif len(several) > 1 and not self._is_clear(each, lines):
                names = ", ".join(str(key) for key in several)
                text = "which does this monitor decide about? Write its check there"
                self._account.dropped(
                    service.places[0], f"{each.host.address} is in several services ({names}); {text}"
                )
            elif is_telling and all(self._is_decided(key) for key in several):
                is_left_out = True
            else:
                self._services.add_lines(each, lines)
                placed = True
        if placed and is_telling:
            self._account.dropped(service.places[0], telling.TELLS_IN_MON)
        if placed:
            return None
        return telling.ONLY_TELLS if is_left_out else ""

    @staticmethod
    def _is_clear(watched: Watched, lines: list[tuple[ServiceKey, DestinationKey]]) -> bool:
        """Return whether a monitor is about all these lines: it asks for their port, or for the host itself."""
        asks_host = watched.probe.values["type"] == "ping" or watched.service.monitor.startswith(("fping.", "ping."))
        return asks_host or all(server.port == watched.probe.port for _, server in lines)

    def _is_decided(self, key: ServiceKey) -> bool:
        """Return whether a monitor that changes the table watches a server of a service."""
        found = self._services.found.get(key)
        servers = found.servers.values() if found else ()
        return any(effect(each.service) >= Effect.SCRIPT for server in servers for each in server.watched)

    def _tell_absent(self, watched: Watched) -> None:
        text = (
            f"{watched.host.address} is in no service of the table; if it was only down when the table was saved, save "
            "it again while all servers are up; else it is no real server, and another program must watch it"
        )
        for place in watched.host.places:
            self._account.dropped(place, text)

    def _draft(self, name: str, watched: list[Watched]) -> Part:
        lines = [place for each in watched for place in self._lines[key_of(each.service)]]
        part = draft_of(name, watched, self._times, lines)
        part.comments += telling.comments((each.service for each in watched), self._times)
        return part

    def _part(self, found: Found) -> Part:
        watched = [each for server in found.servers.values() for each in server.watched]
        groups = {each.service.group for each in watched}
        others = {
            each.service.group
            for other in self._services.found.values()
            if other is not found
            for server in other.servers.values()
            for each in server.watched
        }
        name = groups.pop() if len(groups) == 1 and not groups & others else ""
        for server in self._services.unwatched(found):
            self.notes.append(
                f"{found.key}: nothing watches {server} in mon.cf, so it is left as it is (foreign_servers)"
            )
        lines = [place for each in watched for place in self._lines.get(key_of(each.service), ())]
        part = part_of(found, name, self._times, is_shared=bool(self._services.unwatched(found)), lines=lines)
        self.questions.extend(f"{found.key}: {comment}" for comment in part.comments)
        part.comments += telling.comments((each.service for each in watched), self._times)
        return part
