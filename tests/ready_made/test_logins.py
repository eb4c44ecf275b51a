"""FTP, SSH and SMB servers."""

from pathlib import Path

from tests.ready_made.checks import hasty, ready_made, wait_until_up
from tests.ready_made.conftest import Tried
from tests.ready_made.servers import UNPACKED, as_nobody, run, running
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


def test_ssh(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("ssh", port)
    with running(sshd(port, tmp_path), tmp_path) as server:
        tried.life(check, "openssh-server", server)
    with running(sshd(port, tmp_path, "MaxStartups 1"), tmp_path):
        wait_until_up(check)
        with occupied(port, 1):
            tried.down(hasty(check), "openssh-server", "has as many logins open as `MaxStartups` allows")


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
