"""The values of `slow_start` of a service, and what it does not fit."""

import pytest

from lvs_healthd.config.effective import to_toml
from tests.config.reading import errors_of, read, service

HEAVY = '[{ address = "198.51.100.11:80", weight = 100 }, "198.51.100.12:80"]'


def remarks(keys: str) -> list[str]:
    return [remark for remark in read(service(keys)).remarks if "slow_start" in remark]


def test_it_is_off_by_default_and_read_and_written() -> None:
    assert read(service("")).services[0].slow_start == 0.0
    given = read(service('slow_start = "90s"'))
    assert given.services[0].slow_start == 90.0
    assert read(to_toml(given)).services == given.services


def test_weights_that_are_all_one_are_remarked_on() -> None:
    (remark,) = remarks('slow_start = "1m"')
    assert "all are 1, so it does nothing; write weight = 100" in remark
    assert remarks("") == remarks('slow_start = "0s"') == []
    assert read(service('slow_start = "1m"', servers=HEAVY)).remarks == ()


@pytest.mark.parametrize("scheduler", ["rr", "lc", "dh", "fo"])
def test_schedulers_that_do_not_look_at_weights_are_errors(scheduler: str) -> None:
    (error,) = errors_of(service(f'slow_start = "1m"\nscheduler = "{scheduler}"'))
    assert 'service "web": slow_start: ' in error
    assert scheduler in error
    assert read(service(f'slow_start = "0s"\nscheduler = "{scheduler}"')).services


@pytest.mark.parametrize("scheduler", ["sh", "mh"])
def test_schedulers_that_hash_are_remarked_on(scheduler: str) -> None:
    assert any("new server at each step" in each for each in remarks(f'slow_start = "1m"\nscheduler = "{scheduler}"'))
