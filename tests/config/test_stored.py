"""Keys of etcd as parts of a configuration: what they may say, and where what is wrong with them is told."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.load import parse
from lvs_healthd.config.model import Config
from lvs_healthd.config.stored import Stored, stored_parts

PREFIX = "/lvs-healthd/"
FLEET = '[fleet]\nstore = "http://127.0.0.1:2379"\n'
WEB = 'address = "192.0.2.100:80"\ncheck = "tcp"\nreal_server = ["198.51.100.11"]\n'


def stored(**keys: str | bytes) -> Stored:
    """Return keys by their names after `config/`, with __ for /."""
    values = {
        f"{PREFIX}config/{name.replace('__', '/')}": value.encode() if isinstance(value, str) else value
        for name, value in keys.items()
    }
    return Stored(PREFIX, values)


def read(keys: Stored, text: str = FLEET) -> Config:
    return parse(text, "c.toml", stored=keys)


def errors_of(keys: Stored, text: str = FLEET) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(keys, text)
    return [error.replace(f"etcd {PREFIX}config/", "@") for error in caught.value.errors]


def test_services_pools_and_checks_are_like_those_of_an_included_file() -> None:
    keys = stored(
        service__web='address = "192.0.2.100:80"\ncheck = "page"\npool = ["ours", "local"]\n',
        service__mail=json.dumps({"address": "192.0.2.101:25", "check": "tcp", "real_server": ["198.51.100.21"]}),
        pool__ours='real_server = ["198.51.100.11"]\n',
        check__page='type = "http"\npath = "/healthz"\n',
    )
    text = FLEET + (
        '[defaults.service]\nscheduler = "rr"\n[pool.local]\nreal_server = ["198.51.100.12"]\n'
        '[[service]]\nname = "dns"\naddress = "192.0.2.102:53"\ncheck = "tcp"\npool = "ours"\n'
    )
    dns, mail, web = read(keys, text).services
    assert (dns.name, mail.name, web.name) == ("dns", "mail", "web")
    assert [str(each.endpoint) for each in web.real_servers] == ["198.51.100.11:80", "198.51.100.12:80"]
    assert [str(each.endpoint) for each in dns.real_servers] == ["198.51.100.11:53"]
    assert web.real_servers[0].checks[0].name == "page"
    assert {each.scheduler for each in (dns, mail, web)} == {"rr"}


def test_file_without_services_is_no_mistake_where_etcd_has_them() -> None:
    assert parse(FLEET, "c.toml").remarks == ()
    assert "no [[service]]" in parse("", "c.toml").remarks[0]


@pytest.mark.parametrize(
    ("keys", "errors"),
    [
        (
            {"service__web": WEB + "schedular = 2\n"},
            ['@service/web:4: service "web": schedular: unknown key; did you mean "scheduler"'],
        ),
        (
            {"service__web": '{"fwmark": 7,\n "check": "tcp",\n "real_server":\n [\n "198.51.100.300"]}'},
            ['@service/web:5: service "web": real_server[0]: expected an address and port'],
        ),
        ({"service__web": "address = 192.0.2.1\n"}, ["@service/web:1: text stands in quotes"]),
        ({"service__web": '{"address": 1,\n}'}, ["@service/web:2: not JSON: "]),
        ({"service__web": '{"address": null}'}, ['@service/web: not JSON: "address" is null; leave it out']),
        ({"service__web": '{"weight": 1, "weight": 2}'}, ['@service/web: not JSON: "weight" is there twice']),
        ({"service__web": '{"weight": NaN}'}, ["@service/web: not JSON: NaN is no number"]),
        ({"service__web": b"name = '\xff'"}, ["@service/web: not UTF-8 text: byte 0xff"]),
        (
            {"services__web": WEB},
            ["@services/web: expected config/service/NAME, config/pool/NAME or config/check/NAME"],
        ),
        ({"web": WEB}, ["@web: expected config/service/NAME"]),
        (
            {"service__web": "[[service]]\n" + WEB},
            ['@service/web:1: service "web": service: the key itself stands for [[service]]; leave that line out'],
        ),
        (
            {"pool__web": "[pool.web]\nreal_server = []\n"},
            ["@pool/web:1: pool.web.pool: the key itself stands for [pool.NAME]"],
        ),
        (
            {"service__web": 'name = "mail"\n' + WEB},
            ['@service/web:1: service "web": name: the key says "web"; leave this out, or write it to'],
        ),
        ({"pool__web": "real_server = []\n"}, ["@pool/web:1: pool.web.real_server: the list is empty"]),
        ({"check__page": 'path = "/"\n'}, ["@check/page:1: check.page: type is missing"]),
        ({"daemon": "listen = ''"}, ["@daemon: expected config/service/NAME"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else None,
)
def test_mistakes_name_key_and_line(keys: dict[str, str | bytes], errors: list[str]) -> None:
    found = errors_of(stored(**keys))
    assert len(found) == len(errors), found
    for error, begin in zip(found, errors, strict=True):
        assert error.startswith(begin)


@pytest.mark.parametrize(
    "check",
    [
        '{ type = "http", headers = { Authorization = "Bearer abc" } }',
        '{ type = "http", path = "/?token=abc" }',
        '{ type = "tcp", send = "AUTH abc\\r\\n" }',
    ],
    ids=["header", "path", "command"],
)
def test_secrets_are_refused(check: str) -> None:
    (error,) = errors_of(stored(service__web=WEB.replace('"tcp"', check)))
    assert error.startswith('@service/web:2: service "web": check.')
    assert error.endswith(
        ": a secret, which all readers of etcd would see; write this check as a [check.NAME] in the file of each "
        "director, and its NAME here"
    )
    assert "abc" not in error


@pytest.mark.parametrize(
    "keys",
    [
        {"service__web": WEB.replace('"tcp"', '{ type = "exec", command = ["/bin/true"] }')},
        {"service__web": WEB.replace('"tcp"', '["tcp", "exec"]')},
        {"service__web": WEB.replace('"tcp"', '[{ type = "local", environment = { LD_PRELOAD = "/tmp/x.so" } }]')},
        {
            "service__web": WEB.replace(
                '["198.51.100.11"]', '[{ address = "198.51.100.11", check = { command = ["/x"] } }]'
            )
        },
        {"service__web": WEB + 'fallback = [{ address = "198.51.100.9", check = "exec" }]\n'},
        {"pool__web": 'real_server = [{ address = "198.51.100.11", check = { type = "exec", command = ["/x"] } }]\n'},
        {"check__page": 'type = "exec"\ncommand = ["/bin/true"]\n'},
        {"service__web": json.dumps({"check": {"command": ["/bin/true"]}})},
    ],
    ids=["type", "name of the type", "environment", "server", "fallback", "pool", "check", "JSON"],
)
def test_programs_are_refused(keys: dict[str, str]) -> None:
    text = FLEET + '[check.local]\ntype = "exec"\nconvention = "nagios"\ncommand = ["/bin/true"]\n'
    errors = errors_of(stored(**keys), text)
    assert len(errors) == 1, errors
    assert "whoever writes to etcd would run programs here" in errors[0]


def test_program_of_the_directors_own_file_may_be_used_by_its_name() -> None:
    text = FLEET + '[check.local]\ntype = "exec"\nconvention = "nagios"\ncommand = ["/bin/true"]\n'
    (web,) = read(stored(service__web=WEB.replace('"tcp"', '"local"')), text).services
    assert web.real_servers[0].checks[0].name == "local"


def test_what_is_there_twice_names_both_places() -> None:
    text = FLEET + '[[service]]\nname = "web"\n' + WEB + '[pool.web]\nreal_server = ["198.51.100.11"]\n'
    name, address = errors_of(stored(service__web=WEB), text)
    assert name.startswith('@service/web:1: service "web": name: the service on line 3 of c.toml is called "web" too')
    assert address.startswith('@service/web:1: service "web": address: 192.0.2.100:80/tcp is already service "web", on')
    (pool,) = errors_of(stored(pool__web='real_server = ["198.51.100.12"]\n'), text)
    assert pool == "@pool/web:1: pool.web: already set in c.toml:8; keep one of them"


def test_each_wrong_key_is_told() -> None:
    errors = errors_of(stored(service__a="x", service__b="y", service__c=WEB))
    assert [error.partition(":")[0] for error in errors] == ["@service/a", "@service/b"]


def test_key_of_a_service() -> None:
    keys = stored(**{"service__web": WEB, "service__web 2": WEB, "service__10.0.0.1:80/tcp": WEB})
    assert keys.key_of("web") == f"{PREFIX}config/service/web"
    assert keys.key_of("web 192.0.2.1/udp") == f"{PREFIX}config/service/web"
    assert keys.key_of("web 2/udp") == f"{PREFIX}config/service/web 2"
    assert keys.key_of("10.0.0.1:80/tcp") == f"{PREFIX}config/service/10.0.0.1:80/tcp"
    assert (keys.key_of("mail"), keys.key_of("")) == ("", "")
    assert sorted(keys.services) == ["10.0.0.1:80/tcp", "web", "web 2"]


def mistakes_of(keys: Stored) -> tuple[str, ...]:
    try:
        read(keys)
    except ConfigError as error:
        return error.errors
    return ()


bodies = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(["exec", "tcp", "192.0.2.1:80"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["check", "real_server", "address", "name", "type", "headers", "send"]), inner
        )
    ),
    max_leaves=10,
)


@given(st.binary(max_size=60) | bodies.map(lambda each: json.dumps(each).encode()))
def test_whatever_a_key_says_is_read_or_told(value: bytes) -> None:
    keys = stored(service__web=value, pool__web=value, check__web=value)
    with contextlib.suppress(ConfigError):
        for part in stored_parts(keys):
            assert part.lines()
    assert not any("internal error" in each for each in mistakes_of(keys))
