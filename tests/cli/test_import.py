"""`lvs-healthd import` and `export`."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lvs_healthd.cli.export import export
from lvs_healthd.cli.import_ import import_
from lvs_healthd.config.load import load
from lvs_healthd.importers.ipvsadm import table_of
from tests.cli.conftest import Daemon
from tests.ipvs.tables import entry, server, service, table

SAVED = "-A -t 192.0.2.1:80 -s wrr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 3\n"


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command("import")(import_)
    app.command("export")(export)
    return app


def test_saved_table_becomes_a_configuration_that_loads(app: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "rules").write_text(SAVED)
    result = CliRunner().invoke(app, ["import", "ipvsadm", str(tmp_path / "rules")])
    assert (result.exit_code, result.stderr) == (0, "")
    (tmp_path / "config.toml").write_text(result.stdout)
    (made,) = load(tmp_path / "config.toml").services
    assert (made.name, made.scheduler, made.real_servers[0].weight) == ("192.0.2.1:80/tcp", "wrr", 3)


def test_standard_input(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["import", "ipvsadm", "-"], input=SAVED)
    assert result.stdout.startswith("# Made from standard input (ipvsadm)")


def test_wrong_lines_are_told_and_nothing_printed(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["import", "ipvsadm", "-"], input=SAVED + "-A -t nonsense:\n-Z\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert [line.partition(": ")[0] for line in result.stderr.splitlines()] == ["standard input:3", "standard input:4"]


LISTING = """IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  192.0.2.1:80 wrr persistent 300
  -> 10.0.0.1:80                  Masq    3      0          0
FWM  7 rr
"""


@pytest.mark.parametrize("first", range(6))
def test_listing_for_people_is_refused_with_what_to_type(app: typer.Typer, first: int) -> None:
    text = "".join(LISTING.splitlines(keepends=True)[first:])
    result = CliRunner().invoke(app, ["import", "ipvsadm", "-"], input=text)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "standard input:1: this is a listing for people, as `ipvsadm -Ln` prints it; give what `ipvsadm -Sn` writes: "
        "ipvsadm -Sn | lvs-healthd import ipvsadm -\n"
    )


def test_missing_file(app: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["import", "ipvsadm", str(tmp_path / "no")])
    assert (result.exit_code, result.stderr) == (1, f"lvs-healthd import: {tmp_path}/no: No such file or directory\n")


def test_what_only_the_kernel_takes_is_printed_and_told(app: typer.Typer) -> None:
    lines = "-A -t 192.0.2.1:80 -p 300 --pe sip\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m\n"
    result = CliRunner().invoke(app, ["import", "ipvsadm", "-"], input=lines)
    assert result.exit_code == 1
    assert "[[service]]" in result.stdout
    assert "the kernel's sip engine reads udp only, not tcp" in result.stderr


def test_export_is_the_wanted_table_unless_asked_for_the_actual(app: typer.Typer, daemon: Daemon) -> None:
    daemon.wanted = table(entry(service(), server("10.0.0.1", upper_threshold=9)))
    result = CliRunner().invoke(app, ["export", "--control", str(daemon.control)])
    assert result.exit_code == 0
    assert table_of(result.stdout.splitlines(), "exported") == daemon.wanted
    assert CliRunner().invoke(app, ["export", "--actual", "--control", str(daemon.control)]).stdout == ""


def test_export_without_a_daemon_says_so(app: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["export", "--control", str(tmp_path / "none.sock")])
    assert result.exit_code == 4
    assert "the daemon is not running" in result.stderr
