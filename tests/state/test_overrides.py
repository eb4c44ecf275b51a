"""The file of operators' orders: what cannot be read is kept, so that no later order overwrites it."""

from pathlib import Path

import pytest

from lvs_healthd.state.overrides import Kind, Override, read_overrides, write_overrides
from lvs_healthd.state.safe_file import StateFileError

ORDER = Override(kind=Kind.DRAIN, service="192.0.2.1:80/tcp", server="198.51.100.1:80", since=1.0, uid=0)


def test_orders_are_read_back(tmp_path: Path) -> None:
    file = tmp_path / "overrides.json"
    write_overrides(file, [ORDER])
    assert read_overrides(file) == (ORDER,)


@pytest.mark.parametrize("content", [b"", b"[", b"{}", b'{"format":1,"overrides":[{"kind":"\xff"}]}'])
def test_file_that_is_no_such_file_is_put_aside(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "overrides.json"
    file.write_bytes(content)
    with pytest.raises(StateFileError, match=r"put aside as .*overrides.json.bad; servers that were drained"):
        read_overrides(file)
    assert (tmp_path / "overrides.json.bad").read_bytes() == content


def test_what_cannot_be_read_is_put_aside_too(tmp_path: Path) -> None:
    file = tmp_path / "overrides.json"
    file.mkdir()
    with pytest.raises(StateFileError, match=r"cannot read: .*; put aside as "):
        read_overrides(file)
    assert not file.exists()


def test_a_look_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "overrides.json"
    file.write_bytes(b"[")
    with pytest.raises(StateFileError, match="left as it is"):
        read_overrides(file, rescue=False)
    assert file.read_bytes() == b"["


def test_order_of_an_unknown_kind_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "overrides.json"
    write_overrides(file, [ORDER])
    file.write_bytes(file.read_bytes().replace(b"[\n", b'[\n{"kind":"of a later version"},\n'))
    assert read_overrides(file) == (ORDER,)
