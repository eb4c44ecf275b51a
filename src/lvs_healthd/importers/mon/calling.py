"""Writes the scripts of mon's services as hooks: for which services and servers, and with which words."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from lvs_healthd.importers.account import Account
from lvs_healthd.importers.draft import Part
from lvs_healthd.importers.mon.drafting import key_of, name_of
from lvs_healthd.importers.mon.hooks import Script
from lvs_healthd.importers.mon.placing import Found, Watched

_ASK_ALIKE = "one hook is for several checks of a service"
_TOLD_ONCE = "a server goes down once here, so the script is not called for it while {} keeps it out"


class Placed(msgspec.Struct, frozen=True):
    """A service of the configuration in which a service of mon is a check."""

    name: str
    all_addresses: tuple[str, ...]
    """Of all its real servers."""
    servers: tuple[str, ...]
    """Those with the check, as the log names them."""
    addresses: tuple[str, ...]
    is_whole: bool
    """Whether all real servers have the check."""
    checks: tuple[str, ...]
    """The names of all services of mon that watch these servers."""
    is_alone: bool = True
    """Whether no other check of these servers has the same name in mon."""


class Members(msgspec.Struct, frozen=True):
    """The hosts of a hostgroup that are not disabled."""

    addresses: tuple[str, ...]
    has_names: bool
    """Whether one of them is named, and not written as an address."""


class _Hook(msgspec.Struct):
    """A script with the services of mon that call it."""

    script: Script
    placed: tuple[Placed, ...]
    others: list[Script] = []


def placed_in_table(found: Found, part: Part) -> dict[tuple[str, str], Placed]:
    """Return where in a service of the table services of mon are, by their group and name.

    part: what is written of it.
    """
    watched = {server: found.servers[server].watched for server in found.servers}
    lines = [(str(server), server.address, each) for server, all_of_it in watched.items() for each in all_of_it]
    addresses = [(str(server), server.address) for server in found.entry.destinations]
    return _placed(part.values.get("name") or str(found.key), lines, addresses)


def placed_in_draft(watched: Sequence[Watched], part: Part) -> dict[tuple[str, str], Placed]:
    """Return where in a service without an address services of mon are, by their group and name.

    part: what is written of it. Ports of its servers are not known.
    """
    lines = [(f"{_bracketed(each.host.address)}:*", each.host.address, each) for each in watched]
    return _placed(part.values["name"], lines, [line[:2] for line in lines])


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _placed(
    name: str, lines: Sequence[tuple[str, str, Watched]], servers: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], Placed]:
    """lines: each server with its address and a monitor. servers: all of the service."""
    found: dict[tuple[str, str], Placed] = {}
    for key in dict.fromkeys(key_of(each.service) for _, _, each in lines):
        own = {server: address for server, address, each in lines if key_of(each.service) == key}
        others = [key_of(each.service) for server, _, each in lines if server in own]
        found[key] = Placed(
            name=name,
            all_addresses=tuple(address for _, address in servers),
            servers=tuple(own),
            addresses=tuple(own.values()),
            is_whole=len(own) == len(dict(servers)),
            checks=tuple(dict.fromkeys(other[1] for other in others)),
            is_alone=all(other == key or other[1] != key[1] for other in others),
        )
    return found


def hooks_of(
    scripts: Sequence[Script],
    placed: Mapping[tuple[str, str], Sequence[Placed]],
    members: Mapping[str, Members],
    account: Account,
) -> list[Part]:
    """Return the hooks, and tell where they differ from mon.

    placed: by group and service of mon.
    members: by group.
    """
    merged: dict[object, _Hook] = {}
    times: Counter[object] = Counter()
    for script in scripts:
        where = tuple(placed[key_of(script.service)])
        same = (key_of(script.service), script.command)
        times[same] += 1
        places = tuple((each.name, each.servers) for each in where)
        key = (script.service.group, script.command, script.on, places, times[same])
        if key in merged:
            merged[key].others.append(script)
        else:
            merged[key] = _Hook(script, where)
    return [_part(hook, members[hook.script.service.group], account) for hook in merged.values()]


def _part(hook: _Hook, members: Members, account: Account) -> Part:
    script = hook.script
    for other in hook.others:
        different = sorted(key for key in script.values.keys() | other.values.keys() if _differ(key, script, other))
        if different:
            text = f"{_ASK_ALIKE}, and {', '.join(different)} of line {script.places[0].number} count"
            account.dropped(other.places[0], text)
    for text in _losses(hook, members):
        account.dropped(script.places[0], text)
    places = sorted({place for each in (script, *hook.others) for place in each.places})
    return Part("hook", _values(hook), places)


def _differ(key: str, one: Script, other: Script) -> bool:
    return bool(one.values.get(key) != other.values.get(key))


def _is_one(hook: _Hook) -> bool:
    """Return whether a hook is about one server of each service."""
    return all(len(each.servers) == 1 for each in hook.placed)


def _values(hook: _Hook) -> dict[str, Any]:
    script = hook.script
    group, service = script.service.group, script.service.name
    values: dict[str, Any] = {"command": list(script.command), "convention": "mon", "on": list(script.on)}
    values["services"] = [each.name for each in hook.placed]
    if not all(each.is_whole for each in hook.placed):
        values["servers"] = list(dict.fromkeys(server for each in hook.placed for server in each.servers))
    if _others(hook):
        values["checks"] = _checks(hook)
    if not _is_one(hook):
        values["per"] = "group"
    if any(each.name != group for each in hook.placed):
        values["mon_group"] = group
    if not hook.others and not all(each.is_alone for each in hook.placed):
        values["mon_service"] = service
    return values | script.values


def _others(hook: _Hook) -> list[str]:
    """Return the services of mon that watch the same servers and do not call this script."""
    own = {hook.script.service.name, *(other.service.name for other in hook.others)}
    return list(dict.fromkeys(check for each in hook.placed for check in each.checks if check not in own))


def _checks(hook: _Hook) -> list[str]:
    """Return the names of the checks that call a script."""
    is_alone = all(each.is_alone for each in hook.placed)
    services = [script.service for script in (hook.script, *hook.others)]
    return sorted({name_of(each, is_alone=is_alone) for each in services})


def _losses(hook: _Hook, members: Members) -> Iterator[str]:
    """Yield what a hook does that mon does not, and what it leaves out."""
    others = _others(hook)
    if others:
        yield _TOLD_ONCE.format(" or ".join(others))
    if len(hook.placed) > 1:
        yield f"it is called for each of the services {', '.join(each.name for each in hook.placed)}"
    for each in hook.placed:
        named = each.addresses if _is_one(hook) else each.all_addresses
        if set(named) != set(members.addresses):
            group = hook.script.service.group
            yield f"-h names {' '.join(dict.fromkeys(named))}, where mon names all hosts of hostgroup {group}"
    if members.has_names:
        yield "-h has addresses, where mon gives the hosts as they stand in the hostgroup"
