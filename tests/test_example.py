"""config.example.toml against the model: it does nothing, what it calls a default is one, and no key is missing.

Most tests read it with its examples in force.
"""

import asyncio
import re
from pathlib import Path

import pytest
import tomli

from lvs_healthd.config.errors import WrongValueError
from lvs_healthd.config.fleet import FLEET_KEYS
from lvs_healthd.config.general_keys import BRAKE_KEYS, DAEMON_KEYS, DEFAULTS_KEYS, TOP_KEYS
from lvs_healthd.config.hooks import HOOK_KEYS, MAIL_KEYS
from lvs_healthd.config.ipvs import IPVS_KEYS, SYNC_KEYS, SYSCTL_KEYS, TIMEOUT_KEYS
from lvs_healthd.config.load import load, parse
from lvs_healthd.config.model import Config
from lvs_healthd.config.pair import PAIR_KEYS
from lvs_healthd.config.pools import POOL_KEYS
from lvs_healthd.config.schema import CHECK_KEYS, FALLBACK_KEYS, REAL_SERVER_KEYS, SERVICE_KEYS, Key
from tests.daemon_process import daemon

EXAMPLE = Path(__file__).parents[1] / "config.example.toml"
INSTALLED = EXAMPLE.read_text()
TEXT = re.sub(r"^#\|", "", INSTALLED, flags=re.MULTILINE)
"""The file with its examples in force."""
DEFAULT = re.compile(r"^#([a-z_]+ = .*)$", re.MULTILINE)
ALTERNATIVE = re.compile(r"^#or: (([a-z_]+) = .*)$", re.MULTILINE)
SECTIONS: dict[str, dict[str, Key]] = {
    "daemon": DAEMON_KEYS,
    "brake": BRAKE_KEYS,
    "pair": PAIR_KEYS,
    "fleet": FLEET_KEYS,
    "ipvs": {key: IPVS_KEYS[key] for key in ("netns", "path_marks")},  # the others are tables
    "ipvs.timeouts": TIMEOUT_KEYS,
    "ipvs.sync.master": SYNC_KEYS,
    "defaults.check": CHECK_KEYS,
    "defaults.service": SERVICE_KEYS,
    "pool.example": POOL_KEYS,
    "check.example": CHECK_KEYS,
    "service": SERVICE_KEYS,
    "service.check": CHECK_KEYS,
    "service.real_server": REAL_SERVER_KEYS,
    "hook": HOOK_KEYS,
    "hook.mail": MAIL_KEYS,
}


def keys_by_section() -> dict[str, set[str]]:
    """Return the keys of each section: those that are set, shown with their default or shown as an alternative."""
    found: dict[str, set[str]] = {}
    section = ""
    for line in TEXT.splitlines():
        if header := re.match(r"\[+([a-z_.]+)\]+$", line):
            section = header[1]
        elif key := re.match(r"(?:#(?:or: )?)?([a-z_]+) = ", line):
            found.setdefault(section, set()).add(key[1])
    return found


def whole() -> Config:
    return parse(TEXT, str(EXAMPLE))


def test_example_as_it_stands_is_a_configuration_that_sets_nothing() -> None:
    (remark,) = load(EXAMPLE).remarks
    assert remark.startswith(f"{EXAMPLE}: no [[service]]: nothing is probed, and the table stays as it is")
    assert load(EXAMPLE) == Config(remarks=(remark,))


async def test_daemon_that_runs_on_the_example_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    # Only the places that need root or may be taken are others.
    places = f'[daemon]\nlisten = ""\ncontrol = "{tmp_path}/control"\nstate = "{tmp_path}/state"\nresync = "1s"\n'
    file.write_text(INSTALLED.replace("[daemon]\n", places, 1))
    async with daemon(file, "--table", "memory") as running:
        assert (await running.until("daemon.started"))["services"] == 0
        await running.until("config.remarks")
        await asyncio.sleep(1.5)
        assert [line["event"] for line in running.lines] == ["daemon.started", "config.remarks"]
        assert await running.stop() == 0


def test_every_example_is_marked_as_one_and_loads() -> None:
    active = [line for line in INSTALLED.splitlines() if line and not line.startswith("#")]
    assert active == [
        "[daemon]",
        "[brake]",
        "[pair]",
        "[fleet]",
        "[ipvs]",
        "[ipvs.timeouts]",
        "[ipvs.sysctl]",
        "[defaults.check]",
        "[defaults.service]",
    ]
    assert whole().remarks == ()
    assert [service.name for service in whole().services] == [
        *("web", "cache", "dns", "rpc", "marked"),
        *("tunnelled 192.0.2.101", "tunnelled 192.0.2.102", "weighed"),
    ]


def test_every_default_it_names_is_the_default() -> None:
    assert len(DEFAULT.findall(TEXT)) >= 30
    assert parse(DEFAULT.sub(r"\1", TEXT), str(EXAMPLE)) == whole()


@pytest.mark.parametrize("line", DEFAULT.findall(TEXT))
def test_each_default_alone_changes_nothing(line: str) -> None:
    assert parse(TEXT.replace(f"\n#{line}\n", f"\n{line}\n"), str(EXAMPLE)) == whole()


def test_every_default_stands_where_changing_it_would_show() -> None:
    """Show that the test above can fail: other values in the same places give another configuration."""
    loaded = whole()
    for line, other in (("#rise = 2", "rise = 9"), ('#resync = "10s"', 'resync = "9s"'), ("#weight = 1", "weight = 9")):
        assert parse(TEXT.replace(line, other, 1), str(EXAMPLE)) != loaded


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_there_is_is_shown_in_its_place(section: str) -> None:
    shown = keys_by_section()[section]
    wanted = set(SECTIONS[section])
    if section == "defaults.check":
        assert shown == {"interval", "timeout", "rise", "fall"}
        return
    if section == "defaults.service":  # some examples; the keys are those of the service "web"
        assert shown == {"scheduler", "on_failure", "check"}
        return
    if section == "check.example":  # some; the keys are those of the check of "web"
        assert shown == {"type", "path", "interval"}
        return
    if section == "service":  # these three have sections of their own
        shown |= {"check", "real_server"}
    if section == "hook":
        wanted -= {"mail"}  # has a section of its own
    if section == "service.check":
        wanted -= {"rise", "fall"}  # shown as defaults
    assert shown == wanted


def test_no_other_table_has_keys_of_its_own() -> None:
    assert set(TOP_KEYS) == {
        *("include", "daemon", "ipvs", "brake", "pair", "fleet", "defaults", "pool", "check", "service", "hook"),
    }
    assert set(IPVS_KEYS) == {"netns", "path_marks", "timeouts", "sync", "sysctl"}
    assert set(DEFAULTS_KEYS) == {"check", "service"}
    assert set(FALLBACK_KEYS) - {"tier"} == set(REAL_SERVER_KEYS)


@pytest.mark.parametrize(("line", "key"), ALTERNATIVE.findall(TEXT))
def test_every_alternative_is_a_right_value(line: str, key: str) -> None:
    tables = (TOP_KEYS, PAIR_KEYS, FLEET_KEYS, SYSCTL_KEYS, SYNC_KEYS, TIMEOUT_KEYS, SERVICE_KEYS, CHECK_KEYS)
    assert any(is_right(table[key], tomli.loads(line)[key]) for table in tables if key in table)


def is_right(key: Key, value: object) -> bool:
    try:
        key.parse(value)
    except WrongValueError:
        return False
    return True
