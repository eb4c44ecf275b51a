"""When a certificate ends and for whom it is, read from certificates that openssl made."""

import datetime as dt
import ssl
import subprocess
from pathlib import Path

import pytest

from lvs_healthd.probes import certificate
from lvs_healthd.probes.certificate import certificate_end, read_end, read_names


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("openssl")
    (made / "index.txt").touch()
    (made / "ca.cnf").write_text(
        f"[ca]\ndefault_ca = it\n[it]\ndatabase = {made}/index.txt\nnew_certs_dir = {made}\nrand_serial = yes\n"
        "unique_subject = no\ndefault_md = sha256\npolicy = any\n[any]\ncommonName = optional\n"
    )
    openssl(made, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "req.pem", "-subj", "/CN=x")
    return made


def openssl(folder: Path, *arguments: str) -> bytes:
    return subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60).stdout


def made(folder: Path, begin: str, end: str, *more: str) -> bytes:
    """Let openssl sign a certificate for these times, and return it as DER."""
    dates = ("-startdate", begin, "-enddate", end)
    signing = ("-config", "ca.cnf", "-selfsign", "-keyfile", "key.pem", "-in", "req.pem", "-out", "cert.pem", "-batch")
    openssl(folder, "ca", *signing, *dates, "-notext", *more)
    return openssl(folder, "x509", "-in", "cert.pem", "-outform", "DER")


def as_openssl_says(folder: Path) -> float:
    text = openssl(folder, "x509", "-in", "cert.pem", "-noout", "-enddate").decode().strip()
    return float(ssl.cert_time_to_seconds(text.removeprefix("notAfter=")))


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("20240229120000Z", "20280229235959Z"),
        ("20240101000000Z", "20491231235959Z"),  # the last UTCTime
        ("20240101000000Z", "20500101000000Z"),  # the first GeneralizedTime
        ("20240101000000Z", "99991231235959Z"),  # RFC 5280: no end
        ("20510101000000Z", "20520101000000Z"),  # both times are GeneralizedTime
        ("20010101000000Z", "20020202020202Z"),  # ended long ago
        ("19500101000000Z", "19990909090909Z"),
        ("19600101000000Z", "19650606060606Z"),  # before Unix time began
    ],
)
def test_end_is_what_openssl_says(folder: Path, begin: str, end: str) -> None:
    der = made(folder, begin, end)
    expected = dt.datetime.strptime(end, "%Y%m%d%H%M%SZ").replace(tzinfo=dt.UTC).timestamp()
    assert read_end(der) == expected
    if end != "19650606060606Z":  # ssl.cert_time_to_seconds has no such times
        assert as_openssl_says(folder) == expected


def test_version_1_and_long_names_and_negative_serials_do_not_matter(folder: Path) -> None:
    version_1 = ("req", "-x509", "-key", "key.pem", "-days", "7", "-subj", "/CN=old", "-config", "/dev/null")
    openssl(folder, *version_1, "-set_serial", "-5", "-out", "cert.pem")
    der = openssl(folder, "x509", "-in", "cert.pem", "-outform", "DER")
    assert read_end(der) == as_openssl_says(folder)
    subject = "".join(f"/OU={number:060d}" for number in range(1200))  # an issuer of more than 64 KiB
    openssl(folder, "req", "-x509", "-key", "key.pem", "-days", "9", "-subj", subject, "-out", "cert.pem")
    der = openssl(folder, "x509", "-in", "cert.pem", "-outform", "DER")
    assert len(der) > 2 * 65536
    assert read_end(der) == as_openssl_says(folder)


def test_every_cut_and_every_changed_byte_is_survived(folder: Path) -> None:
    der = made(folder, "20240101000000Z", "20280101000000Z")
    end = der.index(b"280101000000Z") + 13
    assert [read_end(der[:length]) for length in range(len(der))] == [None] * len(der)
    for position in range(end):
        for byte in (0x00, 0x30, 0x7F, 0x80, 0x84, 0x88, 0xFF):
            found = read_end(der[:position] + bytes([byte]) + der[position + 1 :])
            assert found is None or isinstance(found, float)


NAMES = "DNS:www.Example.org,DNS:*.example.net,email:a@example.org,IP:192.0.2.100,IP:2001:db8::100"


@pytest.mark.parametrize("critical", ["", "critical,"])
def test_names_are_those_of_clients_and_no_mail_address(folder: Path, critical: str) -> None:
    self_signed = ("req", "-x509", "-key", "key.pem", "-days", "7", "-subj", "/CN=old.example.org", "-out", "cert.pem")
    openssl(folder, *self_signed, "-addext", f"subjectAltName={critical}{NAMES}")
    der = openssl(folder, "x509", "-in", "cert.pem", "-outform", "DER")
    assert read_names(der) == ("www.example.org", "*.example.net", "192.0.2.100", "2001:db8::100")
    assert all(read_names(der[:length]) == () for length in range(len(der)))
    for position in range(len(der)):
        for byte in (0x00, 0x30, 0x7F, 0x80, 0x84, 0x88, 0xFF):
            assert isinstance(read_names(der[:position] + bytes([byte]) + der[position + 1 :]), tuple)


def test_common_name_is_no_name(folder: Path) -> None:
    assert read_names(made(folder, "20240101000000Z", "20280101000000Z")) == ()


@pytest.mark.parametrize(
    "time",
    [b"280101000060Z", b"281301000000Z", b"280230000000Z", b"28010100000 Z", b"2801010000000", b"280101000000z"],
)
def test_time_that_does_not_exist_is_no_end(folder: Path, time: bytes) -> None:
    der = made(folder, "20240101000000Z", "20280101000000Z")
    assert read_end(der.replace(b"280101000000Z", time)) is None


def test_certificate_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    der = made(folder, "20240101000000Z", "20290101000000Z")
    first = certificate_end(der)
    monkeypatch.setattr(certificate, "read_end", lambda _: pytest.fail("read again"))
    assert certificate_end(der) == first == dt.datetime(2029, 1, 1, tzinfo=dt.UTC).timestamp()
