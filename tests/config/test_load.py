import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config import load as load_module
from lvs_healthd.config.load import ConfigError, load, parse
from lvs_healthd.config.model import Config
from tests.config.documents import LOOKALIKES, PATIENT, VALUES, configurations
from tests.config.reading import errors_of, read, service

SPEC = """\
[daemon]
listn = ":80"

[defaults.check]
interval = 2

[[service]]
name = "web"
address = "192.0.2.100:80"
check = { type = "http", path = "healthz" }
real_server = [
  "198.51.100.11:80",
  { address = "198.51.100.12:80", weight = -2 },
  "198.51.100.11",
]

[[service]]
name = "dns"
address = "192.0.2.100:53"
protocol = "udp"
forward = "dr"
check = "redsi"
real_server = ["198.51.100.13:5353"]
"""


def test_all_errors_in_one_run_in_the_order_of_the_file() -> None:
    assert errors_of(SPEC) == [
        'c.toml:2: daemon.listn: unknown key; did you mean "listen"?',
        'c.toml:5: defaults.check.interval: expected a duration from 50ms to 24h, got 2; give it a unit: "2s"',
        'c.toml:10: service "web": check.path: expected a path that starts with "/", got "healthz"',
        'c.toml:13: service "web": real_server[1].weight: expected 0..65535, got -2',
        'c.toml:14: service "web": real_server[2]: 198.51.100.11:80 is already listed, on line 12; keep one of them',
        ('c.toml:22: service "dns": check: expected http, https, tcp, udp, dns, grpc, sctp, ping, exec, agent or '
         'a ready-made check (see: lvs-healthd checks), '
        'got "redsi"; did you mean "redis"?'),
        ('c.toml:23: service "dns": real_server[0]: port 5353 is not the service\'s 53, and dr leaves ports as they '
        'are; only forward = "nat" or "fullnat" can map them'),
    ]  # fmt: skip


def test_str_of_the_error_is_one_line_each() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(SPEC, "c.toml")
    assert str(caught.value).splitlines() == list(caught.value.errors)
    assert len(caught.value.errors) == 7


def test_file_is_called_what_the_caller_calls_it() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("x = 1\n" + service(), "/etc/lvs-healthd/config.toml")
    assert str(caught.value) == (
        "/etc/lvs-healthd/config.toml:1: x: unknown key; known here: include, daemon, ipvs, brake, "
        "pair, fleet, defaults, pool, check, service, hook"
    )


def errors(read: Callable[[], Config]) -> tuple[str, ...]:
    """Return the errors of a configuration; none when it loads. Any exception but `ConfigError` fails the test."""
    try:
        read()
    except ConfigError as error:
        return error.errors
    return ()


def assert_loads_or_is_refused(text: str) -> None:
    for line in errors(lambda: parse(text, "c.toml")):
        assert re.match(r"(c\.toml|/.*\.toml)(:[1-9]\d*){0,2}: .", line)
        assert len(line.splitlines()) == 1


@PATIENT
@given(configurations())
def test_right_documents_load(document: dict[str, Any]) -> None:
    config = parse(tomli_w.dumps(document), "c.toml")
    assert len(config.services) == sum(map(services_of, document["service"]))


def services_of(table: dict[str, Any]) -> int:
    """Return how many services a table defines."""
    protocols = table.get("protocol", "tcp")
    addresses = 3 if "-3:" in table.get("address", "") else 1
    return addresses * (len(protocols) if isinstance(protocols, list) else 1)


@PATIENT
@given(LOOKALIKES)
def test_documents_with_any_values_load_or_are_refused(document: dict[str, Any]) -> None:
    assert_loads_or_is_refused(tomli_w.dumps(document))


@PATIENT
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), VALUES))
def test_any_document_loads_or_is_refused(document: dict[str, Any]) -> None:
    assert_loads_or_is_refused(tomli_w.dumps(document))


@PATIENT
@given(st.text(st.characters(exclude_categories=["Cs"])) | st.text("[]{}\"=.,#\n\\ 'a1t"))
def test_any_text_is_refused_unless_it_is_empty(text: str) -> None:
    assert_loads_or_is_refused(text)
    assert errors(lambda: parse(text, "c.toml")) or not tomli.loads(text)


@PATIENT
@given(st.binary())
def test_any_bytes_are_refused_unless_empty(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "bytes.toml"
    file.write_bytes(data)
    found = errors(lambda: load(file))
    assert found or not tomli.loads(data.decode("utf-8-sig"))
    assert all(line.startswith(str(file)) for line in found)


@PATIENT
@given(configurations(), st.data())
def test_right_document_with_one_wrong_value_loads_or_is_refused(document: dict[str, Any], data: st.DataObject) -> None:
    place: Any = document
    while isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or data.draw(st.booleans()):
            place[key] = data.draw(VALUES)
            break
        place = place[key]
    assert_loads_or_is_refused(tomli_w.dumps(document))


def test_integer_beyond_64_bits_is_reported_with_its_place() -> None:
    text = service(servers=f'[{{ address = "198.51.100.11", weight = {10**20} }}]')
    (error,) = errors_of(text)
    assert error.endswith("real_server[0].weight: expected 0..65535, got an integer of more than 64 bits")
    (error,) = errors_of(f"[defaults]\nx = {10**20}\n" + service())
    assert "defaults.x: unknown key" in error


def test_nesting_without_end_is_an_error_and_no_traceback() -> None:
    errors = errors_of(service(".".join("a" * 1000) + " = 1"))
    assert any("a: unknown key" in error for error in errors)


def test_fault_of_our_own_rejects_the_file_and_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("x")

    file = tmp_path / "config.toml"
    file.write_text(service())
    monkeypatch.setattr(load_module, "read_services", broken)
    with pytest.raises(ConfigError, match=r"config\.toml: .* an internal error: KeyError: 'x'"):
        load(file)


def test_socket_and_state_file_are_two_things() -> None:
    (error,) = errors_of('[daemon]\nstate = "/run/x"\ncontrol = "/run/x"\n' + service())
    assert error == "c.toml:2: daemon.state: the same as control, which is a socket; state needs a file of its own"


def test_name_is_not_too_long_with_what_a_range_adds() -> None:
    text = service('address = "192.0.2.1-2:80"')
    (error, *_) = errors_of(text.replace('"web"', f'"{"x" * 120}"'))
    assert "name: with address and protocol, as " in error
    assert error.endswith("more than 128 characters")
    assert len(read(text.replace('"web"', f'"{"x" * 118}"')).services) == 2
