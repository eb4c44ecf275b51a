"""A clock for paced work that counts how often it is read, so that tests need no time; and what busy machines say."""

import itertools
from collections.abc import Iterator

import pytest

from lvs_healthd.runtime import pace

EXTENDED = " (extended, because this daemon stood still)"
"""What a probe's outcome ends with on a machine that is busy with other things."""

READINGS_PER_SLICE = 100
"""Work reads the clock after every item, so this is how many items a slice has."""


@pytest.fixture
def counted_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a slice of paced work be over after `READINGS_PER_SLICE` items."""
    readings: Iterator[int] = itertools.count()
    monkeypatch.setattr(pace, "clock", lambda: next(readings) * pace.SLICE_S / READINGS_PER_SLICE)
