"""`[[hook]]`: defaults, what does not fit together, and remarks."""

from pathlib import Path

import pytest

from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.hook_model import Hook, HookConvention, Mail
from lvs_healthd.config.load import parse
from lvs_healthd.config.model import Config

SERVICE = """
[[service]]
name = "web"
address = "192.0.2.100:80"
check = "tcp"
real_server = ["198.51.100.11"]
"""

URL = 'url = "http://hooks.example.org/"'
MON = 'command = ["/bin/true"]\nconvention = "mon"'
MAIL = 'mail = { to = "a@example.org", from = "b@example.org" }'


def read(*hooks: str) -> Config:
    return parse(SERVICE + "".join(f"[[hook]]\n{hook}\n" for hook in hooks), "c.toml")


def hook(text: str) -> Hook:
    (found,) = read(text).hooks
    return found


def errors(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read(text)
    return [error.split(": ", 1)[1] for error in raised.value.errors]


def remarks(text: str) -> list[str]:
    return [remark.split(": ", 1)[1] for remark in read(text).remarks]


def test_default_events_are_the_changes_that_somebody_may_have_to_act_on() -> None:
    assert hook('command = ["/bin/true"]').events == {
        *("real_server.down", "real_server.up", "fallback.down", "fallback.up", "brake.on", "brake.off"),
        *("service.fallback", "service.serving", "service.below", "service.enough"),
    }
    mon = hook('command = ["/bin/true"]\nconvention = "mon"')
    assert mon.events == {"real_server.down", "real_server.up", "fallback.down", "fallback.up"}


def test_each_way_to_tell_has_its_own_defaults() -> None:
    assert (hook('command = ["/bin/true"]').every, hook(MAIL).every) == (0.0, 30.0)
    assert hook('fifo = "/run/x"').convention is HookConvention.KEEPALIVED
    assert hook(MAIL).mail == Mail(to=("a@example.org",), sender="b@example.org")


def test_hooks_are_named_after_whom_they_tell() -> None:
    commands = ['command = ["/bin/true"]'] * 2
    found = read(*commands, 'url = "https://hooks.example.org:8443/x"', MAIL, 'fifo = "/run/x"', MAIL).hooks
    assert [each.name for each in found] == ["true", "true 2", "hooks.example.org", "mail", "fifo", "mail 2"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('on = ["real_server.down"]', "hook[0]: says not how to tell: command, url, mail or fifo is missing"),
        ('{MAIL}\nfifo = "/run/x"', "hook[0].fifo: mail and fifo exclude each other; keep one of them"),
        ('{MAIL}\non = ["real_server.gone"]', 'got "real_server.gone"; did you mean "real_server.down"?'),
        ('{MAIL}\non = ["hook.error"]', "hook[0].on[0]: no hook is told of what becomes of hooks"),
        ('{MON}\non = ["service.*"]', "hook[0].on[0]: mon has no words for service.*, only for fallback.down, "),
        ('{MAIL}\nconvention = "mon"', "hook[0].convention: mon runs programs; a hook with mail has no alert"),
        ('{URL}\nconvention = "keepalived"', "hook[0].convention: keepalived has scripts and a FIFO, and no url"),
        ('{MON}\nevery = "1m"', "hook[0].every: mon tells of one event at a time; several together need convention"),
        ('fifo = "/run/x"\nconvention = "json"\nevery = "1m"', "hook[0].every: a FIFO takes one line for each event"),
        ('command = ["/bin/true"]\nrepeat = "1m"', 'hook[0].repeat: only for convention = "mon"'),
        ('{MAIL}\nsecret_file = ""', "hook[0].secret_file: only for hooks with url"),
        ('command = ["true"]', 'hook[0].command[0]: expected the absolute path of a program, got "true"'),
        ('command = "/bin/true now"', 'because no shell splits them, got "/bin/true now"; write ["/bin/true", "now"]'),
        ('url = "ftp://x/"', 'hook[0].url: expected a URL such as "https://hooks.example.org/lvs", got "ftp://x/"'),
        (
            'url = "http://[x/"',
            'hook[0].url: expected a URL such as "https://hooks.example.org/lvs", got "http://[x/"',
        ),
        ('url = "http://me:hunter2@x/"', "hook[0].url: expected a URL without a password; sign requests with"),
        ('mail = { to = [], from = "a" }', "hook[0].mail.to: expected an address, or a list such as"),
        ('mail = { to = "a@x" }', 'hook[0].mail: from is missing: from = "oncall@example.org"'),
        ('mail = { to = "a@x\\nBcc: b", from = "a" }', "hook[0].mail.to[0]: expected an address such as"),
        ('mail = { to = "a", from = "a", relay = "mail" }', "hook[0].mail.relay: expected a host and port such as"),
        ('mail = { to = "a", from = "a", user = "u" }', "hook[0].mail: user and password_file belong together"),
        (
            'mail = { to = "a", from = "a", user = "u", password_file = "/etc/hostname" }',
            "hook[0].mail.user: a password is sent only to a relay that is verified",
        ),
        ('{URL}\nsecret_file = "/no/such"', "hook[0].secret_file: cannot use /no/such: No such file or directory"),
        (
            '{MON}\nexit_status = ["3-1"]',
            'hook[0].exit_status[0]: expected a status such as "1" or a range such as "3-5"',
        ),
        (
            '{MON}\nexit_status = ["0"]',
            'hook[0].exit_status[0]: expected a status such as "1" or a range such as "3-5"',
        ),
    ],
)
def test_what_is_wrong_is_an_error(text: str, error: str) -> None:
    found = errors(text.format(MAIL=MAIL, URL=URL, MON=MON) if text.startswith("{") else text)
    assert any(error in each for each in found), found
    assert "hunter2" not in str(found)


def test_two_hooks_have_two_names() -> None:
    with pytest.raises(ConfigError, match="hook on line 7 has this name too"):
        read(f'name = "a"\n{MAIL}', f'name = "a"\n{MAIL}')


def script(folder: Path, text: str) -> str:
    path = folder / "notify.sh"
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("text", "is_remarked"),
    [
        ("#!/bin/sh\n/sbin/ipvsadm -d -t 192.0.2.100:80 -r $6\n", True),
        ("#!/bin/sh\nif true; then\n  ipvsadm -e; fi\n", True),
        ("#!/bin/sh\n# ipvsadm is not called any more\nexit 0\n", False),
        ("#!/bin/sh\nmail root\n", False),
    ],
)
def test_script_that_calls_ipvsadm_is_remarked_on(tmp_path: Path, text: str, is_remarked: bool) -> None:
    path = script(tmp_path, text)
    found = remarks(f'command = ["{path}"]')
    remark = f"hook[0].command[0]: {path} has ipvsadm in it: what it does to the table is undone at the next resync"
    assert len(found) == is_remarked
    assert all(each.startswith(remark) for each in found)


def test_command_line_that_calls_ipvsadm_is_remarked_on() -> None:
    assert "has ipvsadm in it" in remarks('command = ["/bin/sh", "-c", "ipvsadm -C"]')[0]


def test_program_that_is_not_there_and_service_that_nobody_has_are_remarked_on(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    for path in ("/no/such", str(plain)):
        (found,) = remarks(f'command = ["{path}"]')
        assert found.endswith(f"{path} is no program that can be run here, so this hook will tell nobody")
    assert remarks(f'{MAIL}\nservices = ["web", "w*", "x*"]') == ['hook[0].services[2]: no service is called "x*"']
    assert remarks(f'{MAIL}\nchecks = ["tcp", "ht*"]') == ['hook[0].checks[1]: no check is called "ht*"']


def test_program_that_cannot_be_looked_at_deserves_no_remark(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon may not see into a folder that the programs' own user can enter."""

    known = Path.stat

    def refuse(path: Path, **options: bool) -> object:
        if str(path) == "/secret/notify":
            raise PermissionError(13, "Permission denied")
        return known(path, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    assert remarks('command = ["/secret/notify"]') == []


def test_secret_that_everybody_may_read_is_remarked_on(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    secret.chmod(0o644)
    (found,) = remarks(f'url = "https://x/"\nsecret_file = "{secret}"')
    assert found == f"hook[0].secret_file: everybody on this host can read this secret: chmod o-r {secret}"


HOOKS = (
    'command = ["/bin/true", "x"]\nenvironment = { A = "b" }\nservices = ["w*"]\nevery = "5s"',
    'url = "https://x/?a=b"\nevery = "1m"\ntimeout = "3s"\nin_shadow = true',
    MAIL,
    'mail = { to = ["a@x", "b"], from = "c", relay = "[2001:db8::1]:587", tls = "none" }\nevery = "0s"',
    'fifo = "/run/x"\non = ["service.*"]',
    'fifo = "/run/y"\nconvention = "json"',
    MON + '\nper = "group"\nrepeat = "10m"\nmost = 3\nexit_status = ["1", "3-5"]\nmon_group = "g"\nmon_service = "s"',
    'command = ["/bin/true"]\nconvention = "keepalived"\nservers = ["198.51.100.11:80"]\nchecks = ["tcp"]',
)


def test_effective_configuration_has_the_same_hooks() -> None:
    config = read(*HOOKS)
    assert len(config.hooks) == len(HOOKS)
    assert parse(to_toml(config), "c.toml").hooks == config.hooks


def test_effective_configuration_hides_secrets() -> None:
    text = to_toml(
        read('url = "https://x/y?token=hunter2"', 'command = ["/bin/true"]\nenvironment = { API_TOKEN = "hunter2" }')
    )
    assert "hunter2" not in text
    assert text.count("(hidden)") == 2
