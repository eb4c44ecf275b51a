"""Reads the `[check.NAME]` tables: checks that services and real servers use by their names, as a type."""

from collections.abc import Mapping

from lvs_healthd.config.errors import Errors, WrongValueError, expected, show
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.schema import CHECK_KEYS, CHECK_TYPES, TomlTable, read_table
from lvs_healthd.config.values import label


def read_named_check(
    name: str, entry: object, others: Mapping[str, object], types: str, errors: Errors
) -> TomlTable | None:
    """Read the table of one named check. Return None if it is no check, after an error.

    others: all named checks of the file. None of them can be the type of another, so a file's check may have the name
        of the ready-made check that it changes.
    types: the types there are, for an error.
    """
    path: KeyPath = ("check", name)
    if not isinstance(entry, dict):
        errors.add_all(path, expected("a table", entry))
        return None
    table = read_table(entry, path, CHECK_KEYS, errors)
    try:
        label(name)
    except WrongValueError as error:
        errors.add_all(path, error)
    type_ = table.values.get("type")
    if name in CHECK_TYPES:
        errors.add(path, f"{show(name)} is a type of check; choose another name")
    if "name" in table:
        errors.add(table.at("name"), f"its name is {show(name)} already; leave this out")
    elif "type" not in table:
        errors.add(path, f"type is missing: {types}")
    elif type_ != name and type_ in others and type_ not in CHECK_TYPES:
        errors.add(table.at("type"), f"{show(type_)} is a check of this file itself; write its type here")
    elif type_ is not None:
        return table
    return None
