"""`[defaults.service]`: what services inherit, what wins, what is left out, and where errors are told."""

from typing import Any

import pytest

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import HttpCheck, TcpCheck
from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.load import parse
from lvs_healthd.config.model import Below, Forward, OnFailure, Service
from lvs_healthd.config.reuse import LastReading
from tests.config.reading import errors_of, read

WEB = '[[service]]\nname = "web"\naddress = "192.0.2.100:80"\nreal_server = ["198.51.100.11"]\n'
MAIL = '[[service]]\nname = "mail"\naddress = "192.0.2.100:25"\nreal_server = ["198.51.100.11"]\n'
MARK = '[[service]]\nname = "mark"\nfwmark = 7\ncheck = { type = "tcp", port = 80 }\nreal_server = ["198.51.100.11"]\n'


def defaults(keys: str) -> str:
    """Return the table on line 1, with `keys` from line 2 on."""
    return f"[defaults.service]\n{keys}\n"


def one(keys: str, service: str = WEB) -> Service:
    return read(defaults(keys) + service).services[0]


def test_services_inherit() -> None:
    text = 'scheduler = "wrr"\non_failure = "quiesce"\nforward = "dr"\ncheck = "http"\nfallback = ["198.51.100.99"]'
    for service in read(defaults(text) + WEB + MAIL).services:
        assert (service.scheduler, service.on_failure, service.below) == ("wrr", OnFailure.QUIESCE, Below.FALLBACK)
        assert service.real_servers[0].forward is Forward.DR
        assert isinstance(service.real_servers[0].checks[0], HttpCheck)
        assert service.fallback[0].endpoint.port == (service.endpoint.port if service.endpoint else 0)


def test_own_key_of_service_wins() -> None:
    text = defaults('scheduler = "wrr"\nforward = "dr"\ncheck = "http"\nfallback = ["198.51.100.99"]')
    service = read(text + WEB + 'scheduler = "rr"\nforward = "nat"\ncheck = "tcp"\nfallback = []\n').services[0]
    assert (service.scheduler, service.forward, service.fallback) == ("rr", Forward.NAT, ())
    assert [type(check) for check in service.real_servers[0].checks] == [TcpCheck]


def test_real_server_changes_an_inherited_check() -> None:
    text = WEB.replace('["198.51.100.11"]', '[{ address = "198.51.100.11", check = { path = "/b", timeout = "2s" } }]')
    (check,) = one('check = { type = "http", path = "/a" }', text).real_servers[0].checks
    assert isinstance(check, HttpCheck)
    assert (check.path, check.timeout) == ("/b", 2.0)


def test_written_out_it_means_the_same() -> None:
    config = read(defaults('scheduler = "wrr"\nmin_up = 1\ncheck = "tcp"\nslow_start = "30s"') + WEB + MAIL)
    assert "[defaults" not in to_toml(config)
    assert parse(to_toml(config), "c.toml").services == config.services


@pytest.mark.parametrize(
    ("keys", "service", "field"),
    [
        ("one_packet = true", WEB, "one_packet"),
        ('protocol = "udp"\none_packet = true\nforward = "fullnat"', WEB, "one_packet"),
        ("synproxy = true", WEB + 'protocol = "udp"', "synproxy"),
        ("synproxy = true", WEB + 'forward = "dr"', "synproxy"),
        ("synproxy = true", MARK, "synproxy"),
        ('persistence = "60s"\npersistence_engine = "sip"', WEB, "persistence_engine"),
        ("persistence_mask = 24", WEB, "persistence_mask"),
        ('scheduler = "mh"\nscheduler_flags = ["mh-port"]', WEB + 'scheduler = "rr"', "scheduler_flags"),
        ('slow_start = "30s"', WEB + 'scheduler = "rr"', "slow_start"),
        ('protocol = "udp"', MARK, "protocol"),
        ('below = "fallback"', WEB, "below"),
    ],
)
def test_default_that_does_not_fit_a_service_is_left_out(keys: str, service: str, field: str) -> None:
    check = "" if "fwmark" in service else 'check = "http"\n'
    config = read(defaults(check + keys) + service)
    plain: Any = read(service + ("" if "fwmark" in service else '\ncheck = "http"'))
    assert getattr(config.services[0], field) == getattr(plain.services[0], field)
    assert not any(field in remark for remark in config.remarks)


def test_defaults_that_fit_are_in_force_where_they_do() -> None:
    udp = MAIL + 'protocol = "udp"\n'
    web, mail = read(defaults('one_packet = true\ncheck = { type = "tcp", port = 1 }') + WEB + udp).services
    assert (web.one_packet, mail.one_packet) == (False, True)
    assert one('check = "tcp"\npersistence_mask = 24', WEB + 'persistence = "60s"').persistence_mask == 24
    assert one('check = "tcp"\nsynproxy = true').synproxy


def test_tunnel_keys_are_for_those_who_use_tunnels() -> None:
    keys = 'check = "tcp"\ntun_type = "gue"\ntun_port = 6080'
    web, mail = read(defaults(keys) + WEB + MAIL + 'forward = "tun"\n').services
    assert not web.real_servers[0].tun_port
    assert mail.real_servers[0].tun_port == 6080
    ipip = one(keys, WEB + 'forward = "tun"\ntun_type = "ipip"')
    assert not ipip.real_servers[0].tun_port


def test_wrong_default_is_told_once_where_it_is() -> None:
    assert errors_of(defaults('scheduler = "wrx"\ncheck = { type = "http", path = "a" }') + WEB + MAIL) == [
        (
            "c.toml:2: defaults.service.scheduler: expected rr, wrr, lc, wlc, lblc, lblcr, sh, mh, dh, fo, ovf, sed, "
            'nq or twos, got "wrx"; did you mean "wrr"?'
        ),
        'c.toml:3: defaults.service.check.path: expected a path that starts with "/", got "a"',
    ]


def test_default_that_is_wrong_in_a_service_is_told_with_its_name() -> None:
    assert errors_of(defaults('check = "tcp"\nmin_up = 2') + WEB + MAIL) == [
        (
            'c.toml:3: service "web" and 1 more: defaults.service.min_up: more than the service has real servers, 1; '
            "write that or less, or add servers"
        ),
    ]
    assert errors_of(defaults('check = "tcp"\nmin_up = 2') + WEB + "min_up = 1\n" + MAIL) == [
        (
            'c.toml:3: service "mail": defaults.service.min_up: more than the service has real servers, 1; '
            "write that or less, or add servers"
        ),
    ]


def test_remark_on_a_default_is_told_once_with_the_services() -> None:
    text = defaults('check = "tcp"\nslow_start = "30s"') + WEB + MAIL
    remark = (
        'c.toml:3: service "web" and 1 more: defaults.service.slow_start: weights are whole numbers and all are 1, so '
        "it does nothing; write weight = 100, for example"
    )
    memory = LastReading()
    assert parse(text, "c.toml", memory=memory).remarks == (remark,)
    assert parse(text, "c.toml", memory=memory).remarks == (remark,)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('name = "x"', "name"),
        ('address = "192.0.2.1:80"', "address"),
        ("fwmark = 1", "fwmark"),
        ('family = "ipv6"', "family"),
        ('vip = "192.0.2.1"', "vip"),
        ('real_server = ["198.51.100.11"]', "real_server"),
    ],
)
def test_what_tells_services_apart_is_not_inherited(line: str, key: str) -> None:
    message = f"c.toml:2: defaults.service.{key}: {key} cannot be inherited; write it in each service"
    assert errors_of(defaults(line) + WEB + 'check = "tcp"\n') == [message]


def test_unknown_key_lists_the_near_one() -> None:
    (error,) = errors_of(defaults('schedular = "rr"') + WEB + 'check = "tcp"\n')
    assert error == 'c.toml:2: defaults.service.schedular: unknown key; did you mean "scheduler"?'


def test_change_of_defaults_is_seen_by_a_reload() -> None:
    memory = LastReading()
    for interval in (2.0, 5.0):
        text = defaults(f'check = {{ type = "tcp", interval = "{interval:g}s" }}') + WEB
        (check,) = parse(text, "c.toml", memory=memory).services[0].real_servers[0].checks
        assert check.interval == Seconds(interval)
