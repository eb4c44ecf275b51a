"""Verdicts and configuration in, wanted table out."""

from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config.basics import Protocol
from lvs_healthd.config.model import Config, OnFailure
from lvs_healthd.health.machine import Health, Verdict
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey, Table, Wanted
from lvs_healthd.ipvs.words import AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SVC_F_PERSISTENT, ForwardingMethod
from lvs_healthd.plan.policy import NO_PLAN, plan_service
from lvs_healthd.plan.reasons import FALLBACK_REASON, LEAVING_REASON
from lvs_healthd.plan.records import prepare
from lvs_healthd.plan.standings import Change, Members, Standing
from tests.configs import config, server, service
from tests.plan.whole import plan

WEB = ServiceKey(AF_INET, IPPROTO_TCP, "192.0.2.100", 80)
A, B, SPARE = (DestinationKey(AF_INET, f"198.51.100.{n}", 80) for n in (11, 12, 99))


def planned(given_config: Config, actual: Table | None = None, **verdicts: Verdict) -> Wanted:
    """Plan with verdicts by the last number of a server's address (`s11=Verdict.UP`); the others are up."""
    services = prepare(given_config)
    healths = {
        (each.key, one.key): Health(
            verdicts.get("s" + one.key.address.rpartition(".")[2], Verdict.UP), 0.0, detail="because", first_failure=7.0
        )
        for each in services
        for one in each.servers
    }
    return plan(services, healths, actual or {})


def weights(wanted: Wanted, key: ServiceKey = WEB) -> dict[DestinationKey, int]:
    return {each: record.weight for each, record in wanted.table[key].destinations.items()}


PAIR = (server("198.51.100.11", weight=3), server("198.51.100.12", weight=2))


def test_servers_that_are_up_are_in_with_their_own_weight() -> None:
    assert weights(planned(config(service(*PAIR)))) == {A: 3, B: 2}


def test_server_that_is_down_is_out() -> None:
    assert weights(planned(config(service(*PAIR)), s11=Verdict.DOWN)) == {B: 2}


def test_server_not_proven_yet_is_out() -> None:
    wanted = planned(config(service(*PAIR)), s11=Verdict.UNKNOWN)
    assert weights(wanted) == {B: 2}
    assert wanted.why[WEB, A].reason == "not proven healthy yet"


def test_quiesced_server_stays_at_weight_zero() -> None:
    quiesce = config(service(*PAIR, on_failure=OnFailure.QUIESCE))
    assert weights(planned(quiesce, s11=Verdict.DOWN)) == {A: 0, B: 2}
    assert weights(planned(quiesce, s11=Verdict.UNKNOWN)) == {A: 0, B: 2}


def test_fallback_is_in_only_while_no_server_may_serve() -> None:
    with_spare = config(service(*PAIR, fallback=("198.51.100.99",)))
    assert weights(planned(with_spare)) == {A: 3, B: 2}
    assert weights(planned(with_spare, s11=Verdict.DOWN)) == {B: 2}
    wanted = planned(with_spare, s11=Verdict.DOWN, s12=Verdict.DOWN)
    assert weights(wanted) == {SPARE: 1}
    assert wanted.why[WEB, SPARE].reason == FALLBACK_REASON


def test_servers_drained_by_weight_zero_do_not_count_as_serving() -> None:
    drained = config(service(server("198.51.100.11", weight=0), fallback=("198.51.100.99",)))
    assert weights(planned(drained)) == {A: 0, SPARE: 1}


def test_last_server_leaves_an_empty_service_not_none() -> None:
    wanted = planned(config(service(PAIR[0])), s11=Verdict.DOWN)
    assert weights(wanted) == {}
    assert WEB in wanted.table


def test_every_server_has_a_reason_with_the_time_of_its_first_failure() -> None:
    wanted = planned(config(service(*PAIR)), s11=Verdict.DOWN)
    assert (wanted.why[WEB, A].reason, wanted.why[WEB, A].first_failure) == ("because", 7.0)
    assert set(wanted.why) == {(WEB, A), (WEB, B)}
    assert wanted.names == {WEB: "web"}


def test_records_say_what_is_configured() -> None:
    wanted = planned(
        config(
            service(server("2001:db8::1", 53), address="2001:db8::100", port=53, protocol=Protocol.UDP),
            service(server("198.51.100.11"), name="sticky", port=443, persistence=300, scheduler="sh"),
            service(server("198.51.100.11", 0), name="mark", fwmark=7),
        )
    )
    dns = wanted.table[ServiceKey(AF_INET6, IPPROTO_UDP, "2001:db8::100", 53)]
    assert (dns.service.netmask, dns.service.flags) == (128, 0)
    assert next(iter(dns.destinations.values())).forward is ForwardingMethod.MASQ
    sticky = wanted.table[ServiceKey(AF_INET, IPPROTO_TCP, "192.0.2.100", 443)].service
    assert (sticky.scheduler, sticky.timeout, sticky.flags, sticky.netmask) == ("sh", 300, SVC_F_PERSISTENT, 32)
    assert ServiceKey(AF_INET, fwmark=7) in wanted.table


def test_servers_dropped_by_a_reload_serve_until_a_new_one_is_proven() -> None:
    before = planned(config(service(*PAIR))).table
    swapped = config(service(server("198.51.100.21"), server("198.51.100.22"), fallback=("198.51.100.99",)))
    new = DestinationKey(AF_INET, "198.51.100.21", 80)
    unknown, down = Verdict.UNKNOWN, Verdict.DOWN
    held = planned(swapped, before, s21=unknown, s22=unknown)
    assert weights(held) == {A: 3, B: 2}
    assert held.why[WEB, A].reason == LEAVING_REASON
    assert weights(planned(swapped, before, s21=unknown, s22=down)) == {A: 3, B: 2}
    assert weights(planned(swapped, before, s21=Verdict.UP, s22=unknown)) == {new: 1}
    # Once all new servers are proven down, there is nothing left to wait for.
    assert weights(planned(swapped, before, s21=down, s22=down)) == {SPARE: 1}


def test_dropped_server_does_not_stay_beside_one_that_serves() -> None:
    before = planned(config(service(*PAIR))).table
    assert weights(planned(config(service(PAIR[0], server("198.51.100.21"))), before, s21=Verdict.UNKNOWN)) == {A: 3}


def test_drained_server_found_in_the_table_is_not_cut_off_before_it_is_judged() -> None:
    before = planned(config(service(*PAIR, on_failure=OnFailure.QUIESCE)), s11=Verdict.DOWN).table
    assert weights(planned(config(service(*PAIR)), before, s11=Verdict.UNKNOWN)) == {A: 0, B: 2}
    assert weights(planned(config(service(*PAIR)), before, s11=Verdict.DOWN)) == {B: 2}


@given(st.lists(st.sampled_from(Verdict), min_size=1, max_size=6), st.sampled_from(OnFailure), st.booleans())
def test_service_serves_whenever_anything_may(verdicts: list[Verdict], on_failure: OnFailure, spare: bool) -> None:
    servers = [server(f"198.51.100.{n + 1}", weight=n + 1) for n in range(len(verdicts))]
    wanted = planned(
        config(service(*servers, on_failure=on_failure, fallback=("198.51.100.99",) if spare else ())),
        None,
        **{f"s{n + 1}": verdict for n, verdict in enumerate(verdicts)},
    )
    serving = {key for key, weight in weights(wanted).items() if weight}
    up = {DestinationKey(AF_INET, f"198.51.100.{n + 1}", 80) for n, v in enumerate(verdicts) if v is Verdict.UP}
    assert serving == (up or ({SPARE} if spare else set()))


def test_a_plan_visits_only_the_servers_that_have_changed() -> None:
    (web,) = prepare(config(service(*PAIR)))
    first, second = web.servers
    before = plan_service(
        web,
        NO_PLAN,
        [Change(first, None, Standing(Verdict.UP, 1)), Change(second, None, Standing(Verdict.UP, 2))],
        {},
        Members(tuple),
    )
    after = plan_service(
        web, before, [Change(first, Standing(Verdict.UP, 1), Standing(Verdict.DOWN, 1))], {}, Members(tuple)
    )
    assert after.changed == {A: None}
    assert (after.up, after.weight) == (1, 2)
