"""The checks of a service and of its real servers: inheritance, and the rules a check must keep.

Values come from, the later winning: the records' defaults, `[defaults.check]`, the ready-made check, the service's
check, the real server's. A template is a check with all of that settled but its target still open.
"""

from typing import Any

import msgspec

from lvs_healthd.config.errors import Errors, expected, show
from lvs_healthd.config.http_values import host_name
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.model import SILENT_INTERVAL, SILENT_TIMEOUT, AnyCheck, Endpoint
from lvs_healthd.config.patterns import MOST_STEPS, answer_pattern
from lvs_healthd.config.readymade import Shelf
from lvs_healthd.config.schema import (
    CHECK_FIELDS,
    CHECK_KEYS,
    CHECK_TYPES,
    GROUP_OF_FIELD,
    TomlTable,
    read_table,
    refuse_foreign_keys,
)
from lvs_healthd.config.values import did_you_mean, listing

_DEFAULT_PORT = {"http": 80, "https": 443}


class Template(msgspec.Struct, frozen=True):
    """One check with everything but its target."""

    name: str
    type: str
    """As written, so the name of a ready-made check where it is one."""
    kind: str
    """What it is: http, https, tcp or udp."""
    fields: dict[str, Any]
    wrong: frozenset[str]
    """Fields with values that could not be used; no rule judges by them."""
    path: KeyPath
    """Where it was written last."""

    def has(self, field: str) -> bool:
        """Tell whether a field holds something, or was meant to."""
        return field in self.wrong or bool(self.fields.get(field))

    @property
    def takes_silence(self) -> bool:
        """Tell whether it is a udp check that passes when nothing comes back."""
        return self.kind == "udp" and not (self.has("expect") or self.has("expect_regex"))


class CheckReader:
    """Reads the checks of one configuration file."""

    def __init__(self, shelf: Shelf, errors: Errors) -> None:
        self._shelf = shelf
        self._errors = errors
        self._defaults = TomlTable((), {}, {})

    def read_defaults(self, written: object, path: KeyPath) -> None:
        """Read `[defaults.check]`; call it first."""
        self._defaults = read_table(written, path, CHECK_KEYS, self._errors)
        for key in ("type", "name"):
            if key in self._defaults:
                self._errors.add((*path, key), f"{key} cannot be inherited; write it in each check")

    def read(self, written: object, path: KeyPath, inherited: tuple[Template, ...] = ()) -> tuple[Template, ...]:
        """Read the value of a `check` key: the inherited checks as it changes them, and the ones it adds."""
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
        """Note wrong values of a `check` key whose inherited checks are wrong themselves, and so not known."""
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
        self._errors.add(table.at("name"), f"a second check named {show(name)}; give each a name")

    def _meant(self, table: TomlTable, inherited: tuple[Template, ...]) -> tuple[Template, ...] | None:
        """Find which inherited checks a table changes; none where it is a check of its own, None where it is wrong."""
        type_, name = table.values.get("type"), table.values.get("name")
        if name is None:
            meant = tuple(template for template in inherited if type_ in {None, template.type})
        else:
            meant = tuple(template for template in inherited if template.name == name)
        if type_ is None and not meant:
            needs = f"a check of its own needs a type: {self._types()}"
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
        base = Template(table.values.get("name", type_), type_, type_, {}, frozenset(), table.path)
        if type_ in CHECK_TYPES:
            return self._changed(_inherit(base, self._defaults), table)
        ready_made = self._shelf.find(type_)
        if ready_made is None:
            guess = did_you_mean(type_, (*CHECK_TYPES, *self._shelf.names()))
            self._errors.add_all(table.at("type"), expected(self._types(), type_, guess))
        if ready_made is None or not ready_made.kind:
            return None
        base = msgspec.structs.replace(base, kind=ready_made.kind)
        return self._changed(_inherit(_inherit(base, self._defaults), ready_made.table), table)

    def _changed(self, template: Template, table: TomlTable) -> Template:
        refuse_foreign_keys(table, template.kind, self._errors)
        changed = _inherit(template, table)
        self._validate(changed, table)
        return changed

    def _validate(self, check: Template, table: TomlTable) -> None:
        """Refuse what no check of this type can do."""
        for field in ("expect", "expect_regex"):
            if check.kind == "udp" and check.has(field) and not check.has("send"):
                self._errors.add(table.at(field), "a UDP server answers only what it is sent; add send or send_hex")
        for field in ("body", "body_regex"):
            if check.fields.get("method") == "HEAD" and check.has(field):
                self._errors.add(table.at(field), "the answer to HEAD has no body; use GET")
        timeout = check.fields.get("timeout", SILENT_TIMEOUT)
        if check.takes_silence and "timeout" not in check.wrong and timeout < SILENT_TIMEOUT:
            self._errors.add(
                table.at("timeout"),
                f"too short a timeout ({timeout:g}s) for a udp check that expects nothing: the kernel takes 3s to "
                "notice that a host is gone, and silence until then looks like health; "
                f"make it {SILENT_TIMEOUT:g}s or more, or expect an answer",
            )
        for field, most in (("expect_regex", "max_answer"), ("body_regex", "max_body")):
            if check.fields.get(field) and field not in check.wrong and most not in check.wrong:
                self._validate_cost(check, table, field, most)

    def _validate_cost(self, check: Template, table: TomlTable, field: str, most: str) -> None:
        """Refuse an expression that a peer could make hold the event loop for longer than other probes can bear."""
        pattern = answer_pattern(str(check.fields[field]))
        size = int(check.fields.get(most) or _default(check.kind, most))
        if pattern.size * size > MOST_STEPS:
            self._errors.add(
                table.at(field if field in table else most),
                f"an answer of {size} bytes could make this expression hold up all probes; "
                f"make it shorter, or {most} {MOST_STEPS // pattern.size} at most",
            )

    def _types(self) -> str:
        ready_made = self._shelf.names()
        return f"{', '.join(CHECK_TYPES)} or a ready-made check" + (f" ({', '.join(ready_made)})" if ready_made else "")


def _default(kind: str, field: str) -> Any:  # noqa: ANN401  # whatever the field holds
    return next(each.default for each in msgspec.structs.fields(CHECK_TYPES[kind]) if each.name == field)


def build(template: Template, server: Endpoint, virtual: Endpoint | None) -> AnyCheck:
    """Aim a template at a real server. `virtual` is the service's address, None for a firewall mark.

    The port is 0 where neither the check nor the server has one.
    """
    target = Endpoint(template.fields.get("address", server.address), template.fields.get("port", server.port))
    defaults = {"timeout": SILENT_TIMEOUT, "interval": SILENT_INTERVAL} if template.takes_silence else {}
    fields = defaults | template.fields | {"name": template.name, "address": target.address, "port": target.port}
    if template.kind in _DEFAULT_PORT:
        fields["host"] = fields.get("host") or _host_header(template.kind, virtual or target)
    if template.kind == "https":
        fields["sni"] = fields.get("sni") or host_name(fields["host"])
    return CHECK_TYPES[template.kind](**fields)


def _inherit(template: Template, table: TomlTable) -> Template:
    """Put a table's values over a template's, but none of its identity and none that the type has no key for."""
    own = CHECK_FIELDS[template.kind] - {"name"}
    replaced = {GROUP_OF_FIELD[field] for field in table.written if field in own}
    kept = {field: value for field, value in template.fields.items() if GROUP_OF_FIELD[field] not in replaced}
    return msgspec.structs.replace(
        template,
        fields=kept | {field: value for field, value in table.values.items() if field in own},
        wrong=template.wrong | {field for field in table.written if field in own and table.is_wrong(field)},
        path=table.path,
    )


def _host_header(kind: str, endpoint: Endpoint) -> str:
    """Spell an endpoint as a client would in the Host header: without the port its scheme implies (RFC 9110, 7.2)."""
    bare = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    return bare if endpoint.port == _DEFAULT_PORT[kind] else str(endpoint)
