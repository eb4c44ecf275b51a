"""The monitors of Debian's mon, unchanged, on real servers: healthy, stopped by SIGSTOP, and gone."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.probes.outcome import Outcome, OutcomeKind
from tests.ready_made.checks import PATIENCE_S, outcome, outcomes
from tests.ready_made.monitors import monitor_environment, monitor_path, monitors, unit_for_programs
from tests.ready_made.servers import as_nobody, need_root, running, unpacked, version
from tests.ready_made.servers import run as prepare
from tests.ready_made.test_databases import mariadb
from tests.ready_made.test_logins import vsftpd
from tests.ready_made.test_mail import dovecot, exim
from tests.ready_made.test_names import ZONE, nsd, slapd
from tests.ready_made.test_web import nginx

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"
NOBODY = "240.0.0.1"
"""An address that no host can have (RFC 1112, section 4)."""
PAGE = "location / { return 200 well; }"
HELPER_S = 0.05

Command = list[str | Path]


def web(port: int, folder: Path) -> Command:
    return nginx(port, folder, PAGE)


def imap(port: int, folder: Path) -> Command:
    """Run Dovecot with the account as which the monitor logs in."""
    home = folder / "home"
    home.mkdir()
    home.chmod(0o777)
    if version("dovecot-core") >= "2.4":
        account = "passdb static {\n password = ANONYMOUS\n}"
        account += f"\nuserdb static {{\n fields {{\n  uid = nobody\n  gid = nogroup\n  home = {home}\n }}\n}}"
        mails = f"mail_driver = maildir\nmail_path = {home}"
    else:
        account = "passdb {\n driver = static\n args = password=ANONYMOUS\n}"
        account += f"\nuserdb {{\n driver = static\n args = uid=nobody gid=nogroup home={home}\n}}"
        mails = f"mail_location = maildir:{home}"
    return dovecot("imap", port, folder, account, mails, "first_valid_uid = 1")


def pop3(port: int, folder: Path) -> Command:
    return dovecot("pop3", port, folder)


def ldap(port: int, folder: Path) -> Command:
    (folder / "data.ldif").write_text(
        "dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n"
    )
    command = slapd(port, folder)
    prepare("slapadd", "-f", folder / "slapd.conf", "-l", folder / "data.ldif", directory=folder)
    return command


def database(port: int, folder: Path) -> Command:
    base = unpacked("bin/mariadb-install-db").parents[1]
    prepare(
        *as_nobody("mariadb-install-db"),
        *("--no-defaults", f"--basedir={base}", f"--datadir={folder}/data", "--skip-test-db"),
        *("--auth-root-authentication-method=normal", "--skip-name-resolve"),
        directory=folder,
    )
    accounts = (
        "CREATE DATABASE IF NOT EXISTS shop; CREATE TABLE IF NOT EXISTS shop.goods (id INT);"
        " CREATE USER IF NOT EXISTS lvs@'%'; GRANT SELECT ON shop.* TO lvs@'%';"
    )
    return mariadb(port, folder, accounts=accounts.replace("; ", ";\n"))


CASES: dict[str, tuple[Callable[[int, Path], Command], list[str], str]] = {
    "http.monitor": (web, ["-p", "{port}", "-t", "1"], "timeout after 1 seconds"),
    "smtp.monitor": (exim, ["-p", "{port}", "-t", "2"], ""),
    "smtp3.monitor": (exim, ["--port", "{port}", "--timeout", "2"], ""),
    "ftp.monitor": (vsftpd, ["-p", "{port}", "-t", "2"], ""),
    "imap.monitor": (imap, ["-p", "{port}", "-t", "2"], ""),
    "pop3.monitor": (pop3, ["-p", "{port}", "-t", "2"], ""),
    "ldap.monitor": (ldap, [
        *("--port", "{port}", "--basedn", "dc=example,dc=org"),
        *("--filter", "(o=*)", "--attribute", "o", "--value", "Example"),
    ], ""),
    "msql-mysql.monitor": (database, [
        *("--mode", "mysql", "--port", "{port}", "--username", "lvs", "--database", "shop", "--timeout", "1"),
    ], ""),
}  # fmt: skip
"""For each monitor: the server, its arguments, and what it says of a server that is stopped."""


@pytest.fixture
def helper(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "programs"
    folder.mkdir()
    with unit_for_programs(folder) as path:
        yield path


def wait_until(check: AnyCheck, kind: OutcomeKind) -> Outcome:
    """Return the first outcome of this kind."""
    end = time.monotonic() + PATIENCE_S
    while (found := outcome(check)).kind is not kind:
        assert time.monotonic() < end, found.detail
        time.sleep(HELPER_S)
    return found


@pytest.mark.parametrize("name", CASES)
def test_monitor_tells_a_healthy_server_from_one_that_is_stopped_or_gone(
    name: str, helper: Path, port: int, tmp_path: Path
) -> None:
    serves, words, stopped = CASES[name]
    (check,) = monitors(helper, [monitor_path(name), *words], f"{HERE}:{port}")
    with running(serves(port, tmp_path), tmp_path) as server:
        wait_until(check, OutcomeKind.UP)
        server.freeze()
        found = outcome(check)
        assert found.kind is OutcomeKind.DOWN
        assert stopped in found.detail
        server.thaw()
        wait_until(check, OutcomeKind.UP)
    wait_until(check, OutcomeKind.DOWN)


def test_tcp_monitor_sees_a_closed_port_but_not_that_a_server_is_stopped(
    helper: Path, port: int, tmp_path: Path
) -> None:
    (check,) = monitors(helper, [monitor_path("tcp.monitor"), "-p", "{port}", "-t", "2"], f"{HERE}:{port}")
    with running(web(port, tmp_path), tmp_path) as server:
        wait_until(check, OutcomeKind.UP)
        server.freeze()
        assert outcome(check).kind is OutcomeKind.UP
    refused = wait_until(check, OutcomeKind.DOWN)
    assert refused.detail == "exit status 1: 127.0.0.1 could not connect: Connection refused"


@pytest.mark.parametrize("name", ["tcp.monitor", "http.monitor"])
def test_one_run_for_a_group_tells_its_servers_apart(name: str, helper: Path, port: int, tmp_path: Path) -> None:
    command = [monitor_path(name), "-p", str(port)]
    here, elsewhere = monitors(helper, command, f"{HERE}:{port}", f"{ELSEWHERE}:{port}", per="group")
    with running(web(port, tmp_path), tmp_path):
        wait_until(here, OutcomeKind.UP)  # a run for one server
        up, down = outcomes([here, elsewhere])
    assert up.detail == "exit status 1, but for other servers only"
    assert (down.kind, ELSEWHERE in down.detail) == (OutcomeKind.DOWN, True)
    assert {each.kind for each in outcomes([here, elsewhere])} == {OutcomeKind.DOWN}


@pytest.mark.parametrize("name", ["smtp.monitor", "imap.monitor", "pop3.monitor"])
def test_monitors_that_perl_no_longer_runs_need_the_documented_file(
    name: str, helper: Path, port: int, tmp_path: Path
) -> None:
    serves, words, _ = CASES[name]
    command = [monitor_path(name), *words]
    (working,) = monitors(helper, command, f"{HERE}:{port}")
    (broken,) = monitors(helper, command, f"{HERE}:{port}", environment=monitor_environment(with_hostname=False))
    with running(serves(port, tmp_path), tmp_path):
        wait_until(working, OutcomeKind.UP)
        by_hand = subprocess.run(
            [command[0], *(word.replace("{port}", str(port)) for word in words), HERE],
            env=monitor_environment(with_hostname=False),
            capture_output=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert (outcome(broken).kind, by_hand.returncode) == (OutcomeKind.DOWN, 1)


def test_sslcert_monitor_takes_no_addresses(helper: Path, port: int) -> None:
    (check,) = monitors(helper, [monitor_path("sslcert.monitor"), "-p", "{port}"], f"{HERE}:{port}")
    assert outcome(check).detail.endswith(f"No A or AAAA record for {HERE}.")


NAME_SERVER = "127.0.0.53"
"""The monitors of name servers know no other port than 53, so the server needs an address that has it free."""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("dns-query.monitor", ["-n", "example.org", "-t", "2"], marks=pytest.mark.long),
        ("dns.monitor", [
            *("-caching_only", "-query", "example.org:A", "-retry", "1", "-retransmit", "1", "-timeout", "2"),
        ]),
    ],
)  # fmt: skip
def test_monitors_of_name_servers(name: str, words: list[str], helper: Path, tmp_path: Path) -> None:
    need_root()
    (check,) = monitors(helper, [monitor_path(name), *words], f"{NAME_SERVER}:53")
    command = nsd(53, tmp_path, ZONE)
    configuration = tmp_path / "nsd.conf"
    configuration.write_text(configuration.read_text().replace(HERE, NAME_SERVER))
    with running(command, tmp_path) as server:
        wait_until(check, OutcomeKind.UP)
        server.freeze()
        assert outcome(check).kind is OutcomeKind.DOWN
        server.thaw()
        wait_until(check, OutcomeKind.UP)
    wait_until(check, OutcomeKind.DOWN)


@pytest.mark.parametrize("name", ["fping.monitor", pytest.param("ping.monitor", marks=pytest.mark.long)])
def test_monitors_that_ping(name: str, helper: Path) -> None:
    need_root()  # for raw sockets; others have them by the file capabilities of the program, where it is installed
    words = {"fping.monitor": ["-r", "1", "-t", "200"], "ping.monitor": []}[name]
    # Where a route leads to nobody, ping waits for longer than where there is none.
    servers = (f"{HERE}:80", f"{NOBODY}:80")
    here, nobody = monitors(helper, [monitor_path(name), *words], *servers, per="group", timeout="30s")
    up, down = outcomes([here, nobody])
    assert up.detail == "exit status 1, but for other servers only"
    assert (down.kind, NOBODY in down.detail) == (OutcomeKind.DOWN, True)
    assert outcome(here).detail.startswith("exit status 0")
