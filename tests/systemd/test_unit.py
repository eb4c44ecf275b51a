"""The unit and what the documentation says of it, judged by systemd's own tools."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from lab.systemd import systemd_version
from lvs_healthd.config.model import Daemon
from lvs_healthd.runtime.lock import FOLDER

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "lvs-healthd.service"
PAGE = (ROOT / "docs" / "systemd.md").read_text(encoding="utf-8")


def systemd_analyze(*arguments: str) -> str:
    ran = subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, check=True, timeout=30
    )
    assert ran.stderr == ""
    return ran.stdout


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit as it is installed, but for the program: `verify` wants it to exist."""
    copy = tmp_path / UNIT.name
    text, count = re.subn(r"(?m)^(ExecStart=)/opt/\S+", r"\1/bin/true", UNIT.read_text(encoding="utf-8"))
    assert count == 1
    copy.write_text(text)
    return copy


def test_systemd_finds_nothing_wrong_with_the_unit(installed: Path) -> None:
    assert systemd_analyze("verify", str(installed)) == ""


@pytest.mark.parametrize(
    ("setting", "since"),
    [
        ("ProtectKernelTunables", 252),
        ("RestrictNamespaces", 252),
        ("notify-reload", 253),
        ("CapabilityBoundingSet=CAP_NET_RAW", 252),
    ],
)
def test_systemd_finds_nothing_wrong_with_the_documented_drop_ins(installed: Path, setting: str, since: int) -> None:
    if systemd_version() < since:
        pytest.skip(f"systemd {systemd_version()} does not know it yet; {since} does")
    [text] = [text for text in re.findall(r"(?s)```\w*\n(.*?)```", PAGE) if setting in text]
    folder = installed.with_name(f"{installed.name}.d")
    folder.mkdir()
    (folder / "override.conf").write_text(text)
    assert systemd_analyze("verify", str(installed)) == ""


def test_systemd_finds_nothing_wrong_with_the_unit_for_programs(tmp_path: Path) -> None:
    for kind in ("socket", "service"):
        text = (UNIT.parent / f"lvs-healthd-exec.{kind}").read_text(encoding="utf-8")
        (tmp_path / f"lvs-healthd-exec.{kind}").write_text(re.sub(r"(?m)^(ExecStart=)/opt/\S+", r"\1/bin/true", text))
    for kind in ("socket", "service"):
        assert systemd_analyze("verify", str(tmp_path / f"lvs-healthd-exec.{kind}")) == ""


def test_programs_may_ping_but_neither_write_tables_nor_gain_more() -> None:
    text = (UNIT.parent / "lvs-healthd-exec.service").read_text(encoding="utf-8")
    assert "\nCapabilityBoundingSet=CAP_NET_RAW\nAmbientCapabilities=\n" in text
    assert "\nUser=lvs-healthd-exec\n" in text


def test_exposure_is_at_most_two_and_as_documented() -> None:
    output = systemd_analyze("security", "--offline=yes", str(UNIT))
    found = re.search(r"exposure level for lvs-healthd.service: ([\d.]+)", output)
    assert found is not None
    assert float(found[1]) <= 2.0
    assert f"says {found[1]} " in PAGE


def test_exposure_with_pings_is_as_documented(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text(encoding="utf-8").replace("=CAP_NET_ADMIN\n", "=CAP_NET_ADMIN CAP_NET_RAW\n"))
    output = systemd_analyze("security", "--offline=yes", str(copy))
    found = re.search(r"exposure level for lvs-healthd.service: ([\d.]+)", output)
    assert found is not None
    assert f"to {found[1]}. A wider" in PAGE


def test_every_remaining_point_of_exposure_is_explained_and_no_other() -> None:
    points = json.loads(systemd_analyze("security", "--offline=yes", "--json=short", str(UNIT)))
    remaining = {point["name"] for point in points if point["exposure"]}
    explained = {name.replace(r"\|", "|") for name in re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)}
    assert remaining == explained


def test_only_capability_is_net_admin_and_the_user_is_not_root() -> None:
    found = settings()
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"] == ["CAP_NET_ADMIN"]
    assert found["User"] == found["Group"] == ["lvs-healthd"]


def test_paths_of_the_unit_are_the_configuration_s_defaults() -> None:
    found = settings()
    assert Path(Daemon().control).parent == Path("/run") / found["RuntimeDirectory"][0]
    assert Path(Daemon().state).parent == FOLDER == Path("/var/lib") / found["StateDirectory"][0]


def test_descriptors_suffice_for_all_probes() -> None:
    assert int(settings()["LimitNOFILE"][0]) > 2 * Daemon().max_probes


def test_sysusers_makes_the_unit_s_user_and_group(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", str(ROOT / "systemd" / "lvs-healthd.sysusers.conf")],
        check=True,
        capture_output=True,
        timeout=30,
    )
    for file in ("passwd", "group"):
        names = [line.partition(":")[0] for line in (tmp_path / "etc" / file).read_text().splitlines()]
        assert sorted(names) == ["lvs-healthd", "lvs-healthd-exec"]


def test_documented_program_is_the_one_started() -> None:
    program = settings()["ExecStart"][0].split()[0]
    assert f"ln -sf {program} " in PAGE
