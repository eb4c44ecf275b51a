"""Everybody who asks within a second gets one rendering, at their own pace."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

import aiohttp
import pytest
from aiohttp import web

from lvs_healthd.api import ApiServer
from lvs_healthd.api import app as app_module
from lvs_healthd.api.app import PART_BYTES
from lvs_healthd.api.shared import LARGE, MOST_KEPT, SharedAnswer, in_turn
from lvs_healthd.view.status_values import Status
from tests import statuses
from tests.shown import Shown, ShownView, shown_app

FRESH_S = 1.0
CROWD = 40


class Rendered:
    """Counts renderings; each has two chunks, and the second waits until the test lets it come."""

    def __init__(self, fresh_s: float = FRESH_S) -> None:
        self.times = 0
        self.now = 100.0
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.answer = SharedAnswer(self.render, fresh_s=fresh_s, clock=lambda: self.now)

    async def render(self) -> AsyncIterator[bytes]:
        self.times += 1
        number = self.times
        yield b"first %d " % number
        await self.go_on.wait()
        yield b"second %d" % number

    async def whole(self) -> bytes:
        return b"".join([chunk async for chunk in self.answer()])


async def test_all_who_ask_within_a_second_get_the_same() -> None:
    rendered = Rendered()
    assert await asyncio.gather(*(rendered.whole() for _ in range(40))) == [b"first 1 second 1"] * 40
    rendered.now += FRESH_S / 2
    assert await rendered.whole() == b"first 1 second 1"
    rendered.now += FRESH_S
    assert await rendered.whole() == b"first 2 second 2"


@pytest.mark.parametrize(("size", "times"), [(LARGE - 1, 0), (LARGE, 1)])
async def test_memory_is_given_back_when_a_large_answer_is_dropped(size: int, times: int) -> None:
    freed: list[None] = []

    async def render() -> AsyncIterator[bytes]:
        yield bytes(size)

    answer = SharedAnswer(render, fresh_s=0.05, freed=lambda: freed.append(None))
    assert sum([len(chunk) async for chunk in answer()]) == size
    assert not freed  # somebody else may still get it
    await asyncio.sleep(0.2)
    assert len(freed) == times


async def test_who_comes_late_waits_for_the_rendering_under_way_and_gets_the_next() -> None:
    rendered = Rendered()
    rendered.go_on.clear()
    early = asyncio.create_task(rendered.whole())
    await asyncio.sleep(0)
    rendered.now += 2 * FRESH_S
    late = [asyncio.create_task(rendered.whole()) for _ in range(3)]
    await asyncio.sleep(0.01)
    assert rendered.times == 1
    rendered.go_on.set()
    assert await early == b"first 1 second 1"
    assert await asyncio.gather(*late) == [b"first 2 second 2"] * 3


async def test_what_slow_clients_still_read_is_bounded() -> None:
    rendered = Rendered()
    slow = []
    for _ in range(MOST_KEPT):
        reading = rendered.answer()
        slow.append((reading, await anext(reading)))
        rendered.now += 2 * FRESH_S
        await asyncio.sleep(0.01)
    waiting = asyncio.create_task(rendered.whole())
    await asyncio.sleep(0.01)
    assert rendered.times == MOST_KEPT
    await slow[0][0].aclose()  # a client that has gone
    assert await waiting == b"first %d second %d" % (MOST_KEPT + 1, MOST_KEPT + 1)
    for reading, _ in slow[1:]:
        await reading.aclose()


async def test_a_fault_goes_to_everybody_and_the_next_client_gets_an_answer() -> None:
    fails = [True]

    async def render() -> AsyncIterator[bytes]:
        if fails.pop() if fails else False:
            raise KeyError("broken")
        yield b"whole"

    now = [0.0]
    answer = SharedAnswer(render, fresh_s=FRESH_S, clock=lambda: now[0])

    async def whole() -> bytes:
        return b"".join([chunk async for chunk in answer()])

    found = await asyncio.gather(whole(), whole(), return_exceptions=True)
    assert [type(each) for each in found] == [KeyError, KeyError]
    now[0] += 2 * FRESH_S
    assert await whole() == b"whole"


async def test_an_answer_that_must_be_of_now_is_shared_only_by_those_who_wait_for_it() -> None:
    rendered = Rendered(fresh_s=0.0)
    assert await rendered.whole() == b"first 1 second 1"
    rendered.now += 0.001
    assert await rendered.whole() == b"first 2 second 2"
    rendered.now += 0.001
    rendered.go_on.clear()
    early = asyncio.create_task(rendered.whole())
    await asyncio.sleep(0)
    rendered.now += 0.001
    late = [asyncio.create_task(rendered.whole()) for _ in range(3)]
    await asyncio.sleep(0)
    rendered.go_on.set()
    assert await early == b"first 3 second 3"
    assert await asyncio.gather(*late) == [b"first 4 second 4"] * 3


async def test_an_answer_that_nobody_asks_for_again_is_let_go() -> None:
    rendered = Rendered(fresh_s=0.01)
    await rendered.whole()
    await asyncio.sleep(0.05)
    assert rendered.answer._latest is None
    assert rendered.answer._kept == []


async def test_scrapes_over_http_share_one_rendering() -> None:
    rendered = Rendered()
    app = shown_app(Shown(status=statuses.status(), listing=statuses.listing()), rendered.render)
    server = ApiServer(app)
    await server.start("127.0.0.1:0", "")
    async with aiohttp.ClientSession(f"http://{server.address}") as session:

        async def scrape() -> bytes:
            async with session.get("/metrics") as response:
                return await response.read()

        assert await asyncio.gather(*(scrape() for _ in range(20))) == [b"first 1 second 1"] * 20
    await server.stop()


CLIENTS = 20


class Counted:
    """Counts how many expensive answers are being made, and how many at once at most."""

    def __init__(self) -> None:
        self.times = 0
        self._now = 0
        self.most = 0

    @contextlib.contextmanager
    def making(self) -> Iterator[None]:
        self.times += 1
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            yield
        finally:
            self._now -= 1


async def asked_at_once(path: str) -> list[bytes]:
    """Let `CLIENTS` clients ask for a path at the same time, and return their answers."""
    server = ApiServer(shown_app(Shown(status=statuses.status(), listing=statuses.listing()), Rendered().render))
    await server.start("127.0.0.1:0", "")
    async with aiohttp.ClientSession(f"http://{server.address}") as session:

        async def ask() -> bytes:
            async with session.get(path) as response:
                assert response.status == 200
                return await response.read()

        answers = await asyncio.gather(*(ask() for _ in range(CLIENTS)))
    await server.stop()
    return answers


async def test_all_who_wait_for_a_status_get_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted()

    async def status(_: ShownView) -> Status:
        with counted.making():
            await asyncio.sleep(0.05)
            return statuses.status()

    monkeypatch.setattr(ShownView, "status", status)
    assert len(set(await asked_at_once("/api/v1/status"))) == 1
    assert counted.most == 1
    assert counted.times <= 3  # the first, and one or two for those whose request comes later


@pytest.mark.parametrize("path", ["/api/v1/table", "/api/v1/ipvsadm/actual"])
async def test_tables_for_many_clients_are_made_in_turn(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would hold the loop for a slice between two turns of it: twenty at once for twenty times as long."""
    counted = Counted()

    async def made(*_: object) -> AsyncGenerator[str, None]:
        for number in range(3):
            with counted.making():
                await asyncio.sleep(0.001)
            yield str(number)

    async def listing(*_: object, **__: object) -> AsyncGenerator[bytes, None]:
        async for piece in made():
            yield piece.encode()

    monkeypatch.setattr(ShownView, "listing", listing)
    monkeypatch.setattr(app_module, "chunks", made)
    assert await asked_at_once(path) == [b"012"] * CLIENTS
    assert (counted.most, counted.times) == (1, 3 * CLIENTS)


async def test_a_client_that_reads_slowly_keeps_no_other_from_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = asyncio.Lock()

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"one"
        yield b"two"

    slow = in_turn(pieces(), lock)
    assert await anext(slow) == b"one"
    async with asyncio.timeout(10):
        assert [piece async for piece in in_turn(pieces(), lock)] == [b"one", b"two"]
    await slow.aclose()


async def test_a_crowd_of_scrapers_gets_one_part_each_per_turn_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bytes(3 << 20)
    written = 0
    in_a_turn: list[int] = []
    write = web.StreamResponse.write

    async def counted(response: web.StreamResponse, data: bytes) -> None:
        nonlocal written
        written += len(data)
        await write(response, data)

    async def watch() -> None:
        nonlocal written
        while True:
            written = 0
            await asyncio.sleep(0)
            in_a_turn.append(written)

    async def render() -> AsyncIterator[bytes]:
        yield whole

    monkeypatch.setattr(web.StreamResponse, "write", counted)
    server = ApiServer(shown_app(Shown(status=statuses.status(), listing=statuses.listing()), render))
    await server.start("127.0.0.1:0", "")
    watching = asyncio.create_task(watch())
    async with aiohttp.ClientSession(f"http://{server.address}") as session:

        async def scrape() -> bytes:
            async with session.get("/metrics") as response:
                return await response.read()

        assert await asyncio.gather(*(scrape() for _ in range(CROWD))) == [whole] * CROWD
    watching.cancel()
    await server.stop()
    assert sum(in_a_turn) == CROWD * len(whole)
    assert max(in_a_turn) <= CROWD * PART_BYTES
