"""Long work comes in slices, and long text in chunks that are all about as large."""

import pytest

from lvs_healthd.runtime import pace
from lvs_healthd.runtime.pace import chunks


async def test_no_chunk_is_large_however_fast_its_pieces_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "clock", lambda: 100.0)
    pieces = [f"{number:010000d}" for number in range(100)]
    made = [chunk async for chunk in chunks(pieces)]
    assert "".join(made) == "".join(pieces)
    assert max(map(len, made)) <= 65536 + 10_000
    assert len(made) <= 16


async def test_slow_pieces_are_passed_on_at_the_end_of_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0

    def clock() -> float:
        nonlocal now
        now += 0.6 * pace.SLICE_S
        return now

    monkeypatch.setattr(pace, "clock", clock)
    assert [chunk async for chunk in chunks(["a", "b", "c", "d", "e"])] == ["ab", "cd", "e"]
