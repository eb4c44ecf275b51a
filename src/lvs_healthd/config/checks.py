"""Reads the checks of services and real servers, and applies inheritance.

A check's values come from the records' defaults, `[defaults.check]`, the ready-made check, the service's check and the
real server's check. A later source overrides an earlier one. The result is a template, which has every value except the
address and port to probe.
"""

import functools
import itertools
from collections.abc import Collection
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from lvs_healthd.config import agent_rules, elsewhere, exec_rules, http_rules
from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import (
    EXEC_INTERVAL,
    EXEC_TIMEOUT,
    SILENT_INTERVAL,
    SILENT_TIMEOUT,
    ConversationStep,
)
from lvs_healthd.config.conversation import problems_over_udp
from lvs_healthd.config.errors import Errors, expected, show
from lvs_healthd.config.http_requests import problems
from lvs_healthd.config.http_values import DEFAULT_PORT
from lvs_healthd.config.kept_rules import kept_misfits
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.named_checks import read_named_check
from lvs_healthd.config.paces import PACES, slow_fast
from lvs_healthd.config.patterns import too_expensive
from lvs_healthd.config.readymade import Shelf, program_key
from lvs_healthd.config.required import missing
from lvs_healthd.config.schema import (
    CHECK_FIELDS,
    CHECK_KEYS,
    CHECK_TYPES,
    SHORT_FORM,
    TomlTable,
    read_table,
    refuse_foreign_keys,
)
from lvs_healthd.config.template import (
    Template,
    Times,
    below_floor,
    harmful,
    inherit,
    raised,
    without_held_connection,
)
from lvs_healthd.config.tls_rules import tls_misfits
from lvs_healthd.config.tls_values import pair_problem
from lvs_healthd.config.values import did_you_mean, duration_text, listing

_MOST_NAMED = 5
"""How many ready-made checks an error names. If there are more, it says how to list them."""


_MOST_NEAR = 3
"""How many names an error about an unknown one offers."""


class CheckReader:
    """Reads the checks of one configuration file.

    helper: path of the socket of the process that runs the programs of exec checks.
    """

    def __init__(self, shelf: Shelf, errors: Errors, helper: str) -> None:
        self._shelf = shelf
        self._helper = helper
        self._errors = errors
        self._defaults = TomlTable((), {}, {})
        self._named: dict[str, Template | None] = {}
        """The `[check.NAME]` tables; None for one that is wrong, whose errors have been reported."""
        self._ready_made: set[str] = set()
        self._pair_problem = functools.cache(pair_problem)
        """Client certificates are looked at once for each file, because thousands of servers may have the same."""

    def take_ready_made(self) -> frozenset[str]:
        """Return the names of the ready-made checks used since the last call."""
        taken = frozenset(self._ready_made)
        self._ready_made.clear()
        return taken

    def read_defaults(self, written: object, path: KeyPath) -> None:
        """Read `[defaults.check]`. This must be called before `read`."""
        self._defaults = read_table(written, path, CHECK_KEYS, self._errors)
        for key in ("type", "name"):
            if key in self._defaults:
                self._errors.add((*path, key), f"{key} cannot be inherited; write it in each check")
        wrong = {field for field in PACES if self._defaults.is_wrong(field)}
        fast = self._defaults.values.get("fast_interval")
        self._validate_paces(fast, self._default_times().interval, self._defaults, wrong)
        if not any(self._defaults.is_wrong(field) for field in Times._fields):
            self._remark_timeout(
                Times(*(_default("tcp", field) for field in Times._fields)), self._default_times(), self._defaults
            )

    def read_named(self, written: object) -> None:
        """Read the `[check.NAME]` tables. This must be called after `read_defaults`, and before `read`.

        written: the value of `check` in the file.
        """
        if not isinstance(written, dict):
            self._errors.add_all(("check",), expected("[check.NAME] tables", written, "with its name: [check.login]"))
            return
        found: dict[str, Template | None] = {}
        for name, entry in written.items():
            table = read_named_check(name, entry, written, self._types(), self._errors)
            found[name] = None if table is None else self._new(table)
        self._named = found
        self._ready_made.clear()

    def read(self, written: object, path: KeyPath, inherited: tuple[Template, ...] = ()) -> tuple[Template, ...]:
        """Read the value of a `check` key. Returns the inherited checks with their changes, followed by the new checks.

        written: the value in the file, either a check or a list of checks.
        path: where the value is in the file.
        inherited: the checks of the service, when reading those of a real server.
        """
        if written == []:
            self._errors.add(path, "an empty list of checks; leave the key out or put a check in")
            return inherited
        entries = list(enumerate(written)) if isinstance(written, list) else [(None, written)]
        settled = {template.name: template for template in inherited}
        added: dict[str, Template] = {}
        changed: set[str] = set()
        for index, entry in entries:
            table = self._table(entry, path if index is None else (*path, index))
            if table is None or table.is_wrong("type") or table.is_wrong("name"):
                continue
            meant = self._meant(table, tuple(settled.values()))
            if meant is None:
                continue
            if not meant:
                new = self._new(table)
                if new and (new.name in added or new.name in settled):
                    self._second(new.name, table)
                if new:
                    added[new.name] = new
            for template in meant:
                if "type" in table or "name" in table:
                    if template.name in changed:
                        self._second(template.name, table)
                    changed.add(template.name)
                settled[template.name] = self._changed(template, table)
        return (*settled.values(), *added.values())

    def read_values(self, written: object, path: KeyPath) -> None:
        """Report the wrong values of a `check` key, without applying it.

        Used instead of `read` when the service's checks are wrong, because then there is nothing to change.
        """
        for index, entry in enumerate(written if isinstance(written, list) else ()):
            self._table(entry, (*path, index))
        if not isinstance(written, list):
            self._table(written, path)

    def _table(self, entry: object, path: KeyPath) -> TomlTable | None:
        if isinstance(entry, str):
            return TomlTable(path, {"type": entry}, {"type": ""})
        if isinstance(entry, dict):
            return read_table(entry, path, CHECK_KEYS, self._errors)
        self._errors.add_all(path, expected("a table, or the type of a check", entry))
        return None

    def _second(self, name: str, table: TomlTable) -> None:
        self._errors.add(
            table.at("name"), f"two entries are for the check {show(name)}; keep one, or name them differently"
        )

    def _meant(self, table: TomlTable, inherited: tuple[Template, ...]) -> tuple[Template, ...] | None:
        """Return the inherited checks that a table changes.

        The result is empty when the table defines a new check, and None when the table is wrong.
        """
        type_, name = table.values.get("type"), table.values.get("name")
        if name is None:
            meant = tuple(template for template in inherited if type_ in {None, template.type})
        else:
            meant = tuple(template for template in inherited if template.name == name)
        if type_ is None and not meant:
            needs = f"a new check needs a type: {self._types()}"
            there = listing(show(template.name) for template in inherited) if inherited else ""
            problem = f"no check {show(name)} to change here, only {there}" if inherited else "type is missing"
            self._errors.add(table.at("name"), f"{problem}; {needs}")
        elif type_ is not None and len(meant) > 1:
            names = listing(show(template.name) for template in meant)
            self._errors.add(table.at("type"), f"this could mean {names}; say which by its name")
        elif type_ is not None and meant and meant[0].type != type_:
            self._errors.add(table.at("type"), f"check {show(name)} of the service has type {show(meant[0].type)}")
        else:
            return meant
        return None

    def _new(self, table: TomlTable) -> Template | None:
        type_ = str(table.values["type"])
        if type_ in self._named:
            named = self._named[type_]
            if named is None:
                return None
            named = msgspec.structs.replace(named, name=table.values.get("name", type_), type=type_)
            return self._changed(named, table)
        own = {"helper": self._helper} if type_ == "exec" else {}
        base = Template(table.values.get("name", type_), type_, type_, own, frozenset(), table.path)
        if type_ in CHECK_TYPES:
            inherited = without_held_connection(inherit(base, self._defaults))
            return self._changed(inherited, table, self._default_times())
        ready_made = self._shelf.find(type_)
        self._ready_made.add(type_)
        if ready_made is None:
            known = (*CHECK_TYPES, *self._named, *self._shelf.names())
            theirs = elsewhere.CHECK_TYPES.get(type_.lower())
            guess = did_you_mean(type_, known, most=_MOST_NEAR if self._named else 1)
            if theirs is not None:
                guess = f"write {show(theirs)}"
            self._errors.add_all(table.at("type"), expected(self._types(), type_, guess))
        if ready_made is None or not ready_made.kind:
            return None
        own = {"helper": self._helper} if ready_made.kind == "exec" else {}
        base = msgspec.structs.replace(base, kind=ready_made.kind, fields=own, never_keep=ready_made.never_keep)
        base = without_held_connection(inherit(base, self._defaults))
        base = inherit(base, ready_made.table)
        base = raised(base, ready_made.floor, _times(base))
        return self._changed(base, table, self._default_times())

    def _changed(self, template: Template, table: TomlTable, before: Times | None = None) -> Template:
        """Return a template with the values of a table applied.

        before: the times that were in force before `table` was applied; None means those of `template`. If they deserve
            a remark, it has been added already, and is not added again.
        """
        refuse_foreign_keys(table, template.kind, self._errors)
        changed = self._with_program(inherit(template, table), table)
        self._validate(changed, table)
        for field, message in (*below_floor(changed.floor, table), *harmful(changed.never_keep, table)):
            self._errors.add(table.at(field), message)
        self._validate_paces(changed.fields.get("fast_interval"), _times(changed).interval, table, changed.wrong)
        if not changed.wrong & {*Times._fields}:
            least = SILENT_TIMEOUT if changed.takes_silence else 0.0
            self._remark_timeout(before or _times(template), _times(changed), table, least)
        return changed

    def _validate_paces(
        self, fast: Seconds | None, interval: Seconds, table: TomlTable, wrong: AbstractSet[str]
    ) -> None:
        """Report a fast interval above the interval, but only where the file first combines the two values."""
        fields = [field for field in ("fast_interval", "interval") if field in table]
        if fields and not wrong & {*PACES} and (message := slow_fast(fast, interval)):
            self._errors.add(table.at(fields[0]), message)

    def _with_program(self, template: Template, table: TomlTable) -> Template:
        """Return a template whose program has an absolute path, if it is one beside the ready-made checks."""
        name, *arguments = template.fields.get("command") or ("/",)
        if name.startswith("/"):
            return template
        path = self._shelf.program(name)
        self._ready_made.add(program_key(name))
        if path is None:
            what = "the absolute path of a program, or the name of an executable beside the ready-made checks"
            self._errors.add_all((*table.at("command"), 0), expected(what, name))
        return msgspec.structs.replace(template, fields=template.fields | {"command": (str(path), *arguments)})

    def _default_times(self) -> Times:
        """Return the times that `[defaults.check]` gives.

        For a key that it leaves out this is the default, which every type of check shares. "tcp" is only an example.
        """
        return Times(*(self._defaults.values.get(field, _default("tcp", field)) for field in Times._fields))

    def _remark_timeout(self, before: Times, now: Times, table: TomlTable, least: float = 0.0) -> None:
        """Remark on a timeout above the interval, but only at the place in the file that first combines the two values.

        least: the shortest timeout that the check may have, seconds.
        """
        if now.timeout > now.interval and now != before:
            timeout, interval = duration_text(now.timeout), duration_text(now.interval)
            shorter = f', or timeout = "{interval}" at most' if now.interval >= least else ""
            self._errors.remark(
                table.at("timeout" if "timeout" in table else "interval"),
                f"timeout {timeout} is above interval {interval}: probes of a check never overlap, so a server that "
                f'hangs is probed only every {timeout}; write interval = "{timeout}"{shorter}',
            )

    def _validate(self, check: Template, table: TomlTable) -> None:
        """Report combinations of values that cannot work for this type of check."""
        for field in ("expect", "expect_regex"):
            if check.kind == "udp" and check.has(field) and not check.has("send"):
                self._errors.add(table.at(field), "a UDP server answers only what it is sent; add send or send_hex")
        self._validate_steps(check, table)
        if check.kind in DEFAULT_PORT:
            for field, message in http_rules.misfits(check.fields, check.wrong):
                self._errors.add(table.at(field), message)
            for inside, message in problems(check.fields, check.wrong):
                self._errors.add((*table.at("requests"), *(inside if "requests" in table else ())), message)
        if "connection" in CHECK_FIELDS[check.kind]:
            for field, message in kept_misfits(check.fields, check.wrong, table.written):
                self._errors.add(table.at(field), message)
        if check.kind == "agent":
            for field, message in agent_rules.misfits(check.has):
                self._errors.add(table.at(field), message)
        if check.kind == "exec":
            for field, message in exec_rules.misfits(check.fields, check.wrong):
                self._errors.add(table.at(field), message)
        timeout = check.fields.get("timeout", SILENT_TIMEOUT)
        if check.takes_silence and "timeout" not in check.wrong and timeout < SILENT_TIMEOUT:
            self._errors.add(
                table.at("timeout"),
                f"too short a timeout ({timeout:g}s) for a udp check that expects nothing: the kernel takes 3s to "
                "notice that a host is gone, and silence until then looks like health; "
                f"make it {SILENT_TIMEOUT:g}s or more, or expect an answer",
            )
        expressions = (("expect_regex", "max_answer"), ("body_regex", "max_body"), ("absent_regex", "max_body"))
        for field, most in expressions:
            if check.fields.get(field) and field not in check.wrong and most not in check.wrong:
                self._validate_cost(check, table, str(check.fields[field]), (field, most))

    def _validate_steps(self, check: Template, table: TomlTable) -> None:
        steps: tuple[ConversationStep, ...] = check.fields.get("steps", ())
        if "steps" in table:
            for field in SHORT_FORM:
                if field in table:
                    self._errors.add(
                        table.at(field), f"{table.written[field]} and steps exclude each other; make it a step"
                    )
        if check.kind == "udp":
            for problem in problems_over_udp(steps):
                self._errors.add((*table.at("steps"), *problem.at), problem.message)
        if "tls" in CHECK_FIELDS[check.kind]:
            for field, message in tls_misfits(check.kind, check.fields, check.wrong, table.written, self._pair_problem):
                self._errors.add(table.at(field), message)
        for message in missing(check.kind, check.has):
            self._errors.add(table.at("type"), message)
        for index, step in enumerate(steps):
            if step.expect_regex and "max_answer" not in check.wrong:
                self._validate_cost(check, table, step.expect_regex, ("steps", "max_answer"), (index,))

    def _validate_cost(
        self, check: Template, table: TomlTable, text: str, keys: tuple[str, str], inside: KeyPath = ()
    ) -> None:
        """Refuse an expression with which a peer could block the event loop for longer than other probes tolerate.

        text: the expression.
        keys: the fields of the expression and of the number of bytes that are searched.
        inside: where in the value of its field the expression is.
        """
        field, most = keys
        size = int(check.fields.get(most) or _default(check.kind, most))
        message = too_expensive(text, size, most)
        if message:
            self._errors.add((*table.at(field), *inside) if field in table else table.at(most), message)

    def _types(self) -> str:
        names = self._shelf.names()
        shown = ", ".join(names) if len(names) <= _MOST_NAMED else "see: lvs-healthd checks"
        own = f", a [check.NAME] ({_shortened(self._named)})" if self._named else ""
        return f"{', '.join(CHECK_TYPES)}{own} or a ready-made check" + (f" ({shown})" if names else "")


def _shortened(names: Collection[str]) -> str:
    return ", ".join([*itertools.islice(names, _MOST_NAMED), *(["…"] if len(names) > _MOST_NAMED else [])])


def _times(template: Template) -> Times:
    fields = own_defaults(template) | template.fields
    return Times(*(fields.get(field, _default(template.kind, field)) for field in Times._fields))


def own_defaults(template: Template) -> dict[str, Any]:
    """Return defaults that differ from those of other checks.

    A udp check that passes when nothing comes back must wait longer before it may take silence for health. A program
    takes longer and costs more than a probe of ours.
    """
    if template.kind == "exec":
        return {"timeout": EXEC_TIMEOUT, "interval": EXEC_INTERVAL}
    return {"timeout": SILENT_TIMEOUT, "interval": SILENT_INTERVAL} if template.takes_silence else {}


@functools.cache
def _default(kind: str, field: str) -> Any:  # noqa: ANN401  # whatever the field holds
    return next(each.default for each in msgspec.structs.fields(CHECK_TYPES[kind]) if each.name == field)
