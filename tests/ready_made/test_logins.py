"""FTP, SSH, SMB and RADIUS servers."""

import contextlib
import re
import socket
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli_w

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.config.load import parse
from tests.ready_made.checks import hasty, ready_made, wait_until_up
from tests.ready_made.conftest import Tried
from tests.ready_made.servers import UNPACKED, as_nobody, free_port, run, running, unpacked, version
from tests.ready_made.test_caches import occupied


def vsftpd(port: int, directory: Path, *settings: str) -> list[str | Path]:
    (directory / "empty").mkdir(exist_ok=True)
    (directory / "vsftpd.conf").write_text(
        f"listen=YES\nlisten_address=127.0.0.1\nlisten_port={port}\nbackground=NO\nrun_as_launching_user=YES\n"
        f"secure_chroot_dir={directory}/empty\nxferlog_enable=YES\nvsftpd_log_file={directory}/vsftpd.log\n"
        f"anonymous_enable=NO\nlocal_enable=YES\n" + "".join(f"{setting}\n" for setting in settings)
    )
    return as_nobody("vsftpd", directory / "vsftpd.conf")


def test_ftp(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("ftp", port)
    with running(vsftpd(port, tmp_path), tmp_path, logs=[tmp_path / "vsftpd.log"]) as server:
        tried.life(check, "vsftpd", server)
    with running(vsftpd(port, tmp_path, "max_clients=1"), tmp_path):
        wait_until_up(check)
        with occupied(port, 1):
            tried.down(check, "vsftpd", "has as many clients as `max_clients` allows")


def sshd(port: int, directory: Path, *settings: str) -> list[str | Path]:
    key = directory / "key"
    if not key.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key, directory=directory)
    parts = UNPACKED / "usr" / "lib" / "openssh"
    paths = {"SshdSessionPath": parts / "sshd-session", "SshdAuthPath": parts / "sshd-auth"}
    (directory / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {key}\nPidFile none\nUsePAM no\n"
        + "".join(f"{name} {path}\n" for name, path in paths.items() if path.exists())
        + "".join(f"{setting}\n" for setting in settings)
    )
    return as_nobody("sshd", "-D", "-e", "-f", directory / "sshd_config")


def has_penalties() -> bool:
    """Return whether this OpenSSH refuses an address that often connects without a login."""
    major, minor = re.findall(r"\d+", version("openssh-server"))[:2]
    return (int(major), int(minor)) >= (9, 8)


def exempt() -> list[str]:
    return ["PerSourcePenaltyExemptList 127.0.0.1"] if has_penalties() else []


@contextlib.contextmanager
def login(port: int) -> Iterator[None]:
    """Hold a connection that the server has greeted; it may first have to notice that an earlier one has ended."""
    while True:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            if connection.recv(100).startswith(b"SSH-"):
                yield
                return


def test_ssh(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("ssh", port)
    with running(sshd(port, tmp_path, *exempt()), tmp_path) as server:
        tried.life(check, "openssh-server", server)
    with running(sshd(port, tmp_path, "MaxStartups 1", *exempt()), tmp_path):
        wait_until_up(check)
        with login(port):
            tried.down(hasty(check), "openssh-server", "has as many logins open as `MaxStartups` allows")


def test_ssh_that_is_probed_too_often_refuses_us(tried: Tried, port: int, tmp_path: Path) -> None:
    if not has_penalties():
        pytest.skip("this OpenSSH has no penalties")
    check = ready_made("ssh", port)
    with running(sshd(port, tmp_path), tmp_path):
        wait_until_up(check)
        tried.down_at_last(
            check, "openssh-server", "refuses us, because it was probed many times a second", "Not allowed"
        )


def smbd(port: int, directory: Path, *settings: str) -> list[str | Path]:
    folders = ("lock", "state", "cache", "pid", "private", "ncalrpc")
    for folder in folders:
        (directory / folder).mkdir(exist_ok=True)
    (directory / "smb.conf").write_text(
        "[global]\n server role = standalone server\n disable netbios = yes\n bind interfaces only = yes\n"
        f" interfaces = 127.0.0.1\n smb ports = {port}\n log level = 1\n"
        f" lock directory = {directory}/lock\n state directory = {directory}/state\n"
        f" cache directory = {directory}/cache\n pid directory = {directory}/pid\n"
        f" private dir = {directory}/private\n ncalrpc dir = {directory}/ncalrpc\n"
        + "".join(f" {setting}\n" for setting in settings)
    )
    return ["smbd", "--foreground", "--no-process-group", "--debug-stdout", "-s", directory / "smb.conf"]


def test_samba(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("samba", port)
    with running(smbd(port, tmp_path), tmp_path) as server:
        tried.life(check, "samba", server)
    with running(smbd(port, tmp_path, "max smbd processes = 4"), tmp_path):
        wait_until_up(check)
        with occupied(port, 4):
            tried.down(check, "samba", "has as many processes as `max smbd processes` allows")


# ---- RADIUS ----------------------------------------------------------------------------------------------------------

CHECKS_PAGE = Path(__file__).parents[2] / "docs" / "checks.md"


def radius_check(port: int, secret: str) -> AnyCheck:
    """Return the check that docs/checks.md describes, made with the program that it shows."""
    section = CHECKS_PAGE.read_text().partition("\n## RADIUS\n")[2].partition("\n## ")[0]
    shell, toml = re.findall(r"```(?:sh|toml)\n(.*?)```", section, re.DOTALL)
    done = subprocess.run(
        ["sh", "-c", shell.replace("SECRET", f"'{secret}'")], capture_output=True, text=True, check=True
    )
    written = tomllib.loads(toml)
    del written["description"]
    written |= {"name": "radius", "send_hex": done.stdout.strip()}
    service = {"address": f"127.0.0.100:{port}", "protocol": "udp", "check": written, "real_server": ["127.0.0.1"]}
    text = tomli_w.dumps({"service": [service]})
    [check] = parse(text, "/none/config.toml").services[0].real_servers[0].checks
    return check


def freeradius(port: int, directory: Path, secret: str) -> list[str | Path]:
    (directory / "radiusd.conf").write_text(
        f"name = radiusd\nlogdir = {directory}\nlibdir = {unpacked('lib/freeradius')}\npidfile = {directory}/pid\n"
        f"log {{\n destination = stdout\n}}\nsecurity {{\n status_server = yes\n}}\n"
        f"client director {{\n ipaddr = 127.0.0.1\n secret = {secret}\n}}\n"
        f"server default {{\n listen {{\n  type = auth\n  ipaddr = 127.0.0.1\n  port = {port}\n }}\n"
        " authorize {\n }\n}\n"
    )
    return as_nobody("freeradius", "-f", "-l", "stdout", "-d", directory, "-D", unpacked("share/freeradius"))


def test_radius(tried: Tried, tmp_path: Path) -> None:
    check = radius_check(free_port(), "correct horse")
    with running(freeradius(check.port, tmp_path, '"correct horse"'), tmp_path) as server:
        tried.life(check, "freeradius", server)
    tried.strangers(check)
    with running(freeradius(check.port, tmp_path, "another"), tmp_path):
        tried.down_soon(hasty(check), "freeradius", "has another secret")
