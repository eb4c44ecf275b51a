"""The keys of `[brake]`, and of a service that does without it."""

import pytest

from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.model import Brake, Mode
from tests.config.reading import errors_of, read, service

WHOLE = '[brake]\nshare = "66%"\nwithin = "3s"\nmin_targets = 5\nlongest = "90s"\n'


def test_keys_are_read_and_the_defaults_are_those_of_the_record() -> None:
    assert read(WHOLE + service()).brake == Brake(share=66, within=3.0, min_targets=5, longest=90.0)  # type: ignore[arg-type]
    assert read(service()).brake == Brake()
    assert read(service()).services[0].brake is True
    assert read(service("brake = false")).services[0].brake is False


def test_what_is_written_out_reads_the_same() -> None:
    config = read(WHOLE + service("brake = false"))
    assert read(to_toml(config)) == config


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ('share = "0%"', 'c.toml:2: brake.share: expected "1%".."100%", got "0%"'),
        ('share = "101%"', 'c.toml:2: brake.share: expected "1%".."100%", got "101%"'),
        ('share = "80"', 'c.toml:2: brake.share: expected "1%".."100%", got "80"'),
        ('share = "8 0%"', 'c.toml:2: brake.share: expected "1%".."100%", got "8 0%"'),
        ('share = "80%%"', 'c.toml:2: brake.share: expected "1%".."100%", got "80%%"'),
        ("share = 80", 'c.toml:2: brake.share: expected "1%".."100%", got 80; write "80%"'),
        ("share = true", 'c.toml:2: brake.share: expected "1%".."100%", got true'),
        ("min_targets = 1", "c.toml:2: brake.min_targets: expected 2..100000, got 1"),
        ('shares = "80%"', 'c.toml:2: brake.shares: unknown key; did you mean "share"?'),
    ],
)
def test_wrong_values_are_errors_with_their_line(line: str, error: str) -> None:
    assert errors_of(f"[brake]\n{line}\n" + service()) == [error]


def test_shadow_mode_of_a_service_excludes_checks_that_need_services_in_the_table() -> None:
    given = read(service('mode = "shadow"'))
    assert given.services[0].mode is Mode.SHADOW
    assert read(to_toml(given)) == given
    errors = errors_of(service('mode = "shadow"', check='{ type = "tcp", through = "vip" }'))
    assert sum("mode: shadow writes nothing" in error for error in errors) == 1
