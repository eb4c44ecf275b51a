"""A bundle has what a bug report needs, no secret, is readable by its owner only, and overwrites nothing."""

import os
import tarfile
from pathlib import Path

import pytest

from lvs_healthd.config.load import load
from lvs_healthd.doctor import bundle
from lvs_healthd.doctor.bundle import BundleError, parts, write_bundle
from lvs_healthd.doctor.judging import judge, notes
from tests.doctor.seen import director

SECRETS = ("s3cr3t-token", "hunter22", "pa55w0rd-in-a-file", "geheim-im-pfad")


def configuration(folder: Path) -> Path:
    password = folder / "password"
    password.write_text(f"{SECRETS[2]}\n")
    password.chmod(0o600)
    file = folder / "config.toml"
    file.write_text(f"""
[[service]]
name = "web"
address = "192.0.2.100:80"
real_server = ["198.51.100.11"]
check = [
    {{ type = "http", path = "/status?token={SECRETS[3]}", headers = {{ Authorization = "Bearer {SECRETS[0]}" }} }},
    {{ type = "tcp", name = "redis", send = "AUTH {SECRETS[1]}\\r\\n", expect = "+OK" }},
    {{ type = "http", name = "login", user = "me", password_file = "{password}" }},
]
""")
    file.chmod(0o600)
    return file


def made(folder: Path, log: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr(bundle, "_log", lambda: log)
    file = configuration(folder)
    seen = director(unseen=(f"something with {SECRETS[0]} in it",))
    status = b'{"daemon": {"version": "1", "reason": "sent AUTH ' + SECRETS[1].encode() + b'"}}'
    return parts(file, load(file), status, seen, (judge(seen), notes(seen)))


def test_it_holds_everything_that_a_bug_report_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = made(tmp_path, "a line\n", monkeypatch)
    assert set(texts) == {
        "addresses.jsonl",
        "config.toml",
        "findings.json",
        "links.jsonl",
        "log.txt",
        "neighbours.jsonl",
        "observations.json",
        "routes.jsonl",
        "rules.jsonl",
        "status.json",
        "sysctls.txt",
        "table.txt",
        "versions.txt",
    }
    assert 'name = "web"' in texts["config.toml"]
    assert "net.ipv4.ip_forward = 1" in texts["sysctls.txt"]
    assert '"lo"' in texts["links.jsonl"]
    assert "127.0.0.1" in texts["addresses.jsonl"]


def test_no_secret_is_in_any_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = (
        f"check.failed detail='got {SECRETS[1]}' header={SECRETS[0]}\n"
        "x password=other-secret y\nAuthorization: Basic b3RoZXItc2VjcmV0\n"
    )
    texts = made(tmp_path, log, monkeypatch)
    for secret in (*SECRETS, "other-secret", "b3RoZXItc2VjcmV0"):
        assert [name for name, text in texts.items() if secret in text] == []
    assert "(hidden)" in texts["log.txt"]


def test_only_its_owner_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        write_bundle(tmp_path / "b.tar.gz", {"a.txt": "text\n"})
    finally:
        os.umask(old)
    assert (tmp_path / "b.tar.gz").stat().st_mode & 0o777 == 0o600
    with tarfile.open(tmp_path / "b.tar.gz") as tar:
        (member,) = tar.getmembers()
        content = tar.extractfile(member)
        assert content is not None
        assert (member.name, member.mode, content.read()) == ("lvs-healthd-doctor/a.txt", 0o600, b"text\n")


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_nothing_is_overwritten_or_followed(tmp_path: Path, kind: str) -> None:
    target, other = tmp_path / "b.tar.gz", tmp_path / "other"
    if kind == "file":
        target.write_text("mine")
    else:
        target.symlink_to(other)
    if kind == "link":
        other.write_text("mine")
    with pytest.raises(BundleError, match="not overwritten"):
        write_bundle(target, {"a.txt": "text"})
    assert kind == "dangling link" or target.read_text() == "mine"
    assert kind != "dangling link" or not other.exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="No such file"):
        write_bundle(tmp_path / "none" / "b.tar.gz", {})


def test_a_broken_configuration_leaves_only_its_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "_log", lambda: "")
    file = tmp_path / "config.toml"
    file.write_text('[[service]\nAuthorization = "s3cr3t"')
    seen = director(config_errors=("config.toml:1: broken",))
    texts = parts(file, None, b"", seen, ((), ()))
    assert texts["config.toml"] == "config.toml:1: broken\n"
    assert "s3cr3t" not in "".join(texts.values())
