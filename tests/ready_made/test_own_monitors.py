"""The monitors that come with the daemon, run as checks on real servers."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.probes.outcome import Outcome, OutcomeKind
from tests.ready_made.checks import PATIENCE_S, outcome, outcomes
from tests.ready_made.monitors import monitor_environment, monitors, unit_for_programs
from tests.ready_made.servers import as_nobody, free_port, program, running, unpacked
from tests.ready_made.servers import run as prepare

CHECKS = Path(__file__).parents[2] / "checks"
OWN = sorted(CHECKS.glob("*.monitor"))
UP, DOWN = OutcomeKind.UP, OutcomeKind.DOWN


@pytest.fixture
def helper(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "programs"
    folder.mkdir()
    with unit_for_programs(folder) as path:
        yield path


def until(check: AnyCheck, kind: OutcomeKind) -> Outcome:
    """Return the first outcome of this kind."""
    end = time.monotonic() + PATIENCE_S
    while (found := outcome(check)).kind is not kind:
        assert time.monotonic() < end, found.detail
        time.sleep(0.05)
    return found


def test_there_are_some_and_they_can_be_run() -> None:
    assert [path.stem for path in OWN] == ["exporter", "mysql-replication", "same-answer"]
    assert all(os.access(path, os.X_OK) for path in OWN)


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_documentation_shows_it_and_a_mistake_in_its_arguments_passes_nobody(path: Path) -> None:
    assert f'"{path.name}"' in (CHECKS.parent / "docs" / "checks.md").read_text()
    done = subprocess.run([path, "--no-such-option", "192.0.2.1"], capture_output=True, check=False)
    assert done.returncode == 2


# ---- exporter --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def node_exporter(folder: Path, port: int) -> Iterator[None]:
    """Run node_exporter with a folder for the operator's own metrics."""
    words = ["--collector.disable-defaults", "--collector.textfile", "--collector.loadavg"]
    command = ["prometheus-node-exporter", *words, f"--collector.textfile.directory={folder}"]
    with running([*command, f"--web.listen-address=127.0.0.1:{port}"], folder):
        yield


def test_exporter(helper: Path, port: int, tmp_path: Path) -> None:
    mine = tmp_path / "node.prom"
    mine.write_text('maintenance{by="nobody"} 0\n')
    command = ["exporter.monitor", "--port", str(port), "--fail", "maintenance > 0", "--fail", "node_load1 >= 1e6"]
    (check,) = monitors(helper, command, "127.0.0.1:80")
    (strict,) = monitors(helper, [*command, "--required"], "127.0.0.1:80")
    (mistyped,) = monitors(helper, [*command, "--required", "--fail", "mantainance > 0"], "127.0.0.1:80")
    with node_exporter(tmp_path, port):
        until(strict, UP)
        assert outcome(check).detail == "exit status 0: 127.0.0.1 is well by 2 conditions"
        assert outcome(mistyped).detail == "exit status 1: 127.0.0.1 has no metric for: mantainance > 0"
        mine.write_text('maintenance{by="ann"} 1\n')
        assert until(check, DOWN).detail == 'exit status 1: 127.0.0.1 maintenance > 0: maintenance{by="ann"} 1'
    assert until(check, UP).detail.startswith("exit status 0: 127.0.0.1 exporter: ")
    assert outcome(strict).kind is DOWN


@pytest.mark.parametrize(
    ("condition", "fails"),
    [
        ('free{mountpoint="/"} < 100', True),
        ('free{mountpoint="/srv"} < 100', False),
        ("free < 100", True),
        ('free{mountpoint="/", fstype="xfs"} < 100', False),
        ("free == 1e3", True),
        ("free != 50", True),
        ("broken > 0", False),  # not a number
        ("unknown > 0", False),
        ('odd{path="a}b\\"c"} >= 7', True),
    ],
)
def test_conditions_of_exporter(condition: str, fails: bool, tmp_path: Path) -> None:
    (tmp_path / "metrics").write_text(
        "# HELP free Free bytes.\n# TYPE free gauge\n"
        'free{fstype="ext4",mountpoint="/"} 50\nfree{fstype="ext4",mountpoint="/srv"} 1000 1700000000000\n'
        'broken NaN\nodd{path="a}b\\"c"} +7\n'
    )
    with served(tmp_path, 200) as port:
        command: list[str | Path] = [CHECKS / "exporter.monitor", "--port", str(port), "--fail", condition, "127.0.0.1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout.splitlines()[0]) == ((1, "127.0.0.1") if fails else (0, "")), done


# ---- same-answer -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def served(folder: Path, status: int, *, address: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Let nginx serve the files of a folder, or one status. Yield the port."""
    port = port or free_port()
    own = folder / f"nginx-{address}"
    own.mkdir()
    what = f"root {folder};" if status == 200 else f"return {status};"
    temporary = "".join(f" {name}_temp_path {own}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi"))
    (own / "nginx.conf").write_text(
        f"daemon off; {'user root;' if os.geteuid() == 0 else ''} pid {own}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {temporary} scgi_temp_path {own}/scgi;\n"
        f" server {{ listen {address}:{port}; location / {{ {what} }} }} }}\n"
    )
    with running(["nginx", "-p", own, "-e", "stderr", "-c", own / "nginx.conf"], own):
        end = time.monotonic() + PATIENCE_S
        while not (own / "pid").exists():
            assert time.monotonic() < end
            time.sleep(0.01)
        yield port


HOSTS = [f"127.0.0.{last}" for last in (1, 2, 3, 4)]


@contextlib.contextmanager
def web(folder: Path, port: int, *answers: str | int) -> Iterator[None]:
    """Run a web server at each of `HOSTS`, with its text or status."""
    with contextlib.ExitStack() as servers:
        for host, answer in zip(HOSTS, answers, strict=False):
            (folder / host).mkdir()
            if isinstance(answer, str):
                (folder / host / "version").write_text(answer)
            status = answer if isinstance(answer, int) else 200
            servers.enter_context(served(folder / host, status, address=host, port=port))
        yield


@pytest.mark.parametrize(
    ("answers", "failed"),
    [
        (("1.2", "1.2", "1.2"), []),
        (("1.2", "1.1", "1.2"), [1]),
        (("1.2", "1.2", 503), [2]),
        (("1.2", "1.1"), []),
        (("1.2", "1.1", "1.2", "1.1"), []),
        (("built today: 1.2", "built yesterday: 1.2", "built today: 1.1", "1.2"), [2]),
    ],
)
def test_same_answer(
    answers: tuple[str | int, ...], failed: list[int], helper: Path, port: int, tmp_path: Path
) -> None:
    command = ["same-answer.monitor", "--port", str(port), "--path", "/version", "--ignore", r"built \w+: "]
    checks = monitors(helper, command, *(f"{host}:80" for host in HOSTS[: len(answers)]), per="group")
    with web(tmp_path, port, *answers):
        found = outcomes(checks)
        assert [number for number, each in enumerate(found) if each.kind is DOWN] == failed
        assert {each.kind for each in found} <= {UP, DOWN}
        for number in failed:
            assert f"{HOSTS[number]} says " in found[number].detail
    assert {each.kind for each in outcomes(checks)} == {DOWN}  # nobody answers any more


def test_same_answer_of_a_server_that_hangs_does_not_fail_the_others(helper: Path, port: int, tmp_path: Path) -> None:
    command = ["same-answer.monitor", "--port", str(port), "--timeout", "1", "--path", "/version"]
    checks = monitors(helper, command, *(f"{host}:80" for host in HOSTS[:3]), per="group")
    with web(tmp_path, port, "1.2", "1.2"), contextlib.closing(_silent(HOSTS[2], port)):
        assert [each.kind for each in outcomes(checks)] == [UP, UP, DOWN]


def _silent(host: str, port: int) -> socket.socket:
    return socket.create_server((host, port))


# ---- mysql-replication -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def database(folder: Path, port: int, number: int) -> Iterator[None]:
    """Run a MariaDB that writes a log for replicas."""
    folder.mkdir()
    base = unpacked("bin/mariadb-install-db").parents[1]
    prepare(
        *as_nobody("mariadb-install-db"),
        *("--no-defaults", f"--basedir={base}", f"--datadir={folder}/data", "--skip-test-db"),
        *("--auth-root-authentication-method=normal", "--skip-name-resolve"),
        directory=folder,
    )
    (folder / "accounts.sql").write_text(
        "CREATE USER IF NOT EXISTS lvs@'%' IDENTIFIED BY 'hush';\nGRANT REPLICA MONITOR ON *.* TO lvs@'%';\n"
        "CREATE USER IF NOT EXISTS copy@'%' IDENTIFIED BY 'copy';\nGRANT REPLICATION SLAVE ON *.* TO copy@'%';\n"
    )
    command: list[str | Path] = [
        *as_nobody("mariadbd"),
        *("--no-defaults", f"--basedir={base}", f"--datadir={folder}/data", "--bind-address=127.0.0.1"),
        *(f"--port={port}", f"--socket={folder}/socket", f"--pid-file={folder}/pid", "--skip-name-resolve"),
        *("--innodb-buffer-pool-size=8M", f"--init-file={folder}/accounts.sql", "--log-bin", f"--server-id={number}"),
    ]
    with running(command, folder):
        end = time.monotonic() + PATIENCE_S
        while sql(folder, "SELECT 1", check=False) != "1\n":
            assert time.monotonic() < end
            time.sleep(0.1)
        yield


def sql(folder: Path, text: str, *, check: bool = True) -> str:
    """Let root say something to a database. Return what comes."""
    command = [program("mariadb"), "--no-defaults", "--user=root", f"--socket={folder}/socket", "--batch", "-N"]
    done = subprocess.run(
        [*command, f"--execute={text}"],
        env={**os.environ, **monitor_environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
def test_mysql_replication(helper: Path, port: int, tmp_path: Path) -> None:
    options = tmp_path / "lvs.cnf"
    options.write_text("[client]\nuser=lvs\npassword=hush\n")
    command = ["mysql-replication.monitor", "-p", "{port}", "-d", str(options), "-l", "5"]
    main, replica = tmp_path / "main", tmp_path / "replica"
    other = free_port()
    (of_main,) = monitors(helper, command, f"127.0.0.1:{other}")
    (may_be,) = monitors(helper, [*command, "-m"], f"127.0.0.1:{other}")
    (check,) = monitors(helper, command, f"127.0.0.1:{port}")
    with database(main, other, 1), database(replica, port, 2):
        assert outcome(of_main).detail == "exit status 1: 127.0.0.1 replicates from nobody"
        assert outcome(may_be).kind is UP
        sql(
            replica,
            f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={other}, MASTER_USER='copy',"
            " MASTER_PASSWORD='copy', MASTER_USE_GTID=slave_pos; START SLAVE",
        )
        until(check, UP)
        sql(replica, "STOP SLAVE SQL_THREAD")
        assert "Slave_SQL_Running is No" in outcome(check).detail
        sql(replica, "START SLAVE SQL_THREAD")
        until(check, UP)
        sql(replica, "STOP SLAVE; CHANGE MASTER TO MASTER_DELAY=3600; START SLAVE")
        sql(main, "CREATE DATABASE shop")
        assert "s behind, 5s allowed" in until_text(check, "s behind, 5s allowed")
    assert "onnect" in outcome(check).detail


def until_text(check: AnyCheck, text: str) -> str:
    """Return the first detail with this text."""
    end = time.monotonic() + PATIENCE_S
    while text not in (detail := outcome(check).detail):
        assert time.monotonic() < end, detail
        time.sleep(0.2)
    return detail
