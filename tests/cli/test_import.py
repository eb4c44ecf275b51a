"""`lvs-healthd import` and `export`."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lvs_healthd.cli.export import export
from lvs_healthd.cli.import_ import import_
from lvs_healthd.config.load import load, parse
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


MON = """\
hostgroup server1 198.51.100.11

watch server1
    service http
        interval 10s
        monitor http.monitor -t 5
        period
            alert ipvs.alert -P tcp -V 192.0.2.1:80 -R 198.51.100.11:80
            upalert ipvs.alert -P tcp -V 192.0.2.1:80 -R 198.51.100.11:80 -W 2 -F nat -B -S wrr
"""


def test_mon_without_loss(app: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "mon.cf").write_text(MON)
    result = CliRunner().invoke(app, ["import", "mon", str(tmp_path / "mon.cf")])
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"# from {tmp_path}/mon.cf, lines 1 and 4-9\n[[service]]\n" in result.stdout


def test_mon_with_a_table_and_a_loss(app: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "mon.cf").write_text(MON.replace("ipvs.alert -P", "lvs.alert -P"))
    (tmp_path / "rules").write_text("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 198.51.100.11:80 -m\n")
    arguments = ["import", "mon", str(tmp_path / "mon.cf"), "--table", str(tmp_path / "rules")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert f"lvs-healthd import: {tmp_path}/mon.cf:8: not carried over: none of alertdir's folders" in result.stderr
    assert result.stderr.endswith(
        "lvs-healthd import: not all is carried over; see above, and use --lossy to accept that\n"
    )
    assert CliRunner().invoke(app, [*arguments, "--lossy"]).exit_code == 0


def test_mon_with_scripts_is_without_loss(app: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "mon.cf").write_text("alertdir = /none\n\n" + MON.replace("ipvs.alert -P", "lvs.alert -P"))
    (tmp_path / "rules").write_text("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 198.51.100.11:80 -m\n")
    arguments = ["import", "mon", str(tmp_path / "mon.cf"), "--table", str(tmp_path / "rules")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert "[[hook]]\n" in result.stdout


def test_mon_says_what_is_missing_and_what_to_type(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["import", "mon", "-"], input=MON.replace("ipvs.alert -P", "lvs.alert -P"))
    assert result.exit_code == 1
    assert '# missing: address = "VIP:PORT"' in result.stdout
    assert "ipvsadm -Sn > FILE, and import again with --table FILE" in result.stderr
    assert 'service "server1": address is missing' in result.stderr


def test_mon_that_mon_refuses_is_refused_with_the_line(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["import", "mon", "-"], input=MON.replace("10s", "10s # fast"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("standard input:5: refused: interval: expected a number with a unit")


def test_missing_file(app: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["import", "ipvsadm", str(tmp_path / "no")])
    assert (result.exit_code, result.stderr) == (1, f"lvs-healthd import: {tmp_path}/no: No such file or directory\n")


def test_what_only_the_kernel_takes_is_printed_and_told(app: typer.Typer) -> None:
    lines = "-A -t 192.0.2.1:80 -p 300 --pe sip\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m\n"
    result = CliRunner().invoke(app, ["import", "ipvsadm", "-"], input=lines)
    assert result.exit_code == 1
    assert "[[service]]" in result.stdout
    assert "the kernel's sip engine reads udp only, not tcp" in result.stderr


KEEPALIVED = """virtual_server 192.0.2.1 80 {
    protocol TCP
    lb_algo rr
    lb_kind NAT
    real_server 198.51.100.1 80 {
        TCP_CHECK {
        }
    }
}
"""


def test_keepalived_configuration_becomes_one_that_loads(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["import", "keepalived", "-"], input=KEEPALIVED)
    assert (result.exit_code, result.stderr) == (0, "")
    (made,) = parse(result.stdout, "printed").services
    assert (made.name, made.scheduler) == ("192.0.2.1:80/tcp", "rr")


def test_what_is_not_carried_over_fails_unless_it_is_accepted(app: typer.Typer) -> None:
    text = KEEPALIVED.replace("TCP_CHECK {", "TCP_CHECK {\n            bind_port 4000")
    result = CliRunner().invoke(app, ["import", "keepalived", "-"], input=text)
    assert result.exit_code == 1
    assert "[[service]]" in result.stdout
    assert "standard input:7: not carried over: a probe cannot be bound to a port" in result.stderr
    assert CliRunner().invoke(app, ["import", "keepalived", "-", "--lossy"], input=text).exit_code == 0


def test_what_is_refused_is_not_printed(app: typer.Typer) -> None:
    text = KEEPALIVED.replace("protocol TCP", "protocol TCP\n    delay_loop 10s")
    result = CliRunner().invoke(app, ["import", "keepalived", "-", "--lossy"], input=text)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("standard input:3: refused: keepalived takes '10s' for 10 microseconds")


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


LDIRECTORD = "virtual=192.0.2.1:80\n\treal=198.51.100.1:80 masq\n"


def test_ldirectord_becomes_a_configuration_that_loads(app: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["import", "ldirectord", "-"], input=LDIRECTORD)
    assert (result.exit_code, result.stderr) == (0, "")
    (tmp_path / "config.toml").write_text(result.stdout)
    (made,) = load(tmp_path / "config.toml").services
    assert (made.scheduler, made.real_servers[0].checks[0].fall) == ("wrr", 1)


def test_loss_fails_unless_it_is_accepted(app: typer.Typer) -> None:
    text = f"autoreload=yes\n{LDIRECTORD}"
    result = CliRunner().invoke(app, ["import", "ldirectord", "-"], input=text)
    assert (result.exit_code, result.stdout.count("[[service]]")) == (1, 1)
    assert "standard input:1: not carried over" in result.stderr
    assert CliRunner().invoke(app, ["import", "ldirectord", "-", "--lossy"], input=text).exit_code == 0


def test_check_that_is_missing_fails_also_if_loss_is_accepted(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["import", "ldirectord", "-", "--lossy"], input=f"{LDIRECTORD}\tchecktype=on\n")
    assert (result.exit_code, result.stdout.count("# A check is missing")) == (1, 1)


def test_what_ldirectord_refuses_is_refused(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["import", "ldirectord", "-"], input=f"{LDIRECTORD}nonsense\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("standard input:3: refused: ")
