"""Requests that change something: over the control socket only, and only by those who may."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from lvs_healthd.api import ApiServer, answers
from lvs_healthd.api.peers import Peer, may_change
from lvs_healthd.view.hold_values import HoldOutcome
from lvs_healthd.view.reload_values import ReloadOutcome
from tests.api.conftest import ShownApp
from tests.api.described import DescribedResponse

PATH = "/api/v1/reload"


@pytest.fixture
async def local(server: ApiServer, control: Path) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.UnixConnector(path=str(control))
    async with aiohttp.ClientSession(
        "http://control", connector=connector, response_class=DescribedResponse
    ) as session:
        yield session


async def test_reload_over_the_control_socket_answers_with_what_changed(
    local: aiohttp.ClientSession, shown: ShownApp
) -> None:
    shown.reloaded = ReloadOutcome(file="config.toml", servers_added=3)
    async with local.post(PATH) as response:
        assert (response.status, (await response.json())["servers_added"]) == (200, 3)
    assert shown.asked == [("reload", os.geteuid())]


async def test_dry_run_and_force_are_asked_for_and_nothing_else_is_taken_for_a_reload(
    local: aiohttp.ClientSession, shown: ShownApp
) -> None:
    for asked in ("/dry-run", "/dry-run?force=true", "?force=true"):
        async with local.post(PATH + asked) as response:
            assert response.status == 200
    assert [request for request, _ in shown.asked] == [
        "reload --dry-run",
        "reload --dry-run --force",
        "reload --force",
    ]
    for odd in ("?dry_run=true", "?force", "?force=false", "?force=true&dry-run=true"):
        async with local.post(PATH + odd) as response:
            assert (response.status, (await response.json())["error"]) == (400, 'only "?force=true" is known')
    assert len(shown.asked) == 3


async def test_rejected_reload_is_422_with_every_error(local: aiohttp.ClientSession, shown: ShownApp) -> None:
    shown.reloaded = ReloadOutcome(file="config.toml", errors=("line 3", "line 9"))
    async with local.post(PATH) as response:
        assert (response.status, (await response.json())["errors"]) == (422, ["line 3", "line 9"])


async def test_nothing_is_changed_over_tcp_or_by_a_get(
    client: aiohttp.ClientSession, local: aiohttp.ClientSession, shown: ShownApp
) -> None:
    async with client.post(PATH) as response:
        assert (response.status, (await response.json())["error"]) == (403, "only on the control socket")
    async with local.get(PATH) as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")
    assert shown.asked == []


async def test_stranger_on_a_socket_that_lets_everybody_in_is_refused_and_reported(
    local: aiohttp.ClientSession, shown: ShownApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "peer_of", lambda _: Peer(7, 12345, frozenset({12345})))
    async with local.post(PATH) as response:
        assert response.status == 403
        assert (await response.json())["error"] == "user 12345 may look at everything, but change nothing"
    assert shown.asked == [("no reload", 12345)]


async def test_hold_and_release_are_asked_for_by_service_and_with_a_reason(
    local: aiohttp.ClientSession, shown: ShownApp
) -> None:
    shown.held = HoldOutcome(held=("web",))
    for asked in ("hold?service=web&reason=new%20switch", "hold", "release?service=web", "release"):
        async with local.post(f"/api/v1/{asked}") as response:
            assert (response.status, (await response.json())["held"]) == (200, ["web"])
    assert [request for request, _ in shown.asked] == ["hold web new switch", "hold", "release web", "release"]


@pytest.mark.parametrize(
    ("asked", "status", "why"),
    [
        ("hold?services=web", 400, "known, each once: reason, service"),
        ("hold?service=web&service=dns", 400, "known, each once: reason, service"),
        ("release?reason=over", 400, "known, each once: service"),
        ("hold?reason=a%0Ab", 400, "reason: at most 200 printable characters"),
        (f"hold?reason={'x' * 201}", 400, "reason: at most 200 printable characters"),
        ("hold?service=nobody", 404, 'no service is called "nobody" or has that address'),
        ("release", 409, "nothing is held"),
    ],
)
async def test_hold_that_makes_no_sense_is_refused_with_the_reason(
    local: aiohttp.ClientSession, shown: ShownApp, asked: str, status: int, why: str
) -> None:
    shown.unheld = "nothing is held"
    async with local.post(f"/api/v1/{asked}") as response:
        assert (response.status, (await response.json())["error"]) == (status, why)


@pytest.mark.parametrize("verb", ["hold", "release"])
async def test_nobody_holds_over_tcp_by_a_get_or_without_the_right(
    client: aiohttp.ClientSession,
    local: aiohttp.ClientSession,
    shown: ShownApp,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
) -> None:
    async with client.post(f"/api/v1/{verb}") as response:
        assert response.status == 403
    async with local.get(f"/api/v1/{verb}") as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")
    assert shown.asked == []
    monkeypatch.setattr(answers, "peer_of", lambda _: Peer(7, 12345, frozenset({12345})))
    async with local.post(f"/api/v1/{verb}?service=web") as response:
        assert response.status == 403
    assert shown.asked == [(f"no {verb} web", 12345)]


def test_root_the_daemons_user_and_the_sockets_group_may_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 990)
    control, group = tmp_path / "control.sock", tmp_path.stat().st_gid
    for path in (control, tmp_path):  # a socket whose file is gone has the daemon's own group
        if path is control:
            monkeypatch.setattr(os, "getegid", lambda: group)
        assert may_change(Peer(1, 0, frozenset({group + 1})), str(path))
        assert may_change(Peer(1, 990, frozenset({group + 1})), str(path))
        assert may_change(Peer(1, 1000, frozenset({group + 1, group})), str(path))
        assert not may_change(Peer(1, 1000, frozenset({group + 1})), str(path))
