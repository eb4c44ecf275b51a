import asyncio
from pathlib import Path

import pytest

from lvs_healthd.ipvs.kernel import modules


@pytest.fixture
def modprobe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Replace modprobe by a script that the test writes, and let this process load modules."""
    script = tmp_path / "modprobe"
    monkeypatch.setattr(modules, "_MODPROBE", str(script))
    monkeypatch.setattr(modules, "_may_load", lambda: True)
    return script


def write(script: Path, body: str) -> None:
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)


async def test_a_module_is_loaded_by_name(modprobe: Path) -> None:
    write(modprobe, f'echo "$@" >{modprobe.parent}/arguments')
    assert await modules.load_module("ip_vs_wrr")
    assert (modprobe.parent / "arguments").read_text() == "--quiet ip_vs_wrr\n"


async def test_a_module_that_is_not_there_is_not_loaded(modprobe: Path) -> None:
    write(modprobe, "exit 1")
    assert not await modules.load_module("ip_vs")


async def test_without_modprobe_nothing_is_loaded(modprobe: Path) -> None:
    assert not modprobe.exists()
    assert not await modules.load_module("ip_vs")


async def test_a_modprobe_that_hangs_is_killed(modprobe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(modprobe, "exec sleep 60")
    monkeypatch.setattr(modules, "_TIMEOUT_S", 0.001)
    async with asyncio.timeout(5):
        assert not await modules.load_module("ip_vs")


@pytest.mark.parametrize("name", ["ip_tables", "ip_vs --remove", "-r", "ip_vs/../x", ""])
async def test_only_ipvs_modules_are_loaded(modprobe: Path, name: str) -> None:
    write(modprobe, f"touch {modprobe.parent}/ran")
    assert not await modules.load_module(name)
    assert not (modprobe.parent / "ran").exists()


async def test_no_program_is_started_without_permission(modprobe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(modprobe, f"touch {modprobe.parent}/ran")
    monkeypatch.setattr(modules, "_may_load", lambda: False)
    assert not await modules.load_module("ip_vs")
    assert not (modprobe.parent / "ran").exists()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("Name:\tx\nCapEff:\t000001ffffffffff\n", True),
        ("Name:\tx\nCapEff:\t0000000000010000\n", True),
        ("Name:\tx\nCapEff:\t0000000000001000\n", False),
        ("Name:\tx\n", False),
    ],
)
def test_permission_is_cap_sys_module(monkeypatch: pytest.MonkeyPatch, status: str, expected: bool) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: status)
    assert modules._may_load() is expected
