"""An API server on loopback and on its own socket file. Tests decide what it shows."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from lvs_healthd.api import ApiServer
from tests import statuses
from tests.api.described import DescribedResponse
from tests.shown import Shown, shown_app

MakeServer = Callable[..., ApiServer]


class ShownApp(Shown):
    metrics: bytes = b"lvs_healthd_build_info 1\n"


@pytest.fixture
def shown() -> ShownApp:
    return ShownApp(status=statuses.status(), listing=statuses.listing())


@pytest.fixture
def app(shown: ShownApp) -> web.Application:
    async def metrics() -> AsyncIterator[bytes]:
        yield b"" + shown.metrics

    return shown_app(shown, metrics)


@pytest.fixture
def control(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.fixture
async def server(app: web.Application, control: Path) -> AsyncIterator[ApiServer]:
    running = ApiServer(app)
    await running.start("127.0.0.1:0", str(control))
    yield running
    await running.stop()
    await asyncio.sleep(0)  # let aborted transports close their sockets


@pytest.fixture
async def client(server: ApiServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://{server.address}", response_class=DescribedResponse) as session:
        yield session
