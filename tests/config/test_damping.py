"""The values of `damping` of a service."""

import pytest

from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.model import Damping
from tests.config.reading import errors_of, read, service


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("true", (4, 600.0, 1800.0)),
        ("{}", (4, 600.0, 1800.0)),
        ('{ falls = 3, window = "5m", longest = "1h" }', (3, 300.0, 3600.0)),
        ('{ longest = "1m" }', (4, 600.0, 60.0)),
    ],
)
def test_values_are_read_and_written(written: str, expected: tuple[int, float, float]) -> None:
    given = read(service(f"damping = {written}"))
    damping = given.services[0].damping
    assert damping is not None
    assert (damping.falls, damping.window, damping.longest) == expected
    assert read(to_toml(given)).services == given.services


def test_it_is_off_by_default_and_can_be_turned_off() -> None:
    for keys in ("", "damping = false"):
        given = read(service(keys))
        assert given.services[0].damping is None
        assert read(to_toml(given)).services == given.services
    assert Damping() == Damping(falls=4)


@pytest.mark.parametrize(
    ("written", "at", "message"),
    [
        ('"on"', "", "expected true, false, or a table such as"),
        ("{ falls = 1 }", ".falls", "expected 2..100, got 1"),
        ('{ window = "1s" }', ".window", 'expected a duration from 10s to 24h, got "1s"'),
        ('{ longest = "2d" }', ".longest", 'expected a duration from 1s to 24h, got "2d"'),
        ("{ fall = 3 }", ".fall", 'unknown key; did you mean "falls"?'),
        ("{ colour = 3 }", ".colour", "unknown key; known here: falls, window, longest"),
    ],
)
def test_nonsense_is_an_error_with_its_place(written: str, at: str, message: str) -> None:
    (error,) = errors_of(service(f"damping = {written}"))
    assert error.startswith(f'c.toml:6: service "web": damping{at}: {message}')


def test_all_wrong_keys_are_reported() -> None:
    assert len(errors_of(service('damping = { falls = 0, window = "x", longest = 1 }'))) == 3
