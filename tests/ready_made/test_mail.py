"""Exim, Postfix and Dovecot."""

import contextlib
import shutil
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.ready_made.checks import hasty, probe, ready_made, wait_until_up
from tests.ready_made.conftest import Tried
from tests.ready_made.servers import IN_PLACE, NOBODY, in_place, need_root, running, version
from tests.ready_made.test_caches import occupied

# ---- Exim ------------------------------------------------------------------------------------------------------------


def exim(port: int, directory: Path, *settings: str) -> list[str | Path]:
    (directory / "spool").mkdir(exist_ok=True)
    lines = [
        f"spool_directory = {directory}/spool",
        f"log_file_path = {directory}/exim-%slog",
        f"pid_file_path = {directory}/pid",
        "primary_hostname = mail.example.org",
        f"daemon_smtp_ports = {port}",
        "local_interfaces = 127.0.0.1",
        "keep_environment =",
        *settings,
    ]
    (directory / "exim.conf").write_text("".join(f"{line}\n" for line in lines))
    return in_place("exim4", "-bdf", "-C", directory / "exim.conf", directory=directory, users={"Debian-exim": NOBODY})


def test_smtp_of_exim(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("smtp", port)
    with running(exim(port, tmp_path), tmp_path, logs=[tmp_path / "exim-mainlog"]) as server:
        tried.life(check, "exim4-daemon-light", server)
    with running(exim(port, tmp_path, "smtp_accept_max = 1"), tmp_path):
        wait_until_up(check)
        with occupied(port, 1, greeting=b"220"):
            tried.down(check, "exim4-daemon-light", "has as many connections as `smtp_accept_max` allows")


# ---- Postfix ---------------------------------------------------------------------------------------------------------

QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "maildrop", "pid", "private")
POSTFIX, POSTDROP = 64001, 64002
"""Numbers of accounts that exist only in the server's eyes."""


def postfix(port: int, directory: Path, most: int, settings: str = "") -> list[str | Path]:
    """Run Postfix as root. `most` is the number of its smtpd processes."""
    need_root()
    directory.chmod(0o755)
    for folder in ("etc", "queue", "data", *(f"queue/{name}" for name in (*QUEUES, "public"))):
        (directory / folder).mkdir(exist_ok=True)
        if folder not in ("etc", "queue", "queue/pid"):
            shutil.chown(directory / folder, POSTFIX)
    (directory / "etc" / "main.cf").write_text(
        "compatibility_level = 3.6\nmyhostname = mail.example.org\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n"
        "mail_owner = postfix\nsetgid_group = postdrop\nalias_maps =\nlocal_recipient_maps =\n"
        f"queue_directory = {IN_PLACE}/queue\ndata_directory = {IN_PLACE}/data\n"
        "command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\n"
        f"maillog_file = {IN_PLACE}/mail.log\nmaillog_file_prefixes = {IN_PLACE}\n{settings}"
    )
    (directory / "etc" / "master.cf").write_text(
        f"127.0.0.1:{port} inet n - n - {most} smtpd\n"
        "postlog unix-dgram n - n - 1 postlogd\nanvil unix - - n - 1 anvil\nrewrite unix - - n - - trivial-rewrite\n"
        "cleanup unix n - n - 0 cleanup\ntlsmgr unix - - n - 1 tlsmgr\n"
    )
    users = {"postfix": POSTFIX, "postdrop": POSTDROP}
    master = Path("/usr/lib/postfix/sbin/master")
    return in_place(master, "-c", IN_PLACE / "etc", "-d", directory=directory, users=users, as_root=True)


def test_smtp_of_postfix(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("smtp", port)
    with running(postfix(port, tmp_path, 20), tmp_path, logs=[tmp_path / "mail.log"]) as server:
        tried.life(check, "postfix", server)
    with running(postfix(port, tmp_path, 1), tmp_path, logs=[tmp_path / "mail.log"]):
        wait_until_up(check)
        with occupied(port, 1, greeting=b"220"):
            tried.down(hasty(check), "postfix", "all its smtpd processes are busy")


# ---- Submission ------------------------------------------------------------------------------------------------------


def certified(directory: Path) -> tuple[Path, dict[str, str]]:
    """Return a file with a certificate for mail.example.org and its key, and the keys of a check that trusts it."""
    authority = trustme.CA()
    issued = authority.issue_cert("mail.example.org")
    both = directory / "mail.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(both)
    authority.cert_pem.write_to_path(directory / "ca.pem")
    return both, {"sni": "mail.example.org", "ca": str(directory / "ca.pem")}


EXIM_AUTH = "begin authenticators\nplain:\n  driver = plaintext\n  public_name = PLAIN\n  server_condition = false"


def test_submission_of_exim(tried: Tried, port: int, tmp_path: Path) -> None:
    pem, keys = certified(tmp_path)
    check, package = ready_made("submission", port, **keys), "exim4-daemon-light"
    tls = (f"tls_certificate = {pem}", f"tls_privatekey = {pem}", "tls_advertise_hosts = *")
    with running(exim(port, tmp_path, *tls, EXIM_AUTH), tmp_path, logs=[tmp_path / "exim-mainlog"]) as server:
        tried.life(check, package, server)
    with running(exim(port, tmp_path, *tls, EXIM_AUTH), tmp_path):
        tried.down_soon(ready_made("submission", port), package, "has a certificate that is not trusted", "certificate")
    with running(exim(port, tmp_path, "tls_advertise_hosts =", EXIM_AUTH), tmp_path):
        tried.down_soon(hasty(check), package, "offers no STARTTLS")
    with running(exim(port, tmp_path, *tls), tmp_path):
        tried.down_soon(hasty(check), package, "offers no login")
    with running(exim(port, tmp_path, "smtp_accept_max = 1", *tls, EXIM_AUTH), tmp_path):
        wait_until_up(check)
        with occupied(port, 1, greeting=b"220"):
            tried.down(check, package, "has as many connections as `smtp_accept_max` allows", "421")


@pytest.mark.long
def test_submission_of_postfix(tried: Tried, port: int, tmp_path: Path) -> None:
    pem, keys = certified(tmp_path)
    pem.chmod(0o644)
    check = ready_made("submission", port, **keys)
    settings = f"""smtpd_tls_security_level = may
smtpd_tls_chain_files = {IN_PLACE}/mail.pem
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {IN_PLACE}/sasl
"""
    log = tmp_path / "mail.log"
    with sasl(tmp_path), running(postfix(port, tmp_path, 20, settings), tmp_path, logs=[log]) as server:
        tried.life(check, "postfix", server)
    with running(postfix(port, tmp_path, 20, settings), tmp_path, logs=[log]):
        tried.down_soon(check, "postfix", "cannot reach its SASL service")
    with sasl(tmp_path), running(postfix(port, tmp_path, 1, settings), tmp_path, logs=[log]):
        wait_until_up(check)
        with occupied(port, 1, greeting=b"220"):
            tried.down(hasty(check), "postfix", "all its smtpd processes are busy")
    pem.write_text("none")
    with sasl(tmp_path), running(postfix(port, tmp_path, 20, settings), tmp_path, logs=[log]):
        tried.down_soon(check, "postfix", "cannot use its certificate", "454")


@contextlib.contextmanager
def sasl(directory: Path) -> Iterator[None]:
    """Say to Postfix which logins there are, as Dovecot's auth process does, and know no user."""
    path = directory / "sasl"
    path.unlink(missing_ok=True)

    class Greets(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00\nDONE\n")
            self.rfile.read()

    with socketserver.ThreadingUnixStreamServer(str(path), Greets) as served:
        served.daemon_threads = True
        path.chmod(0o666)
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        try:
            yield
        finally:
            served.shutdown()
            thread.join()


# ---- Dovecot ---------------------------------------------------------------------------------------------------------


def dovecot(name: str, port: int, directory: Path, *settings: str) -> list[str | Path]:
    (directory / "run").mkdir(exist_ok=True)
    if version("dovecot-core") >= "2.4":
        of_version = [
            "dovecot_config_version = 2.4.0",
            "dovecot_storage_version = 2.4.0",
            f"protocols {{\n {name} = yes\n}}",
            "passdb static {\n password = x\n}",
            "service stats {\n chroot =\n}",
        ]
    else:
        of_version = [f"protocols = {name}", "passdb {\n driver = static\n args = password=x\n}"]
    lines = [
        *of_version,
        f"base_dir = {directory}/run",
        f"state_dir = {directory}/run",
        "listen = 127.0.0.1",
        "ssl = no",
        f"log_path = {directory}/dovecot.log",
        "default_internal_user = nobody",
        "default_internal_group = nogroup",
        "default_login_user = nobody",
        "service anvil {\n chroot =\n}",
        f"service {name}-login {{\n chroot =\n inet_listener {name} {{\n  port = {port}\n }}",
        f" inet_listener {name}s {{\n  port = 0\n }}\n}}",
        *settings,
    ]
    (directory / "dovecot.conf").write_text("".join(f"{line}\n" for line in lines))
    users = {"dovecot": NOBODY, "dovenull": NOBODY}
    return in_place("dovecot", "-F", "-c", directory / "dovecot.conf", directory=directory, users=users)


@pytest.mark.parametrize("name", ["imap", "pop3"])
def test_dovecot(tried: Tried, port: int, tmp_path: Path, name: str) -> None:
    check, package = ready_made(name, port), f"dovecot-{name}d"
    with running(dovecot(name, port, tmp_path), tmp_path, logs=[tmp_path / "dovecot.log"]) as server:
        tried.life(check, package, server)
    with running(dovecot(name, port, tmp_path, "service auth {\n executable = /bin/false\n}"), tmp_path):
        tried.down_soon(hasty(check), package, "its auth process is dead")


def test_imap_passes_also_when_it_speaks_before_a_login_process_has_reached_the_auth_process(
    port: int, tmp_path: Path
) -> None:
    check = ready_made("imap", port)
    with running(dovecot("imap", port, tmp_path), tmp_path):
        wait_until_up(check)
        assert all(probe(check) for _ in range(30))
