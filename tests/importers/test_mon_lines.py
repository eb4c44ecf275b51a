"""No line of a mon.cf goes unmentioned, and what is carried over without loss can be used."""

from pathlib import Path

import pytest
from hypothesis import given

from lvs_healthd.config.load import ConfigError, parse
from lvs_healthd.importers.account import RefusedError
from lvs_healthd.importers.ipvsadm import table_of
from lvs_healthd.importers.mon.carrying import Carried, carried
from lvs_healthd.importers.source import Source
from tests.importers.mon_texts import TABLES, texts
from tests.importers.mon_understanding import CORPUS, files

ADDRESSES = {"web1": "198.51.100.1", "cache1.example.org": "198.51.100.72"}


def look_up(name: str) -> str:
    """Return the address of a name. No test asks DNS."""
    if name not in ADDRESSES:
        raise OSError(name)
    return ADDRESSES[name]


def carry(text: str, table: tuple[str, ...] | None) -> Carried:
    """Return what is made of a text."""
    saved = None if table is None else table_of(table, "saved")
    return carried(Source("mon.cf", text, Path("/"), saved), look_up)


@pytest.mark.parametrize("has_table", [True, False])
@pytest.mark.parametrize("name", files())
def test_every_line_of_the_corpus_is_mentioned(name: str, *, has_table: bool) -> None:
    table = CORPUS / f"{name}.table"
    lines = tuple(table.read_text().splitlines()) if has_table and table.exists() else None
    assert carry((CORPUS / f"{name}.cf").read_bytes().decode(), lines).account.unmentioned() == ()


@given(texts(), TABLES)
def test_every_line_of_any_text_is_mentioned(text: str, table: tuple[str, ...] | None) -> None:
    assert carry(text, table).account.unmentioned() == ()


@given(texts(), TABLES)
def test_what_is_carried_over_can_be_used(text: str, table: tuple[str, ...] | None) -> None:
    found = carry(text, table)
    if refused(found):
        return
    errors = errors_of(found.text)
    # Only what has been asked for is missing.
    assert [each for each in errors if "address is missing" not in each] == []
    assert not errors or ("missing: address" in found.text and not found.account.is_lossless)


def refused(found: Carried) -> bool:
    """Return whether a line is refused."""
    try:
        found.account.check()
    except RefusedError:
        return True
    return False


def errors_of(text: str) -> tuple[str, ...]:
    """Return what is wrong with a configuration."""
    try:
        parse(text, "imported")
    except ConfigError as error:
        return error.errors
    return ()
