"""Every line has the reason that follows from how its server stands now and from the rule of its service."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config.model import Below, MinUp
from lvs_healthd.health.machine import Health, Verdict
from lvs_healthd.plan.planner import Planner
from lvs_healthd.plan.precedence import Special, State
from lvs_healthd.plan.reasons import reason_for
from lvs_healthd.plan.records import prepare
from tests.configs import config, server, service

SERVERS = 4

healths = st.builds(
    Health,
    st.sampled_from(Verdict),
    st.just(0.0),
    detail=st.sampled_from(["passed", "refused"]),
    first_failure=st.none(),
)
specials = st.none() | st.builds(
    Special, st.sampled_from([None, *State]), st.integers(0, 2), st.sampled_from(["by hand", "it flaps"])
)
rounds = st.lists(st.dictionaries(st.integers(0, SERVERS - 1), st.tuples(healths, specials), min_size=1), max_size=8)


@given(st.sampled_from(Below), st.integers(1, SERVERS), rounds)
def test_reasons_follow_from_how_servers_stand_now(
    below: Below, count: int, news: list[dict[int, tuple[Health, Special | None]]]
) -> None:
    plain = service(*(server(f"198.51.100.{n}") for n in range(1, SERVERS + 1)), fallback=("198.51.100.99",))
    (made,) = prepare(config(msgspec.structs.replace(plain, below=below, min_up=MinUp(count=count))))
    known: dict[int, tuple[Health, Special | None]] = dict.fromkeys(range(SERVERS), (Health(Verdict.UP, 0.0), None))
    planner = Planner()
    planner.configure([made], {(made.key, one.key): known[n][0] for n, one in enumerate(made.servers)})
    planner.plan({})
    for changes in news:
        known |= changes
        for n, (health, special) in changes.items():
            planner.changed(made.key, made.servers[n].key, health, special)
        planner.plan({}, ())
        rule = planner.standing(made.key).rule
        for n, one in enumerate(made.servers):
            assert planner.wanted.why[made.key, one.key] == reason_for(*known[n], rule)
