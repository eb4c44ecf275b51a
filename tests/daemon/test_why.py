"""What `why` tells of a server's past, with the daemon as a process: over a stop, a crash, and a damaged file."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.test_daemon import Site
from tests.daemon_process import DaemonProcess, daemon, run_cli

SPARE = "127.0.0.99:80"
UID = os.getuid()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.write(service=f'fallback = ["{SPARE}"]')
    return made


async def why(site: Site, server: str = "") -> dict[str, Any]:
    code, out, err = await run_cli("why", "web", server or site.server, "--json", "--control", str(site.control))
    assert code == 0, err
    (found,) = json.loads(out)["servers"]
    return dict(found)


async def past(site: Site, server: str = "") -> list[str]:
    """Return what `why` tells of a server's past, without the texts that depend on ports."""
    return [each["text"].replace(site.server, "SERVER") for each in (await why(site, server))["history"]]


async def order(site: Site, verb: str, *words: str) -> int:
    code, _, _ = await run_cli(verb, *words, "--control", str(site.control))
    return code


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.1)


async def killed_and_returned(running: DaemonProcess, site: Site) -> None:
    """Let the server come up, die and return."""
    async with site.web_server():
        await running.until("table.changed", operation="add_server", server=site.server)
    await running.until("table.changed", operation="delete_server", server=site.server)
    position = len(running.lines)
    async with site.web_server():
        await running.until("table.changed", operation="add_server", server=site.server, after=position)


DIED = [
    "down, was up: tcp: connection refused",
    f"no real server may serve; the fallback is in use: {SPARE}",
    "removed: connection refused",
    "up, was down: tcp: connected",
    "a real server may serve again",
    "added (weight 5, forward nat): connected",
]
"""What happens to a server that is up, dies and returns. That it was up and in the table at first is not remembered."""


async def test_history_tells_verdicts_writes_and_orders_in_order_and_survives_a_stop(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running:
        await killed_and_returned(running, site)
        position = len(running.lines)
        await running.until("real_server.down", after=position)
        assert (await past(site))[: len(DIED)] == DIED
        assert await order(site, "drain", "web", site.server) == 0
        assert await order(site, "drain", "web", "--reason", "again") == 0
        assert await order(site, "enable", "web", site.server) == 0
        assert await order(site, "release", "web") == 1
        assert await order(site, "hold", "web", "--reason", "look first") == 0
        assert await order(site, "release", "web") == 0
        before = await why(site)
        await running.stop()
    texts = [each["text"].replace(site.server, "SERVER") for each in before["history"]]
    assert texts[-6:] == [
        f"drained by uid {UID}",
        f"drained by uid {UID}: again",
        f"no longer drained: enable by uid {UID}",
        f"refused to uid {UID}: release web: nothing is held",
        f"the service is held by uid {UID}: look first",
        f"the service is released by uid {UID}",
    ]
    async with daemon(site.file, "--table", "memory") as again:
        await again.until("daemon.started")
        assert (await why(site))["history"][: len(before["history"])] == before["history"]
        assert not again.of("state.error")
        await again.stop()


async def test_history_survives_a_crash_but_for_its_last_seconds(site: Site) -> None:
    file = site.state.with_name("history.json")
    async with daemon(site.file, "--table", "memory") as running:
        await killed_and_returned(running, site)
        await until(lambda: asyncio.sleep(0, file.exists() and b"added (weight 5" in file.read_bytes()))
        await running.stop(signal.SIGKILL)
    async with daemon(site.file, "--table", "memory") as again:
        await again.until("daemon.started")
        assert (await past(site))[: len(DIED)] == DIED
        await again.stop()


@pytest.mark.long
async def test_fallback_server_says_why_it_is_in_use_and_its_past_does_too(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running:
        await running.until("table.changed", operation="add_server", server=SPARE)
        found = await why(site, SPARE)
        assert (found["verdict"], found["is_fallback"], found["checks"], found["since"]) == (
            "unchecked",
            True,
            [],
            None,
        )
        assert found["layers"]["plan"] == {
            "weight": 1,
            "reason": "fallback: no real server may serve",
            "uses_fallback": True,
            "service": "",
        }
        assert (await why(site))["layers"]["plan"]["service"] == (
            f"no real server may serve, so the fallback is in use: {SPARE}"
        )
        assert (found["layers"]["kernel"]["weight"], found["layers"]["kernel"]["is_as_planned"]) == (1, True)
        position = len(running.lines)
        async with site.web_server():
            await running.until("table.changed", operation="delete_server", server=SPARE, after=position)
            assert (await past(site, SPARE))[-1] == "removed: real servers serve again"
            assert (await why(site, SPARE))["layers"]["plan"]["reason"] == "standing by: a real server may serve"
        await running.stop()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"format":1,"entries":[[1.0,"x","before"]],"past":[["","",[0]]],\n"checksum":"00000000"}\n', "damaged"),
        (b'{"format":2,"entries":[[1.0,"x","before"]],"past":[["","",[0]]]}', "format 2"),
    ],
)
async def test_history_that_cannot_be_used_is_put_aside_and_told(site: Site, content: bytes, told: str) -> None:
    file = site.state.with_name("history.json")
    file.write_bytes(content)
    async with daemon(site.file, "--table", "memory") as running:
        line = await running.until("state.error", file=str(file))
        assert told in line["error"]
        await running.until("daemon.started")
        assert not [text for text in await past(site) if text.startswith("before")]
        await running.stop()
    assert file.with_name("history.json.bad").read_bytes() == content


async def test_reload_that_changes_a_server_is_remembered_and_so_is_one_that_left_and_returned(site: Site) -> None:
    text = site.file.read_text()
    async with daemon(site.file, "--table", "memory") as running, site.web_server():
        await running.until("table.changed", operation="add_server", server=site.server)
        for changed in (
            text.replace("weight = 5", "weight = 7"),
            text.replace(site.server, "127.0.0.1:1"),
            text.replace("rise = 2", "rise = 3"),
        ):
            site.file.write_text(changed)
            assert await order(site, "reload", "--force") == 0
        found = [each for each in await past(site) if each.startswith(("configured", "not"))]
        assert found == ["configured: weight 5 -> 7", "not configured any more", "configured again"]
        await running.stop()


@pytest.mark.long
async def test_newer_state_file_is_put_aside_and_told_but_the_orders_are_obeyed(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running, site.web_server():
        await running.until("table.changed", operation="add_server", server=site.server)
        assert await order(site, "drain", "web", site.server, "--force", "--reason", "kernel update") == 0
        await running.stop()
    site.state.write_text('{"format":99,"verdicts":"in another way"}')
    async with daemon(site.file, "--table", "memory") as again, site.web_server():
        line = await again.until("state.error", file=str(site.state))
        assert "put aside" in line["error"]
        await again.until("real_server.up", server=site.server)
        found = await why(site)
        assert (found["layers"]["orders"][0]["text"], found["weight_wanted"]) == (
            f"drained by uid {UID}: kernel update",
            None,
        )
        await again.stop()


async def test_damaged_state_file_is_put_aside_and_told_and_the_orders_are_obeyed(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running, site.web_server():
        await running.until("table.changed", operation="add_server", server=site.server)
        assert await order(site, "disable", "web", site.server, "--force") == 0
        await running.stop()
    content = site.state.read_bytes()
    site.state.write_bytes(content.replace(b'"verdict":"up"', b'"verdict":"UP"'))
    async with daemon(site.file, "--table", "memory") as again:
        line = await again.until("state.error", file=str(site.state))
        assert "damaged: its checksum does not fit" in line["error"]
        await again.until("daemon.started")
        assert (await why(site))["override"] == f"disabled by uid {UID}"
        await again.stop()
