"""A server on loopback and on a socket file of its own, with everything it shows made by hand."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web

from lvs_healthd.api import ApiServer, create_app
from lvs_healthd.ipvs.records import Table
from lvs_healthd.status import Status
from tests import statuses

MakeServer = Callable[..., ApiServer]


class Shown(msgspec.Struct):
    """What the endpoints show; tests change it."""

    status: Status
    metrics: bytes = b"lvs_healthd_build_info 1\n"
    health: str = ""
    wanted: Table = {}


@pytest.fixture
def shown() -> Shown:
    return Shown(status=statuses.status())


@pytest.fixture
def app(shown: Shown) -> web.Application:
    async def status() -> Status:
        return shown.status

    async def metrics() -> AsyncIterator[bytes]:
        yield b"" + shown.metrics

    return create_app(
        status=status,
        metrics=metrics,
        health=lambda: shown.health,
        tables={"wanted": lambda: shown.wanted, "actual": dict},
    )


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
    async with aiohttp.ClientSession(f"http://{server.address}") as session:
        yield session
