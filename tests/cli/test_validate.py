from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lvs_healthd.cli.validate import validate
from lvs_healthd.config.load import load

TYPES = "http, https, tcp, udp, dns, grpc, sctp, ping, exec, agent or a ready-made check (see: lvs-healthd checks)"

GOOD = """
[[service]]
name = "web"
address = "192.0.2.100:80"
check = ["tcp", { type = "http", path = "/healthz" }]
real_server = ["198.51.100.11:80", "198.51.100.12:80"]

[[service]]
name = "dns"
address = "192.0.2.100:53"
protocol = "udp"
check = "udp"
real_server = ["198.51.100.13"]
"""


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(validate)
    return app


def write(tmp_path: Path, text: str) -> str:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return str(file)


def test_good_file_is_counted_on_one_line(app: typer.Typer, tmp_path: Path) -> None:
    file = write(tmp_path, GOOD)
    result = CliRunner().invoke(app, [file])
    assert (result.exit_code, result.stdout, result.stderr) == (
        0,
        f"{file}: ok: 2 services, 3 real servers, 5 checks\n",
        "",
    )


def test_one_of_each_is_said_in_the_singular(app: typer.Typer, tmp_path: Path) -> None:
    text = '[[service]]\naddress = "192.0.2.1:80"\ncheck = "tcp"\nreal_server = ["198.51.100.11"]\n'
    result = CliRunner().invoke(app, [write(tmp_path, text)])
    assert result.stdout.endswith(": ok: 1 service, 1 real server, 1 check\n")


def test_every_error_goes_to_stderr_with_exit_status_1(app: typer.Typer, tmp_path: Path) -> None:
    file = write(tmp_path, GOOD.replace('"udp"\nreal', '"upd"\nreal').replace("/healthz", "healthz"))
    result = CliRunner().invoke(app, [file])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        f'{file}:5: service "web": check[1].path: expected a path that starts with "/", got "healthz"',
        f'{file}:12: service "dns": check: expected {TYPES}, got "upd"; did you mean "udp"?',
    ]


def test_missing_file_says_so(app: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [str(tmp_path / "none.toml")])
    assert (result.exit_code, result.stderr) == (
        1,
        f"{tmp_path}/none.toml: cannot be read: No such file or directory\n",
    )


def test_effective_prints_a_configuration_that_loads_to_the_same(app: typer.Typer, tmp_path: Path) -> None:
    file = Path(write(tmp_path, GOOD))
    result = CliRunner().invoke(app, [str(file), "--effective"])
    assert result.exit_code == 0
    again = tmp_path / "again.toml"
    again.write_text(result.stdout)
    assert load(again) == load(file)
    assert 'interval = "2s"' in result.stdout


def test_file_defaults_to_the_installed_one(app: typer.Typer) -> None:
    assert "/etc/lvs-healthd/config.toml" in CliRunner().invoke(app, ["--help"]).stdout


LATE = GOOD.replace('check = ["tcp"', 'check = [{ type = "tcp", timeout = "3s" }')


def test_remark_goes_to_stderr_and_the_file_is_ok(app: typer.Typer, tmp_path: Path) -> None:
    file = write(tmp_path, LATE)
    result = CliRunner().invoke(app, [file])
    assert (result.exit_code, result.stdout) == (0, f"{file}: ok: 2 services, 3 real servers, 5 checks, 1 remark\n")
    assert result.stderr.startswith(f'remark: {file}:5: service "web": check[0].timeout: timeout 3s is above interval')
    assert CliRunner().invoke(app, [file, "--effective"]).stderr == result.stderr


def test_strict_takes_remarks_for_errors(app: typer.Typer, tmp_path: Path) -> None:
    file = write(tmp_path, LATE)
    result = CliRunner().invoke(app, [file, "--strict"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f'{file}:5: service "web": check[0].timeout: timeout 3s')
    assert CliRunner().invoke(app, [write(tmp_path, GOOD), "--strict"]).exit_code == 0


def test_remarks_follow_errors(app: typer.Typer, tmp_path: Path) -> None:
    file = write(tmp_path, LATE.replace('"udp"\nreal', '"upd"\nreal'))
    result = CliRunner().invoke(app, [file])
    assert [line.partition(": ")[0] for line in result.stderr.splitlines()] == [f"{file}:12", "remark"]
    strict = CliRunner().invoke(app, [file, "--strict"])
    assert [line.partition(": ")[0] for line in strict.stderr.splitlines()] == [f"{file}:12", f"{file}:5"]


def test_file_may_be_named_as_other_verbs_take_it(app: typer.Typer, tmp_path: Path) -> None:
    file = write(tmp_path, GOOD)
    assert CliRunner().invoke(app, ["--config", file]).stdout == CliRunner().invoke(app, [file]).stdout
    twice = CliRunner().invoke(app, [file, "--config", file])
    assert (twice.exit_code, twice.stdout) == (2, "")
    assert "name the file once" in twice.stderr


def test_what_is_wrong_with_each_server_of_one_line_is_told_once(app: typer.Typer, tmp_path: Path) -> None:
    servers = ", ".join(f'"127.0.0.{number}"' for number in range(1, 31))
    text = f'[[service]]\nname = "a"\naddress = "192.0.2.1:80"\ncheck = {{ type = "tcp" }}\nreal_server = [{servers}]\n'
    result = CliRunner().invoke(app, [write(tmp_path, text)])
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert 'service "a": real_server[0] and 29 more: the kernel drops what nat would send' in line
