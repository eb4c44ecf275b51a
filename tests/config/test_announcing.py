"""`announce` of a service and the keys that say when."""

import pytest

from lvs_healthd.config.announcing import vip_of
from lvs_healthd.config.basics import AnnounceWhen, Endpoint
from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.model import Service
from tests.config.reading import errors_of, read, service

WEB = service('announce = "lvs0"')
MARK = service('fwmark = 7\nname = "mark"', check='{ type = "tcp", port = 80 }').replace('name = "web"\n', "")
NO_ADDRESS = 'has no address to announce; name it: vip = "192.0.2.100"; or announce nothing: announce = ""'
HOW = 'announce_when = "all"\nannounce_after = "1m"\nwithdraw_after = "500ms"'


def other(lines: str, name: str = "tls") -> str:
    """Return another service of the same address."""
    return service(lines).replace('"web"', f'"{name}"').replace(":80", ":443", 1)


def test_keys_are_read_and_the_defaults_are_those_of_the_record() -> None:
    (found,) = read(service(f'announce = "lvs0"\n{HOW}')).services
    assert (found.announce, found.announce_when) == ("lvs0", AnnounceWhen.ALL)
    assert (found.announce_after, found.withdraw_after) == (60.0, 0.5)
    (found,) = read(WEB).services
    assert (found.announce_when, found.announce_after, found.withdraw_after) == (AnnounceWhen.ANY, 30.0, 2.0)
    assert read(service()).services[0].announce is None
    assert read(service('announce = ""')).services[0].announce == ""


@pytest.mark.parametrize("lines", ["", 'announce = ""', 'announce = "lvs0"', f'announce = "lvs0"\n{HOW}'])
def test_what_is_written_out_reads_the_same(lines: str) -> None:
    config = read(service(lines))
    assert read(to_toml(config)) == config


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('announce = "a/b"', 'announce: expected the name of an interface, got "a/b"'),
        ('announce = "lvs0"\nannounce_when = "most"', 'announce_when: expected any or all, got "most"'),
        ('announce_when = "all"', 'announce_when: this does nothing without announce, such as announce = "lvs0"'),
        (
            'announce = ""\nwithdraw_after = "1s"',
            'withdraw_after: this does nothing without announce, such as announce = "lvs0"',
        ),
        (
            'announce = "lvs0"\nvip = ""',
            f'announce: vip = "" {NO_ADDRESS}',
        ),
        (
            'announce = "lvs0"\nvip = "127.0.0.1"',
            'announce: 127.0.0.1 is no address that others could reach; name one: vip = "192.0.2.100"',
        ),
        (
            'announce = "lvs0"\nvip = "192.0.2.9"',
            (
                "announce: it would announce 192.0.2.9, which vip names, though clients reach this service at "
                '192.0.2.100: leave out vip; or announce nothing: announce = ""'
            ),
        ),
    ],
)
def test_what_cannot_work_or_does_nothing_is_an_error(lines: str, message: str) -> None:
    (error,) = errors_of(service(lines))
    assert error.partition('service "web": ')[2] == message
    assert error.startswith("c.toml:")


def test_vip_that_names_the_own_address_or_goes_with_no_announcement_is_well() -> None:
    assert read(service('announce = "lvs0"\nvip = "192.0.2.100"')).services[0].announce == "lvs0"
    assert read(service('vip = "192.0.2.9"')).services[0].vip == "192.0.2.9"


def test_mark_must_name_its_address() -> None:
    (error,) = errors_of(MARK.replace("fwmark = 7", 'fwmark = 7\nannounce = "lvs0"'))
    assert error.endswith(f'service "mark": announce: a firewall mark {NO_ADDRESS}')
    (found,) = read(MARK.replace("fwmark = 7", 'fwmark = 7\nannounce = "lvs0"\nvip = "192.0.2.9"')).services
    assert vip_of(found) == "192.0.2.9"


def test_mark_that_inherits_it_must_name_its_address_or_say_no() -> None:
    inherited = '[defaults.service]\nannounce = "lvs0"\nannounce_after = "1m"\n'
    (error,) = errors_of(inherited + MARK)
    assert "a firewall mark has no address to announce" in error
    (found,) = read(inherited + MARK.replace("fwmark = 7", 'fwmark = 7\nannounce = ""')).services
    assert found.announce == ""


@pytest.mark.parametrize(
    ("lines", "key", "theirs", "own"),
    [
        ('announce = "lvs1"', "announce", '"lvs0"', '"lvs1"'),
        ('announce = "lvs0"\nannounce_when = "all"', "announce_when", '"any"', '"all"'),
        ('announce = "lvs0"\nannounce_after = "1m"', "announce_after", '"30s"', '"1m"'),
        ('announce = "lvs0"\nwithdraw_after = "0s"', "withdraw_after", '"2s"', '"0s"'),
    ],
)
def test_services_of_one_address_must_agree(lines: str, key: str, theirs: str, own: str) -> None:
    (error,) = errors_of(WEB + other(lines))
    assert f'service "tls": {key}: service "web", on line ' in error
    assert error.endswith(
        f"has the same address and says {theirs}, not {own}: an address is announced or not, so they must agree"
    )


def test_service_that_has_no_say_about_its_address_is_remarked_on_unless_that_is_meant() -> None:
    (remark,) = read(WEB + other("")).remarks
    assert remark.endswith(
        'its address 192.0.2.100 is announced by what service "web" says, and this one has no say: give it one: '
        'announce = "lvs0"; or say that this is meant: announce = ""'
    )
    assert read(WEB + other('announce = ""')).remarks == ()
    assert read(WEB + other('announce = "lvs0"')).remarks == ()
    assert read(service() + other("")).remarks == ()


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (Service(name="web", endpoint=Endpoint("192.0.2.1", 80)), "192.0.2.1"),
        (Service(name="web", endpoint=Endpoint("192.0.2.1", 80), vip="192.0.2.9"), "192.0.2.9"),
        (Service(name="web", endpoint=Endpoint("192.0.2.1", 80), vip=""), ""),
        (Service(name="mark", fwmark=7), ""),
        (Service(name="mark", fwmark=7, vip="192.0.2.9"), "192.0.2.9"),
    ],
)
def test_address_of_a_service_is_its_own_unless_it_names_another(made: Service, expected: str) -> None:
    assert vip_of(made) == expected
