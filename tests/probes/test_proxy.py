"""Connections that begin with the header of the PROXY protocol."""

from pathlib import Path

import pytest
import trustme

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import HttpCheck, HttpsCheck, TcpCheck, Tls
from lvs_healthd.probes.exchange import Exchange, Farewell
from lvs_healthd.probes.outcome import OutcomeKind, Reason, down
from lvs_healthd.probes.proxy import HEADERS
from lvs_healthd.probes.targets import target
from tests.probes.http_talk import PASSED, check, found, outcomes
from tests.probes.nginx import nginx

V2 = bytes.fromhex("0d0a0d0a 00 0d0a 51554954 0a  20 00 0000")
"""Section 2.2 of the protocol: 12 bytes of signature, version 2 with LOCAL, AF_UNSPEC, and no address."""


def begun(checked: HttpCheck | TcpCheck) -> Exchange:
    return target(checked).begin()


def tcp(**keys: object) -> TcpCheck:
    fields = {"name": "tcp", "address": "127.0.0.1", "port": 80, **keys}
    return TcpCheck(**fields)  # type: ignore[arg-type]


def test_headers_are_those_of_the_protocol() -> None:
    assert HEADERS == {1: b"PROXY UNKNOWN\r\n", 2: V2}


@pytest.mark.parametrize("version", [1, 2])
def test_request_follows_the_header(version: int) -> None:
    plain = begun(check()).connected()
    assert isinstance(plain, bytes)
    exchange = begun(check(proxy_protocol=version))
    assert exchange.connected() == HEADERS[version] + plain
    assert exchange.received(b"HTTP/1.1 200 OK\r\n\r\n") == begun(check()).received(b"HTTP/1.1 200 OK\r\n\r\n")


def test_tls_follows_the_header() -> None:
    https = HttpsCheck(name="https", address="127.0.0.1", port=1, host="x", tls=Tls(verify=False), proxy_protocol=1)
    step = begun(https).connected()
    assert isinstance(step, bytes)
    assert step.startswith(b"PROXY UNKNOWN\r\n\x16\x03")


def test_tcp_check_sends_the_header_before_anything_else() -> None:
    assert begun(tcp(proxy_protocol=1, expect=b"220")).connected() == HEADERS[1]
    assert begun(tcp(proxy_protocol=1, send=b"PING", expect=b"x")).connected() == HEADERS[1] + b"PING"
    only_sends = begun(tcp(proxy_protocol=1, send=b"PING")).connected()
    assert isinstance(only_sends, Farewell)
    assert (only_sends.data, only_sends.peer_may_close) == (HEADERS[1] + b"PING", True)


def test_tcp_check_that_only_connects_ends_in_good_order_after_the_header() -> None:
    step = begun(tcp(proxy_protocol=2)).connected()
    assert isinstance(step, Farewell)
    assert (step.data, step.outcome.kind, step.peer_may_close) == (V2, OutcomeKind.UP, True)


def test_every_event_reaches_the_conversation() -> None:
    plain, wrapped = begun(check()), begun(check(proxy_protocol=1))
    assert wrapped.closed() == plain.closed()
    assert wrapped.expired("1s") == plain.expired("1s")
    reset = down(Reason.RESET, "connection reset")
    assert wrapped.failed(reset) == plain.failed(reset)
    wrapped.end()


@pytest.mark.parametrize("version", [1, 2])
async def test_real_server_that_wants_the_header(tmp_path: Path, version: int) -> None:
    with nginx(tmp_path, "location / { return 200 ok; }", listen="proxy_protocol") as port:
        http = check(port=port, proxy_protocol=version, body="ok")
        stream = tcp(port=port, proxy_protocol=version, send=b"GET / HTTP/1.0\r\n\r\n", expect=b"ok")
        *passed, plain = await outcomes(http, stream, check(port=port))
    assert [each.detail for each in passed] == [PASSED, "answered as expected"]
    assert plain.kind is OutcomeKind.DOWN


@pytest.mark.parametrize("version", [1, 2])
async def test_real_server_that_wants_the_header_before_tls(tmp_path: Path, version: int) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    keys = f"ssl_certificate {tmp_path}/server.pem; ssl_certificate_key {tmp_path}/server.pem;"
    with nginx(tmp_path, f"{keys} location / {{ return 204; }}", listen="ssl proxy_protocol") as port:
        https = HttpsCheck(
            name="https",
            timeout=Seconds(10.0),
            address="127.0.0.1",
            port=port,
            host="127.0.0.1",
            tls=Tls(ca=str(tmp_path / "ca.pem")),
            proxy_protocol=version,
        )
        assert await found(https) == ["status 204"]


async def test_real_server_that_wants_no_header_says_so(tmp_path: Path) -> None:
    with nginx(tmp_path, "location / { return 204; }") as port:
        assert await found(check(port=port, proxy_protocol=1)) == ["status 400, expected 200-299"]
