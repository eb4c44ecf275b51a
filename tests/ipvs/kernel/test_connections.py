"""The kernel's list of connections, as Linux 6.1 writes it."""

from pathlib import Path

import pytest

from lvs_healthd.ipvs.interface import TableUnavailableError
from lvs_healthd.ipvs.kernel.connections import Connection, blocks, chooser, decode
from lvs_healthd.ipvs.records import ServiceKey
from lvs_healthd.ipvs.words import AF_INET, IPPROTO_TCP
from lvs_healthd.runtime.netns import Netns
from tests.ipvs.tables import MARK, WEB, server

HEADING = b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
LINE = b"TCP C0000202 D1F2 C0000264 0050 C633640B 0050 FIN_WAIT        117\n"
TEMPLATE = b"IP  C0000202 0000 00000007 0000 C633640C 1F90 NONE            299 sip Call-ID: a b\n"
SIX = (
    b"UDP 2001:0db8:0001:0000:0000:0000:0000:0002 D1F2 2001:0db8:0000:0000:0000:0000:0000:0053 0035 "
    b"2001:0db8:0002:0000:0000:0000:0000:000b 0035 UDP               3\n"
)
DNS6 = ServiceKey(10, 17, "2001:db8::53", 53)


def test_lines_are_decoded() -> None:
    assert decode(LINE) == Connection(
        protocol="tcp",
        expires_s=117,
        state="FIN_WAIT",
        client="192.0.2.2:53746",
        virtual="192.0.2.100:80",
        destination="198.51.100.11:80",
        engine="",
    )
    template = decode(TEMPLATE)
    assert (template.protocol, template.client, template.virtual) == ("ip", "192.0.2.2:0", "0.0.0.7:0")
    assert (template.destination, template.engine) == ("198.51.100.12:8080", "sip Call-ID: a b")
    assert decode(SIX).client == "[2001:db8:1::2]:53746"
    assert decode(SIX).destination == "[2001:db8:2::b]:53"


@pytest.mark.parametrize(
    "line", [b"", b"TCP C0000202\n", LINE.replace(b"117", b"soon"), LINE.replace(b"0050", b"xx"), HEADING]
)
def test_what_is_no_line_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # any ValueError will do
        decode(line)


def test_lines_are_chosen_by_service() -> None:
    lines = [LINE, TEMPLATE, SIX]
    everything_on_it = ServiceKey(AF_INET, IPPROTO_TCP, WEB.address, 0)
    assert [line for line in lines if chooser(WEB, [])(line)] == [LINE]
    assert [line for line in lines if chooser(everything_on_it, [])(line)] == [LINE]
    assert [line for line in lines if chooser(DNS6, [])(line)] == [SIX]
    other_port = ServiceKey(AF_INET, IPPROTO_TCP, WEB.address, 81)
    assert [line for line in lines if chooser(other_port, [])(line)] == []


def test_lines_of_a_mark_are_those_to_its_servers() -> None:
    lines = [LINE, TEMPLATE, SIX, b"\n"]
    exact = chooser(MARK, [server("198.51.100.12", port=8080).key])
    assert [line for line in lines if exact(line)] == [TEMPLATE]
    any_port = chooser(MARK, [server("198.51.100.11", port=0).key, server("198.51.100.12", port=80).key])
    assert [line for line in lines if any_port(line)] == [LINE]


def test_blocks_are_whole_lines_without_the_heading(tmp_path: Path) -> None:
    file = tmp_path / "ip_vs_conn"
    file.write_bytes(HEADING + LINE * 5000)
    found = list(blocks(Netns(), file))
    assert b"".join(found) == LINE * 5000
    assert len(found) > 5
    assert all(block.endswith(b"\n") for block in found)


@pytest.mark.parametrize("text", [b"", HEADING])
def test_empty_list_has_no_blocks(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "ip_vs_conn"
    file.write_bytes(text)
    assert list(blocks(Netns(), file)) == []


def test_list_that_is_not_there_says_which(tmp_path: Path) -> None:
    with pytest.raises(TableUnavailableError, match=r"ip_vs_conn: No such file or directory"):
        next(blocks(Netns(), tmp_path / "ip_vs_conn"))
