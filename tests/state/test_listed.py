"""The file of what sources listed last."""

from pathlib import Path

import pytest

from lvs_healthd.config.sources import Entry, Source
from lvs_healthd.state.listed import SavedList, lists_beside, read_lists, write_lists
from lvs_healthd.state.safe_file import StateFileError

WEB = SavedList(
    source=Source(file="/etc/web.list"),
    entries=(Entry("198.51.100.11:80", 2, "/etc/web.list:1"), Entry("[2001:db8::1]")),
    changed=1_700_000_000.0,
)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = lists_beside(str(tmp_path / "state.json"))
    assert path == tmp_path / "sources.json"
    assert read_lists(path) == {}
    write_lists(path, (WEB,))
    assert read_lists(path) == {WEB.source: WEB}
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"{}", b'{"sources":[{}]}', b"\xff", b"[" * 100_000])
def test_file_that_cannot_be_understood_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sources.json"
    path.write_bytes(content)
    with pytest.raises(StateFileError, match="not a file of sources"):
        read_lists(path)


def test_folder_in_its_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(StateFileError, match="cannot read: Is a directory"):
        read_lists(tmp_path)
    with pytest.raises(StateFileError, match="are not known"):
        write_lists(tmp_path, (WEB,))
