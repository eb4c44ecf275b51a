"""Who waits for which reload."""

import asyncio
import time
from typing import cast

import pytest

from lvs_healthd.api.peers import Peer
from lvs_healthd.daemon.operators import OperatorsHand
from lvs_healthd.daemon.requests import ReloadRequests, Requests
from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.events.kinds import Event, OperatorRefused, OperatorRequest
from lvs_healthd.reconcile.reconciler import Reconciler
from lvs_healthd.view.hold_values import HoldOutcome, HoldRefusedError
from lvs_healthd.view.naming import UnknownNameError
from lvs_healthd.view.override_values import OverrideRequest
from lvs_healthd.view.reload_values import ReloadOutcome, ReloadRequest
from tests.daemon.no_fleet import NoFleet
from tests.decide.test_decisions import Counting


async def test_all_who_ask_before_a_reload_get_its_outcome_and_those_who_ask_meanwhile_the_next() -> None:
    requests = ReloadRequests()
    early = [asyncio.create_task(requests.outcome()) for _ in range(2)]
    await asyncio.sleep(0)
    (first,) = (await requests.taken()).values()
    late = asyncio.create_task(requests.outcome())
    await asyncio.sleep(0)
    for future in first:
        future.set_result(ReloadOutcome(file="first"))
    assert [(await each).file for each in early] == ["first", "first"]
    ((second,),) = (await requests.taken()).values()
    second.set_result(ReloadOutcome(file="second"))
    assert (await late).file == "second"


async def test_signal_asks_too_and_nobody_waits() -> None:
    requests = ReloadRequests()
    requests.ask()
    assert await requests.taken() == {ReloadRequest(): []}


async def test_signal_is_never_forced_and_dry_runs_come_before_reloads_and_forced_ones_last() -> None:
    requests = ReloadRequests()
    asked = [
        ReloadRequest(force=True),
        ReloadRequest(dry_run=True, force=True),
        ReloadRequest(dry_run=True),
    ]
    tasks = [asyncio.create_task(requests.outcome(each)) for each in asked]
    await asyncio.sleep(0)
    requests.ask()
    taken = await requests.taken()
    assert [(str(request), len(waiting)) for request, waiting in taken.items()] == [
        ("reload --dry-run", 1),
        ("reload --dry-run --force", 1),
        ("reload", 0),
        ("reload --force", 1),
    ]
    for task in tasks:
        task.cancel()


async def test_dry_run_alone_reloads_nothing() -> None:
    requests = ReloadRequests()
    task = asyncio.create_task(requests.outcome(ReloadRequest(dry_run=True)))
    await asyncio.sleep(0)
    assert list(await requests.taken()) == [ReloadRequest(dry_run=True)]
    task.cancel()


class NoHolds:
    async def hold(self, which: str, reason: str, by: Peer) -> HoldOutcome:
        return HoldOutcome(held=(which,))

    async def release(self, which: str, by: Peer) -> HoldOutcome:
        if which == "nobody":
            raise UnknownNameError('no service is called "nobody"')
        if which == "free":
            raise HoldRefusedError("nothing is held")
        return HoldOutcome(held=())


async def test_who_holds_or_releases_is_told_with_user_and_process() -> None:
    events: list[Event] = []
    requests, root = requests_with(events), Peer(pid=812, uid=0, groups=frozenset())
    assert (await requests.hold("web", "why", root)).held == ("web",)
    assert (await requests.hold("", "", root)).held == ("",)
    assert (await requests.release("web", root)).held == ()
    assert [event.request for event in events if isinstance(event, OperatorRequest)] == [
        "hold web",
        "hold",
        "release web",
    ]
    assert events[0] == OperatorRequest(request="hold web", uid=0, pid=812)


def test_who_was_refused_is_told_with_user_and_process() -> None:
    events: list[Event] = []
    requests = requests_with(events)
    requests.refused("reload", Peer(pid=812, uid=1000, groups=frozenset()))
    assert events == [OperatorRefused(request="reload", uid=1000, pid=812, why="this user may change nothing")]


async def test_hold_or_release_that_is_refused_is_told_too() -> None:
    events: list[Event] = []
    requests, peer = requests_with(events), Peer(pid=812, uid=7, groups=frozenset())
    for which in ("nobody", "free"):
        with pytest.raises((UnknownNameError, HoldRefusedError)):
            await requests.release(which, peer)
    refused = [event for event in events if isinstance(event, OperatorRefused)]
    assert [(event.request, event.uid, event.why) for event in refused] == [
        ("release nobody", 7, 'no service is called "nobody"'),
        ("release free", 7, "nothing is held"),
    ]
    assert [event.service for event in refused] == ["nobody", "free"]


async def test_refused_order_names_the_servers_as_the_operator_did() -> None:
    events: list[Event] = []
    requests, peer = requests_with(events), Peer(pid=812, uid=7, groups=frozenset())
    await requests.order(OverrideRequest(verb="drain", service="web", servers=("198.51.100.11",)), peer)
    await requests.order(OverrideRequest(verb="drain", everywhere="198.51.100.11"), peer)
    refused = [event for event in events if isinstance(event, OperatorRefused)]
    assert [(event.service, event.servers) for event in refused] == [
        ("web", ("198.51.100.11",)),
        ("*", ("198.51.100.11",)),
    ]


def requests_with(events: list[Event]) -> Requests:
    operators = OperatorsHand(
        Decisions(
            emit=events.append,
            changed=lambda: None,
            tally=lambda *_: Counting([]),
            clock=time.monotonic,
            wall=time.time,
        ),
        cast("Reconciler", None),
        events.append,
        fleet=NoFleet(),
        file=lambda: None,
        replan=lambda: None,
        clock=time.monotonic,
    )
    return Requests(ReloadRequests(), operators, NoHolds(), events.append)
