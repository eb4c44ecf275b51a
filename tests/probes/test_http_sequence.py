"""http checks with several requests: their order, their connections, and what is said about the one that fails."""

import asyncio
from pathlib import Path

import msgspec
import pytest
import trustme

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import AnyCheck, HttpCheck, HttpsCheck
from lvs_healthd.probes.exchange import Exchange, Reconnect, Step
from lvs_healthd.probes.http import request_bytes
from lvs_healthd.probes.http_sequence import request_exchanges
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down, unsure
from lvs_healthd.probing.transcript import tried
from tests.config.reading import checks_of
from tests.pacing import EXTENDED
from tests.probes.http_talk import answer, check, chunked, found, outcomes, pieces_of
from tests.probes.nginx import nginx
from tests.probes.peers import free_port, stream_server

PASSED = "all requests passed"
RESET = down(Reason.RESET, "connection reset")


def asking(*paths: str, **keys: object) -> HttpCheck:
    return check(requests=tuple(check(path=path, **keys) for path in paths))


def begun(asked: HttpCheck) -> Exchange:
    exchange = request_exchanges(asked)()
    assert exchange.connected() == request_bytes(asked.requests[0], keeps_connection=True)
    return exchange


def last(asked: HttpCheck) -> bytes:
    return request_bytes(asked.requests[-1])


def detail(step: Step) -> str:
    assert isinstance(step, Outcome)
    return step.detail


def test_all_requests_but_the_last_ask_to_keep_the_connection() -> None:
    asked = asking("/a", "/b")
    assert b"\r\nConnection: keep-alive\r\n" in request_bytes(asked.requests[0], keeps_connection=True)
    assert b"\r\nConnection: close\r\n" in last(asked)


@pytest.mark.parametrize("keys", [{}, {"body": "ok"}, {"absent": "bad"}])
@pytest.mark.parametrize("first", [answer(b"ok"), chunked(b"ok"), answer(b"ok").replace(b"200 OK", b"204 N")])
@pytest.mark.parametrize("size", [1, 4096])
def test_next_request_follows_the_end_of_an_answer_and_not_before(
    keys: dict[str, object], first: bytes, size: int
) -> None:
    if b"204" in first:  # which has no body, whatever it says
        first, keys = first.removesuffix(b"ok"), {}
    asked = asking("/a", "/b", **keys)
    exchange = begun(asked)
    steps = [exchange.received(piece) for piece in pieces_of(first, size)]
    assert steps == [None] * (len(steps) - 1) + [last(asked)]
    assert detail(exchange.received(answer(b"ok"))) == PASSED


def test_answer_to_head_ends_with_its_headers() -> None:
    asked = asking("/a", "/b", method="HEAD")
    assert begun(asked).received(answer(b"ok").removesuffix(b"ok")) == last(asked)


def test_first_request_that_fails_decides_and_is_named() -> None:
    asked = asking("/a?token=hunter2", "/b", "/c", body="ok")
    assert detail(begun(asked).received(b"HTTP/1.1 503 No\r\n\r\n")) == (
        'request 1 of 3, "/a?token=(hidden)": status 503, expected 200-299'
    )
    exchange = begun(asked)
    exchange.received(answer(b"ok"))
    assert detail(exchange.received(answer(b"no"))) == ('request 2 of 3, "/b": expected text not in the body: "no"')


def test_each_request_has_its_own_conditions() -> None:
    asked = check(requests=(check(status=((404, 404),)), check(expect_headers=(("X-Up", "1"),))))
    exchange = begun(asked)
    assert exchange.received(answer(b"").replace(b"200", b"404")) == last(asked)
    assert detail(exchange.received(answer(b""))) == ('request 2 of 2, "/": header X-Up is missing, expected "1"')


@pytest.mark.parametrize(
    "first",
    [
        answer(b"ok", "Connection: close"),
        b"HTTP/1.1 200 OK\r\n\r\nok",  # only the end of the connection ends it
        answer(b"ok") + b"HTTP/1.1 200 OK\r\n\r\n",  # an answer that nobody asked for
        answer(b"ok").replace(b": 2", b": 70000"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nx\n",
    ],
)
def test_connection_that_cannot_go_on_is_left_for_a_new_one(first: bytes) -> None:
    asked = asking("/a", "/b")
    exchange = begun(asked)
    padded = first + (b"x" * 66000 if b"70000" in first else b"")
    step = next(step for piece in pieces_of(padded, 30000) if (step := exchange.received(piece)) is not None)
    assert isinstance(step, Reconnect)
    assert step.exchange.connected() == last(asked)
    assert detail(step.exchange.received(answer(b"ok"))) == PASSED


@pytest.mark.parametrize("how", ["closed", "failed"])
def test_request_that_met_a_closed_connection_is_repeated_once(how: str) -> None:
    asked = asking("/a", "/b")

    def ends(exchange: Exchange) -> Outcome | Reconnect:
        return exchange.closed() if how == "closed" else exchange.failed(RESET)

    exchange = begun(asked)
    assert exchange.received(answer(b"ok")) == last(asked)
    step = ends(exchange)
    assert isinstance(step, Reconnect)
    assert step.exchange.connected() == last(asked)
    what = "connection closed without an answer" if how == "closed" else "connection reset"
    assert detail(ends(step.exchange)) == f'request 2 of 2, "/b": {what}'


def test_connection_that_ends_before_the_first_answer_is_a_failure() -> None:
    assert detail(begun(asking("/a", "/b")).closed()) == ('request 1 of 2, "/a": connection closed without an answer')
    assert detail(begun(asking("/a", "/b")).failed(RESET)) == 'request 1 of 2, "/a": connection reset'


@pytest.mark.parametrize("how", ["closed", "failed"])
def test_answer_that_has_passed_may_break_off(how: str) -> None:
    asked = asking("/a", "/b")
    exchange = begun(asked)
    assert exchange.received(answer(b"ok")[:-1]) is None
    step = exchange.closed() if how == "closed" else exchange.failed(RESET)
    assert isinstance(step, Reconnect)
    assert step.exchange.connected() == last(asked)


def test_own_fault_stays_unsure() -> None:
    ours = unsure(Reason.LOCAL_LIMIT, "no descriptors")
    exchange = begun(asking("/a", "/b"))
    assert exchange.failed(ours) is ours
    exchange.received(answer(b""))
    assert exchange.failed(ours) is ours


def test_time_that_is_up_names_the_request_and_what_is_missing() -> None:
    exchange = begun(asking("/a", "/b"))
    assert exchange.expired("1s").detail == 'request 1 of 2, "/a": connected, but no answer in 1s'
    half = answer(b"ok")[:-1]
    exchange.received(half)
    assert exchange.expired("1s").detail == (
        f'request 1 of 2, "/a": its answer is as expected, but incomplete after 1s ({len(half)} bytes)'
    )


def test_redirects_are_followed_in_each_request() -> None:
    asked = asking("/a", "/b", redirects=1)
    moved = b"HTTP/1.1 301 Moved\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"
    exchange = begun(asked)
    assert exchange.received(moved) == request_bytes(asked.requests[0], (), "/x", keeps_connection=True)
    assert exchange.received(answer(b"")) == last(asked)
    assert detail(exchange.received(answer(b""))) == PASSED


# ---- Real servers ----------------------------------------------------------------------------------------------------

PAGES = 'location /a { return 200 "alpha"; } location /b { return 200 "beta"; } location /c { return 503; }'
LOG = 'log_format connections "$connection $uri"; access_log access.log connections;'


def written(port: int, *requests: str, kind: str = "http", more: str = "") -> AnyCheck:
    """Load a check with these requests."""
    text = ", ".join(requests)
    (loaded,) = checks_of(
        f'[[service]]\naddress = "127.0.0.100:{port}"\nreal_server = ["127.0.0.1"]\n'
        f'check = {{ type = "{kind}", timeout = "20s", interval = "20s", host = "web.example", {more} '
        f"requests = [{text}] }}\n"
    )
    return loaded


ALL = ('{ path = "/a", body = "alpha" }', '{ path = "/b", body = "beta" }', '{ path = "/c", status = [503] }')


async def connections(folder: Path) -> list[tuple[str, str]]:
    """Return the connection and the path of every request that nginx has seen, once it has logged all of them."""
    async with asyncio.timeout(20):
        while len(lines := (folder / "access.log").read_text().splitlines()) < len(ALL):
            await asyncio.sleep(0.01)
    return [(connection, path) for connection, path in (line.split() for line in lines)]


async def test_nginx_gets_all_requests_over_one_connection(tmp_path: Path) -> None:
    with nginx(tmp_path, f"{PAGES} access_log {tmp_path}/access.log connections;", http=LOG) as port:
        assert await found(written(port, *ALL)) == [PASSED]
        seen = await connections(tmp_path)
    assert [path for _, path in seen] == ["/a", "/b", "/c"]
    assert len({connection for connection, _ in seen}) == 1


@pytest.mark.parametrize("directive", ["keepalive_timeout 0;", "keepalive_requests 1;"])
@pytest.mark.parametrize("kind", ["http", "https"])
async def test_nginx_that_closes_after_each_answer_gets_a_connection_for_each(
    directive: str, kind: str, tmp_path: Path
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("web.example")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "key.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    keys = f"ssl_certificate {tmp_path}/key.pem; ssl_certificate_key {tmp_path}/key.pem;" if kind == "https" else ""
    site = f"{keys} {PAGES} {directive} access_log {tmp_path}/access.log connections;"
    with nginx(tmp_path, site, http=LOG, listen="ssl proxy_protocol" if kind == "https" else "proxy_protocol") as port:
        ca = f'ca = "{tmp_path}/ca.pem",' if kind == "https" else ""
        (outcome,) = await outcomes(written(port, *ALL, kind=kind, more=f"proxy_protocol = 1, {ca}"))
        seen = await connections(tmp_path)
    assert outcome.detail == PASSED
    assert (outcome.certificate_end is not None) is (kind == "https")
    assert [path for _, path in seen] == ["/a", "/b", "/c"]
    assert len({connection for connection, _ in seen}) == 3


async def test_port_that_closes_in_between_is_said_of_the_next_request() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        server.close()
        await asyncio.sleep(0)
        writer.write(answer(b"", "Connection: close"))
        await reader.read()

    server = await asyncio.start_server(behave, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await found(written(port, '{ path = "/a" }', '{ path = "/b" }')) == [
        'request 2 of 2, "/b": connection refused'
    ]


async def test_all_requests_share_one_timeout() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.15)
        writer.write(answer(b"", "Connection: close"))
        await writer.drain()

    async with stream_server(behave) as port:
        loaded = written(port, *(f'{{ path = "/{number}" }}' for number in range(20)))
        (outcome,) = await outcomes(msgspec.structs.replace(loaded, timeout=Seconds(0.5)))
    assert outcome.reason is Reason.TIMEOUT
    assert outcome.detail.removesuffix(EXTENDED).endswith("connected, but no answer in 500ms")


async def test_many_probes_that_change_their_connections_all_end() -> None:
    """Closed sockets are used again while events of others are still waiting to be served."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(b"", "Connection: close"))
        await writer.drain()

    async with stream_server(behave) as port:
        paths = [[f'{{ path = "/{name}/{number}" }}' for number in range(4)] for name in range(60)]
        assert {*await found(*(written(port, *each) for each in paths))} == {PASSED}


async def test_trial_shows_every_request_and_connection() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(b"", "Connection: close"))
        await writer.drain()

    async with stream_server(behave) as port:
        trial = await asyncio.to_thread(tried, written(port, '{ path = "/a" }', '{ path = "/b?token=hunter2" }'))
    said = [entry.what for entry in trial.entries]
    assert trial.result.outcome.kind is OutcomeKind.UP
    assert [what.split()[0] for what in said] == ["connected", "sent", "received"] * 2
    assert "hunter2" not in "".join(said)


async def test_port_that_is_closed_is_no_fault_of_a_request() -> None:
    assert await found(written(free_port(), '{ path = "/a" }', '{ path = "/b" }')) == ["connection refused"]


def test_records_survive_the_way_to_a_worker() -> None:
    loaded = written(80, *ALL, kind="https", more="verify = false,")
    assert isinstance(loaded, HttpsCheck)
    decoded = msgspec.msgpack.decode(msgspec.msgpack.encode(loaded), type=AnyCheck)
    assert decoded == loaded
    assert hash(decoded) == hash(loaded)
