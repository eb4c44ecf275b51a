"""The JSON schema accepts what the daemon accepts, and refuses what an editor should underline."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import tomli

from lvs_healthd.config.json_schema import json_schema
from lvs_healthd.config.load import parse
from lvs_healthd.config.reference import CHECKS, KeyReference, check_types, tables
from lvs_healthd.config.schema import CHECK_KEYS, CHECK_TYPES

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config.example.toml"
SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)

SERVICE = """
[[service]]
name = "web"
address = "192.0.2.100:80"
check = {check}
real_server = {servers}
{more}
"""


def service(check: str = '"tcp"', servers: str = '["198.51.100.11"]', more: str = "") -> str:
    return SERVICE.format(check=check, servers=servers, more=more)


def mistakes(text: str) -> list[str]:
    return [error.json_path for error in VALIDATOR.iter_errors(tomli.loads(text))]


def every_key() -> list[tuple[str, KeyReference]]:
    return [(header, key) for header, table in tables().items() for key in table.keys]


def test_schema_is_one_and_is_plain_json() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("file", [EXAMPLE, *sorted((ROOT / "examples").glob("*.toml"))], ids=lambda file: file.name)
def test_example_fits(file: Path) -> None:
    assert mistakes(file.read_text()) == []


def test_every_key_shown_in_the_example_fits() -> None:
    text = re.sub(r"^#\|", "", EXAMPLE.read_text(), flags=re.MULTILINE)
    whole = re.sub(r"^#([a-z_]+ = .*)$", r"\1", text, flags=re.MULTILINE)
    assert mistakes(text) == mistakes(whole) == []
    assert len(parse(whole, str(EXAMPLE)).services) > 5


RIGHT = [
    service('["tcp", { type = "redis", port = 6379 }]'),
    service('{ type = "http", status = [204, "301"], requests = [{ path = "/a" }, { path = "/b", body = "x" }] }'),
    service(servers='["198.51.100.11", { address = "198.51.100.12:81", check = { interval = "5s" } }]'),
    service(more='min_up = "50%"\ndamping = true'),
    service(servers='["198.51.100.11-12"]', more="min_up = { count = 2, hysteresis = 1 }\ndamping = { falls = 3 }"),
    service(more='fallback = [{ address = "198.51.100.99:80", tier = 2, check = "tcp" }]'),
    '[[hook]]\nmail = { to = "oncall@example.org", from = "lvs@example.org" }\n',
    '[defaults.check]\ninterval = "5s"\n',
]


@pytest.mark.parametrize("text", RIGHT)
def test_what_the_daemon_accepts_fits(text: str) -> None:
    parse(text, "/nowhere/config.toml")
    assert mistakes(text) == []


WRONG = [
    ('[deamon]\nlisten = ""\n', "$"),
    ("[daemon]\nmax_probes = 0\n", "$.daemon.max_probes"),
    ('[daemon]\nmax_probes = "10"\n', "$.daemon.max_probes"),
    ('[daemon]\nmode = "shadows"\n', "$.daemon.mode"),
    ("[daemon]\nresync = 10\n", "$.daemon.resync"),
    ('[daemon]\nresync = "10 sec"\n', "$.daemon.resync"),
    ('[daemon]\nreload_guard = "50"\n', "$.daemon.reload_guard"),
    ('[daemon]\ncontrol = "control.sock"\n', "$.daemon.control"),
    ("[ipvs.sysctl]\nexpire_nodest_con = true\n", "$.ipvs.sysctl"),
    ("[ipvs.sysctl]\ndrop_entry = 2\n", "$.ipvs.sysctl.drop_entry"),
    ("[ipvs.sync.master]\nsyncid = 1\n", "$.ipvs.sync.master"),
    ('[defaults.check]\ntype = "tcp"\n', "$.defaults.check"),
    ('[service]\nname = "web"\n', "$.service"),
    (service(more='schedular = "rr"'), "$.service[0]"),
    (service(more='scheduler = "wlcc"'), "$.service[0].scheduler"),
    (service(more="fwmark = 1"), "$.service[0]"),
    (service(servers='[{ address = "198.51.100.11", weight = 70000 }]'), "$.service[0].real_server[0]"),
    (service(servers='"198.51.100.11"'), "$.service[0].real_server"),
    (service('{ type = "tcp", path = "/" }'), "$.service[0].check"),
    (service('{ type = "http", pth = "/" }'), "$.service[0].check"),
    (service("[]"), "$.service[0].check"),
    (service(more='min_up = "half"'), "$.service[0].min_up"),
    ('[[hook]]\nevery = "1m"\n', "$.hook[0]"),
    ('[[hook]]\nurl = "ftp://example.org"\n', "$.hook[0].url"),
    ('[[hook]]\nmail = { to = "a@example.org" }\n', "$.hook[0].mail"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place"), WRONG)
def test_what_is_wrong_does_not_fit(text: str, place: str) -> None:
    assert mistakes(text) == [place]


@pytest.mark.parametrize(("header", "key"), every_key(), ids=lambda each: getattr(each, "name", each))
def test_every_key_says_what_it_means_and_what_it_accepts(header: str, key: KeyReference) -> None:
    assert key.text.endswith((".", ")")), header
    assert key.shape.words


def accepting(kind: str, key: KeyReference, value: object) -> bool:
    try:
        jsonschema.Draft7Validator(dict(key.shape.schema)).validate(value)
        CHECK_KEYS[key.name].parse(value)
    except (jsonschema.ValidationError, ValueError) as error:
        pytest.fail(f"{kind}: {error}")
    return True


def test_defaults_of_checks_are_accepted_as_they_are_written() -> None:
    shown = {key.name: key for key in tables()[CHECKS].keys if key.default is not msgspec.UNSET}
    assert all(accepting("all", key, key.default) for key in shown.values())
    assert {"interval": "2s", "timeout": "1s", "rise": 2, "fall": 3}.items() <= {
        name: key.default for name, key in shown.items()
    }.items()
    assert shown["rise"].exceptions == {"agent": 1}
    assert shown["interval"].exceptions == {"exec": "10s"}


def test_every_type_of_check_is_explained_and_has_its_own_keys() -> None:
    assert check_types().keys() == CHECK_TYPES.keys()
    assert all(text.startswith("A") for text in check_types().values())
    rules: list[dict[str, Any]] = SCHEMA["definitions"]["check"]["anyOf"][1]["allOf"]
    keys = {rule["if"]["properties"]["type"]["const"]: rule["then"]["propertyNames"]["enum"] for rule in rules}
    assert "path" in keys["http"]
    assert "path" not in keys["tcp"]
    assert "sni" in keys["https"]
    assert "interval" in keys["ping"]
    assert "port" not in keys["exec"] or "port" in CHECK_TYPES["exec"].__struct_fields__
