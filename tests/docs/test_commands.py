"""Every command in the documentation is known, and can be what it looks like.

Those of lvs-healthd are read by its own command line, targets of make are in the Makefile, events and units exist.
tests/docs/test_played.py and test_laptop.py run commands too.
"""

from pathlib import Path

import pytest

from tests.docs.known import problem
from tests.docs.pages import PAGES, commands, name


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_are_right(page: Path) -> None:
    found = list(commands(page))
    assert [f"{command}: {told}" for command in found if (told := problem(command.words))] == []


def test_commands_are_found() -> None:
    found = [command.words for page in PAGES for command in commands(page)]
    assert len(found) > 250
    assert ("make", "demo") in found
    assert ("jq", "-r", ".reason") in found
    assert ("lvs-healthd", "drain", "web*", "*.11:*") in found  # within the text


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("lvs-healthd drian web", "no verb 'drian'"),
        ("lvs-healthd status --al", "No such option: --al"),
        ("lvs-healthd why", "Missing argument 'service'"),
        ("lvs-healthd run --table paper", "Invalid value for '--table'"),
        ("make dmeo", "make knows no ['dmeo']"),
        ("make soak HOURS=1", "make knows no ['HOURS']"),
        ("curl -s http://127.0.0.1:9880/metric", "no endpoint /metric"),
        ("journalctl LVS_EVENT=table.drfit", "no event is called table.drfit"),
        ("systemctl restart lvs-helthd", "no unit ['lvs-helthd']"),
        ("sysctl -w net.ipv4.ip_forward", "no setting"),
        ("birdc disable router*", "birdc does not understand"),
        ("cat examples/rpd.toml", "no such file: ['examples/rpd.toml']"),
        ("ipvsdam -Ln", "ipvsdam is not known"),
    ],
)
def test_a_wrong_command_is_found(command: str, told: str) -> None:
    assert problem(command.split()).startswith(told)
