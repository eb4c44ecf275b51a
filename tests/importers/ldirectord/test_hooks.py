"""Mails and fallback commands of ldirectord become hooks."""

import pytest

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.hook_model import HookConvention
from lvs_healthd.importers.account import Fate
from tests.importers.ldirectord.files import config, lines_with, read, refused, remarks
from tests.importers.ldirectord.test_reading import BLOCK, block

EXACT = "emailalert=a@example.org\nemailalertfrom=lb@example.org\nemailalertstatus=running\nsmtp=192.0.2.25\n"
CHANGES = ("real_server.down", "real_server.up")
FALLBACK = ("service.fallback", "service.serving")


def test_mails_about_changes_become_one_hook() -> None:
    reading = read(f"{EXACT}{BLOCK}{BLOCK.replace('192.0.2.1', '192.0.2.2')}")
    (hook,) = config(reading).hooks
    assert hook.mail is not None
    assert (hook.mail.to, hook.mail.sender, hook.mail.relay) == (("a@example.org",), "lb@example.org", "192.0.2.25:25")
    assert (hook.every, hook.on) == (Seconds(0), CHANGES)
    assert hook.services == tuple(service.name for service in config(reading).services)
    assert reading.account.is_lossless


def test_what_the_block_says_counts_before_the_top_of_the_file() -> None:
    own = block('emailalert="b@example.org, c@example.org"', "fallback=127.0.0.1:80 gate").replace("2.1", "2.2")
    first, second = config(read(f"{EXACT}{BLOCK}{own}")).hooks
    assert first.mail is not None
    assert second.mail is not None
    assert (first.mail.to, first.on) == (("a@example.org",), CHANGES)
    assert (second.mail.to, second.on) == (("b@example.org", "c@example.org"), CHANGES + FALLBACK)


def test_without_smtp_and_sender_the_host_itself_is_asked() -> None:
    reading = read(f"emailalert=a@example.org\nemailalertstatus=running\n{BLOCK}")
    (hook,) = config(reading).hooks
    assert hook.mail is not None
    assert hook.mail.relay == "127.0.0.1:25"
    assert hook.mail.sender.startswith("root@")
    assert reading.account.is_lossless
    told = "\n".join(reading.account.remarks())
    assert f"{hook.mail.sender}; look at it" in told
    assert "127.0.0.1:25" in told


@pytest.mark.parametrize(
    ("line", "fate", "text", "count"),
    [
        ("emailalertstatus=all", Fate.DROPPED, "starts, stops and reloads", 1),
        ("emailalertstatus=starting,stopping", Fate.DROPPED, "about changes only", 0),
        ("emailalertstatus=none", Fate.IGNORED, "no mail is sent", 0),
        ("emailalertstatus=running\nemailalertfreq=60", Fate.DROPPED, "again every 60 s", 1),
    ],
)
def test_what_mails_have_otherwise_is_told(line: str, fate: Fate, text: str, count: int) -> None:
    reading = read(f"emailalert=a@example.org\n{line}\n{BLOCK}")
    assert len(config(reading).hooks) == count
    assert lines_with(reading, fate) >= {1 + len(line.splitlines())}
    assert text in "\n".join(reading.account.remarks())


def test_an_address_that_no_hook_takes_is_told() -> None:
    reading = read(f'emailalert="Ops <a@example.org>"\n{BLOCK}')
    assert config(reading).hooks == ()
    assert 1 in lines_with(reading, Fate.DROPPED)


def test_fallback_command_is_called_with_the_words_of_ldirectord() -> None:
    reading = read(block('fallbackcommand="/usr/local/bin/sorry -q"'))
    start, stop = config(reading).hooks
    assert start.command == ("/usr/local/bin/sorry", "-q", "start", "192.0.2.1:80", "tcp")
    assert stop.command[2:] == ("stop", "192.0.2.1:80", "tcp")
    assert (start.on, stop.on) == (("service.fallback",), ("service.serving",))
    assert {start.convention, stop.convention} == {HookConvention.KEEPALIVED}
    assert "also calls it at its start" in "\n".join(reading.account.remarks())


def test_quotes_outside_a_block_are_asked_about() -> None:
    """ldirectord takes them off in a block only. Its shell then looks for a program with a blank in its name."""
    reading = read(f'fallbackcommand="/bin/sorry -q"\n{BLOCK}')
    assert refused(reading) == {1}
    assert "what was meant? Leave the quotes out" in remarks(reading)


@pytest.mark.parametrize("command", ["sorry", "/bin/sorry > /tmp/log", "/bin/sorry 'x"])
def test_fallback_command_that_needs_a_shell_is_told(command: str) -> None:
    reading = read(f"fallbackcommand={command}\n{BLOCK}")
    assert config(reading).hooks == ()
    assert lines_with(reading, Fate.DROPPED) == {1}
