from typing import Any

import pytest
import tomli
import tomli_w
from hypothesis import given

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.load import parse
from lvs_healthd.config.model import Config
from lvs_healthd.config.schema import CHECK_FIELDS, CHECK_KEYS, TLS_FIELDS, WAY_FIELDS
from lvs_healthd.config.values import duration_text
from tests.config.documents import PATIENT, configurations
from tests.config.reading import read, service


@PATIENT
@given(configurations())
def test_effective_configuration_loads_to_the_same(document: dict[str, Any]) -> None:
    config = read(tomli_w.dumps(document))
    again = parse(to_toml(config), "effective.toml", checks_dirs=[])
    assert (again.daemon, again.ipvs, again.services) == (config.daemon, config.ipvs, config.services)


def effective(config: Config) -> dict[str, Any]:
    return tomli.loads(to_toml(config))


ALTERNATIVES = {
    *("token_file", "body_regex", "absent_regex", "requests"),
    *("send_hex", "expect_hex", "expect_regex", "steps"),
    *("reconnect", "confirm_interval"),
}
"""Of the keys that exclude each other, those that are left out when none has a value; and those that need another."""


@pytest.mark.parametrize("kind", ["http", "https", "tcp", "udp"])
def test_every_key_of_a_check_is_there_but_the_excluded_alternatives(kind: str) -> None:
    written = effective(read(service(check=f'"{kind}"')))["service"][0]["real_server"][0]["check"][0]
    keys = {key for key, schema in CHECK_KEYS.items() if (schema.field or key) in CHECK_FIELDS[kind] - WAY_FIELDS} | {
        "type"
    }
    assert written.keys() == keys - ALTERNATIVES - {"alpn"} - ({*TLS_FIELDS} if kind == "tcp" else set())


@pytest.mark.parametrize("over", ["udp", "tls"])
def test_every_key_of_a_dns_check_is_there(over: str) -> None:
    text = to_toml(read(service(check=f'{{ type = "dns", query = ".", over = "{over}", rcode = "NXDOMAIN" }}')))
    written = tomli.loads(text)["service"][0]["real_server"][0]["check"][0]
    assert written.keys() == {"type", *CHECK_FIELDS["dns"]} - WAY_FIELDS - {"way", "tls", "alpn"} - (
        set() if over == "tls" else {*TLS_FIELDS}
    )
    assert written["rcode"] == ["NXDOMAIN"]
    assert read(text).services


def test_way_of_a_check_is_written() -> None:
    keys = 'source = "192.0.2.9", interface = "eth1", mark = 4294967295, dscp = 0'
    config = read(service(check=f'{{ type = "ping", {keys} }}'))
    written = tomli.loads(to_toml(config))["service"][0]["real_server"][0]["check"][0]
    assert {key: written[key] for key in WAY_FIELDS} == {
        "source": "192.0.2.9",
        "interface": "eth1",
        "mark": 4294967295,
        "dscp": 0,
    }
    assert read(to_toml(config)).services == config.services


def test_steps_are_written_as_steps_without_what_they_exclude() -> None:
    steps = (
        r"""{ expect_regex = '\A220 ' }, { send = "STARTTLS\r\n" }, { expect_hex = "ff 00" }, { starttls = true }, """
        r"""{ send = "AUTH PLAIN hunter2\r\n" }, { expect_hex = "32 3?" }, { send_hex = "00 01" }"""
    )
    text = to_toml(read(service(check=f'{{ type = "tcp", steps = [{steps}], sni = "mail.example" }}')))
    written = tomli.loads(text)["service"][0]["real_server"][0]["check"][0]
    assert written["steps"] == [
        {"expect_regex": r"\A220 "},
        {"send": "STARTTLS\r\n"},
        {"expect_hex": "ff 00"},
        {"starttls": True},
        {"send": "(hidden)"},
        {"expect_regex": r"\x32[" + "".join(rf"\x3{digit:x}" for digit in range(16)) + "]"},
        {"send_hex": "00 01"},
    ]
    assert (written["sni"], written["verify"], written["ca"]) == ("mail.example", True, "")
    assert not written.keys() & {"send", "send_hex", "expect", "expect_hex", "expect_regex"}
    assert read(text).services


def test_secrets_are_hidden_and_the_rest_of_the_headers_is_not() -> None:
    headers = 'Accept = "*/*", Authorization = "Bearer x1", cookie = "x2", Proxy-Authorization = "x3", X-Api-Key = "x4"'
    text = to_toml(read(service(check=f'{{ type = "http", headers = {{ {headers} }} }}')))
    written = tomli.loads(text)["service"][0]["real_server"][0]["check"][0]["headers"]
    names = ("Authorization", "cookie", "Proxy-Authorization", "X-Api-Key")
    assert written == {"Accept": "*/*"} | dict.fromkeys(names, "(hidden)")
    assert read(text).services


@pytest.mark.parametrize(
    "sent", ['send = "AUTH hunter2\\r\\nPING\\r\\n"', f'send_hex = "ff {b"AUTH hunter2".hex(" ")}"']
)
def test_secrets_in_what_is_sent_are_hidden(sent: str) -> None:
    text = to_toml(read(service(check=f'{{ type = "tcp", {sent}, expect = "+PONG" }}')))
    assert "hunter2" not in text
    assert b"hunter2".hex(" ") not in text
    written = tomli.loads(text)["service"][0]["real_server"][0]["check"][0]
    assert (written["send"], written["expect"]) == ("(hidden)", "+PONG")
    assert "send_hex" not in written
    assert read(text).services


def test_secrets_in_the_body_of_a_request_are_hidden() -> None:
    body = '{"user": "x", "password": "hunter2"}'
    text = to_toml(read(service(check=f"{{ type = 'http', method = 'POST', send_body = '{body}' }}")))
    written = tomli.loads(text)["service"][0]["real_server"][0]["check"][0]
    assert written["send_body"] == "(hidden)"
    assert "hunter2" not in text
    plain = read(service(check="{ type = 'http', method = 'POST', send_body = 'ping' }"))
    assert effective(plain)["service"][0]["real_server"][0]["check"][0]["send_body"] == "ping"


def test_secrets_in_the_query_of_a_path_are_hidden() -> None:
    text = to_toml(read(service(check='{ type = "http", path = "/health?verbose=1&token=hunter2" }')))
    written = tomli.loads(text)["service"][0]["real_server"][0]["check"][0]
    assert written["path"] == "/health?verbose=1&token=(hidden)"
    assert read(text).services


def test_bytes_that_are_no_text_are_written_as_hexadecimal() -> None:
    text = service(check='{ type = "tcp", send_hex = "ff 00", expect_hex = "61 0d 0a" }')
    written = effective(read(text))["service"][0]["real_server"][0]["check"][0]
    assert (written["send_hex"], written["expect"]) == ("ff 00", "a\r\n")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.05, "50ms"),
        (0.1, "100ms"),
        (1.5, "1.5s"),
        (60.0, "1m"),
        (90.0, "90s"),
        (3600.0, "1h"),
        (10.0, "10s"),
    ],
)
def test_duration_is_written_as_people_would(seconds: float, text: str) -> None:
    assert duration_text(Seconds(seconds)) == text


def test_engine_of_persistence_is_reported_without_a_mask_too() -> None:
    config = read(service('protocol = "udp"\npersistence = "5m"\npersistence_engine = "sip"', check='"udp"'))
    assert config.services[0].persistence_engine == "sip"
    assert read(to_toml(config)) == config
