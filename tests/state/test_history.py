"""The file of history: what is written comes back, shared as before, and nothing that is damaged is believed."""

from pathlib import Path

import pytest

from lvs_healthd.state.history import Happened, Place, history_beside, read_history, write_history
from lvs_healthd.state.safe_file import StateFileError

DOWN = Happened(1_700_000_000.25, "real_server.down", "down, was up: http: status 503")
GONE = Happened(1_700_000_001.5, "table.changed", "removed: status 503")
HELD = Happened(1_700_000_002.5, "table.held", 'the whole table is held by uid 0: "umlaut ü"')
PAST = {
    Place("192.0.2.100:80/tcp", "198.51.100.11:80"): (DOWN, GONE),
    Place("192.0.2.100:80/tcp", "198.51.100.12:80"): (DOWN, GONE),
    Place("", ""): (HELD,),
}
FROZEN = b"""{"format":1,
"entries":[
[1700000000.25,"real_server.down","down, was up: http: status 503"],
[1700000001.5,"table.changed","removed: status 503"],
[1700000002.5,"table.held","the whole table is held by uid 0: \\"umlaut \xc3\xbc\\""]
],
"past":[
["192.0.2.100:80/tcp","198.51.100.11:80",[0,1]],
["192.0.2.100:80/tcp","198.51.100.12:80",[0,1]],
["","",[2]]
],
"checksum":"d808faef"}
"""
"""The file in its format 1, which does not change."""


def test_what_is_written_comes_back_and_is_shared_as_before(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "history.json"
    write_history(path, PAST.items())
    found = read_history(path)
    assert found == PAST
    first, second, _ = found.values()
    assert first[0] is second[0]
    assert path.stat().st_mode & 0o777 == 0o600


def test_format_is_frozen(tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    write_history(path, PAST.items())
    assert path.read_bytes() == FROZEN
    path.write_bytes(FROZEN.replace(b'"d808faef"', b'"", "of a later version": [1]'))
    assert read_history(path) == PAST


def test_nothing_has_happened_without_a_file_and_in_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    assert read_history(path) == {}
    write_history(path, ())
    assert read_history(path) == {}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no file of history"),
        (b"[]", "no file of history"),
        (b"\xff", "no file of history"),
        (b"[" * 100_000, "no file of history"),
        (b'{"format":1,"entries":[],"past":[["a","b",[0]]]}', "no file of history"),
        (b'{"format":1,"entries":[[1.0,"e","t"]],"past":[["a","b",[-1]]]}', "no file of history"),
        (FROZEN.replace(b"503", b"504"), "damaged: its checksum does not fit"),
        (FROZEN.replace(b'"format":1', b'"format":2'), "format 2, this version knows 1"),
        (FROZEN[:-20], "no file of history"),
    ],
)
def test_unusable_content_is_put_aside(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "history.json"
    path.write_bytes(content)
    with pytest.raises(StateFileError, match=f"{why}.*left as it is"):
        read_history(path, rescue=False)
    assert path.read_bytes() == content
    with pytest.raises(StateFileError, match=f"{why}.*put aside as .*history.json.bad; `why` begins with an empty"):
        read_history(path)
    assert (tmp_path / "history.json.bad").read_bytes() == content


def test_file_that_cannot_be_read_is_left_there(tmp_path: Path) -> None:
    with pytest.raises(StateFileError, match="cannot read: Is a directory"):
        read_history(tmp_path)


def test_it_lies_beside_the_state_file() -> None:
    assert history_beside("/var/lib/lvs-healthd/state.json") == Path("/var/lib/lvs-healthd/history.json")
