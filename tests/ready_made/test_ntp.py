"""ntpd, which needs a network of its own: its port is fixed."""

from pathlib import Path

import pytest

from tests.ready_made.checks import accepts, ready_made, stream
from tests.ready_made.own_network import in_own_network


def test_ntp_server_is_up_once_it_is_synchronised(tmp_path: Path) -> None:
    assert in_own_network("ntp", tmp_path) == {"unsynchronised": False, "synchronised": True}


HEADER = bytes.fromhex("24 05 00 e8") + bytes(44)


@pytest.mark.parametrize(
    ("answer", "up"),
    [
        (HEADER, True),
        (b"\x1c" + HEADER[1:], True),  # version 3
        (b"\x64" + HEADER[1:], True),  # a leap second is coming
        (b"\xe4" + HEADER[1:], False),  # leap 3: not synchronised
        (b"\x23" + HEADER[1:], False),  # our own question come back
        (b"\x14" + HEADER[1:], False),  # version 2
        (HEADER[:1] + b"\x00" + HEADER[2:], False),  # kiss of death
        (HEADER[:1] + b"\x0f" + HEADER[2:], True),
        (HEADER[:1] + b"\x10" + HEADER[2:], False),  # stratum 16
        (HEADER[:-1], False),
        (HEADER + b"\n", False),
        (b"\n" + HEADER, False),
        (HEADER.replace(b"\x00", b"\n"), True),  # any byte is fine in a timestamp
    ],
)
def test_ntp_answer(answer: bytes, up: bool) -> None:
    assert accepts(ready_made("ntp", 123), answer) is up


def test_ntp_question_is_a_client_packet() -> None:
    check = stream(ready_made("ntp", 123))
    assert (len(check.send), check.send[0]) == (48, 0x23)
    assert check.interval >= 8  # what a server that limits its clients puts up with
