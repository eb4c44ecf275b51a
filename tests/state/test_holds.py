"""The file of holds: there while something is held, the same for every version, and never taken for nothing."""

from pathlib import Path

import pytest

from lvs_healthd.state.file import Ours, read_state, write_state
from lvs_healthd.state.holds import Hold, holds_beside, read_holds, write_holds
from lvs_healthd.state.safe_file import StateFileError
from tests.ipvs.tables import WEB

WHOLE = Hold(since=1000.5, uid=0, reason="switch is being replaced")
ONE = Hold(service=WEB, name="web", since=2000.0, uid=1000)


def test_holds_are_read_as_written_and_the_file_goes_with_the_last(tmp_path: Path) -> None:
    path = holds_beside(str(tmp_path / "new" / "state.json"))
    write_holds(path, (WHOLE, ONE))
    assert read_holds(path) == (WHOLE, ONE)
    assert path.stat().st_mode & 0o777 == 0o600
    write_holds(path, ())
    assert list(path.parent.iterdir()) == []
    assert read_holds(path) == ()
    write_holds(path, ())


def test_format_is_the_one_that_every_version_reads(tmp_path: Path) -> None:
    """This text is in files on directors. It must be understood for ever, with whatever fields are added to it."""
    path = tmp_path / "holds.json"
    path.write_text(
        '{"holds":[{"service":{"family":2,"protocol":6,"address":"192.0.2.100","port":80,"fwmark":0},"name":"web",'
        '"since":2000.0,"uid":1000,"reason":"","later":1},{"service":null,"name":"","since":1000.5,"uid":0,'
        '"reason":"switch is being replaced"}],"more":{}}'
    )
    assert read_holds(path) == (ONE, WHOLE)
    write_holds(path, (ONE, WHOLE))
    assert '"later"' not in path.read_text()
    assert read_holds(path) == (ONE, WHOLE)


def test_a_version_that_knows_only_the_state_file_leaves_the_holds_alone(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    write_holds(holds_beside(str(state)), (WHOLE,))
    read_state(state)
    write_state(state, Ours(), ())
    assert read_holds(holds_beside(str(state))) == (WHOLE,)


@pytest.mark.parametrize("content", [b"", b"{", b'{"holds":1}', b"\xff\xfe", b"[]", b'{"holds":[{"uid":0}]}'])
def test_file_that_is_not_understood_is_an_error_and_stays(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "holds.json"
    path.write_bytes(content)
    with pytest.raises(StateFileError, match="everything is held until `lvs-healthd release`"):
        read_holds(path)
    assert path.read_bytes() == content


def test_file_in_a_folder_that_cannot_be_is_no_hold_and_one_that_is_no_file_is_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert read_holds(tmp_path / "file" / "holds.json") == ()
    (tmp_path / "holds.json").mkdir()
    with pytest.raises(StateFileError, match="cannot read: Is a directory; everything is held"):
        read_holds(tmp_path / "holds.json")


def test_file_that_cannot_be_written_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateFileError, match="cannot write: File exists"):
        write_holds(tmp_path / "file" / "holds.json", (WHOLE,))
