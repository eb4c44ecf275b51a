"""Reads the `[[hook]]` tables: who is told of events, and what does not fit together."""

import itertools
import stat
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lvs_healthd.config import exec_values, hook_values, secret_files, tls_values, values
from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import Per
from lvs_healthd.config.errors import Errors, expected, show
from lvs_healthd.config.hook_model import Hook, HookConvention, Mail, MailTls
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.model import Service
from lvs_healthd.config.schema import Key, TomlTable, read_table

HOOK_KEYS = {
    "name": Key(values.label),
    "on": Key(hook_values.events),
    "services": Key(hook_values.patterns),
    "servers": Key(hook_values.patterns),
    "checks": Key(hook_values.patterns),
    "command": Key(hook_values.command, group="way"),
    "environment": Key(exec_values.variables),
    "url": Key(hook_values.url, group="way"),
    "secret_file": Key(secret_files.password_file),
    "ca": Key(tls_values.ca_file),
    "mail": Key(values.anything, group="way"),
    "fifo": Key(values.absolute_path, group="way"),
    "convention": Key(values.member(HookConvention)),
    "every": Key(values.duration("0s", "24h")),
    "timeout": Key(values.duration("100ms", "10m")),
    "per": Key(values.member(Per)),
    "repeat": Key(values.duration("0s", "7d")),
    "most": Key(values.integer(0, 1_000_000)),
    "exit_status": Key(hook_values.exit_statuses),
    "mon_group": Key(values.label),
    "mon_service": Key(values.label),
    "in_shadow": Key(values.boolean),
}

MAIL_KEYS = {
    "to": Key(hook_values.mailboxes),
    "from": Key(hook_values.mailbox, "sender"),
    "relay": Key(hook_values.relay),
    "tls": Key(values.member(MailTls)),
    "user": Key(hook_values.user),
    "password_file": Key(secret_files.password_file),
}

CHANGES = ("real_server.down", "real_server.up", "service.*", "fallback.*", "brake.*")
"""The default of `on`: the changes that somebody may have to act on."""

OF_CONVENTION = {
    HookConvention.JSON: frozenset(hook_values.SELECTABLE),
    HookConvention.MON: frozenset({"real_server.down", "real_server.up", "fallback.down", "fallback.up"}),
    HookConvention.KEEPALIVED: frozenset(
        {
            *("real_server.down", "real_server.up"),
            *("service.fallback", "service.serving", "service.below", "service.enough"),
        }
    ),
}
"""The events for which each convention has words."""

MAIL_EVERY = Seconds(30.0)
"""The default of `every` for mail."""

_FITS = {
    "environment": ("command",),
    "secret_file": ("url",),
    "ca": ("url", "mail"),
}
"""With which ways of telling these keys go."""

_OF_MON = ("per", "repeat", "most", "exit_status", "mon_group", "mon_service")

LONGEST_PROGRAM = 1024 * 1024
"""How much of a program is searched for commands that edit the table, bytes. Scripts are shorter."""


def read_hooks(tables: object, services: Sequence[Service], errors: Errors) -> tuple[Hook, ...]:
    """Read the `[[hook]]` tables. Errors and remarks are added to `errors`.

    services: those of the file, to remark on hooks that mean none of them.
    """
    if not isinstance(tables, list):
        errors.add_all(("hook",), expected("[[hook]] tables", tables, "in double brackets, once for each hook"))
        return ()
    hooks: list[Hook] = []
    names: dict[str, KeyPath] = {}
    for index, entry in enumerate(tables):
        found = errors.count()
        table = read_table(entry, ("hook", index), HOOK_KEYS, errors)
        mail = _mail(table, errors)
        for at, message in _misfits(table):
            errors.add(at, message)
        if errors.count() > found:
            continue
        hook = _hook(table, mail, names)
        if hook.name in names:
            other = errors.on_line(names[hook.name], table.path)
            errors.add(table.at("name"), f"the hook {other} has this name too; give one of them another name")
        names.setdefault(hook.name, table.path)
        _remark(hook, table, services, errors)
        hooks.append(hook)
    return tuple(hooks)


def _hook(table: TomlTable, mail: Mail | None, taken: Iterable[str]) -> Hook:
    fields: dict[str, Any] = {**table.values, "mail": mail}
    convention = fields.setdefault("convention", _default_convention(table))
    able = OF_CONVENTION[convention]
    fields["events"] = _meant(fields.get("on", CHANGES)) & able
    fields.setdefault("on", CHANGES if convention is HookConvention.JSON else tuple(sorted(fields["events"])))
    if mail is not None:
        fields.setdefault("every", MAIL_EVERY)
    fields.setdefault("name", _name(fields, taken))
    return Hook(**fields)


def _default_convention(table: TomlTable) -> HookConvention:
    """Return the convention of a hook that names none. A FIFO has the lines for which programs read one."""
    return HookConvention.KEEPALIVED if "fifo" in table else HookConvention.JSON


def _meant(on: Iterable[str]) -> frozenset[str]:
    return frozenset(itertools.chain.from_iterable(map(hook_values.matching, on)))


def _name(fields: dict[str, Any], taken: Iterable[str]) -> str:
    """Return a name for a hook without one, such as "mail.alert". A second one is "mail.alert 2"."""
    if fields.get("command"):
        plain = Path(fields["command"][0]).name
    elif fields.get("url"):
        plain = urllib.parse.urlsplit(fields["url"]).hostname or ""
    else:
        plain = "mail" if fields.get("mail") else "fifo"
    plain = "".join(letter if letter.isprintable() else "?" for letter in plain)[: values.LONGEST_LABEL - 8]
    names = itertools.chain((plain,), (f"{plain} {number}" for number in itertools.count(2)))
    return next(name for name in names if name not in taken)


def _mail(table: TomlTable, errors: Errors) -> Mail | None:
    if "mail" not in table:
        return None
    mail = read_table(table.values["mail"], table.at("mail"), MAIL_KEYS, errors)
    missing = [key for key, field in (("to", "to"), ("from", "sender")) if field not in mail]
    for key in missing:
        if isinstance(table.values["mail"], dict):
            errors.add(mail.path, f'{key} is missing: {key} = "oncall@example.org"')
    fields = mail.values
    if bool(fields.get("user")) != bool(fields.get("password_file")):
        errors.add(mail.path, "user and password_file belong together; write both or neither")
    if fields.get("user") and fields.get("tls") not in {MailTls.STARTTLS, MailTls.TLS}:
        errors.add(mail.at("user"), 'a password is sent only to a relay that is verified: tls = "starttls" or "tls"')
    return Mail(**fields) if {"to", "sender"} <= fields.keys() else None


def _misfits(table: TomlTable) -> Iterator[tuple[KeyPath, str]]:
    """Yield the place and the message of every error in the combination of a hook's values."""
    ways = [way for way in ("command", "url", "mail", "fifo") if way in table]
    if not ways:
        yield table.path, "says not how to tell: command, url, mail or fifo is missing"
        return
    way = ways[0]
    for key, fitting in _FITS.items():
        if key in table and way not in fitting:
            yield table.at(key), f"only for hooks with {values.listing(fitting)}; leave it out"
    if table.is_wrong("convention"):
        return
    convention = table.values.get("convention", _default_convention(table))
    if convention is HookConvention.MON and way != "command":
        yield table.at("convention"), f"mon runs programs; a hook with {way} has no alert: leave convention out"
    if convention is HookConvention.KEEPALIVED and way not in {"command", "fifo"}:
        yield table.at("convention"), f"keepalived has scripts and a FIFO, and no {way}: leave convention out"
    if convention is not HookConvention.MON:
        for key in _OF_MON:
            if key in table:
                yield table.at(key), 'only for convention = "mon"; leave it out'
    if convention is not HookConvention.JSON and table.values.get("every"):
        yield table.at("every"), f'{convention} tells of one event at a time; several together need convention = "json"'
    if table.values.get("every") and way == "fifo":
        yield table.at("every"), "a FIFO takes one line for each event; leave it out"
    able = OF_CONVENTION[convention]
    for index, pattern in enumerate(table.values.get("on", ())):
        if not hook_values.matching(pattern) & able:
            yield (
                (*table.at("on"), index),
                f"{convention} has no words for {pattern}, only for {values.listing(sorted(able))}",
            )


def _remark(hook: Hook, table: TomlTable, services: Sequence[Service], errors: Errors) -> None:
    names = [service.name for service in services]
    for index, pattern in enumerate(hook.services):
        if names and pattern != "*" and not any(hook_values.is_meant(name, pattern) for name in names):
            errors.remark((*table.at("services"), index), f"no service is called {show(pattern)}")
    checks = {each.name for service in services for server in service.servers for each in server.checks}
    for index, pattern in enumerate(hook.checks):
        if names and pattern != "*" and not any(hook_values.is_meant(name, pattern) for name in checks):
            errors.remark((*table.at("checks"), index), f"no check is called {show(pattern)}")
    if not hook.command:
        return
    at = (*table.at("command"), 0)
    program = Path(hook.command[0])
    if not _may_run(program):
        errors.remark(at, f"{program} is no program that can be run here, so this hook will tell nobody")
        return
    if program.name == "ipvsadm" or any("ipvsadm" in word for word in hook.command[1:]) or calls_ipvsadm(program):
        errors.remark(
            at,
            f"{program} has ipvsadm in it: what it does to the table is undone at the next resync, because the "
            "daemon takes servers out and in by itself; leave this hook out, or what calls ipvsadm",
        )


def _may_run(program: Path) -> bool:
    """Return whether somebody can run a program, as far as this user can see."""
    try:
        mode = program.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # this user may not look there, but the one who runs it may
        return True
    return stat.S_ISREG(mode) and bool(mode & 0o111)


def calls_ipvsadm(program: Path) -> bool:
    """Return whether a script calls ipvsadm, as far as its text says. A comment does not count."""
    try:
        with program.open("rb") as file:
            text = file.read(LONGEST_PROGRAM)
    except OSError:
        return False
    if text[:2] != b"#!":
        return False
    return any(b"ipvsadm" in line for line in text.splitlines() if not line.lstrip().startswith(b"#"))
