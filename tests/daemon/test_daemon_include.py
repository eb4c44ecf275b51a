"""The daemon with a configuration in several files, as a process: reloads see new, changed and removed ones."""

from pathlib import Path

import pytest

from tests.daemon_process import daemon, run_cli

SERVICE = """
[[service]]
name = "{name}"
address = "192.0.2.{number}:80"
check = "idle"
pool = "all"
"""


class Site:
    """A configuration of config.toml and the files in parts/."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "config.toml"
        self.parts = folder / "parts"
        self.parts.mkdir()
        self.file.write_text(f"""
include = "parts/*.toml"
[daemon]
state = "{folder}/state.json"
listen = ""
""")
        (self.parts / "0.toml").write_text(f"""
[daemon]
control = "{folder}/control.sock"
[check.idle]
type = "ping"
interval = "1h"
[defaults.service]
forward = "dr"
[pool.all]
real_server = ["127.0.0.1:80"]
""")
        self.add("first", 1)

    def add(self, name: str, number: int) -> None:
        (self.parts / f"{name}.toml").write_text(SERVICE.format(name=name, number=number))

    async def reload(self, *words: str) -> tuple[int, str, str]:
        return await run_cli("reload", *words, "--config", str(self.file))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_reload_sees_new_changed_and_removed_files(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running:
        assert (await running.until("daemon.started"))["services"] == 1
        site.add("second", 2)
        code, out, err = await site.reload("--dry-run")
        assert (code, out.splitlines()[:2], err) == (
            0,
            [f"{site.file}: would change: 1 service added, 1 real server added", 'service "second": added'],
            "",
        )
        assert await site.reload() == (0, f"{site.file}: 1 service added, 1 real server added\n", "")
        pool = site.parts / "0.toml"
        pool.write_text(pool.read_text().replace('"]', '", "127.0.0.2:80"]'))
        assert await site.reload() == (0, f"{site.file}: 2 real servers added\n", "")
        (site.parts / "first.toml").unlink()
        assert await site.reload() == (0, f"{site.file}: 1 service removed, 2 real servers removed\n", "")
        await running.until("table.changed", operation="delete_service")


async def test_wrong_file_is_refused_by_reload_dry_run_and_validate_with_the_same_words(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running:
        await running.until("daemon.started")
        site.add("second", 1)
        message = (
            f'{site.parts}/second.toml:4: service "second": address: 192.0.2.1:80/tcp is already service "first", '
        )
        message += f"on line 2 of {site.parts}/first.toml; keep one of them"
        for words in (("--dry-run",), ()):
            code, out, err = await site.reload(*words)
            assert (code, out, err.splitlines()[0]) == (1, "", message)
        code, _, err = await run_cli("validate", str(site.file))
        assert (code, err) == (1, f"{message}\n")
        assert (await running.until("config.rejected"))["errors"] == [message]
