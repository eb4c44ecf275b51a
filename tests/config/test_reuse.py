"""A changed file is read again: unchanged services stay the same objects, and nothing stale is used."""

from pathlib import Path

import pytest

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.load import parse
from lvs_healthd.config.model import Config, Service
from lvs_healthd.config.reuse import LastReading

CHECK = """
description = "greets"
type = "tcp"
expect = "{text}"
"""


def document(*, weight: str = "1", defaults: str = "", check: str = '"tcp"') -> str:
    return f"""
{defaults}
[[service]]
name = "web"
address = "192.0.2.100:80"
check = "tcp"
real_server = ["198.51.100.11:80"]
[[service]]
name = "mail"
address = "192.0.2.100:25"
check = {check}
real_server = [{{ address = "198.51.100.11:25", weight = {weight} }}]
"""


class Reader:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._memory = LastReading()

    def read(self, text: str) -> Config:
        """Read with and without memory, and check that both give the same result or the same errors."""
        fresh, errors = self._attempt(text, None)
        remembered, same_errors = self._attempt(text, self._memory)
        assert (remembered, same_errors) == (fresh, errors)
        if remembered is None:
            raise ConfigError(errors)
        return remembered

    def _attempt(self, text: str, memory: LastReading | None) -> tuple[Config | None, tuple[str, ...]]:
        try:
            return parse(text, "c.toml", checks_dirs=[self._folder], memory=memory), ()
        except ConfigError as error:
            return None, error.errors


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


def same(before: Config, after: Config) -> list[bool]:
    pairs: list[tuple[Service, Service]] = list(zip(before.services, after.services, strict=True))
    return [one is other for one, other in pairs]


def test_unchanged_services_are_the_same_objects(reader: Reader) -> None:
    first = reader.read(document())
    assert same(first, reader.read(document())) == [True, True]
    assert same(first, reader.read(document(weight="2"))) == [True, False]


def test_true_is_not_one(reader: Reader) -> None:
    reader.read(document())
    with pytest.raises(ConfigError, match="weight"):
        reader.read(document(weight="true"))


def test_bad_file_does_not_spoil_the_memory(reader: Reader) -> None:
    first = reader.read(document())
    with pytest.raises(ConfigError):
        reader.read(document(weight="-1"))
    assert same(first, reader.read(document())) == [True, True]


def test_changed_defaults_change_every_service(reader: Reader) -> None:
    first = reader.read(document())
    second = reader.read(document(defaults='[defaults.check]\ninterval = "5s"'))
    assert same(first, second) == [False, False]
    assert [service.real_servers[0].checks[0].interval for service in second.services] == [5.0, 5.0]


def test_changed_ready_made_check_changes_its_services(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "greeting.toml").write_text(CHECK.format(text="220"))
    first = reader.read(document(check='"greeting"'))
    assert same(first, reader.read(document(check='"greeting"'))) == [True, True]
    (tmp_path / "greeting.toml").write_text(CHECK.format(text="221"))
    second = reader.read(document(check='"greeting"'))
    assert second.services[1].real_servers[0].checks[0].expect == b"221"  # type: ignore[union-attr]
    (tmp_path / "greeting.toml").unlink()
    with pytest.raises(ConfigError, match="greeting"):
        reader.read(document(check='"greeting"'))


def test_two_services_that_came_to_clash_are_refused_though_both_are_known(reader: Reader) -> None:
    reader.read(document())
    with pytest.raises(ConfigError, match="is called"):
        reader.read(document() + document())
