"""The table of JSON fields of an http check."""

import pytest
import tomli

from lvs_healthd.config.check_model import HttpCheck
from lvs_healthd.config.effective import to_toml
from lvs_healthd.probes.targets import probe_key
from tests.config.reading import checks_of, errors_of, read, service


def written(table: str, more: str = "") -> str:
    return service(check=f'{{ type = "http", json = {table}{more} }}')


def fields_of(table: str) -> tuple[tuple[str, str], ...]:
    [check] = checks_of(written(table))
    assert isinstance(check, HttpCheck)
    return check.json


def test_paths_and_values() -> None:
    table = '{ status = "ok", "a.b.0" = true, c.d = 1, e = { f = { g = 2.0 }, h = false }, "/x.y/~1" = "" }'
    assert fields_of(table) == (
        ("status", '"ok"'),
        ("a.b.0", "true"),
        ("c.d", "1"),
        ("e.f.g", "2.0"),
        ("e.h", "false"),
        ("/x.y/~1", '""'),
    )


def test_effective_configuration_has_the_fields_with_their_types() -> None:
    text = to_toml(read(written('{ a.b = 1, c = 1.0, d = true, e = "1" }')))
    shown = tomli.loads(text)["service"][0]["real_server"][0]["check"][0]["json"]
    assert [(path, value, type(value)) for path, value in shown.items()] == [
        ("a.b", 1, int),
        ("c", 1.0, float),
        ("d", True, bool),
        ("e", "1", str),
    ]


@pytest.mark.parametrize("other", ["true", "1.5", '"1"'])
def test_checks_that_differ_only_in_the_type_of_a_value_do_not_share_a_probe(other: str) -> None:
    one, another = (checks_of(written(f"{{ a = {value} }}"))[0] for value in ("1", other))
    assert probe_key(one) != probe_key(another)


VALUE = "expected a string, a number, true or false, got "


@pytest.mark.parametrize(
    ("table", "messages"),
    [
        ('"ok"', [': expected a table such as { status = "ok", "checks.db.up" = true }, got "ok"']),
        ("{ a = [1], b = {}, c = 2026-01-01 }", [
            f".a: {VALUE}an array",
            f".b: {VALUE}a table",
            f".c: {VALUE}the date or time 2026-01-01",
        ]),
        ("{ a = inf, b = nan }", [f".a: {VALUE}inf", f".b: {VALUE}nan"]),
        ("{ a = 0xffffffffffffffffff }", [f".a: {VALUE}an integer of more than 64 bits"]),
        ('{ "a..b" = 1, "" = 2, e."" = 3 }', [
            '."a..b": not a path: write the keys with dots between them, such as "checks.db.up"',
            '."": not a path: write the keys with dots between them, such as "checks.db.up"',
            '.e."": not a path: write the keys with dots between them, such as "checks.db.up"',
        ]),
        ('{ "a.b" = 1, a = { b = 2 }, "/a/b" = 3 }', [
            ".a.b: this field is already set, as a.b",
            '."/a/b": this field is already set, as a.b',
        ]),
        ('{ "/a" = { b = 1 } }', [f'."/a": {VALUE}a table']),
    ],
)  # fmt: skip
def test_what_json_cannot_have_or_means_nothing(table: str, messages: list[str]) -> None:
    assert errors_of(written(table)) == [f'c.toml:4: service "web": check.json{message}' for message in messages]


def test_document_may_not_be_so_large_that_probes_wait() -> None:
    assert checks_of(written("{ a = 1 }", ", max_body = 131072"))
    (error,) = errors_of(written("{ a = 1 }", ", max_body = 131073"))
    assert error == (
        'c.toml:4: service "web": check.max_body: '
        "with json at most 131072: decoding a larger document would hold up all probes"
    )
