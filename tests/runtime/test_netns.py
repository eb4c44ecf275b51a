"""The parts of `Netns` that can be tested without a network namespace. The lab tests the rest."""

from pathlib import Path

import pytest

from lvs_healthd.runtime.netns import Netns, NetnsError


def test_own_one_needs_nothing() -> None:
    with Netns().entered():
        pass
    assert Netns().identity() == Path("/proc/self/ns/net").stat().st_ino


def test_missing_one_says_how_to_make_it() -> None:
    for attempt in (Netns("no-such").identity, lambda: Netns("no-such").entered().__enter__()):
        with pytest.raises(NetnsError, match=r"/run/netns/no-such: there is none; make it: ip netns add no-such"):
            attempt()


def test_file_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(NetnsError, match=r"no network namespace|not permitted"), Netns(str(file)).entered():
        pass


def test_error_inside_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError), Netns("/proc/self/ns/net").entered():
        raise ZeroDivisionError
