"""https checks against a real TLS server on loopback: what is verified, and how a failure is worded."""

import datetime as dt
import ssl
from pathlib import Path

import pytest
import trustme

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.model import HttpsCheck, Seconds
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason
from lvs_healthd.probes.targets import read_certificates, targets
from lvs_healthd.probes.tls import trust
from lvs_healthd.probing.once import run_once
from tests.configs import server, service
from tests.probes.peers import answering, silent, stream_server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def context(authority: trustme.CA, *names: str, not_after: dt.datetime | None = None) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, not_after=not_after).configure_cert(made)
    return made


async def outcome(port: int, **keys: object) -> Outcome:
    check = HttpsCheck(name="https", address="127.0.0.1", port=port, host="test", timeout=Seconds(2.0), **keys)  # type: ignore[arg-type]
    return next(iter((await run_once([check])).values())).outcome


async def test_trusted_certificate_with_the_right_name_is_up(authority: trustme.CA, ca_file: str) -> None:
    async with stream_server(answering(OK), tls=context(authority, "web.example")) as port:
        found = await outcome(port, sni="web.example", ca=ca_file, body="ok")
    assert (found.kind, found.detail) == (OutcomeKind.UP, "status 200, body as expected")


async def test_address_is_verified_when_there_is_no_name(authority: trustme.CA, ca_file: str) -> None:
    async with stream_server(answering(OK), tls=context(authority, "127.0.0.1")) as port:
        assert (await outcome(port, ca=ca_file)).kind is OutcomeKind.UP


async def test_server_name_is_asked_for(authority: trustme.CA, ca_file: str) -> None:
    asked: list[str | None] = []
    server = context(authority, "web.example")
    server.sni_callback = lambda _object, name, _context: asked.append(name)
    async with stream_server(answering(OK), tls=server) as port:
        await outcome(port, sni="web.example", ca=ca_file)
    assert asked == ["web.example"]


async def test_wrong_name_is_down(authority: trustme.CA, ca_file: str) -> None:
    async with stream_server(answering(OK), tls=context(authority, "other.example")) as port:
        found = await outcome(port, sni="web.example", ca=ca_file)
    assert (found.kind, found.reason) == (OutcomeKind.DOWN, Reason.TLS)
    assert found.detail.startswith("certificate refused: Hostname mismatch")


async def test_expired_certificate_is_down(authority: trustme.CA, ca_file: str) -> None:
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    async with stream_server(answering(OK), tls=context(authority, "web.example", not_after=past)) as port:
        found = await outcome(port, sni="web.example", ca=ca_file)
    assert (found.reason, found.detail) == (Reason.TLS, "certificate refused: certificate has expired")


async def test_unknown_authority_is_down_unless_verification_is_off(authority: trustme.CA) -> None:
    async with stream_server(answering(OK), tls=context(authority, "web.example")) as port:
        found = await outcome(port, sni="web.example")
        assert found.reason is Reason.TLS
        assert "unable to get local issuer certificate" in found.detail
        assert (await outcome(port, sni="web.example", verify=False)).kind is OutcomeKind.UP


async def test_plain_http_server_is_named_as_such(ca_file: str) -> None:
    async with stream_server(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n", until=b"")) as port:
        found = await outcome(port, ca=ca_file)
    assert found.reason in (Reason.TLS, Reason.RESET)
    assert found.kind is OutcomeKind.DOWN


async def test_silent_server_is_down_at_the_total_deadline(ca_file: str) -> None:
    async with stream_server(silent) as port:
        check = HttpsCheck(name="https", address="127.0.0.1", port=port, timeout=Seconds(0.2), ca=ca_file)
        found = next(iter((await run_once([check])).values())).outcome
    assert (found.reason, found.detail) == (Reason.TIMEOUT, "connected, but no TLS answer in 200ms")


async def test_unreadable_ca_is_an_error_before_any_probe(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        await outcome(1, ca=str(tmp_path / "absent.pem"))


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), ("not a certificate", "no PEM certificate")])
async def test_ca_that_went_bad_is_named_and_the_one_read_before_goes_on(
    authority: trustme.CA, tmp_path: Path, content: str | None, why: str
) -> None:
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    check = HttpsCheck(name="https", address="127.0.0.1", port=1, host="test", ca=str(ca))
    services = [service(server("198.51.100.11", checks=(check,)))]
    ready = targets(services)
    before = trust(check).context
    put_into_force = read_certificates(services)
    assert trust(check).context is before
    put_into_force()
    again = trust(check).context
    assert again is not before
    if content is None:
        ca.unlink()
    else:
        ca.write_text(content)
    with pytest.raises(ConfigError, match=f"ca.pem.*{why}"):
        read_certificates(services)
    assert trust(check).context is again
    assert len(ready) == 1
