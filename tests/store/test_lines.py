"""The splitter of lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.store.lines import LineSplitter, LongLineError


@given(st.lists(st.binary(max_size=20)), st.data())
def test_lines_are_the_same_however_the_bytes_arrive(pieces: list[bytes], data: st.DataObject) -> None:
    whole = b"\n".join(pieces) + b"\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)))))
    splitter = LineSplitter()
    found = []
    for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += splitter.take(whole[begin:end])
    assert found == [line.removesuffix(b"\r") for line in whole.split(b"\n") if line.removesuffix(b"\r")]


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=30))
def test_what_is_kept_never_exceeds_the_longest_line(pieces: list[bytes]) -> None:
    splitter, open_line = LineSplitter(20), b""
    for piece in pieces:
        lines = (open_line + piece).split(b"\n")
        if any(len(line) > 20 for line in lines):
            with pytest.raises(LongLineError):
                splitter.take(piece)
            return
        splitter.take(piece)
        open_line = lines[-1]


def test_line_longer_than_aiohttps_own_reader_takes() -> None:
    splitter, line = LineSplitter(), b"x" * (3 << 20)
    assert splitter.take(line) == []
    assert splitter.take(b"\nnext") == [line]
