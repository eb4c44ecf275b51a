"""The values of `min_up` and `below` of a service, and what they do not fit."""

import pytest

from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.model import Below, MinUp
from tests.config.reading import errors_of, read, service

THREE = '["198.51.100.11", "198.51.100.12", { address = "198.51.100.13", weight = 5 }]'
DRAINED = '["198.51.100.11", "198.51.100.12", { address = "198.51.100.13", weight = 0 }]'


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2", MinUp(count=2)),
        ('"50%"', MinUp(percent=50)),
        ("{ count = 2, hysteresis = 1 }", MinUp(count=2, hysteresis=1)),
        ('{ count = "40%" }', MinUp(percent=40)),
        ('{ count = "40%", hysteresis = 0 }', MinUp(percent=40)),
        ("{ weight = 6, hysteresis = 1 }", MinUp(weight=6, hysteresis=1)),
    ],
)
def test_values_are_read_and_written(written: str, expected: MinUp) -> None:
    given = read(service(f"min_up = {written}", servers=THREE))
    assert given.services[0].min_up == expected
    assert given.remarks == ()
    assert read(to_toml(given)).services == given.services


def test_defaults() -> None:
    assert (read(service()).services[0].min_up, read(service()).services[0].below) == (MinUp(count=1), Below.NONE)
    given = read(service('fallback = ["198.51.100.99:80"]'))
    assert given.services[0].below is Below.FALLBACK
    assert read(to_toml(given)).services == given.services
    assert read(service('fallback = ["198.51.100.99:80"]\nbelow = "none"')).services[0].below is Below.NONE


@pytest.mark.parametrize(
    ("written", "at", "message"),
    [
        ("0", "", "expected 1..2147483647, got 0"),
        ("true", "", "expected a number of servers such as 2, a share such as"),
        ('"2"', "", "write 2 without quotes"),
        ('"0%"', "", 'expected "1%".."100%", got "0%"'),
        ("{ hysteresis = 1 }", "", "count is missing"),
        ("{ count = 2, weight = 2 }", "", "count and weight exclude each other"),
        ("{ count = 2, hysteresis = 2 }", ".hysteresis", "must be less than what is needed, which is 2"),
        ("{ weigth = 2 }", ".weigth", 'unknown key; did you mean "weight"?'),
        ("4", "", "more than the service has real servers, 3; write that or less, or add servers"),
    ],
)
def test_nonsense_is_an_error_with_its_place(written: str, at: str, message: str) -> None:
    (error,) = errors_of(service(f"min_up = {written}", servers=THREE))
    assert error.startswith(f'c.toml:6: service "web": min_up{at}: ')
    assert message in error


@pytest.mark.parametrize(
    ("written", "remark"),
    [
        ("3", "3 are needed, and there is never more than 2 (servers with a weight above 0): always below"),
        ("{ weight = 3 }", "3 are needed, and there is never more than 2 (weight): always below"),
        ("{ count = 2, hysteresis = 1 }", "once below, it takes 3 to come back, and there is never more than 2"),
    ],
)
def test_what_can_never_be_met_is_remarked_on(written: str, remark: str) -> None:
    (found,) = read(service(f"min_up = {written}", servers=DRAINED)).remarks
    assert found.startswith(f'c.toml:6: service "web": min_up: {remark}')


def test_fallback_is_needed_to_go_there() -> None:
    for none in ("", "fallback = []\n"):
        (error,) = errors_of(service(f'{none}below = "fallback"'))
        assert 'below: there is no fallback; write fallback = ["198.51.100.99:80"], or below = "none"' in error
    (error,) = errors_of(service('below = "fallback"\nfallback = ["198.51.100.999:80"]'))
    assert "below" not in error


def test_weight_and_slow_start_exclude_each_other() -> None:
    keys = 'min_up = { weight = 5 }\nslow_start = "1m"'
    (error,) = errors_of(service(keys, servers=THREE))
    assert "min_up: a slow start would count as missing weight; write a count instead" in error
