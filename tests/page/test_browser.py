"""The page in a real browser: what is seen, what a screen reader is told, what keys do, and that it stays true.

`WRITE_PICTURES=1` also writes the pictures of docs/page.md.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from lab.browser import Browser, browsing
from lvs_healthd.api import ApiServer
from tests import statuses
from tests.pictured import braked, ten_thousand, well
from tests.shown import Shown, shown_app

pytestmark = pytest.mark.long

PICTURES = Path(__file__).parents[2] / "docs" / "page"


async def _metrics() -> AsyncIterator[bytes]:
    yield b""


@pytest.fixture
def shown() -> Shown:
    return Shown(status=well(), listing=statuses.listing())


@pytest.fixture
async def address(shown: Shown) -> AsyncIterator[str]:
    server = ApiServer(shown_app(shown, _metrics))
    await server.start("127.0.0.1:0", "")
    yield f"http://{server.address}/page/"
    await server.stop()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with browsing() as opened:
        await opened.window(1200, 700)
        yield opened


async def picture(browser: Browser, name: str, folder: Path) -> None:
    where = PICTURES if os.environ.get("WRITE_PICTURES") else folder
    where.mkdir(exist_ok=True)
    await browser.picture(where / f"{name}.png")
    assert (where / f"{name}.png").stat().st_size > 5_000


async def test_what_changes_is_seen_without_a_reload(
    address: str, shown: Shown, browser: Browser, tmp_path: Path
) -> None:
    await browser.visit(address)
    await browser.until("document.querySelectorAll('tbody tr.good').length === 6")
    await browser.until("document.querySelectorAll('.time svg').length === 6")
    await picture(browser, "well", tmp_path)
    await browser.value("window.isSame = true")
    shown.status = well(4, 5)
    await browser.until("document.querySelectorAll('tbody tr.bad').length === 2")
    # The service that is down has moved to the top, and a screen reader is told.
    assert (await browser.value("document.querySelector('h2').textContent")).startswith("dns")
    assert "NO REAL SERVER MAY SERVE" in await browser.value("document.querySelector('h2').textContent")
    assert "is down" in await browser.value("document.getElementById('live').textContent")
    assert await browser.value("window.isSame")
    await picture(browser, "down", tmp_path)
    shown.status = well()
    await browser.until("document.querySelectorAll('tbody tr.good').length === 6")
    assert (await browser.value("document.querySelector('h2').textContent")).startswith("web")


async def test_brake_and_dark_and_narrow(address: str, shown: Shown, browser: Browser, tmp_path: Path) -> None:
    shown.status = braked()
    await browser.visit(address)
    assert "BRAKE: 5 of 6 targets behind eth1" in await browser.value(
        "document.querySelector('[role=alert]').textContent"
    )
    await picture(browser, "brake", tmp_path)
    await browser.window(1200, 700, is_dark=True)
    light = "rgb(255, 255, 255)"
    assert await browser.value("matchMedia('(prefers-color-scheme: dark)').matches")
    assert await browser.value("getComputedStyle(document.querySelector('.alarm')).color") != "rgb(176, 0, 32)"
    await picture(browser, "dark", tmp_path)
    await browser.window(390, 800)
    assert await browser.value("document.documentElement.scrollWidth") <= 390
    assert await browser.value("getComputedStyle(document.body).color") != light
    await picture(browser, "phone", tmp_path)


async def test_keys_search_filter_and_walk(address: str, shown: Shown, browser: Browser) -> None:
    shown.status = well(1)
    await browser.visit(address)
    await browser.press("j")
    await browser.press("j")
    first = await browser.value("document.activeElement.textContent")
    await browser.press("k")
    assert await browser.value("document.activeElement.textContent") == "198.51.0.2:80"  # the bad one is first
    assert first != "198.51.0.2:80"
    await browser.press("/")
    assert await browser.value("document.activeElement.name") == "q"
    await browser.press("b")  # a letter, while one searches
    assert await browser.value("document.activeElement.value") == "b"
    await browser.value("document.activeElement.blur()")
    await browser.press("b")
    await browser.until("location.search.includes('bad=1') && document.querySelectorAll('tbody tr').length === 1")


async def test_screen_reader_is_told_what_is_what(address: str, shown: Shown, browser: Browser) -> None:
    shown.status = msgspec.structs.replace(well(0), daemon=statuses.daemon(table_error="EPERM"))
    await browser.visit(address)
    told = await browser.accessible()
    assert ("heading", "lvs-healthd") in told
    assert any(role == "alert" for role, _ in told)
    assert ("searchbox", "search") in told
    assert ("checkbox", "only what is bad") in told
    assert ("columnheader", "verdict") in told
    assert ("rowheader", "198.51.0.1:80") in told
    assert ("link", "198.51.0.1:80") in told
    assert any(role == "status" for role, _ in told)


async def test_without_scripts_everything_is_there(address: str, shown: Shown) -> None:
    shown.status = well(0)
    async with browsing(scripts=False) as browser:
        await browser.window(1200, 700)
        await browser.tell("Page.navigate", url=address)
        async with asyncio.timeout(20):
            while ("rowheader", "198.51.0.6:80") not in (told := await browser.accessible()):
                await asyncio.sleep(0.1)
    assert ("cell", "down") in told
    assert ("cell", "2 ms") in told


async def test_page_without_a_daemon_says_that_it_is_old(shown: Shown, browser: Browser) -> None:
    server = ApiServer(shown_app(shown, _metrics))
    await server.start("127.0.0.1:0", "")
    await browser.visit(f"http://{server.address}/page/")
    await browser.until("document.querySelectorAll('.time svg').length === 6")
    await server.stop()
    await browser.until("document.getElementById('live').textContent.includes('may be old')")


async def test_ten_thousand_servers(
    address: str, shown: Shown, browser: Browser, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    shown.status = ten_thousand()
    await browser.visit(address)
    assert await browser.value("document.querySelector('.sum a').textContent") == "100 are bad"
    await browser.until("document.querySelectorAll('tbody tr').length === 500")
    await browser.until("performance.getEntriesByName('first-contentful-paint').length === 1")
    paint = await browser.value("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    record_property("first_paint_ms", round(paint))
    assert "1 to 500 of 10000" in await browser.value("document.querySelector('nav').textContent")
    await picture(browser, "many", tmp_path)
    await browser.visit(address + "?q=s042&bad=1")
    await browser.until("document.querySelectorAll('tbody tr').length === 1")
