"""Scripts, mails and FIFOs of keepalived become hooks."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.hook_model import Hook, HookConvention
from lvs_healthd.config.load import parse
from lvs_healthd.importers.draft import Imported
from tests.importers.keepalived.corpus import FILES, expectation, read_file
from tests.importers.keepalived.test_meaning import SERVER, SERVICE, made, refusals

ECHO = "/bin/echo"
OTHER = "real_server 198.51.100.12 80 {\n%s\n}\n"
ALL = ("service.fallback", "service.below", "service.serving", "service.enough")
MAIL = "global_defs {\nnotification_email {\na@example.org\nb@example.org\n}\n%s\n}\n"
FROM = "notification_email_from lb@example.org\nsmtp_server 192.0.2.25"


def hooks(text: str) -> tuple[tuple[Hook, ...], Imported]:
    """Return the hooks of a keepalived.conf, and all that is made of it."""
    found = made(text)
    return parse(found.text, "imported.toml").hooks, found


def lost(found: Imported) -> list[str]:
    """Return what is told as not carried over."""
    return [each.partition("not carried over: ")[2] for each in found.remarks if "not carried over: " in each]


def test_notify_scripts_are_hooks_of_their_server() -> None:
    inside = SERVER % f'notify_up "{ECHO} up"\nnotify_down "{ECHO} \'it is\' down"\nTCP_CHECK {{\n}}'
    found, imported = hooks(SERVICE % (inside + OTHER % "TCP_CHECK {\n}"))
    assert [(each.command, each.on, each.services, each.servers) for each in found] == [
        ((ECHO, "up"), ("real_server.up",), ("192.0.2.1:80/tcp",), ("198.51.100.11:80",)),
        ((ECHO, "it is", "down"), ("real_server.down",), ("192.0.2.1:80/tcp",), ("198.51.100.11:80",)),
    ]
    assert {each.convention for each in found} == {HookConvention.KEEPALIVED}
    assert lost(imported) == []


def test_a_script_that_all_servers_have_is_one_hook() -> None:
    script = f'notify_down "{ECHO} down"\nTCP_CHECK {{\n}}'
    first = SERVICE % (SERVER % script + OTHER % script)
    found, _ = hooks(first + first.replace("192.0.2.1", "192.0.2.2"))
    assert [(each.services, each.servers) for each in found] == [(("192.0.2.1:80/tcp", "192.0.2.2:80/tcp"), ("*",))]


def test_quorum_scripts_are_hooks_of_their_service() -> None:
    inside = f'quorum_up "{ECHO} up"\nquorum_down "{ECHO} down"\n' + SERVER % "TCP_CHECK {\n}"
    found, imported = hooks(SERVICE % inside)
    assert [(each.command[1], each.on) for each in found] == [
        ("up", ("service.serving", "service.enough")),
        ("down", ("service.fallback", "service.below")),
    ]
    (text,) = lost(imported)
    assert text.startswith("keepalived calls it at each of its starts too")


def test_services_of_marks_and_ranges_are_named_as_they_are_by_default() -> None:
    group = "virtual_server_group WEB {\n192.0.2.1-2 80\nfwmark 7\n}\n"
    server = SERVER % f'notify_down "{ECHO} down"\nTCP_CHECK {{\n}}'
    text = (
        group
        + f"virtual_server group WEB {{\nprotocol TCP\nlb_algo rr\nlb_kind NAT\n{server}{OTHER % 'TCP_CHECK {}'}}}\n"
    )
    names = {service.name for service in parse(made(text).text, "imported.toml").services}
    found, imported = hooks(text)
    assert {name for each in found for name in each.services} == names
    assert len(names) == 3
    assert any("it is called for each service of the group" in each for each in lost(imported))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (f'notify_down "{ECHO} down" root', "all programs run as one user"),
        ('notify_down "/nonexistent/script down"', "cannot be executed here"),
    ],
)
def test_what_a_script_has_otherwise_is_told(line: str, text: str) -> None:
    found, imported = hooks(SERVICE % (SERVER % f"{line}\nTCP_CHECK {{\n}}"))
    assert len(found) == 1
    assert [text in each for each in lost(imported)] == [True]


def test_a_script_without_its_path_or_with_an_unknown_user_is_refused() -> None:
    assert "user and group" in refusals(SERVICE % (SERVER % "notify_down /bin/echo nobody-at-all\nTCP_CHECK {}"))[0]
    assert "absolute path" in refusals(SERVICE % (SERVER % "notify_down echo\nTCP_CHECK {}"))[0]


def test_mails_about_all_servers_are_one_hook() -> None:
    service = SERVICE % (SERVER % "TCP_CHECK {\n}")
    (found,), imported = hooks(MAIL % FROM + service)
    assert found.mail is not None
    assert (found.mail.to, found.mail.sender) == (("a@example.org", "b@example.org"), "lb@example.org")
    assert found.mail.relay == "192.0.2.25:25"
    assert (found.every, found.on) == (Seconds(0), ("real_server.down", "real_server.up"))
    assert (found.services, found.servers) == (("192.0.2.1:80/tcp",), ("*",))
    assert lost(imported) == []


def test_mails_are_about_servers_and_services_that_say_so() -> None:
    inside = "smtp_alert on\n" + SERVER % "smtp_alert off\nTCP_CHECK {\n}" + OTHER % "TCP_CHECK {\n}"
    found, _ = hooks(MAIL % (FROM + " 2525\nsmtp_connect_timeout 20") + SERVICE % inside)
    assert [(each.on, each.servers) for each in found] == [
        (("real_server.down", "real_server.up"), ("198.51.100.12:80",)),
        (ALL, ("*",)),
    ]
    assert {each.mail.relay for each in found if each.mail} == {"192.0.2.25:2525"}
    assert {each.timeout for each in found} == {Seconds(20)}


@pytest.mark.parametrize("line", ["smtp_alert off", "smtp_alert_checker off\nsmtp_alert on"])
def test_global_smtp_alert_is_for_servers_that_say_nothing(line: str) -> None:
    found, imported = hooks(MAIL % f"{FROM}\n{line}" + SERVICE % (SERVER % "TCP_CHECK {\n}"))
    assert found == ()
    assert any("no mail is sent about servers" in each for each in lost(imported))


def test_without_a_server_for_mails_none_is_sent() -> None:
    found, imported = hooks(MAIL % "" + SERVICE % (SERVER % "smtp_alert\nTCP_CHECK {\n}"))
    assert found == ()
    assert imported.is_lossless
    assert sum("it needs notification_email and smtp_server" in each for each in imported.remarks) == 2


def test_a_sender_that_is_not_given_is_told() -> None:
    (found,), imported = hooks(MAIL % "smtp_server 2001:db8::25" + SERVICE % (SERVER % "TCP_CHECK {\n}"))
    assert found.mail is not None
    assert found.mail.sender.startswith("keepalived@")
    assert found.mail.relay == "[2001:db8::25]:25"
    assert any(f"{found.mail.sender} is written: look at it" in each for each in imported.remarks)


def test_an_address_that_no_hook_takes_is_told() -> None:
    text = MAIL.replace("a@example.org", '"Ops <a@example.org>"') % FROM
    found, imported = hooks(text + SERVICE % (SERVER % "TCP_CHECK {\n}"))
    assert found == ()
    assert any("write a [[hook]] with mail" in each for each in lost(imported))


def test_fifos_are_hooks_and_their_scripts_are_told() -> None:
    lines = "lvs_notify_fifo /run/a.fifo\nlvs_notify_fifo_script /bin/echo\nnotify_fifo /run/b.fifo"
    found, imported = hooks(f"global_defs {{\n{lines}\n}}\n" + SERVICE % (SERVER % "TCP_CHECK {\n}"))
    assert [(each.fifo, each.convention) for each in found] == [
        ("/run/a.fifo", HookConvention.KEEPALIVED),
        ("/run/b.fifo", HookConvention.KEEPALIVED),
    ]
    told = "\n".join(lost(imported))
    assert "starts no reader of the FIFO" in told
    assert told.count("keepalived tells of quorums at each of its starts") == 2
    assert told.count("the lines of VRRP") == 1


def understood(expected: dict[str, Any]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield the scripts that keepalived has understood: of what, when, and their words."""
    for service in expected["virtual_servers"]:
        for key, event in (("up", "service.serving"), ("down", "service.fallback")):
            if script := service.get(f"Quorum {key} notify script"):
                yield "", event, words(script)
        for server in service["real_servers"]:
            for key in ("up", "down"):
                if script := server.get(f"RS {key} notify script"):
                    address, port = re.findall(r"R(?:IP = )?([0-9a-f.:]+), RPORT = ([0-9]+)", f"RIP = {server['RIP']}")[
                        0
                    ]
                    yield f"{address}:{port}", f"real_server.{key}", words(script)


def words(script: str) -> tuple[str, ...]:
    """Return the words of a script. The folder of its program is that of a link's end in the dump."""
    program, *rest = re.findall(r"'([^']*)'", script)
    return (Path(program).name, *rest)


@pytest.mark.parametrize("file", [file for file in FILES if file.name != "scripts.conf"], ids=lambda file: file.stem)
def test_hooks_are_the_scripts_that_keepalived_understood(file: Path) -> None:
    config = read_file(file).config
    servers = {(service.name, str(server.endpoint)) for service in config.services for server in service.real_servers}
    mine = set()
    for hook in (each for each in config.hooks if each.command):
        command = (Path(hook.command[0]).name, *hook.command[1:])
        if hook.on[0].startswith("service."):
            mine.add(("", hook.on[0], command))
            continue
        of_hook = {server for service, server in servers if service in hook.services}
        for server in of_hook if hook.servers == ("*",) else of_hook & set(hook.servers):
            mine.add((server, hook.on[0], command))
    assert mine == set(understood(expectation(file)))


@pytest.mark.parametrize("where", ["alpha\n", ""])
def test_calls_of_notify_up_at_a_start_with_alpha_are_told(where: str) -> None:
    server = SERVER % f'notify_up "{ECHO} up"\nTCP_CHECK {{\n}}'
    told = [each for each in lost(hooks(SERVICE % (where + server))[1]) if "with alpha, keepalived calls it" in each]
    assert len(told) == bool(where)
