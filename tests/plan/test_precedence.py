"""The weight of a server whose checks ask for one."""

import pytest

from lvs_healthd.health.machine import Verdict
from lvs_healthd.plan.policy import NO_PLAN, plan_service
from lvs_healthd.plan.precedence import MOST_WEIGHT, Asking, Special, special
from lvs_healthd.plan.records import prepare
from lvs_healthd.plan.standings import Change, Members, Standing
from lvs_healthd.probes.outcome import AskedWeight
from tests.configs import config, server, service


def share(value: int, check: str = "agent") -> Asking:
    return Asking(check, AskedWeight(value, is_share=True))


def exactly(value: int, check: str = "exec") -> Asking:
    return Asking(check, AskedWeight(value, is_share=False))


@pytest.mark.parametrize(
    ("configured", "asking", "apart"),
    [
        (10, [], None),
        (10, [share(100)], None),
        (10, [share(75)], Special(None, 8, "agent asks for 75%")),
        (1, [share(1)], None),
        (100, [share(1)], Special(None, 1, "agent asks for 1%")),
        (10, [share(0)], Special(None, 0, "agent asks for 0%")),
        (10, [share(250)], Special(None, 25, "agent asks for 250%")),
        (60000, [share(200)], Special(None, MOST_WEIGHT, "agent asks for 200%")),
        (10, [exactly(3)], Special(None, 3, "exec asks for weight 3")),
        (10, [exactly(10)], None),
        (10, [share(50), exactly(7)], Special(None, 5, "agent asks for 50%")),
        (10, [exactly(2), share(50)], Special(None, 2, "exec asks for weight 2")),
        (0, [share(100), exactly(5)], None),
    ],
)
def test_weight_that_is_asked_for(configured: int, asking: list[Asking], apart: Special | None) -> None:
    assert special(configured, None, asking) == apart


def test_weight_counts_in_the_plan_and_in_what_may_serve() -> None:
    (web,) = prepare(config(service(server("198.51.100.11", weight=4), fallback=("198.51.100.99",))))
    (first,) = web.servers
    whole, less, none = (Standing(Verdict.UP, weight) for weight in (4, 3, 0))
    plan = plan_service(web, NO_PLAN, [Change(first, None, less)], {}, Members(tuple))
    assert (plan.changed[first.key], plan.weight, plan.may_serve) == (first.at(3), 3, True)
    plan = plan_service(web, plan, [Change(first, less, none)], {}, Members(tuple))
    assert (plan.changed[first.key], plan.may_serve, plan.uses_fallback) == (first.quiesced, False, True)
    plan = plan_service(web, plan, [Change(first, none, whole)], {}, Members(tuple))
    assert (plan.changed[first.key], plan.weight, plan.uses_fallback) == (first.record, 4, False)
