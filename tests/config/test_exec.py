"""The keys of exec checks, and where their programs run."""

from pathlib import Path

import pytest

from lvs_healthd.config.check_model import Convention, ExecCheck, MonNames, Per
from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.load import parse
from lvs_healthd.config.reuse import LastReading
from tests.config.reading import checks_of, errors_of, read, service

CHECK = '{ type = "exec", command = ["/bin/check", "-H", "{address}"], convention = "nagios" }'
BEHIND_A_MARK = '[[service]]\nfwmark = 7\ncheck = {check}\nreal_server = ["198.51.100.11"]\n'


def exec_check(text: str) -> ExecCheck:
    (found,) = checks_of(text)
    assert isinstance(found, ExecCheck)
    return found


def test_keys_are_read_and_the_times_are_its_own() -> None:
    found = exec_check(service(check=CHECK))
    assert (found.command, found.convention) == (("/bin/check", "-H", "{address}"), Convention.NAGIOS)
    assert (found.timeout, found.interval, found.port) == (5.0, 10.0, 80)
    assert exec_check('[defaults.check]\ninterval = "3s"\n' + service(check=CHECK)).interval == 3.0
    assert exec_check(BEHIND_A_MARK.format(check=CHECK)).port == 0


def test_programs_run_beside_the_control_socket_or_where_the_file_says() -> None:
    assert exec_check(service(check=CHECK)).helper == "/run/lvs-healthd/exec.sock"
    daemon = '[daemon]\ncontrol = "/tmp/x/control.sock"\n'
    assert exec_check(daemon + service(check=CHECK)).helper == "/tmp/x/exec.sock"
    assert exec_check(daemon + 'exec_socket = "/run/e.sock"\n' + service(check=CHECK)).helper == "/run/e.sock"


def test_another_socket_is_another_service_for_a_reload() -> None:
    memory = LastReading()
    before = parse(service(check=CHECK), "c.toml", memory=memory)
    after = parse('[daemon]\nexec_socket = "/run/e.sock"\n' + service(check=CHECK), "c.toml", memory=memory)
    assert before.services[0] != after.services[0]


@pytest.mark.parametrize(
    ("keys", "messages"),
    [
        ('convention = "mon"', [
            'check.type: command is missing: the program to run, as in command = ["/usr/local/bin/check"]',
        ]),
        ('command = ["/bin/true"]', [
            ('check.type: convention is missing: which exit statuses pass, those of "nagios" (0 and 1), or of "mon" or '
             '"keepalived" (only 0)'),
        ]),
        ('command = "/bin/check -p 80", convention = "mon"', [
            ('check.command: expected a list of words, because no shell splits them, got "/bin/check -p 80"; '
             'write ["/bin/check", "-p", "80"]'),
        ]),
        ('command = ["check"], convention = "mon"', [
            (
                "check.command[0]: expected the absolute path of a program, or the name of an executable beside the "
                'ready-made checks, got "check"'
            ),
        ]),
        ('command = ["/bin/check", 80], convention = "mon"', ["check.command[1]: expected a string, got 80"]),
        ('command = ["/bin/check", "a\\u0000"], convention = "mon"', [
            'check.command[1]: expected a word without a NUL byte, got "a\\u0000"',
        ]),
        ('command = ["bin/check"], convention = "mon"', [
            'check.command[0]: expected the absolute path of a program, got "bin/check"',
        ]),
        ('command = ["/bin/check"], convention = "nagios", per = "group"', [
            'check.per: one run for all servers needs convention = "mon", in which a program says which of them failed',
        ]),
        ('command = ["/bin/check", "-H{address}"], convention = "mon", per = "group"', [
            "check.per: one run for all servers has no {address}; leave it out, because all addresses are appended",
        ]),
        ('command = ["/bin/check"], convention = "mon", per = "all"', [
            'check.per: expected server or group, got "all"',
        ]),
        ('command = ["/bin/check"], convention = "mon", environment = ["A=b"]', [
            'check.environment: expected a table such as { COMMUNITY = "public" }, got an array',
        ]),
        ('command = ["/bin/check"], convention = "mon", environment = { "A=B" = "", a = 1, my_token = "\\u0000" }', [
            'check.environment."A=B": expected a name of letters, digits and underscores, got "A=B"',
            "check.environment.a: expected a string, got 1",
            'check.environment.my_token: expected a string without a NUL byte, got "(hidden)"',
        ]),
        ('command = ["/bin/check"], convention = "sh"', [
            'check.convention: expected nagios, mon or keepalived, got "sh"',
        ]),
    ],
)  # fmt: skip
def test_exec_check_that_cannot_be(keys: str, messages: list[str]) -> None:
    found = errors_of(service(check=f'{{ type = "exec", {keys} }}'))
    assert found == [f'c.toml:4: service "web": {message}' for message in messages]


def test_program_beside_the_ready_made_checks_needs_no_path(tmp_path: Path) -> None:
    """The folder beside the file comes first, and what has no permission to run does not count."""
    first, second = tmp_path / "one", tmp_path / "two"
    for folder, mode in ((first, 0o644), (second, 0o755)):
        folder.mkdir()
        (folder / "own.monitor").write_text("#!/bin/sh\n")
        (folder / "own.monitor").chmod(mode)
    text = service(check='{ type = "exec", command = ["own.monitor", "-p", "{port}"], convention = "mon" }')
    memory = LastReading()

    def command() -> tuple[str, ...]:
        (found,) = parse(text, "c.toml", checks_dirs=(first, second), memory=memory).services[0].real_servers[0].checks
        assert isinstance(found, ExecCheck)
        return found.command

    assert command() == (str(second / "own.monitor"), "-p", "{port}")
    before = parse(text, "c.toml", checks_dirs=(first, second), memory=memory).services[0]
    assert parse(text, "c.toml", checks_dirs=(first, second), memory=memory).services[0] is before
    (first / "own.monitor").chmod(0o755)
    assert command() == (str(first / "own.monitor"), "-p", "{port}")  # a reload finds it, too


def test_program_of_a_ready_made_check_is_found_like_it(tmp_path: Path) -> None:
    (tmp_path / "own.monitor").write_text("#!/bin/sh\n")
    (tmp_path / "own.monitor").chmod(0o755)
    (tmp_path / "own.toml").write_text(
        'description = "Own."\ntype = "exec"\ncommand = ["own.monitor"]\nconvention = "mon"\n'
    )
    check = '{ type = "own", environment = { LIMIT = "5" } }'
    (found,) = parse(service(check=check), "c.toml", checks_dirs=(tmp_path,)).services[0].real_servers[0].checks
    assert isinstance(found, ExecCheck)
    assert (found.command, found.environment) == ((str(tmp_path / "own.monitor"),), (("LIMIT", "5"),))
    assert found.mon == MonNames(group="web", service="own")


def test_group_and_variables_are_read_and_shown_without_secrets() -> None:
    keys = 'convention = "mon", per = "group", environment = { A = "1", MY_PASSWORD = "hush" }'
    config = read(service(check=f'{{ type = "exec", command = ["/bin/check"], {keys} }}'))
    (found,) = config.services[0].real_servers[0].checks
    assert isinstance(found, ExecCheck)
    assert (found.per, found.environment) == (Per.GROUP, (("A", "1"), ("MY_PASSWORD", "hush")))
    shown = to_toml(config)
    assert "hush" not in shown
    assert 'A = "1"' in shown


def test_effective_configuration_loads_to_the_same() -> None:
    config = read(service(check=CHECK))
    assert read(to_toml(config)).services == config.services
