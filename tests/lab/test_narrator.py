"""The demo's exit status says whether all claims hold."""

import pytest

from lab.narrator import Narrator


@pytest.mark.parametrize(("second_holds", "status", "count"), [(True, 0, "2 of 2"), (False, 1, "1 of 2")])
def test_one_claim_that_fails_fails_the_demo(
    capsys: pytest.CaptureFixture[str], second_holds: bool, status: int, count: str
) -> None:
    tell = Narrator(colour=False)
    tell.claim("a server that hangs is removed", "4.1 s", holds=True)
    tell.claim("no request fails", "0 of 40", holds=second_holds)
    assert tell.verdict() == status
    out = capsys.readouterr().out
    assert f"{count} claims hold" in out
    assert ("FAIL" in out) is not second_holds
