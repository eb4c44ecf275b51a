"""The page's endpoints, as a browser sees them."""

import asyncio
import json

import aiohttp
import msgspec
import pytest

from lvs_healthd.api import page
from lvs_healthd.page.feed import Told
from lvs_healthd.page.rows import Asked, Shown
from lvs_healthd.view.status_values import ServiceStatus, Status
from tests import statuses
from tests.api.conftest import ShownApp
from tests.pacing import READINGS_PER_SLICE

BROWSER = {"Accept": "text/html,application/xhtml+xml"}


async def test_browser_is_led_to_the_page_and_curl_gets_the_list(client: aiohttp.ClientSession) -> None:
    async with client.get("/", headers=BROWSER) as response:
        assert (str(response.url.path), response.content_type) == ("/page/", "text/html")
        assert "lvs-healthd" in await response.text()
    async with client.get("/") as response:
        assert response.content_type == "text/plain"
    async with client.get("/page") as response:
        assert response.url.path == "/page/"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("", "text/html"),
        ("style.css", "text/css"),
        ("script.js", "text/javascript"),
        ("server?service=web&server=198.51.100.11:80", "text/html"),
    ],
)
async def test_everything_has_its_type_and_forbids_what_is_not_ours(
    client: aiohttp.ClientSession, path: str, kind: str
) -> None:
    async with client.get(f"/page/{path}") as response:
        assert (response.status, response.content_type) == (200, kind)
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")
        text = await response.text()
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text
    if kind == "text/html":
        assert "style=" not in text
        assert "onclick" not in text


async def test_server_page_says_why_but_not_what_the_server_answered(client: aiohttp.ClientSession) -> None:
    async with client.get("/page/server", params={"service": "web", "server": "198.51.100.11:80"}) as response:
        text = await response.text()
    assert "history, the newest first" in text
    assert "did not pass heard" not in text


@pytest.mark.parametrize(
    ("path", "status"), [("?from=-1", 400), ("?from=x", 400), ("events?from=1e3", 400), ("server?service=no", 404)]
)
async def test_what_makes_no_sense_is_refused(client: aiohttp.ClientSession, path: str, status: int) -> None:
    async with client.get(f"/page/{path}") as response:
        assert response.status == status
        assert (await response.json())["error"]


async def messages(response: aiohttp.ClientResponse) -> dict[str, object]:
    while True:
        line = await asyncio.wait_for(response.content.readline(), 10)
        assert line, "the stream has ended"
        if line.startswith(b"data: "):
            found: dict[str, object] = json.loads(line[6:])
            return found


async def test_open_page_is_told_what_changes(
    client: aiohttp.ClientSession, shown: ShownApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "EVERY_S", 0.01)
    monkeypatch.setattr(page, "SHARE", 0)
    async with client.get("/page/events") as response:
        assert response.content_type == "text/event-stream"
        assert "parts" in await messages(response)
        shown.status = msgspec.structs.replace(shown.status, services=shown.status.services[:1])
        while "order" not in (news := await messages(response)):
            pass
        order = news["order"]
        assert isinstance(order, list)
        assert len(order) == 1


async def test_ninth_page_is_told_that_it_is_not_live_and_places_become_free(client: aiohttp.ClientSession) -> None:
    async with aiohttp.ClientSession(client._base_url) as other:
        open_pages = [await other.get("/page/events") for _ in range(page.MOST_PAGES)]
        async with client.get("/page/events") as refused:
            assert refused.status == 503
        async with client.get("/page/") as still:
            assert still.status == 200
        for each in open_pages:
            each.close()
        async with asyncio.timeout(20):
            while True:
                async with client.get("/page/events") as again:
                    if again.status == 200:
                        break
                await asyncio.sleep(0.1)


async def test_browser_that_leaves_is_no_error(
    client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(page, "EVERY_S", 0.01)
    monkeypatch.setattr(page, "SHARE", 0)
    for _ in range(20):
        # The place of one that has left is free only once the server has noticed.
        while (response := await client.get("/page/events")).status == 503:
            response.close()
            await asyncio.sleep(0.01)
        await messages(response)
        assert response.connection is not None
        assert response.connection.transport is not None
        response.connection.transport.abort()
        response.close()
    await asyncio.sleep(0.2)
    assert caplog.records == []


class Asking:
    """A daemon's status, and how often somebody has asked for it."""

    def __init__(self, *services: ServiceStatus) -> None:
        self.status = Status(daemon=statuses.daemon(), services=services)
        self.times = 0

    async def __call__(self) -> Status:
        self.times += 1
        await asyncio.sleep(0)
        return self.status


async def test_what_many_pages_show_is_made_once() -> None:
    asking = Asking(statuses.service("web", statuses.real_server("198.51.100.1:80")))
    maker = page._Maker(asking)
    all_of_it, only_bad = Asked(), Asked(only_bad=True)
    shown = await asyncio.gather(*(maker.shown(asked) for asked in (all_of_it, only_bad, all_of_it)))
    assert shown[0] is shown[2]
    assert (len(shown[0].blocks), len(shown[1].blocks)) == (1, 0)
    assert asking.times == 1


async def test_page_that_is_old_is_made_again_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "EVERY_S", 0.01)
    monkeypatch.setattr(page, "SHARE", 0)
    asking = Asking()
    maker = page._Maker(asking)
    first = await maker.shown(Asked())
    async with asyncio.timeout(10):
        while await maker.shown(Asked()) is first:
            await asyncio.sleep(0.01)
        while maker._latest is not None:
            await asyncio.sleep(0.01)
    assert (asking.times, maker._made) == (2, {})


@pytest.mark.usefixtures("counted_pace")
async def test_probes_go_on_while_a_page_is_made() -> None:
    servers = [statuses.real_server(f"198.51.{at // 250}.{at % 250}:80") for at in range(10 * READINGS_PER_SLICE)]
    maker = page._Maker(Asking(statuses.service("web", *servers)))
    turns = 0

    async def probe() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    probing = asyncio.create_task(probe())
    await maker.shown(Asked())
    probing.cancel()
    assert turns >= 10


async def test_open_pages_are_told_one_in_each_turn_of_the_loop() -> None:
    maker = page._Maker(Asking(statuses.service("web", statuses.real_server("198.51.100.1:80"))))
    await maker.shown(Asked())
    turns, told_in = 0, []

    class Noted(Told):
        def news(self, page: Shown) -> bytes:
            told_in.append(turns)
            return super().news(page)

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await asyncio.gather(*(maker.news(Noted(Shown.nothing(Asked())), Asked()) for _ in range(page.MOST_PAGES)))
    counting.cancel()
    assert len(set(told_in)) == len(told_in) == page.MOST_PAGES
