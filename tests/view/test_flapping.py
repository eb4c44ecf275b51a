"""What an operator is shown of servers that are held out because they flap, and of verdicts that are stale."""

from lvs_healthd.decide.roles import Roles
from lvs_healthd.view.status import role_values, service_status
from lvs_healthd.view.status_values import RealServerStatus
from lvs_healthd.view.why import explained
from tests.decide.test_decisions import CHECK_A, CHECK_B, FAIL, PASS, Bench
from tests.decide.test_flapping import DAMPED, DOWN, flap, started

WHY = "damped because it flaps, until it has been steady for 1m"


async def first_of(bench: Bench) -> RealServerStatus:
    wanted = bench.decisions.wanted({})
    (service,) = bench.decisions.services
    role = role_values(service, Roles(), 0.0)
    status = await service_status(
        service, wanted, wanted.table, in_sync=True, held_by="", role=role, shift_s=0.0, wall=bench.now
    )
    return status.real_servers[0]


async def test_damped_server_is_shown_as_such_with_what_it_needs() -> None:
    bench = started(DAMPED)
    flap(bench, 4)
    found = await first_of(bench)
    assert (found.verdict, found.state, found.reason, found.weight_wanted) == ("up", "damped", WHY, None)
    server = next(iter(bench.decisions.servers))
    assert explained(server, bench.decisions.wanted({}), {}, 0.0).reason == WHY


async def test_damped_server_that_is_down_is_shown_as_down() -> None:
    bench = started(DAMPED)
    flap(bench, 4)
    bench.feed(CHECK_A, *DOWN)
    found = await first_of(bench)
    assert (found.verdict, found.state, found.reason) == ("down", "", "tcp: connection refused")


async def test_damped_server_that_serves_says_why_in_its_line_of_the_table() -> None:
    bench = started(DAMPED)
    flap(bench, 4)
    bench.feed(CHECK_B, *DOWN)
    found = await first_of(bench)
    assert (found.state, found.weight_wanted) == ("damped", 3)
    server = next(iter(bench.decisions.servers))
    table_reason = explained(server, bench.decisions.wanted({}), {}, 0.0).table_reason
    assert table_reason == f"serves all the same, because not enough others may; {WHY}"


async def test_stale_verdict_is_remarked_on_beside_its_server() -> None:
    bench = started(DAMPED)
    bench.feed(CHECK_A, PASS, FAIL)
    bench.now += 61.0
    assert [each async for each in bench.decisions.stale.turn()]
    (check,) = (await first_of(bench)).checks
    assert check.remark == "the verdict is 61s old and only held, because no probe has proved anything since"
