"""A check as far as the file says, before it is known which server it probes."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import Connection
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.paces import PACES
from lvs_healthd.config.schema import CHECK_FIELDS, GROUP_OF_FIELD, SHORT_FORM, TomlTable
from lvs_healthd.config.values import duration_text


class Floor(msgspec.Struct, frozen=True):
    """The shortest interval that the servers of a ready-made check tolerate, whatever their verdict."""

    interval: Seconds
    reason: str
    """What they do to those who come more often; empty if the file does not say it."""
    file: str
    """The file of the ready-made check."""


class NeverKeep(msgspec.Struct, frozen=True):
    """Why no connection to the servers of a ready-made check must be held."""

    reason: str
    file: str
    """The file of the ready-made check."""


class Template(msgspec.Struct, frozen=True):
    """A check with all its values, except that the server's address and port are not filled in yet."""

    name: str
    type: str
    """The type as written in the file, which may be the name of a ready-made check."""
    kind: str
    """The actual type, such as http."""
    fields: dict[str, Any]
    wrong: frozenset[str]
    """Fields that were written with a wrong value. Rules about combinations of fields treat them as set."""
    path: KeyPath
    """Where in the file the check was defined, or last changed."""

    floor: Floor | None = None
    """The shortest interval that the check may have; None for any."""

    never_keep: NeverKeep | None = None
    """Why its connections must not be kept; None if they may be."""

    def has(self, field: str) -> bool:
        """Return whether a field is set, even if to a wrong value."""
        return field in self.wrong or bool(self.fields.get(field))

    @property
    def takes_silence(self) -> bool:
        """Whether it is a udp check that passes when nothing comes back."""
        return self.kind == "udp" and not any(self.has(field) for field in ("expect", "expect_regex", "steps"))


class Times(NamedTuple):
    """How often a check probes, and how long a probe may take, seconds."""

    interval: Seconds
    timeout: Seconds


def inherit(template: Template, table: TomlTable) -> Template:
    """Return a template with the values of a table applied.

    The table's name, and fields that the template's type does not have, are ignored.
    """
    own = CHECK_FIELDS[template.kind] - {"name"}
    replaced = {GROUP_OF_FIELD[field] for field in table.written if field in own}
    if "steps" in replaced:
        replaced |= {GROUP_OF_FIELD[field] for field in SHORT_FORM}
    elif any(field in table for field in SHORT_FORM):
        replaced.add("steps")
    kept = {field: value for field, value in template.fields.items() if GROUP_OF_FIELD.get(field) not in replaced}
    return msgspec.structs.replace(
        template,
        fields=kept | {field: value for field, value in table.values.items() if field in own},
        wrong=template.wrong | {field for field in table.written if field in own and table.is_wrong(field)},
        path=table.path,
    )


def raised(template: Template, floor: Floor | None, times: Times) -> Template:
    """Return the template of a ready-made check with its floor, to which shorter intervals are raised.

    They come from `[defaults.check]` or are the default, so nobody has written them for this kind of server.

    times: those of the template.
    """
    if floor is None:
        return template
    written = template.fields | {"interval": times.interval}
    short = {field: floor.interval for field in PACES if written.get(field, floor.interval) < floor.interval}
    return msgspec.structs.replace(template, floor=floor, fields=template.fields | short)


def without_held_connection(template: Template) -> Template:
    """Return a template without the `connection` that it has inherited from `[defaults.check]`, if it is of type tcp.

    An http server expects connections that stay open. But a silent connection harms some servers of other kinds, and of
    many nobody knows, so it must be asked for.
    """
    if template.kind != "tcp" or "connection" not in template.fields:
        return template
    fields = {field: value for field, value in template.fields.items() if field != "connection"}
    return msgspec.structs.replace(template, fields=fields)


def kept_all_the_same(table: TomlTable) -> bool:
    """Return whether a table says that the connection is kept."""
    return table.values.get("connection") is Connection.KEEP


def harmful(never_keep: NeverKeep | None, table: TomlTable) -> Iterator[tuple[str, str]]:
    """Yield the field and the message if a table asks for a connection that must not be held."""
    if never_keep is not None and kept_all_the_same(table):
        yield "connection", f'{never_keep.reason} ({never_keep.file}); leave it out, or write connection = "new"'


def below_floor(floor: Floor | None, table: TomlTable) -> Iterator[tuple[str, str]]:
    """Yield the field and the message for every interval that is written for a check and is shorter than its floor."""
    if floor is None:
        return
    for field in PACES:
        written = table.values.get(field, floor.interval)
        if written < floor.interval:
            least, why = duration_text(floor.interval), f": {floor.reason}" if floor.reason else ""
            message = f"{duration_text(written)} is shorter than min_interval = {least} of {floor.file}{why}"
            yield field, f'{message}; write {field} = "{least}" or more'
