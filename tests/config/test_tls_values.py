"""Keys of checks that use TLS: their values, the files that they name, and what does not fit together."""

from pathlib import Path

import pytest
import trustme

from lvs_healthd.config.check_model import Tls
from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.load import parse
from tests.config.reading import checks_of, errors_of, read, service
from tests.probes.client_files import client_files, with_passphrase

AT = 'c.toml:4: service "web": check.'


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def https(keys: str) -> str:
    return service(check=f'{{ type = "https", {keys} }}')


def tls_of(text: str) -> Tls:
    found: Tls = checks_of(text)[0].tls  # type: ignore[union-attr]
    return found


def test_keys_fill_one_record_which_checks_share(authority: trustme.CA, tmp_path: Path) -> None:
    cert, key = client_files(tmp_path, authority)
    keys = (
        f'client_cert = "{cert}", client_key = "{key}", min_tls = "1.0", alpn = ["http/1.1", "http/1.0"], '
        'expires_within = "30d", expires_fail = "36h", sni = "a.example"'
    )
    text = service(check=f'{{ type = "https", {keys} }}', servers='["198.51.100.11", "198.51.100.12"]')
    first, second = (server.checks[0].tls for server in read(text).services[0].real_servers)  # type: ignore[union-attr]
    assert first is second
    assert first == Tls(
        sni="a.example",
        client_cert=cert,
        client_key=key,
        min_tls="1.0",
        alpn=("http/1.1", "http/1.0"),
        expires_within=30 * 86400.0,  # type: ignore[arg-type]
        expires_fail=36 * 3600.0,  # type: ignore[arg-type]
    )
    written = to_toml(read(text))
    assert 'expires_within = "30d"' in written
    assert 'expires_fail = "36h"' in written
    assert "PRIVATE" not in written
    assert read(written).services == read(text).services


def test_defaults() -> None:
    assert tls_of(https('host = "a.example"')) == Tls(sni="a.example")
    assert tls_of(https('sni = "a.example", alpn = "", expires_within = "0s"')).alpn == ()
    assert "alpn" not in to_toml(read(https('sni = "a.example"')))
    assert read(to_toml(read(https("alpn = []")))).services == read(https("alpn = []")).services


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('min_tls = "1.4"', 'min_tls: expected "1.0", "1.1", "1.2" or "1.3", got "1.4"'),
        ("min_tls = 1.2", 'min_tls: expected "1.0", "1.1", "1.2" or "1.3", got 1.2; in quotes: "1.2"'),
        ('alpn = ["a", "a"]', 'alpn[1]: "a" is already listed'),
        ('alpn = "é"', 'alpn[0]: expected the name of a protocol such as "http/1.1" or "h2", got "é"'),
        ("alpn = 1", "alpn[0]: expected a string, got 1"),
        (
            'alpn = ["http/1.1", "h2"]',
            'alpn: a server that selects h2 expects HTTP/2, and this check speaks HTTP/1.1; write http_version = "2"',
        ),
        (
            'http_version = "2", alpn = ["h2", "http/1.1"]',
            "alpn: HTTP/2 is selected by the name h2 alone, which the check offers by itself; leave alpn out",
        ),
        ('expires_within = "14"', "expires_within: expected a duration from 0s to 3650d"),
        ('client_cert = "a.pem"', 'client_cert: expected an absolute path, got "a.pem"'),
    ],
)
def test_wrong_value_is_explained(keys: str, message: str) -> None:
    assert errors_of(https(keys))[0].startswith(AT + message)


def test_key_without_a_certificate(authority: trustme.CA, tmp_path: Path) -> None:
    _, key = client_files(tmp_path, authority)
    assert errors_of(https(f'client_key = "{key}"')) == [
        f"{AT}client_key: a key needs its certificate; add client_cert"
    ]


def test_files_that_cannot_be_used_are_named_and_never_shown(authority: trustme.CA, tmp_path: Path) -> None:
    cert, key = client_files(tmp_path, authority)
    other_cert, other_key = client_files(tmp_path, authority, "other")
    encrypted = client_files(tmp_path, authority, "encrypted")[1]
    with_passphrase(encrypted)
    broken = tmp_path / "broken.key"
    broken.write_text("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n")
    huge = tmp_path / "huge.pem"
    huge.write_bytes(Path(cert).read_bytes() + b"x" * 1024 * 1024)
    (tmp_path / "empty.pem").touch()
    cases = {
        (f"{tmp_path}/absent.pem", key): f"client_cert: cannot use {tmp_path}/absent.pem: No such file or directory",
        (cert, f"{tmp_path}/absent.key"): f"client_key: cannot use {tmp_path}/absent.key: No such file or directory",
        (key, key): f"client_cert: cannot use {key}: no PEM certificate in it; `openssl x509 -inform DER` converts",
        (cert, cert): f"client_key: cannot use {cert}: no PEM private key in it; `openssl pkey -inform DER` converts",
        (f"{tmp_path}/empty.pem", key): f"client_cert: cannot use {tmp_path}/empty.pem: no PEM certificate in it",
        (str(huge), key): f"client_cert: cannot use {huge}: it is larger than 1048576 bytes",
        (cert, encrypted): f"client_key: cannot use {encrypted}: the private key has a passphrase, and nobody is there",
        (cert, str(broken)): f"client_key: cannot use {broken}: OpenSSL cannot read it, or {cert} (",
        (cert, other_key): (
            f"client_key: cannot use {other_key}: the private key in it does not belong to the first certificate in "
            f"{cert}"
        ),
        (other_cert, key): f"client_key: cannot use {key}: the private key in it does not belong to",
    }
    for (one, two), message in cases.items():
        (error,) = errors_of(https(f'client_cert = "{one}", client_key = "{two}"'))
        assert error.startswith(AT + message)
        assert "hunter2" not in error
    (alone,) = errors_of(https(f'client_cert = "{cert}"'))
    assert alone.startswith(f"{AT}client_cert: cannot use {cert}: no PEM private key in it")


def test_pair_may_be_inherited_in_two_halves(authority: trustme.CA, tmp_path: Path) -> None:
    cert, key = client_files(tmp_path, authority)
    _, other = client_files(tmp_path, authority, "other")
    defaults = f'[defaults.check]\nclient_cert = "{cert}"\nclient_key = "{key}"\n'
    assert tls_of(defaults + https("")).client_cert == cert
    (error,) = errors_of(defaults + https(f'client_key = "{other}"'))
    assert f"client_key: cannot use {other}: the private key in it does not belong" in error
    assert tls_of(defaults + https('client_cert = "", client_key = ""')).client_cert == ""


STEPS = "steps = [{ starttls = true }, { send = 'QUIT' }]"


def test_tcp_check_with_a_client_certificate_must_hear_something_after_tls(
    authority: trustme.CA, tmp_path: Path
) -> None:
    cert, key = client_files(tmp_path, authority)
    pair = f'client_cert = "{cert}", client_key = "{key}"'
    (error,) = errors_of(service(check=f'{{ type = "tcp", {STEPS}, {pair} }}'))
    assert error.startswith(f"{AT}client_cert: with TLS 1.3 a server refuses a certificate only after the handshake")
    hearing = STEPS.replace("}]", "}, { expect = 'BYE' }]")
    assert tls_of(service(check=f'{{ type = "tcp", {hearing}, {pair} }}')).client_key == key


@pytest.mark.parametrize("key", ['min_tls = "1.3"', 'alpn = "x"', 'expires_fail = "1d"', 'expires_within = "1d"'])
def test_keys_do_nothing_in_a_check_without_tls(key: str) -> None:
    name = key.partition(" ")[0]
    for check, message in (
        (f'{{ type = "tcp", {key} }}', "this check never begins TLS; add the step { starttls = true }"),
        (f'{{ type = "dns", query = ".", {key} }}', 'this check uses no TLS; write over = "tls"'),
        (
            f'{{ type = "http", {key} }}',
            "http checks have no such key; it belongs to https, tcp, dns and grpc checks; leave it out",
        ),
    ):
        assert f"{AT}{name}: {message}" in errors_of(service(check=check))


def test_key_that_everybody_can_read_is_a_remark(authority: trustme.CA, tmp_path: Path) -> None:
    cert, key = client_files(tmp_path, authority)
    text = https(f'client_cert = "{cert}", client_key = "{key}"')
    assert read(text).remarks == ()
    Path(key).chmod(0o644)
    (remark,) = read(text).remarks
    assert remark == f"{AT}client_key: everybody on this host can read this secret: chmod o-r {key}"
    both = tmp_path / "both.pem"
    both.write_bytes(Path(key).read_bytes() + Path(cert).read_bytes())
    both.chmod(0o644)
    (remark,) = parse(https(f'client_cert = "{both}"'), "c.toml").remarks
    assert remark == f"{AT}client_cert: everybody on this host can read this secret: chmod o-r {both}"
