"""Whether a service may serve here, from what is wanted and what is in the kernel's table."""

import pytest

from lvs_healthd.probes.outcome import Course, Outcome, Reason, down, up
from lvs_healthd.view.naming import UnknownNameError
from lvs_healthd.view.view import View
from tests.ipvs.tables import MARK, WEB
from tests.view.test_view import viewed

A, B, SPARE = "198.51.100.1", "198.51.100.2", "198.51.100.99"
REFUSED = down(Reason.REFUSED, "connection refused")


def answer(view: View, outcome: Outcome, *addresses: str) -> None:
    """Let servers fail or pass, and plan. What is wanted then differs from the kernel's table, which nobody writes."""
    for probe in list(view._decisions.probes.values()):
        if probe.check.address in addresses:
            for _ in range(3):
                probe.outcome(outcome, Course(0.001))
    reconciler = view._reconciler
    reconciler.want(view._decisions.wanted(reconciler.actual, None), None)


def said(view: View) -> tuple[bool, str]:
    (found,) = view.ok("web").services
    assert view.ok("web").ok is found.ok
    return found.ok, found.why


async def test_servers_that_are_wanted_and_there_serve() -> None:
    async with viewed(A, B) as (view, _):
        assert said(view) == (True, "1 of 2 real servers serve"), "one is in the table, the other not proven yet"
        answer(view, up("connected"), B)
        assert said(view) == (True, "1 of 2 real servers serve"), "it is wanted, and not written"


async def test_server_that_is_only_wanted_does_not_serve() -> None:
    async with viewed(B, fallback=()) as (view, _):
        view._reconciler.actual[WEB].destinations.clear()
        answer(view, REFUSED)  # nobody; only to plan
        assert said(view) == (False, "no real server is proven healthy yet")
        answer(view, up("connected"), B)
        assert said(view) == (False, "the servers that may serve are not in the kernel's table")
        view._reconciler.errors._of = {MARK: "add_server: EPERM"}
        assert said(view)[1].endswith("are not in the kernel's table"), "another service has an error"
        view._reconciler.errors._of = {WEB: "add_server: EPERM"}
        assert said(view)[1].endswith("are not in the kernel's table: add_server: EPERM")


async def test_server_that_is_only_left_in_the_table_does_not_serve() -> None:
    async with viewed(A, fallback=()) as (view, _):
        answer(view, REFUSED, A)
        assert said(view) == (False, "no real server may serve")


async def test_fallback_serves() -> None:
    async with viewed(A, fallback=(SPARE,)) as (view, _):
        answer(view, REFUSED, A)
        assert said(view) == (True, f"the fallback serves: {SPARE}:80")


async def test_table_that_nobody_reads_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with viewed(A) as (view, _):
        now = view._clock() + 1000.0
        monkeypatch.setattr(view, "_clock", lambda: now)
        assert said(view) == (False, "the kernel's table is not read back for more than three resyncs")


async def test_service_that_the_kernel_has_lost_does_not_serve() -> None:
    async with viewed(A) as (view, _):
        view._reconciler.actual.pop(WEB)
        assert said(view) == (False, "the servers that may serve are not in the kernel's table")


async def test_unknown_service_is_refused() -> None:
    async with viewed(A) as (view, _):
        with pytest.raises(UnknownNameError):
            view.ok("nobody")
        assert [each.service for each in view.ok("").services] == ["web"]
