"""The endpoints, as a real HTTP client sees them."""

import asyncio
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web
from yarl import URL

from lvs_healthd.api import ApiServer
from lvs_healthd.ipvs.saved import saved
from lvs_healthd.view.status_values import Status
from lvs_healthd.view.table_values import Listing
from lvs_healthd.view.why_values import Why
from tests import statuses
from tests.api.conftest import ShownApp
from tests.api.described import DescribedResponse
from tests.ipvs.tables import entry, server, service, table


async def test_status_is_the_record_as_json(client: aiohttp.ClientSession, shown: ShownApp) -> None:
    async with client.get("/api/v1/status") as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        assert msgspec.json.decode(await response.read(), type=Status) == shown.status


async def test_metrics_are_passed_on_with_their_type(client: aiohttp.ClientSession, shown: ShownApp) -> None:
    async with client.get("/metrics") as response:
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert await response.read() == shown.metrics


async def test_head_of_metrics_has_no_body(client: aiohttp.ClientSession) -> None:
    async with client.head("/metrics") as response:
        assert (response.status, await response.read()) == (200, b"")
    async with client.get("/healthz") as response:  # over the same connection
        assert response.status == 200


async def test_healthz_is_ok_only_while_there_is_nothing_to_say(client: aiohttp.ClientSession, shown: ShownApp) -> None:
    async with client.get("/healthz") as response:
        assert (response.status, await response.text()) == (200, "ok\n")
    shown.health = "scheduler: no tick for 12 s"
    async with client.get("/healthz") as response:
        assert (response.status, await response.text()) == (503, "scheduler: no tick for 12 s\n")


POSTED = ("/api/v1/reload", "/api/v1/reload/dry-run", "/api/v1/hold", "/api/v1/release")


async def test_index_names_every_endpoint(client: aiohttp.ClientSession) -> None:
    async with client.get("/") as response:
        text = await response.text()
    paths = [line.split()[0] for line in text.splitlines() if line.startswith("/")]
    assert paths == [
        *("/page/", "/api/v1/openapi.json"),
        *("/api/v1/status", "/api/v1/table", "/api/v1/director", "/api/v1/connections", "/api/v1/why", "/api/v1/ok"),
        *("/api/v1/ipvsadm/wanted", "/api/v1/ipvsadm/actual", "/api/v1/overrides"),
        *("/api/v1/reload", "/api/v1/reload/dry-run", "/api/v1/hold", "/api/v1/release", "/metrics", "/healthz"),
    ]
    for path in paths:
        if path in ("/api/v1/connections", "/api/v1/why", *POSTED):
            continue  # not over TCP
        async with client.get(path) as response:
            assert response.status == 200


@pytest.mark.parametrize("path", ["/nothing", "/api/v1/", "/metrics/", "/..%2f..%2fetc/passwd", "/%00"])
async def test_unknown_path_is_404_in_json(client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(path) as response:
        assert response.status == 404
        assert (await response.json())["error"] == "Not Found"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/api/v1/status"])
async def test_everything_is_read_only(client: aiohttp.ClientSession, method: str, path: str) -> None:
    async with client.request(method, path) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET,HEAD"
        assert (await response.json())["error"] == "Method Not Allowed"


async def test_head_has_no_body(client: aiohttp.ClientSession) -> None:
    async with client.head("/api/v1/status") as response:
        assert response.status == 200
        assert await response.read() == b""


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/api/v1/status", "/nothing"])
async def test_no_answer_may_be_cached_or_tells_what_we_run_on(client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(path) as response:
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Server"] == "lvs-healthd"


async def test_fault_of_ours_is_500_and_does_not_end_the_server(client: aiohttp.ClientSession, shown: ShownApp) -> None:
    shown.metrics = 5  # type: ignore[assignment]  # what a bug might return
    async with client.get("/metrics") as response:
        assert response.status == 500
    async with client.get("/healthz") as response:
        assert response.status == 200


async def test_tables_are_text_for_ipvsadm(client: aiohttp.ClientSession, shown: ShownApp) -> None:
    shown.wanted = table(entry(service(), server("10.0.0.1")))
    async with client.get("/api/v1/ipvsadm/wanted") as response:
        assert (response.status, response.content_type) == (200, "text/plain")
        assert await response.text() == "".join(saved(shown.wanted))
    async with client.get("/api/v1/ipvsadm/actual") as response:
        assert await response.text() == ""
    async with client.get("/api/v1/ipvsadm/other") as response:
        assert response.status == 404


async def test_table_is_the_listing_as_json(client: aiohttp.ClientSession, shown: ShownApp) -> None:
    async with client.get("/api/v1/table") as response:
        assert (response.status, response.content_type) == (200, "application/json")
        assert msgspec.json.decode(await response.read(), type=Listing) == shown.listing
    async with client.get("/api/v1/table", params={"service": "192.0.2.250:8080/tcp"}) as response:
        found = msgspec.json.decode(await response.read(), type=Listing)
        assert found.services == shown.listing.services[-1:]


async def test_mark_services_are_shown_to_those_who_ask(client: aiohttp.ClientSession, shown: ShownApp) -> None:
    for path in ("/api/v1/table", "/api/v1/ipvsadm/wanted", "/api/v1/table?service=web"):
        async with client.get(path) as response:
            assert response.status == 200
    assert shown.whole == []
    for path in ("/api/v1/table?all", "/api/v1/ipvsadm/wanted?all"):
        async with client.get(path) as response:
            assert response.status == 200
    assert shown.whole == ["listing", "wanted"]


async def test_service_that_nobody_knows_is_404_with_its_name(client: aiohttp.ClientSession) -> None:
    async with client.get("/api/v1/table", params={"service": 'no\n"name"'}) as response:
        assert response.status == 404
        assert await response.json() == {
            "error": 'no service is called "no\n"name"" or has that address',
            "path": "/api/v1/table",
        }


async def test_why_is_told_on_the_control_socket_only(client: aiohttp.ClientSession, control: Path) -> None:
    meant = {"service": "web", "server": "198.51.100.11:80"}
    async with client.get("/api/v1/why", params=meant) as response:
        assert (response.status, (await response.json())["error"]) == (403, "only on the control socket")
    connector = aiohttp.UnixConnector(path=str(control))
    async with aiohttp.ClientSession("http://control", connector=connector, response_class=DescribedResponse) as local:
        async with local.get("/api/v1/why", params=meant) as response:
            assert (response.status, msgspec.json.decode(await response.read(), type=Why)) == (200, statuses.why())
        async with local.get("/api/v1/why/web/198.51.100.11:80") as response:
            assert (response.status, msgspec.json.decode(await response.read(), type=Why)) == (200, statuses.why())
        slash = URL("/api/v1/why/192.0.2.100:80%2Ftcp/198.51.100.11", encoded=True)
        async with local.get(slash) as response:
            assert (response.status, (await response.json())["error"]) == (
                404,
                'no real server of "192.0.2.100:80/tcp" has the address 198.51.100.11',
            )
        async with local.get("/api/v1/why", params={"service": "web"}) as response:
            assert (response.status, (await response.json())["error"]) == (
                404,
                'no real server of "web" has the address ',
            )


async def test_connections_are_told_on_the_control_socket_only(
    client: aiohttp.ClientSession, shown: ShownApp, server: ApiServer, control: Path
) -> None:
    shown.connections = [b"TCP one\nTCP two\n", b"TCP one too\n"]
    async with client.get("/api/v1/connections") as response:
        assert (response.status, (await response.json())["error"]) == (403, "only on the control socket")
    connector = aiohttp.UnixConnector(path=str(control))
    async with aiohttp.ClientSession("http://control", connector=connector, response_class=DescribedResponse) as local:
        async with local.get("/api/v1/connections") as response:
            assert (response.status, response.content_type) == (200, "text/plain")
            assert await response.read() == b"TCP one\nTCP two\nTCP one too\n"
        async with local.get("/api/v1/connections", params={"service": "one"}) as response:
            assert await response.read() == b"TCP one\nTCP one too\n"
        shown.connections = []
        async with local.get("/api/v1/connections") as response:
            assert (response.status, await response.read()) == (200, b"")
        shown.unavailable = "/proc/net/ip_vs_conn: No such file or directory"
        async with local.get("/api/v1/connections") as response:
            assert (response.status, (await response.json())["error"]) == (503, shown.unavailable)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9880", "127.0.0.1:9880", "[::1]:9880", "[::1]", "192.0.2.1"])
async def test_loopback_address_answers_to_its_own_names(client: aiohttp.ClientSession, host: str) -> None:
    async with client.get("/healthz", headers={"Host": host}) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9880", "localhost.evil.example", "127.0.0.1.nip.io", ""]
)
async def test_loopback_address_does_not_answer_to_a_name_that_was_pointed_at_it(
    client: aiohttp.ClientSession, host: str
) -> None:
    async with client.get("/api/v1/status", headers={"Host": host}) as response:
        assert response.status == 421
        assert f'asked as "{host}"' in (await response.json())["error"]


async def test_other_addresses_and_the_control_socket_answer_to_any_name(app: web.Application, control: Path) -> None:
    server = ApiServer(app)
    await server.start("0.0.0.0:0", str(control))
    assert server.address is not None
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{server.address.port}") as remote,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(control))) as local,
    ):
        async with remote.get("/healthz", headers={"Host": "director.example"}) as response:
            assert response.status == 200
        async with local.get("http://director.example/healthz") as response:
            assert response.status == 200
    await server.stop()


async def test_refusal_of_malformed_http_has_the_headers_of_every_answer(server: ApiServer) -> None:
    assert server.address is not None
    reader, writer = await asyncio.open_connection(server.address.address, server.address.port)
    writer.write(b"GARBAGE\r\n\r\n")
    answer = (await reader.read()).decode().lower()
    assert " 400 " in answer.splitlines()[0]
    assert "\r\nserver: lvs-healthd\r\n" in answer
    assert "\r\ncache-control: no-store\r\n" in answer
    assert "\r\nx-content-type-options: nosniff\r\n" in answer
    assert "aiohttp" not in answer
    writer.close()


async def test_ok_says_which_services_may_serve(client: aiohttp.ClientSession) -> None:
    async with client.get("/api/v1/ok", params={"service": "web"}) as response:
        assert await response.json() == {
            "ok": True,
            "services": [{"service": "web", "ok": True, "why": "2 of 3 real servers serve"}],
        }
    async with client.get("/api/v1/ok") as response:
        assert (response.status, (await response.json())["ok"]) == (200, False)
    async with client.get("/api/v1/ok", params={"service": "nobody"}) as response:
        assert (response.status, (await response.json())["error"]) == (
            404,
            'no service is called "nobody" or has that address',
        )
