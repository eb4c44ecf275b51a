"""What the system trusts is read once, from files. No TLS handshake reads a folder."""

import contextlib
import ctypes
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import HttpsCheck, Tls
from lvs_healthd.probes.outcome import OutcomeKind
from lvs_healthd.probes.targets import target
from lvs_healthd.probing.once import run_once
from lvs_healthd.runtime import authorities
from lvs_healthd.runtime.authorities import load_system_authorities
from tests.probes.peers import answering, stream_server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
IN_ACCESS, IN_OPEN = 0x1, 0x20
"""linux/inotify.h"""


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let no authority of this machine be found. Return a folder for others."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setattr(authorities, "BUNDLES", (str(tmp_path / "bundle.pem"),))
    nowhere = ssl.DefaultVerifyPaths("", "", "SSL_CERT_FILE", "/none.pem", "SSL_CERT_DIR", str(tmp_path / "default"))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nowhere)
    return tmp_path


def write_authority(path: Path, organization: str) -> None:
    path.parent.mkdir(exist_ok=True)
    trustme.CA(organization_name=organization).cert_pem.write_to_path(str(path))


def trusted() -> set[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    load_system_authorities(context)
    subjects = [dict(part[0] for part in found["subject"]) for found in context.get_ca_certs()]  # type: ignore[misc]
    return {subject["organizationName"] for subject in subjects}


def test_bundle_of_the_distribution_is_trusted(elsewhere: Path) -> None:
    write_authority(elsewhere / "bundle.pem", "distribution")
    assert trusted() == {"distribution"}


def test_file_that_the_environment_names_goes_first(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_authority(elsewhere / "bundle.pem", "distribution")
    write_authority(elsewhere / "own.pem", "own")
    monkeypatch.setenv("SSL_CERT_FILE", str(elsewhere / "own.pem"))
    assert trusted() == {"own"}


def test_folder_that_the_environment_names_is_trusted_too(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_authority(elsewhere / "bundle.pem", "distribution")
    write_authority(elsewhere / "first" / "0123abcd.0", "first")
    write_authority(elsewhere / "second" / "0123abcd.1", "second")
    write_authority(elsewhere / "second" / "unhashed.pem", "unhashed")
    (elsewhere / "second" / "89abcdef.0").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_DIR", f"{elsewhere / 'first'}:{elsewhere / 'second'}:{elsewhere / 'absent'}")
    assert trusted() == {"distribution", "first", "second"}


def test_default_folder_is_read_where_there_is_no_file(elsewhere: Path) -> None:
    write_authority(elsewhere / "default" / "0123abcd.0", "default")
    assert trusted() == {"default"}


def test_system_that_trusts_nothing_is_an_error(elsewhere: Path) -> None:
    with pytest.raises(OSError, match="install ca-certificates, or set ca"):
        trusted()


def test_named_file_that_is_absent_is_an_error(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_authority(elsewhere / "bundle.pem", "distribution")
    monkeypatch.setenv("SSL_CERT_FILE", "/none/own.pem")
    with pytest.raises(OSError, match="SSL_CERT_FILE is /none/own"):
        trusted()


@contextlib.contextmanager
def watched(*paths: Path) -> Iterator[list[int]]:
    """Watch folders and what is in them. Yield a list that holds the mask of each event afterwards."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK)
    seen: list[int] = []
    try:
        for path in paths:
            assert libc.inotify_add_watch(descriptor, os.fsencode(path), IN_OPEN | IN_ACCESS) >= 0
        yield seen
        with contextlib.suppress(BlockingIOError):
            while events := os.read(descriptor, 65536):
                while events:
                    size = 16 + int.from_bytes(events[12:16], "little")
                    seen.append(int.from_bytes(events[4:8], "little"))
                    events = events[size:]
    finally:
        os.close(descriptor)


def test_watch_sees_a_folder_being_listed(tmp_path: Path) -> None:
    with watched(tmp_path) as seen:
        os.listdir(tmp_path)  # noqa: PTH208  # the plainest way
    assert seen


@pytest.mark.parametrize("verify", [True, False], ids=["refused", "unverified"])
async def test_no_handshake_reads_a_folder(verify: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL would list the folder for an issuer that it does not know, and open what has the issuer's hash."""
    folder = tmp_path / "certs"
    write_authority(folder / "0123abcd.0", "known")
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("web.example").configure_cert(made)
    default = Path(ssl.get_default_verify_paths().openssl_capath)
    folders = [folder, default] if default.is_dir() else [folder]
    async with stream_server(answering(OK), tls=made) as port:
        check = HttpsCheck(
            name="",
            address="127.0.0.1",
            port=port,
            host="test",
            tls=Tls(sni="web.example", verify=verify),
            timeout=Seconds(9.0),
        )
        kept = target(check)  # whose certificates the probe uses
        with watched(*folders) as seen:
            (found,) = (await run_once([check])).values()
    assert found.outcome.kind is (OutcomeKind.DOWN if verify else OutcomeKind.UP)
    assert seen == []
    kept.begin().end()
