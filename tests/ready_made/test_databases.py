"""PostgreSQL, PgBouncer and MariaDB."""

import contextlib
import functools
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvs_healthd.config.check_model import AnyCheck
from tests.ready_made.checks import hasty, ready_made, stream, wait_until_up
from tests.ready_made.conftest import Tried
from tests.ready_made.servers import Server, as_nobody, free_port, run, running, unpacked

# ---- PostgreSQL ------------------------------------------------------------------------------------------------------


@functools.cache
def programs() -> Path:
    return unpacked("lib/postgresql/*/bin")


@pytest.fixture(scope="module")
def package() -> str:
    """Return the name of the package, which says the version too: postgresql-15."""
    return f"postgresql-{programs().parent.name}"


SOFT = ("fsync=off", "shared_buffers=1MB", "autovacuum=off")
"""Settings that let a server start sooner; it keeps nothing."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a PostgreSQL database with the role `lvs`, and return the folder of its files."""
    folder = tmp_path_factory.mktemp("postgresql")
    data = folder / "data"
    initdb = as_nobody(programs() / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N", "--no-locale")
    run(*initdb, directory=folder)
    (data / "pg_hba.conf").write_text("host postgres lvs 127.0.0.1/32 trust\n")
    (folder / "role.sql").write_text("CREATE ROLE lvs LOGIN;\n")
    single = as_nobody(programs() / "postgres", "--single", "-D", data, "postgres")
    run(*single, directory=folder, entered=folder / "role.sql")
    return folder


def postgres(port: int, folder: Path, *settings: str) -> list[str | Path]:
    options = ["listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", *SOFT, *settings]
    given = [part for option in options for part in ("-c", option)]
    return as_nobody(programs() / "postgres", "-D", folder / "data", "-p", str(port), *given)


@contextlib.contextmanager
def logged_in(check: AnyCheck, farewell: bytes, ready: bytes) -> Iterator[None]:
    """Log in as the check does, but stay."""
    with socket.create_connection((check.address, check.port), 5) as connection:
        connection.sendall(stream(check).send.removesuffix(farewell))
        answer = b""
        while ready not in answer:
            more = connection.recv(65536)
            assert more, answer
            answer += more
        yield


TERMINATE = b"X\x00\x00\x00\x04"
READY_FOR_QUERY = b"Z\x00\x00\x00\x05I"


def test_postgres(tried: Tried, package: str, port: int, cluster: Path) -> None:
    check = ready_made("postgres", port)
    with running(postgres(port, cluster, "max_connections=4", "superuser_reserved_connections=3"), cluster) as server:
        wait_until_up(check)
        with logged_in(check, TERMINATE, READY_FOR_QUERY):
            tried.down(check, package, "has as many clients as `max_connections` allows")
        tried.life(check, package, server)


def test_postgres_that_does_not_know_the_role_is_down(tried: Tried, package: str, port: int, cluster: Path) -> None:
    (cluster / "others.conf").write_text("local all all trust\n")
    with running(postgres(port, cluster, f"hba_file={cluster}/others.conf"), cluster):
        tried.down_soon(ready_made("postgres", port), package, "pg_hba.conf has no line for `lvs`")


def test_postgres_standby_that_serves_no_queries_is_down(
    tried: Tried, package: str, port: int, cluster: Path, tmp_path: Path
) -> None:
    shutil.copytree(cluster / "data", tmp_path / "data")
    (tmp_path / "data" / "standby.signal").touch()
    with running(postgres(port, tmp_path, "hot_standby=off"), tmp_path):
        tried.down_soon(ready_made("postgres", port), package, "is a standby with `hot_standby = off`")


# ---- PgBouncer -------------------------------------------------------------------------------------------------------


def pgbouncer(port: int, directory: Path, backend: int, *settings: str) -> list[str | Path]:
    (directory / "users").write_text('"lvs" ""\n')
    lines = [
        "[databases]",
        f"postgres = host=127.0.0.1 port={backend}",
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        f"listen_port = {port}",
        "unix_socket_dir =",
        "auth_type = trust",
        f"auth_file = {directory}/users",
        *settings,
    ]
    (directory / "pgbouncer.ini").write_text("".join(f"{line}\n" for line in lines))
    return as_nobody("pgbouncer", directory / "pgbouncer.ini")


@contextlib.contextmanager
def backend_of(cluster: Path) -> Iterator[tuple[Server, int]]:
    """Run a PostgreSQL that serves: PgBouncer asks one that it did not reach only every 15 s."""
    port = free_port()
    with running(postgres(port, cluster), cluster) as server:
        wait_until_up(ready_made("postgres", port))
        yield server, port


def test_pgbouncer(tried: Tried, port: int, cluster: Path, tmp_path: Path) -> None:
    check = ready_made("pgbouncer", port)
    with backend_of(cluster) as (database, backend), running(pgbouncer(port, tmp_path, backend), tmp_path) as server:
        tried.life(check, "pgbouncer", server, ends=False)
        database.kill()
        tried.up(check, "pgbouncer", "its PostgreSQL is dead, but was there for an earlier login")
        server.kill()
        tried.closed(check, "pgbouncer")


def test_pgbouncer_that_never_reached_its_database_is_down(tried: Tried, port: int, tmp_path: Path) -> None:
    with running(pgbouncer(port, tmp_path, free_port()), tmp_path):
        tried.down_soon(hasty(ready_made("pgbouncer", port)), "pgbouncer", "never reached its PostgreSQL")


def test_pgbouncer_that_is_full_is_down(tried: Tried, port: int, cluster: Path, tmp_path: Path) -> None:
    check = ready_made("pgbouncer", port)
    with (
        backend_of(cluster) as (_, backend),
        running(pgbouncer(port, tmp_path, backend, "max_client_conn = 1"), tmp_path),
    ):
        wait_until_up(check)
        with logged_in(check, TERMINATE, READY_FOR_QUERY):
            tried.down(check, "pgbouncer", "has as many clients as `max_client_conn` allows")


# ---- MariaDB ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a MariaDB database, and return the folder of its files."""
    folder = tmp_path_factory.mktemp("mariadb")
    base = unpacked("bin/mariadb-install-db").parents[1]
    run(
        *as_nobody("mariadb-install-db"),
        *("--no-defaults", f"--basedir={base}", f"--datadir={folder}/data", "--skip-test-db"),
        *("--auth-root-authentication-method=normal", "--skip-name-resolve"),
        directory=folder,
    )
    return folder


ACCOUNT = "CREATE USER IF NOT EXISTS lvs@'%';"


def mariadb(port: int, folder: Path, *settings: str, accounts: str = ACCOUNT) -> list[str | Path]:
    (folder / "accounts.sql").write_text(f"{accounts}\n")
    base = unpacked("sbin/mariadbd").parents[1]
    return [
        *as_nobody("mariadbd"),
        *("--no-defaults", f"--basedir={base}", f"--datadir={folder}/data"),
        *("--bind-address=127.0.0.1", f"--port={port}", f"--socket={folder}/socket", f"--pid-file={folder}/pid"),
        *("--skip-name-resolve", "--innodb-buffer-pool-size=8M", f"--init-file={folder}/accounts.sql"),
        *(f"--{setting}" for setting in settings),
    ]


COM_QUIT = bytes.fromhex("01 00 00 00 01")
OK_PACKET = bytes.fromhex("07 00 00 02 00 00 00 02 00")


def test_mysql(tried: Tried, port: int, tables: Path) -> None:
    check = ready_made("mysql", port)
    with running(mariadb(port, tables, "max-connections=10"), tables) as server:
        wait_until_up(check)
        with contextlib.ExitStack() as clients:
            for _ in range(10):
                clients.enter_context(logged_in(check, COM_QUIT, OK_PACKET))
            tried.down(check, "mariadb-server", "has as many clients as `max_connections` allows")
        tried.life(check, "mariadb-server", server)


def test_mysql_that_is_read_only_is_up(tried: Tried, port: int, tables: Path) -> None:
    with running(mariadb(port, tables, "read-only"), tables):
        tried.up(ready_made("mysql", port), "mariadb-server", "is read-only")


def test_mysql_whose_account_is_locked_is_down(tried: Tried, port: int, tables: Path) -> None:
    locked = f"{ACCOUNT}\nALTER USER lvs@'%' ACCOUNT LOCK;"
    with running(mariadb(port, tables, accounts=locked), tables):
        tried.down_soon(ready_made("mysql", port), "mariadb-server", "the account is locked")


def test_mysql_without_the_account_is_down(tried: Tried, port: int, tables: Path) -> None:
    with running(mariadb(port, tables, accounts="DROP USER IF EXISTS lvs@'%';"), tables):
        tried.down_soon(ready_made("mysql", port), "mariadb-server", "the account is missing")
