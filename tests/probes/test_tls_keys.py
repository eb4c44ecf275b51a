"""Client certificates, versions of TLS, ALPN and `expires_fail`, against real TLS servers on loopback."""

import asyncio
import contextlib
import datetime as dt
import ssl
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import AnyCheck, Carrier, ConversationStep, DnsCheck, HttpsCheck, TcpCheck, Tls
from lvs_healthd.config.errors import ConfigError
from lvs_healthd.probes.http import http_exchanges
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down, up
from lvs_healthd.probes.targets import read_certificates, targets
from lvs_healthd.probes.tls import TlsExchanges
from lvs_healthd.probes.tls_trust import trust
from lvs_healthd.probing.once import run_once
from tests.configs import server, service
from tests.probes.client_files import client_files
from tests.probes.nginx import nginx
from tests.probes.peers import answering, free_port, stream_server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
WANTED = "the server wants a certificate from its clients: set client_cert and client_key"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def context(authority: trustme.CA, version: ssl.TLSVersion | None = None, *, asks: bool = False) -> ssl.SSLContext:
    """Return the context of a server that speaks one version of TLS and may ask for certificates of the authority."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(made)
    if version is not None:
        made.minimum_version = made.maximum_version = version
    if asks:
        made.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(made)
    return made


def https(port: int, **tls: object) -> HttpsCheck:
    keys = Tls(**tls)  # type: ignore[arg-type]
    return HttpsCheck(name="https", address="127.0.0.1", port=port, host="test", timeout=Seconds(2.0), tls=keys)


async def outcome(check: AnyCheck) -> Outcome:
    return next(iter((await run_once([check])).values())).outcome


@contextlib.asynccontextmanager
async def openssl_server(folder: Path, authority: trustme.CA, *options: str) -> AsyncIterator[int]:
    """Run `openssl s_server`, which answers HTTP, with these options. Yield its port."""
    chain = folder / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(chain))
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(chain), "-www", *options),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            while b"ACCEPT" not in await process.stdout.readline():
                pass
        yield port
    finally:
        process.terminate()
        await process.communicate()


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
async def test_client_certificate_is_presented(
    authority: trustme.CA, ca: str, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    cert, key = client_files(tmp_path, authority)
    both = tmp_path / "both.pem"
    both.write_bytes(Path(key).read_bytes() + Path(cert).read_bytes())
    async with stream_server(answering(OK), tls=context(authority, version, asks=True)) as port:
        found = await outcome(https(port, ca=ca, client_cert=cert, client_key=key))
        in_one = await outcome(https(port, ca=ca, client_cert=str(both)))
    assert (found.kind, found.detail) == (in_one.kind, in_one.detail) == (OutcomeKind.UP, "status 200")


def asking(ca: str, version: str) -> tuple[str, ...]:
    """Return the options of an `openssl s_server` that demands a certificate of an authority. It sends alerts."""
    return "-Verify", "1", "-verify_return_error", "-CAfile", ca, version


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("-tls1_2", f"TLS failed: sslv3 alert handshake failure; perhaps {WANTED}"),
        ("-tls1_3", f"TLS failed: tlsv13 alert certificate required; {WANTED}"),
    ],
)
async def test_missing_client_certificate_is_named_also_when_the_alert_comes_after_the_handshake(
    authority: trustme.CA, ca: str, tmp_path: Path, version: str, words: str
) -> None:
    async with openssl_server(tmp_path, authority, *asking(ca, version)) as port:
        found = await outcome(https(port, ca=ca, sni="127.0.0.1"))
    assert (found.reason, found.detail) == (Reason.TLS, words)
    assert (found.certificate_end is not None) is (version == "-tls1_3")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_client_certificate_that_the_server_refuses_is_named(
    authority: trustme.CA, ca: str, tmp_path: Path, version: str
) -> None:
    cert, key = client_files(tmp_path, trustme.CA())
    async with openssl_server(tmp_path, authority, *asking(ca, version)) as port:
        found = await outcome(https(port, ca=ca, client_cert=cert, client_key=key))
    assert found.kind is OutcomeKind.DOWN
    assert found.detail == f"TLS failed: tlsv1 alert unknown ca; the server refuses client_cert = {cert}"


async def test_refusal_in_tls_1_3_is_noticed_by_every_check_that_expects_something(
    authority: trustme.CA, ca: str, tmp_path: Path
) -> None:
    cert, key = client_files(tmp_path, trustme.CA())
    steps = (ConversationStep(starttls=True), ConversationStep(expect=b"220 "))
    keys = {"timeout": Seconds(2.0), "tls": Tls(ca=ca, client_cert=cert, client_key=key)}
    async with openssl_server(tmp_path, authority, *asking(ca, "-tls1_3")) as port:
        tcp = TcpCheck(name="tcp", address="127.0.0.1", port=port, steps=steps, **keys)  # type: ignore[arg-type]
        over = Carrier.TLS
        dns = DnsCheck(name="dns", address="127.0.0.1", port=port, query=".", over=over, **keys)  # type: ignore[arg-type]
        found = [(await outcome(check)).detail for check in (tcp, dns)]
    words = f"TLS failed: tlsv1 alert unknown ca; the server refuses client_cert = {cert}"
    assert [each.removeprefix("step 2 of 2: ") for each in found] == [words, words]


async def test_nginx_that_wants_a_client_certificate(authority: trustme.CA, ca: str, tmp_path: Path) -> None:
    cert, key = client_files(tmp_path, authority)
    other_cert, other_key = client_files(tmp_path, trustme.CA(), "other")
    chain = tmp_path / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(chain))
    asks = f"ssl_certificate {chain}; ssl_certificate_key {chain}; ssl_client_certificate {ca}; ssl_verify_client on;"
    with nginx(tmp_path, f"{asks} location / {{ return 204; }}", listen="ssl") as port:
        found = await outcome(https(port, ca=ca, client_cert=cert, client_key=key))
        without = await outcome(https(port, ca=ca))
        refused = await outcome(https(port, ca=ca, client_cert=other_cert, client_key=other_key))
    assert (found.kind, found.detail) == (OutcomeKind.UP, "status 204")
    # nginx takes any certificate in the handshake, and refuses it by an answer.
    assert without.detail == refused.detail == "status 400, expected 200-299"


def test_pair_that_does_not_belong_together_any_more_rejects_a_reload(
    authority: trustme.CA, ca: str, tmp_path: Path
) -> None:
    cert, key = client_files(tmp_path, authority)
    check = https(1, ca=ca, client_cert=cert, client_key=key)
    services = [service(server("198.51.100.11", checks=(check,)))]
    ready = targets(services)
    read_certificates(services)()
    before = trust(check).context
    fresh_cert, fresh_key = client_files(tmp_path, authority, "fresh")
    Path(cert).write_bytes(Path(fresh_cert).read_bytes())
    with pytest.raises(ConfigError) as caught:
        read_certificates(services)
    what = f"{key}, which checks use for TLS, cannot be used"
    assert caught.value.errors == (f"{what}: the private key in it does not belong to the first certificate in {cert}",)
    assert trust(check).context is before
    Path(key).write_bytes(Path(fresh_key).read_bytes())
    read_certificates(services)()
    assert trust(check).context is not before
    assert len(ready) == 1


async def test_pair_that_was_renewed_is_presented_after_a_reload(
    authority: trustme.CA, ca: str, tmp_path: Path
) -> None:
    cert, key = client_files(tmp_path, trustme.CA())
    async with stream_server(answering(OK), tls=context(authority, asks=True)) as port:
        check = https(port, ca=ca, client_cert=cert, client_key=key)
        services = [service(server("198.51.100.11", checks=(check,)))]
        ready = targets(services)  # which keeps what was read
        assert (await outcome(check)).kind is OutcomeKind.DOWN
        client_files(tmp_path, authority)
        assert (await outcome(check)).kind is OutcomeKind.DOWN
        read_certificates(services)()
        assert (await outcome(check)).kind is OutcomeKind.UP
    assert len(ready) == 1


OLD = {"1.0": "-tls1", "1.1": "-tls1_1"}


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_old_server_needs_min_tls(authority: trustme.CA, ca: str, tmp_path: Path, version: str) -> None:
    async with openssl_server(tmp_path, authority, OLD[version], "-cipher", "DEFAULT:@SECLEVEL=0") as port:
        refused = await outcome(https(port, ca=ca))
        found = await outcome(https(port, ca=ca, min_tls=version))
        untrusted = await outcome(https(port, min_tls=version))
    assert refused.detail == "TLS failed: tlsv1 alert protocol version; the check accepts TLS 1.2 and later (min_tls)"
    assert (found.kind, found.detail) == (OutcomeKind.UP, "status 200")
    assert "certificate refused" in untrusted.detail


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_old_version_lowers_the_security_level_of_its_check_alone_and_warns_of_nothing(version: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        old, usual, newest = (trust(https(1, verify=False, min_tls=each)) for each in (version, "1.2", "1.3"))
    assert (old.context.security_level, usual.context.security_level) == (
        0,
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).security_level,
    )
    names = [[cipher["name"] for cipher in each.context.get_ciphers()] for each in (old, usual)]
    assert names[0] == names[1]
    assert newest.context.minimum_version is TLS_1_3
    assert usual.context.minimum_version is TLS_1_2


async def test_server_that_is_older_than_min_tls_is_named(authority: trustme.CA, ca: str, tmp_path: Path) -> None:
    async with openssl_server(tmp_path, authority, "-tls1_2") as port:
        found = await outcome(https(port, ca=ca, min_tls="1.3"))
    assert found.detail == "TLS failed: tlsv1 alert protocol version; the check accepts TLS 1.3 and later (min_tls)"


@pytest.mark.parametrize(
    ("speaks", "alpn", "detail"),
    [
        (["http/1.1"], None, "status 200"),
        ([], None, "status 200"),
        (["http/1.1"], (), "status 200"),
        (["http/1.1"], ("http/1.1",), "status 200"),
        (["http/1.0"], ("http/1.1", "http/1.0"), "status 200"),
        (
            [],
            ("http/1.1", "http/1.0"),
            'the server selects no protocol, although it was offered "http/1.1", "http/1.0" (ALPN)',
        ),
    ],
)
async def test_server_must_select_a_protocol_only_if_alpn_is_set(
    authority: trustme.CA, ca: str, speaks: list[str], alpn: tuple[str, ...] | None, detail: str
) -> None:
    made = context(authority)
    made.set_alpn_protocols(speaks)
    async with stream_server(answering(OK), tls=made) as port:
        found = await outcome(https(port, ca=ca, alpn=alpn))
    assert found.detail == detail


async def test_protocols_are_offered_as_configured(authority: trustme.CA, ca: str) -> None:
    selected: list[str | None] = []

    async def notes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        selected.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await answering(OK)(reader, writer)

    made = context(authority)
    made.set_alpn_protocols(["other", "http/1.1"])
    async with stream_server(notes, tls=made) as port:
        for alpn in (None, (), ("http/1.1",), ("http/1.1", "other")):
            await outcome(https(port, ca=ca, alpn=alpn))
    assert selected == ["http/1.1", None, "http/1.1", "other"]


async def test_server_that_refuses_all_protocols_is_named(authority: trustme.CA, ca: str, tmp_path: Path) -> None:
    async with openssl_server(tmp_path, authority, "-alpn", "foo") as port:
        found = await outcome(https(port, ca=ca, alpn=("http/1.1",)))
    assert found.reason is Reason.TLS
    assert found.detail.endswith('the server speaks none of those it was offered: "http/1.1" (alpn)')


DAY = 86400.0


def test_pass_is_a_failure_within_expires_fail_of_the_end_and_the_same_object_each_time() -> None:
    now = 1_000_000.0
    check = https(1, verify=False, expires_fail=Seconds(7 * DAY))
    exchanges = TlsExchanges(check, http_exchanges(check), wall=lambda: now)
    passed, failed, end = up("status 200"), down(Reason.BAD_STATUS, "status 503"), now + 8 * DAY
    assert exchanges.with_end(passed, end).kind is OutcomeKind.UP
    now += 2 * DAY
    found = exchanges.with_end(passed, end)
    assert (found.kind, found.reason, found.certificate_end) == (OutcomeKind.DOWN, Reason.EXPIRES_SOON, end)
    assert found.detail == "the certificate ends on 1970-01-20 13:46 UTC, which is within expires_fail = 7d"
    now += DAY
    assert exchanges.with_end(passed, end) is found
    assert exchanges.with_end(failed, end).detail == "status 503"
    assert exchanges.with_end(passed, None) is passed


@pytest.mark.parametrize(("fail_days", "kind"), [(0, OutcomeKind.UP), (2, OutcomeKind.UP), (4, OutcomeKind.DOWN)])
@pytest.mark.parametrize("verify", [True, False])
async def test_certificate_that_ends_soon_fails_only_with_expires_fail(
    authority: trustme.CA, ca: str, fail_days: int, kind: OutcomeKind, verify: bool
) -> None:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    end = dt.datetime.now(dt.UTC) + dt.timedelta(days=3)
    authority.issue_cert("127.0.0.1", not_after=end).configure_cert(made)
    keys = {"ca": ca} if verify else {"verify": False}
    async with stream_server(answering(OK), tls=made) as port:
        found = await outcome(https(port, expires_fail=Seconds(fail_days * DAY), **keys))
    assert (found.kind, found.certificate_end) == (kind, int(end.timestamp()))
