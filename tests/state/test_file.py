"""The state file is either the old one or the whole new one. Unreadable content is put aside and not lost."""

import errno
import os
import re
from pathlib import Path

import msgspec
import pytest

from lvs_healthd.ipvs.records import DestinationKey, ServiceKey
from lvs_healthd.ipvs.words import AF_INET, IPPROTO_TCP
from lvs_healthd.state.file import (
    Lease,
    Ours,
    Saved,
    SavedDrain,
    SavedFlaps,
    SavedPlace,
    SavedVerdict,
    SharedService,
    read_state,
    write_state,
)
from lvs_healthd.state.safe_file import StateFileError

KEY = ServiceKey(AF_INET, IPPROTO_TCP, "192.0.2.100", 80)
VERDICT = SavedVerdict(
    service="192.0.2.100:80/tcp", server="198.51.100.11:80", check="http", verdict="down", detail="x", since=1.5
)


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.json"
    shared = (SharedService(KEY, (DestinationKey(AF_INET, "198.51.100.11", 80),)),)
    write_state(path, Ours(frozenset({KEY}), shared), [VERDICT], 1_700_000_000.5)
    saved = read_state(path)
    assert saved == Saved(owned=(KEY,), shared=shared, verdicts=(VERDICT,), written=1_700_000_000.5)
    assert saved.by_check()["192.0.2.100:80/tcp", "198.51.100.11:80", "http"] is saved.verdicts[0]
    assert [each.name for each in path.parent.iterdir()] == ["state.json"]


def test_what_the_maintenance_folder_drained_comes_back(tmp_path: Path) -> None:
    drained = (
        SavedDrain(path="/m/198.51.100.11", since=1.5, addresses=("198.51.100.11",)),
        SavedDrain(path="/m/db1:80", since=2.5, host="db1", port=80, addresses=("198.51.100.12", "2001:db8::1")),
    )
    write_state(tmp_path / "state.json", Ours(maintenance=drained), [])
    assert read_state(tmp_path / "state.json").maintenance == drained


def test_announced_addresses_come_back(tmp_path: Path) -> None:
    places = (SavedPlace("lvs0", "192.0.2.100"), SavedPlace("lvs1", "2001:db8::100"))
    write_state(tmp_path / "state.json", Ours(announced=places), [])
    assert read_state(tmp_path / "state.json").announced == places


def test_absent_file_is_empty(tmp_path: Path) -> None:
    assert read_state(tmp_path / "state.json") == Saved()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": "x"}', b"\xff\xfe", b'{"verdicts": [{}]}'])
def test_unusable_content_is_put_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(content)
    with pytest.raises(StateFileError, match=r"state\.json: not a state file .*put aside as .*state\.json\.bad"):
        read_state(path)
    assert not path.exists()
    assert (tmp_path / "state.json.bad").read_bytes() == content


def test_shadow_leaves_a_file_alone_that_it_does_not_understand(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text('{"format": 99}')
    with pytest.raises(StateFileError, match="left as it is"):
        read_state(path, put_aside=False)
    assert path.read_text() == '{"format": 99}'


def test_newer_format_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text('{"format": 99}')
    with pytest.raises(StateFileError, match="format 99, this version knows 1"):
        read_state(path)


def test_unreadable_path_says_so(tmp_path: Path) -> None:
    with pytest.raises(StateFileError, match="cannot read: Is a directory"):
        read_state(tmp_path)


def test_unwritable_folder_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateFileError, match=r"cannot write: (Not a directory|File exists).*make the folder writable"):
        write_state(tmp_path / "file" / "state.json", Ours(), [])


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "No space left on device; .*: make room on its file system"),
        (errno.EROFS, "Read-only file system; .*: its file system is read-only here: .*ReadWritePaths="),
        (errno.EACCES, "Permission denied; .*: make the folder writable for this user"),
    ],
)
def test_advice_suits_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StateFileError, match=f"cannot write: {advice}"):
        write_state(tmp_path / "state.json", Ours(), [])


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    write_state(path, Ours(frozenset({KEY})), [VERDICT])

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateFileError, match="No space left on device"):
        write_state(path, Ours(), [])
    assert read_state(path).owned == (KEY,)
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]


def test_file_has_a_line_for_each_verdict(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_state(path, Ours(frozenset({KEY})), [VERDICT] * 3, 2.5)
    assert sum(line.startswith('{"service":') for line in path.read_text().splitlines()) == 3
    assert read_state(path) == Saved(owned=(KEY,), verdicts=(VERDICT,) * 3, written=2.5)


def test_a_fifo_in_its_place_does_not_hang_the_start(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    os.mkfifo(path)
    with pytest.raises(StateFileError, match=r"cannot read: it is not a regular file"):
        read_state(path)


@pytest.mark.parametrize("key", ["verdicts", "a key of a newer version"])  # what nobody reads is skipped by recursion
def test_content_nested_beyond_reason_is_put_aside(tmp_path: Path, key: str) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(f'{{"{key}":'.encode() + b"[" * 100_000)
    with pytest.raises(StateFileError, match="put aside"):
        read_state(path)


def test_it_is_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_state(path, Ours(), [VERDICT])
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_in_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    (tmp_path / ".state.json.new").symlink_to(target)
    write_state(tmp_path / "state.json", Ours(), [VERDICT])
    assert target.read_text() == "precious"
    assert read_state(tmp_path / "state.json").verdicts == (VERDICT,)


def test_a_file_left_by_a_crash_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".state.json.new").write_text("half of")
    write_state(tmp_path / "state.json", Ours(), [VERDICT])
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]


def test_file_of_an_older_version_was_written_when_the_file_system_says(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text('{"format": 1}')
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert read_state(path).written == 1_700_000_000.0


def test_marks_and_ports_of_path_probes_come_back(tmp_path: Path) -> None:
    marks = (Lease("tcp/ipv4 198.51.100.11 dr", 65536), Lease("tcp/ipv4 198.51.100.12 dr", 65537, 1_700_000_000.0))
    ports = (Lease("udp/ipv4 198.51.100.11 dr 192.0.2.100:53 1", 16384),)
    file = tmp_path / "state.json"
    write_state(file, Ours(path_marks=marks, path_ports=ports), ())
    found = read_state(file)
    assert (found.path_marks, found.path_ports) == (marks, ports)
    write_state(file, Ours(), ())
    assert read_state(file).path_marks == ()


def test_daemon_that_knows_nothing_of_flapping_reads_the_file(tmp_path: Path) -> None:
    class OldVerdict(msgspec.Struct, frozen=True, kw_only=True):
        service: str
        server: str
        check: str
        verdict: str
        detail: str
        since: float
        asks: tuple[int, bool] | None = None

    class OldFile(msgspec.Struct, frozen=True, kw_only=True):
        format: int
        verdicts: tuple[OldVerdict, ...]

    file = tmp_path / "state.json"
    flaps = SavedFlaps(falls=(1.0, 2.0), since=2.0, last=2.0, holds=1, until=62.0)
    verdict = SavedVerdict(
        service="s", server="r", check="c", verdict="up", detail="passed", since=1.0, asks=(50, True), flaps=flaps
    )
    write_state(file, Ours(), [verdict])
    old = msgspec.json.decode(file.read_bytes(), type=OldFile)
    assert old.verdicts[0].asks == (50, True)
    assert read_state(file).verdicts == (verdict,)


def written(path: Path) -> bytes:
    """Write a small state file, and return its content."""
    write_state(path, Ours(frozenset({KEY})), [VERDICT], 1_700_000_000.5)
    return path.read_bytes()


def test_damage_to_any_byte_is_noticed_and_nothing_wrong_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    content = written(path)
    whole, believed = read_state(path), 0
    for place in range(len(content)):
        for bit in (0, 5):  # one that changes a character, and one that changes the case of a letter
            path.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
            try:
                believed += read_state(path) == whole or pytest.fail(f"a wrong file is believed: {path.read_bytes()!r}")
            except StateFileError:
                assert not path.exists()
    # Only damage to the words around the checksum leaves a file that says the same.
    assert believed <= 2 * len(b'"checksum":"01234567"')


@pytest.mark.parametrize(("what", "instead"), [(b'"down"', b'"up"'), (b'"192.0.2.100"', b'"192.0.2.101"')])
def test_damaged_file_that_can_be_parsed_is_put_aside_and_told(tmp_path: Path, what: bytes, instead: bytes) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(written(path).replace(what, instead))
    with pytest.raises(StateFileError, match=r"state\.json: damaged: its checksum does not fit; put aside as .*\.bad"):
        read_state(path)
    assert not path.exists()


def test_file_that_an_operator_has_edited_is_read_when_the_checksum_is_emptied(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    content = written(path).replace(b"1700000000.5", b"1600000000.0")
    path.write_bytes(re.sub(rb'"checksum":"\w+"', b'"checksum":""', content))
    assert read_state(path).written == 1_600_000_000.0


OLD_FILE = b"""{"format":1,
"written":1700000000.5,
"owned":[{"family":2,"protocol":6,"address":"192.0.2.100","port":80,"fwmark":0}],
"shared":[],
"path_marks":[["tcp/ipv4 198.51.100.11 dr",65536,0.0]],
"path_ports":[],
"verdicts":[
{"service":"192.0.2.100:80/tcp","server":"198.51.100.11:80","check":"http","verdict":"down","detail":"x","since":1.5},
{"service":"192.0.2.100:80/tcp","server":"198.51.100.12:80","check":"http","verdict":"up","detail":"status 200",\
"since":2.5,"asks":[50,true],"flaps":{"falls":[1.0,2.0],"since":2.0,"last":2.0,"holds":1,"until":62.0}}
]}
"""
"""A file as it was written before it had a checksum."""


def test_old_file_without_a_checksum_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(OLD_FILE)
    found = read_state(path)
    assert (found.owned, found.verdicts[0], found.written) == ((KEY,), VERDICT, 1_700_000_000.5)
    assert found.verdicts[1].flaps == SavedFlaps(falls=(1.0, 2.0), since=2.0, last=2.0, holds=1, until=62.0)
    assert found.path_marks == (Lease("tcp/ipv4 198.51.100.11 dr", 65536),)


class FrozenVerdict(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    service: str
    server: str
    check: str
    verdict: str
    detail: str
    since: float
    asks: tuple[int, bool] | None = None
    flaps: SavedFlaps | None = None


class FrozenFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a daemon reads that knows nothing of checksums. It refuses other formats than 1."""

    format: int = 1
    owned: tuple[ServiceKey, ...] = ()
    shared: tuple[SharedService, ...] = ()
    path_marks: tuple[Lease, ...] = ()
    path_ports: tuple[Lease, ...] = ()
    verdicts: tuple[FrozenVerdict, ...] = ()
    written: float = 0.0


def test_old_daemon_reads_the_file_with_a_checksum(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    content = written(path)
    assert re.search(rb'"checksum":"[0-9a-f]{8}"}\n\Z', content)
    old = msgspec.json.decode(content, type=FrozenFile)
    assert (old.format, old.owned, old.written) == (1, (KEY,), 1_700_000_000.5)
    assert msgspec.to_builtins(old.verdicts) == msgspec.to_builtins((VERDICT,))
