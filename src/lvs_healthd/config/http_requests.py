"""The `requests` of an http or https check: each has the check's own values, except those that it changes."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from lvs_healthd.config.check_model import HttpCheck, HttpsCheck
from lvs_healthd.config.http_rules import misfits
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.paces import PACES
from lvs_healthd.config.patterns import too_expensive
from lvs_healthd.config.schema import GROUP_OF_FIELD, WAY_FIELDS, TomlTable

_OF_THE_CHECK = frozenset({"name", "address", "port", "rise", "fall", "timeout", "requests"}) | {*PACES, *WAY_FIELDS}
"""Fields that no single request has."""

_MAX_BODY = HttpCheck(name="", address="", port=0).max_body


def problems(fields: Mapping[str, Any], wrong: frozenset[str]) -> Iterator[tuple[KeyPath, str]]:
    """Yield where in `requests`, and the message, for every error in the combination of a request's values.

    fields: the values of the check, inherited ones too.
    wrong: the fields that were written with a wrong value.
    """
    for index, entry in enumerate(fields.get("requests", ())):
        whole = _merged(fields, entry)
        found = list(misfits(whole, wrong))
        for field in ("body_regex", "absent_regex"):
            message = too_expensive(whole.get(field, ""), whole.get("max_body", _MAX_BODY), "max_body")
            if message and not wrong & {field, "max_body"}:
                found.append((field, message))
        for field, message in found:
            yield (index, *((entry.written[field],) if field in entry else ())), message


def requests(kind: str, fields: Mapping[str, Any]) -> tuple[HttpCheck | HttpsCheck, ...]:
    """Return the requests of a check.

    kind: its type.
    fields: its values, with those that depend on the server.
    """
    return tuple(_request(kind, **_merged(fields, entry)) for entry in fields.get("requests", ()))


def _merged(fields: Mapping[str, Any], entry: TomlTable) -> dict[str, Any]:
    """Return the values of one request."""
    replaced = {GROUP_OF_FIELD[field] for field in entry.values}
    kept = {field: value for field, value in fields.items() if GROUP_OF_FIELD.get(field) not in replaced}
    return {field: value for field, value in (kept | entry.values).items() if field not in _OF_THE_CHECK}


@functools.lru_cache(maxsize=1024)
def _request(kind: str, **fields: Any) -> HttpCheck | HttpsCheck:  # noqa: ANN401  # the fields have different types
    """Return the same record for the same fields, because thousands of checks may have it."""
    record = HttpsCheck if kind == "https" else HttpCheck
    return record(name="", address="", port=0, **fields)
