"""Turns the scripts, mails and FIFOs of keepalived into hooks, and tells where they do otherwise.

Sources: keepalived 2.2.7, `do_rs_notifies`, `do_vs_notifies` and `update_quorum_state` of check/ipwrapper.c.
"""

import os
import pwd
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from lvs_healthd.importers.draft import Part
from lvs_healthd.importers.keepalived.blocks import Node
from lvs_healthd.importers.keepalived.records import Configuration, RealServer, Script, VirtualServer
from lvs_healthd.importers.keepalived.told import Told

_EVENTS = {
    "notify_up": ("real_server.up",),
    "notify_down": ("real_server.down",),
    "quorum_up": ("service.serving", "service.enough"),
    "quorum_down": ("service.fallback", "service.below"),
}
"""When keepalived calls a script, by keyword."""

_OF_SERVERS = ("real_server.down", "real_server.up")
_OF_SERVICES = (*_EVENTS["quorum_down"], *_EVENTS["quorum_up"])

_AT_START = (
    "keepalived calls it at each of its starts too; here only when the service has not been served before, so what it "
    "sets up must outlast a restart"
)
_WITH_ALPHA = (
    "with alpha, keepalived calls it when the server first passes after a start too; here only after a failure"
)
_ONE_USER = "all programs run as one user; see docs/systemd.md, Programs, to run them as another one"


class Placed(msgspec.Struct, frozen=True):
    """A virtual server as it is written: one service, or a range of them."""

    found: VirtualServer
    names: tuple[str, ...]
    """The names of its services."""
    servers: tuple[tuple[RealServer, str], ...]
    """Its real servers, with the names that they have in the log."""


class _Key(NamedTuple):
    """What hooks have in common that are written as one."""

    words: tuple[str, ...]
    """The command; empty for mails."""
    on: tuple[str, ...]
    servers: tuple[str, ...]
    """Only these; empty for all."""
    services: tuple[str, ...]
    """The services, if the hook is about some of their servers only."""


def tell_scripts(told: Told, configuration: Configuration) -> None:
    """Say of every script what becomes of it."""
    has_scripts = False
    for found in configuration.servers:
        for script in _scripts(found):
            _tell(told, script, is_for_many=_is_for_many(found))
            has_scripts = True
        for server in found.servers:
            if server.notify_up and server.pace.alpha:
                told.dropped(server.notify_up.node, _WITH_ALPHA)
        if found.omega and has_scripts:
            told.dropped(
                found.omega, "it calls scripts at a stop; here a stop leaves the table as it is, and calls nothing"
            )
        elif found.omega:
            told.noted(found.omega, "without scripts it has no effect")


def _scripts(found: VirtualServer) -> Iterator[Script]:
    scripts = [found.quorum_up, found.quorum_down]
    for server in found.servers:
        scripts += [server.notify_up, server.notify_down]
    yield from (script for script in scripts if script)


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _is_for_many(found: VirtualServer) -> bool:
    """Return whether a virtual server becomes several services."""
    return len(found.entries) > 1 or any(entry.first != entry.last for entry in found.entries)


def _tell(told: Told, script: Script, *, is_for_many: bool) -> None:
    node, program = script.node, script.words[0]
    if script.user and len(script.words) == 1 and not _is_user(script.user[0]):
        told.refused(
            node,
            f"keepalived takes {' '.join(script.user)!r} for user and group, and drops the script without them; "
            "are they arguments? Then put the whole command in double quotes",
        )
        return
    if not program.startswith("/"):
        told.refused(node, f"keepalived looks for {program} in its PATH; which is its absolute path?")
        return
    told.carried(node)
    if script.user:
        told.dropped(node, _ONE_USER)
    if not os.access(program, os.X_OK):
        told.dropped(node, f"{program} cannot be executed here; where it cannot, keepalived never calls it")
    if node.keyword == "quorum_up":
        told.dropped(node, _AT_START)
    if is_for_many:
        told.dropped(node, "it is called for each service of the group, and by keepalived once for all of them")


def hooks_of(configuration: Configuration, placed: Sequence[Placed]) -> list[Part]:
    """Return the hooks of all scripts, mails and FIFOs."""
    made: dict[_Key, Part] = {}
    for each in placed:
        for script in (each.found.quorum_up, each.found.quorum_down):
            if script:
                _add(made, each, _of_script(script), (), [script.node])
        for keyword in ("notify_up", "notify_down"):
            _add_of_servers(made, each, keyword)
        if configuration.mail.is_sent:
            _add_mails(made, each)
    for key, part in made.items():
        part.values |= {} if key.words else _mail(configuration)
    return [*made.values(), *_fifos(configuration)]


def _of_script(script: Script) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return script.words, _EVENTS[script.node.keyword]


def _add_of_servers(made: dict[_Key, Part], placed: Placed, keyword: str) -> None:
    """Add the scripts of a service's servers. Those that have the same one share a hook."""
    groups: dict[tuple[str, ...], list[tuple[str, Node]]] = {}
    for server, name in placed.servers:
        script = getattr(server, keyword)
        if script:
            groups.setdefault(script.words, []).append((name, script.node))
    for words, members in groups.items():
        servers = tuple(name for name, _ in members) if len(members) < len(placed.servers) else ()
        _add(made, placed, (words, _EVENTS[keyword]), servers, [node for _, node in members])


def _add_mails(made: dict[_Key, Part], placed: Placed) -> None:
    names = [name for server, name in placed.servers if server.smtp_alert]
    if names:
        servers = tuple(names) if len(names) < len(placed.servers) else ()
        _add(made, placed, ((), _OF_SERVERS), servers, [])
    if placed.found.smtp_alert:
        _add(made, placed, ((), _OF_SERVICES), (), [])


def _add(
    made: dict[_Key, Part],
    placed: Placed,
    what: tuple[tuple[str, ...], tuple[str, ...]],
    servers: tuple[str, ...],
    nodes: Sequence[Node],
) -> None:
    """Add a hook, or its services to the one that does the same. what: the command, and the events."""
    words, on = what
    key = _Key(words, on, servers, placed.names if servers else ())
    if key not in made:
        values: dict[str, Any] = {"command": list(words), "convention": "keepalived"} if words else {}
        values |= {"on": list(on), "services": []}
        values |= {"servers": list(servers)} if servers else {}
        made[key] = Part("hook", values)
    services = made[key].values["services"]
    services += [name for name in placed.names if name not in services]
    made[key].places += [place for node in nodes for place in node.places()]


def _mail(configuration: Configuration) -> dict[str, Any]:
    """Return the keys of a hook that sends one mail for each event, as keepalived does."""
    mail = configuration.mail
    timeout = {"timeout": f"{mail.timeout_s}s"} if mail.timeout_s else {}
    return {**timeout, "every": "0s", "mail": {"to": list(mail.to), "from": mail.sender, "relay": mail.relay}}


def _fifos(configuration: Configuration) -> Iterator[Part]:
    for node in configuration.fifos:
        yield Part("hook", {"fifo": node.words[0], "convention": "keepalived"}, node.places())
