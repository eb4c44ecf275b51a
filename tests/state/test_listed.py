"""The file of what sources listed last."""

from pathlib import Path

import pytest

from lvs_healthd.config.basics import Endpoint, Family
from lvs_healthd.config.sources import Entry, Source
from lvs_healthd.state.listed import SavedList, lists_beside, read_lists, write_lists
from lvs_healthd.state.safe_file import StateFileError

WEB = SavedList(
    source=Source(file="/etc/web.list"),
    entries=(Entry("198.51.100.11:80", 2, "/etc/web.list:1"), Entry("[2001:db8::1]")),
    changed=1_700_000_000.0,
)


BY_NAME = SavedList(
    source=Source(dns="web.example.net", family=Family.IPV6, nameserver=(Endpoint("192.0.2.53", 53),)),
    entries=(Entry("[2001:db8::1]:80"),),
    changed=1_700_000_000.0,
)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = lists_beside(str(tmp_path / "state.json"))
    assert path == tmp_path / "sources.json"
    assert read_lists(path) == {}
    write_lists(path, (WEB, BY_NAME))
    assert read_lists(path) == {WEB.source: WEB, BY_NAME.source: BY_NAME}
    assert path.stat().st_mode & 0o777 == 0o600


def test_file_of_before_there_were_other_sources_than_files_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sources.json"
    path.write_text(
        '{"sources":[{"source":{"file":"/etc/web.list"},"entries":[{"address":"192.0.2.1"}],"changed":1.0}]}'
    )
    assert read_lists(path) == {WEB.source: SavedList(source=WEB.source, entries=(Entry("192.0.2.1"),), changed=1.0)}


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
