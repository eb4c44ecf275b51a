"""http checks that open a WebSocket: by hand, and at aiohttp's own server, alone, behind nginx and over TLS."""

import asyncio
import base64
import contextlib
import hashlib
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import trustme
from aiohttp import WSCloseCode, WSMsgType, web

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import HttpCheck, HttpsCheck, Tls
from lvs_healthd.probes.exchange import Farewell
from lvs_healthd.probes.http import http_exchanges
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason
from lvs_healthd.probing.transcript import tried
from tests.probes.http_talk import check, found
from tests.probes.nginx import nginx
from tests.probes.peers import stream_server

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def websocket(**keys: object) -> HttpCheck:
    return check(websocket=True, status=((101, 101),), path="/ws", timeout=Seconds(10.0), **keys)


def asked(**keys: object) -> tuple[str, list[str]]:
    """Return the key and the lines of a request."""
    request = http_exchanges(websocket(**keys))().connected()
    assert isinstance(request, bytes)
    head, end, body = request.decode().partition("\r\n\r\n")
    assert (end, body) == ("\r\n\r\n", "")
    lines = head.split("\r\n")
    [key] = [line.removeprefix("Sec-WebSocket-Key: ") for line in lines if line.startswith("Sec-WebSocket-Key")]
    return key, lines


def accept(key: str) -> str:
    return base64.b64encode(hashlib.sha1((key + GUID).encode(), usedforsecurity=False).digest()).decode()


def test_accept_of_the_example_in_the_rfc() -> None:
    assert accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


GOOD = {"Upgrade": "WebSocket", "Connection": "keep-alive, UPGRADE"}


def told(
    headers: Mapping[str, str | None], status: int = 101, asked_with: HttpCheck | None = None
) -> Outcome | Farewell:
    """Return the step after an answer. A header that is None is left out; `{}` stands for the right accept key."""
    exchange = http_exchanges(asked_with or websocket())()
    request = exchange.connected()
    assert isinstance(request, bytes)
    key = re.search(r"Sec-WebSocket-Key: (\S+)", request.decode())
    assert key
    given: dict[str, str | None] = {**GOOD, "Sec-WebSocket-Accept": "{}", **headers}
    lines = [f"{name}: {value.format(accept(key[1]))}" for name, value in given.items() if value is not None]
    step = exchange.received("\r\n".join([f"HTTP/1.1 {status} X", *lines, "", ""]).encode())
    assert isinstance(step, Outcome | Farewell)
    return step


def test_request_asks_for_an_upgrade_with_a_new_key_each_time() -> None:
    key, lines = asked(headers=(("Origin", "https://web.example"),))
    assert lines[0] == "GET /ws HTTP/1.1"
    expected = {"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Origin: https://web.example"}
    assert expected <= {*lines}
    assert len(base64.b64decode(key, validate=True)) == 16
    check_of_many = http_exchanges(websocket())
    assert len({check_of_many().connected() for _ in range(20)}) == 20


def test_answer_101_with_the_right_key_passes_and_the_probe_leaves_with_a_close_frame() -> None:
    step = told({})
    assert isinstance(step, Farewell)
    assert (step.outcome.kind, step.outcome.detail) == (OutcomeKind.UP, "status 101")
    assert step.peer_may_close
    head, mask, masked = step.data[:2], step.data[2:6], step.data[6:]
    assert head == b"\x88\x82"  # the final fragment of a close frame; masked, with 2 bytes
    assert bytes(one ^ other for one, other in zip(masked, mask, strict=False)) == (1000).to_bytes(2, "big")


@pytest.mark.parametrize("status", [200, 204, 301, 400, 426, 503])
def test_other_status_is_down(status: int) -> None:
    step = told({}, status)
    assert isinstance(step, Outcome)
    assert (step.reason, step.detail) == (Reason.BAD_STATUS, f"status {status}, expected 101")


NO_WEBSOCKET = "status 101, but no WebSocket that clients accept: "


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"Sec-WebSocket-Accept": None}, "there is no Sec-WebSocket-Accept"),
        (
            {"Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
            'Sec-WebSocket-Accept "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" does not belong to the key of this probe',
        ),
        ({"Upgrade": None}, "there is no Upgrade: websocket"),
        ({"Upgrade": "h2c"}, "there is no Upgrade: websocket"),
        ({"Connection": None}, "there is no Connection: Upgrade"),
        ({"Connection": "keep-alive"}, "there is no Connection: Upgrade"),
        ({"Sec-WebSocket-Protocol": "mqtt"}, 'it chose the subprotocol "mqtt", which was not offered'),
        ({"Sec-WebSocket-Extensions": "x"}, "it chose an extension, and none was offered"),
    ],
)
def test_answer_101_that_clients_refuse_is_down(headers: dict[str, str | None], why: str) -> None:
    step = told(headers)
    assert isinstance(step, Outcome)
    assert (step.reason, step.detail) == (Reason.BAD_ANSWER, NO_WEBSOCKET + why)


def test_subprotocol_that_was_offered_may_be_chosen_and_can_be_demanded() -> None:
    offered = (("Sec-WebSocket-Protocol", "chat, mqtt"),)
    chosen = {"Sec-WebSocket-Protocol": "mqtt"}
    assert isinstance(told(chosen, asked_with=websocket(headers=offered)), Farewell)
    demanding = websocket(headers=offered, expect_headers=(("Sec-WebSocket-Protocol", "mqtt"),))
    assert isinstance(told(chosen, asked_with=demanding), Farewell)
    step = told({}, asked_with=demanding)
    assert isinstance(step, Outcome)
    assert step.detail == 'header Sec-WebSocket-Protocol is missing, expected "mqtt"'


# ---- Real servers ----------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def application(closed: list[int | None], tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve a WebSocket at /ws and a page at /, and yield the port. `closed` gets the status that ends each."""

    async def talk(request: web.Request) -> web.WebSocketResponse:
        answer = web.WebSocketResponse(protocols=("mqtt",))
        await answer.prepare(request)
        await answer.send_str("hello")
        message = await answer.receive()
        closed.append(message.data if message.type is WSMsgType.CLOSE else None)
        return answer

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="a page")

    served = web.Application()
    served.router.add_get("/ws", talk)
    served.router.add_get("/", page)
    runner = web.AppRunner(served)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def settled(closed: list[int | None], count: int) -> list[int | None]:
    """Return what has been closed, once there are as many."""
    async with asyncio.timeout(20):
        while len(closed) < count:
            await asyncio.sleep(0.01)
    return closed


async def test_server_sees_the_connection_closed_in_good_order() -> None:
    closed: list[int | None] = []
    async with application(closed) as port:
        assert await found(websocket(port=port)) == ["status 101"]
        assert await settled(closed, 1) == [WSCloseCode.OK]


async def test_page_in_the_place_of_a_websocket_is_down() -> None:
    async with application([]) as port:
        page = check(websocket=True, status=((101, 101),), path="/", port=port, timeout=Seconds(10.0))
        assert await found(page) == ["status 200, expected 101"]


async def test_websocket_over_tls() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("web.example").configure_cert(context)
    closed: list[int | None] = []
    with authority.cert_pem.tempfile() as ca:
        async with application(closed, context) as port:
            keys = {"name": "x", "address": "127.0.0.1", "port": port, "host": "web.example"}
            secured = HttpsCheck(
                **keys,  # type: ignore[arg-type]
                tls=Tls(sni="web.example", ca=ca),
                websocket=True,
                status=((101, 101),),
                path="/ws",
                timeout=Seconds(10.0),
            )
            assert await found(secured) == ["status 101"]
            assert await settled(closed, 1) == [WSCloseCode.OK]


PROXY = "location /ws {{ proxy_pass http://127.0.0.1:{port}; proxy_http_version 1.1; {headers} }}"
HEADERS = 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'


async def test_nginx_that_passes_a_websocket_on_passes(tmp_path: Path) -> None:
    closed: list[int | None] = []
    async with application(closed) as behind:
        with nginx(tmp_path, PROXY.format(port=behind, headers=HEADERS)) as port:
            assert await found(websocket(port=port)) == ["status 101"]
            assert await settled(closed, 1) == [WSCloseCode.OK]


async def test_nginx_that_forgets_to_pass_the_upgrade_on_is_down(tmp_path: Path) -> None:
    async with application([]) as behind:
        with nginx(tmp_path, PROXY.format(port=behind, headers="")) as port:
            assert await found(websocket(port=port)) == ["status 400, expected 101"]


async def test_server_that_answers_with_a_key_it_has_kept_is_down() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        lines = ["HTTP/1.1 101 X", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept('x')}"]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        await reader.read()

    async with stream_server(behave) as port:
        [detail] = await found(websocket(port=port))
    assert detail.endswith("does not belong to the key of this probe")


async def test_trial_shows_the_handshake() -> None:
    async with application([]) as port:
        trial = await asyncio.to_thread(tried, websocket(port=port))
    said = [entry.what for entry in trial.entries]
    assert trial.result.outcome.kind is OutcomeKind.UP
    assert [what.split()[0] for what in said] == ["connected", "sent", "received", "sent"]
