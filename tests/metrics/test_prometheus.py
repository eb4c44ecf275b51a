"""A real Prometheus scrapes a real API server, and the tests ask it what it understood."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from lvs_healthd.api import ApiServer
from lvs_healthd.metrics import Metrics
from lvs_healthd.metrics.sampled import INTERNALS
from lvs_healthd.probes.outcome import up
from tests.metrics.dashboard import queries
from tests.shown import shown, shown_app
from tests.statuses import NOW, sampled

ALERTS = Path(__file__).parents[2] / "docs" / "prometheus-alerts.yml"


@pytest.fixture
async def daemon() -> AsyncIterator[ApiServer]:
    metrics = Metrics(samples=sampled, internals=lambda: dict.fromkeys(INTERNALS, 1.0) | {"probes_in_flight": 3})
    for _ in range(5):
        metrics.tally("web", "http").add(up("ok"), 0.001)
    server = ApiServer(shown_app(shown(), metrics.render))
    await server.start("127.0.0.1:0", "")
    yield server
    await server.stop()


@pytest.fixture
async def prometheus(daemon: ApiServer, tmp_path: Path) -> AsyncIterator[str]:
    """Run Prometheus with our alert rules and a scrape every 200 ms. Yields its address."""
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(f"""
global: {{scrape_interval: 200ms, evaluation_interval: 200ms}}
rule_files: ["{ALERTS}"]
scrape_configs:
  - job_name: lvs-healthd
    static_configs: [{{targets: ["{daemon.address}"]}}]
""")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with (tmp_path / "prometheus.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            "prometheus",
            f"--config.file={configuration}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address={address}",
            stdout=log,
            stderr=log,
        )
    yield f"http://{address}"
    process.terminate()
    async with asyncio.timeout(20):
        await process.wait()


async def ask(session: aiohttp.ClientSession, query: str) -> dict[str, float]:
    """Run a query and return its values by the label `server`."""
    async with session.get("/api/v1/query", params={"query": query}) as response:
        result = (await response.json())["data"]["result"]
    return {series["metric"].get("server", ""): float(series["value"][1]) for series in result}


async def firing(session: aiohttp.ClientSession) -> set[str]:
    async with session.get("/api/v1/alerts") as response:
        alerts = (await response.json())["data"]["alerts"]
    return {alert["labels"]["alertname"] for alert in alerts}


async def test_prometheus_reads_what_we_wrote_and_the_alerts_work(prometheus: str) -> None:
    async with aiohttp.ClientSession(prometheus) as session, asyncio.timeout(60):
        found: dict[str, float] = {}
        while not found:
            await asyncio.sleep(0.2)
            try:
                found = await ask(session, 'up{job="lvs-healthd"} == 1')
            except (aiohttp.ClientConnectionError, aiohttp.ContentTypeError, KeyError):
                continue  # Prometheus is still starting
        assert await ask(session, 'lvs_healthd_real_server_up{service="web"}') == {
            "198.51.100.11:80": 1,
            "198.51.100.12:80": 0,
        }
        assert await ask(session, 'lvs_healthd_probes_total{service="web",reason="passed"}') == {"": 5}
        assert await ask(session, "lvs_healthd_config_last_reload_success_timestamp_seconds") == {"": NOW - 3600}
        assert await ask(session, "lvs_healthd_probes_in_flight") == {"": 3}
        assert len(await ask(session, 'lvs_healthd_real_server_up{service="odd \\"name\\"\\\\"}')) == 1
        # Prometheus looks at each group of rules in its own time.
        while not {"LvsServiceInFallback", "LvsRealServerDown"} <= (alerts := await firing(session)):
            await asyncio.sleep(0.2)
    assert not alerts & {"LvsTableError", "LvsConfigRejected", "LvsHealthdGone"}


async def test_every_query_of_the_dashboard_has_an_answer(prometheus: str) -> None:
    async with aiohttp.ClientSession(prometheus) as session:
        empty = list(queries())
        for _ in range(40):
            await asyncio.sleep(0.5)
            try:
                empty = [query for query in queries() if not await _series(session, query.expression)]
            except aiohttp.ClientConnectionError:
                continue  # Prometheus is still starting
            if not empty:
                break
        assert empty == []


async def _series(session: aiohttp.ClientSession, expression: str) -> int:
    """Run a query, which must be valid, and return how many series it has."""
    async with session.get("/api/v1/query", params={"query": expression}) as response:
        if response.status == 503:
            return 0  # Prometheus is still starting
        answer = await response.json()
    assert answer["status"] == "success", f"{expression}: {answer}"
    return len(answer["data"]["result"])
