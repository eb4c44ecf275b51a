"""https checks against a real TLS server on loopback: what is verified, and how a failure is worded."""

import datetime as dt
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import HttpsCheck, Tls
from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.schema import TLS_FIELDS
from lvs_healthd.probes.http import http_exchanges
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down, up
from lvs_healthd.probes.targets import read_certificates, targets
from lvs_healthd.probes.tls import TlsExchanges
from lvs_healthd.probes.tls_trust import VERIFY_FLAGS, Trust, trust
from lvs_healthd.probing.once import run_once
from tests.configs import server, service
from tests.pacing import EXTENDED
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
    tls = Tls(**{key: keys.pop(key) for key in TLS_FIELDS if key in keys})  # type: ignore[arg-type]
    check = HttpsCheck(name="https", address="127.0.0.1", port=port, host="test", timeout=Seconds(2.0), tls=tls, **keys)  # type: ignore[arg-type]
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


@pytest.mark.parametrize("trusted", ["authority", "intermediate", "certificate"])
async def test_ca_may_be_the_authority_an_intermediate_or_the_certificate_itself(trusted: str, tmp_path: Path) -> None:
    root = trustme.CA()
    intermediate = root.create_child_ca()
    certificate = intermediate.issue_cert("web.example")
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(made)
    ca = tmp_path / "ca.pem"
    own = certificate.cert_chain_pems[0]
    {"authority": root.cert_pem, "intermediate": intermediate.cert_pem, "certificate": own}[trusted].write_to_path(
        str(ca)
    )
    async with stream_server(answering(OK), tls=made) as port:
        found = await outcome(port, sni="web.example", ca=str(ca))
    assert (found.kind, found.detail) == (OutcomeKind.UP, "status 200")


def plain_authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Make an authority as older tools make them: without key usage and key identifiers."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plain authority")])
    return plain_certificate(name, key, name, key, x509.BasicConstraints(ca=True, path_length=None)), key


def plain_certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).add_extension(extension, critical=False)
    builder = builder.not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
    return builder.sign(issuer_key, hashes.SHA256())


async def test_authority_without_key_identifiers_is_trusted_by_every_python(tmp_path: Path) -> None:
    """From Python 3.13 on the default refuses it, and no client does."""
    issuer, issuer_key = plain_authority()
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "web.example")])
    names = x509.SubjectAlternativeName([x509.DNSName("web.example")])
    certificate = plain_certificate(subject, key, issuer.subject, issuer_key, names)
    pem = serialization.Encoding.PEM
    chain, ca = tmp_path / "server.pem", tmp_path / "ca.pem"
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    chain.write_bytes(private + certificate.public_bytes(pem))
    ca.write_bytes(issuer.public_bytes(pem))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(chain)
    async with stream_server(answering(OK), tls=made) as port:
        found = await outcome(port, sni="web.example", ca=str(ca))
    assert (found.kind, found.detail) == (OutcomeKind.UP, "status 200")


@pytest.mark.parametrize("verify", [True, False])
def test_what_is_verified_does_not_depend_on_the_version_of_python(verify: bool, ca_file: str) -> None:
    made = Trust(Tls(ca=ca_file, verify=verify), ()).context
    assert made.check_hostname is verify
    assert made.verify_mode is (ssl.CERT_REQUIRED if verify else ssl.CERT_NONE)
    assert not made.verify_flags & ssl.VERIFY_X509_STRICT
    assert not verify or made.verify_flags == VERIFY_FLAGS


async def test_name_mismatch_without_a_name_says_where_to_put_one(authority: trustme.CA, ca_file: str) -> None:
    async with stream_server(answering(OK), tls=context(authority, "web.example")) as port:
        found = await outcome(port, ca=ca_file)
        named = await outcome(port, ca=ca_file, sni="other.example")
    assert found.detail == (
        "certificate refused: IP address mismatch, certificate is not valid for '127.0.0.1'; "
        "set host or sni to the name that clients ask for"
    )
    assert "set host" not in named.detail


@pytest.mark.parametrize(
    ("alert", "words"), [(112, "unrecognized name"), (40, "handshake failure"), (80, "internal error")]
)
async def test_server_that_wants_a_name_and_gets_none_says_where_to_put_one(
    alert: int, words: str, ca_file: str
) -> None:
    fatal = bytes((0x15, 3, 3, 0, 2, 2, alert))  # RFC 8446, sections 5.1 and 6
    async with stream_server(answering(fatal, until=b"")) as port:
        found = await outcome(port, ca=ca_file)
        named = await outcome(port, ca=ca_file, sni="web.example")
    assert found.reason is Reason.TLS
    assert found.detail.endswith(f"{words}; perhaps because no server name was asked for: set host or sni")
    wants = "; perhaps the server wants a certificate from its clients: set client_cert and client_key"
    assert named.detail.endswith(words + (wants if alert == 40 else ""))


async def test_unknown_authority_says_that_ca_takes_it(authority: trustme.CA, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    async with stream_server(answering(OK), tls=context(authority, "web.example")) as port:
        by_system = await outcome(port, sni="web.example")
        by_ca = await outcome(port, sni="web.example", ca=str(other))
    assert by_system.detail.endswith("; if clients trust it, set ca to a file with the certificate of its issuer")
    assert by_ca.detail.endswith(f"; neither it nor its issuer is in ca = {other}")


@pytest.mark.parametrize(
    ("days", "reason", "words"),
    [((-2, -1), Reason.EXPIRED, "has expired"), ((1, 2), Reason.NOT_YET_VALID, "is not yet valid")],
)
async def test_certificate_out_of_date_is_down_and_says_so(
    authority: trustme.CA, ca_file: str, days: tuple[int, int], reason: Reason, words: str
) -> None:
    begin, end = (dt.datetime.now(dt.UTC) + dt.timedelta(days=each) for each in days)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("web.example", not_before=begin, not_after=end).configure_cert(made)
    async with stream_server(answering(OK), tls=made) as port:
        found = await outcome(port, sni="web.example", ca=ca_file)
    assert (found.kind, found.reason) == (OutcomeKind.DOWN, reason)
    assert found.detail == f"certificate refused: certificate {words}"


async def test_unknown_authority_is_down_unless_verification_is_off(authority: trustme.CA) -> None:
    async with stream_server(answering(OK), tls=context(authority, "web.example")) as port:
        found = await outcome(port, sni="web.example")
        assert found.reason is Reason.TLS
        assert "unable to get local issuer certificate" in found.detail
        assert (await outcome(port, sni="web.example", verify=False)).kind is OutcomeKind.UP


@pytest.mark.parametrize("verify", [True, False])
async def test_outcome_says_when_the_certificate_ends_also_unverified_and_when_the_probe_fails(
    authority: trustme.CA, ca_file: str, verify: bool
) -> None:
    end = dt.datetime(2049, 12, 31, 1, 2, 3, tzinfo=dt.UTC)
    keys = {"ca": ca_file} if verify else {"verify": False}
    bad = OK.replace(b"200", b"503")
    for behaviour, kind in (
        (answering(OK), OutcomeKind.UP),
        (answering(bad), OutcomeKind.DOWN),
        (silent, OutcomeKind.DOWN),
    ):
        async with stream_server(behaviour, tls=context(authority, "127.0.0.1", not_after=end)) as port:
            found = await outcome(port, **keys)
        assert (found.kind, found.certificate_end) == (kind, end.timestamp())


async def test_no_certificate_is_read_where_the_handshake_fails(authority: trustme.CA) -> None:
    async with stream_server(answering(OK), tls=context(authority, "127.0.0.1")) as port:
        assert (await outcome(port)).certificate_end is None  # nobody knows its authority


async def test_same_outcome_with_the_same_certificate_is_the_same_object_and_another_certificate_another(
    authority: trustme.CA, ca_file: str
) -> None:
    check = HttpsCheck(name="https", address="127.0.0.1", port=1, host="test", tls=Tls(ca=ca_file))
    exchanges = TlsExchanges(check, http_exchanges(check))
    passed = up("status 200")
    assert exchanges.with_end(passed, 5.0) is exchanges.with_end(up("status 200"), 5.0)
    assert exchanges.with_end(passed, 6.0) == Outcome(OutcomeKind.UP, Reason.PASSED, "status 200", 6.0)
    assert exchanges.with_end(passed, None) is passed


async def test_plain_http_server_is_named_as_such(ca_file: str) -> None:
    async with stream_server(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n", until=b"")) as port:
        found = await outcome(port, ca=ca_file)
    assert found.reason in (Reason.TLS, Reason.RESET)
    assert found.kind is OutcomeKind.DOWN


async def test_silent_server_is_down_at_the_total_deadline(ca_file: str) -> None:
    async with stream_server(silent) as port:
        check = HttpsCheck(name="https", address="127.0.0.1", port=port, timeout=Seconds(0.2), tls=Tls(ca=ca_file))
        found = next(iter((await run_once([check])).values())).outcome
    assert (found.reason, found.detail.removesuffix(EXTENDED)) == (
        Reason.TIMEOUT,
        "connected, but no TLS answer in 200ms",
    )


async def test_unreadable_ca_is_an_error_before_any_probe(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        await outcome(1, ca=str(tmp_path / "absent.pem"))


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), ("not a certificate", "no PEM certificate")])
async def test_ca_that_went_bad_is_named_and_the_one_read_before_goes_on(
    authority: trustme.CA, tmp_path: Path, content: str | None, why: str
) -> None:
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    check = HttpsCheck(name="https", address="127.0.0.1", port=1, host="test", tls=Tls(ca=str(ca)))
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


def test_target_whose_failures_have_ever_new_words_does_not_fill_the_memory() -> None:
    check = HttpsCheck(name="https", address="127.0.0.1", port=1, host="test", tls=Tls(verify=False))
    rules = TlsExchanges(check, http_exchanges(check))
    for number in range(1000):
        outcome = down(Reason.BAD_STATUS, f"status 503, number {number}")
        told = rules.with_end(outcome, 4e9)
        assert (told.detail, told.certificate_end) == (outcome.detail, 4e9)
        assert rules.with_end(outcome, 4e9) is told
    assert len(rules._with_end) <= 64
