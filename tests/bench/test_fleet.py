"""The simulation of a fleet: one seed gives one result, and what must hold on any fleet holds on a small one."""

import random
from functools import partial

import pytest

from bench.fleet.detection import check, detected_s
from bench.fleet.directors import Fleet
from bench.fleet.events import Agenda, Processors
from bench.fleet.experiments import death, outage, probes, put, talk
from bench.fleet.parameters import Costs, Layout, said_bytes
from lvs_healthd.store.following import BEAT_S, LONGEST_PAUSE_S
from lvs_healthd.store.publishing import KEEP_S

SMALL = Layout(directors=6, servers=600)
COSTS = Costs()


def test_the_same_seed_gives_the_same_figures_and_another_one_others() -> None:
    figures = [
        (
            talk(SMALL, COSTS, seed, changes_per_s=1.0, seconds=20.0),
            death(SMALL, COSTS, seed),
            outage(SMALL, COSTS, seed, seconds=30.0, is_silent=False),
        )
        for seed in (1, 1, 2)
    ]
    assert figures[0] == figures[1]
    assert figures[0] != figures[2]


def test_cores_are_shared_fairly_and_no_work_is_lost() -> None:
    agenda, ended = Agenda(1), []
    cores = Processors(agenda, 2.0)
    for name, work_s in (("a", 1.0), ("b", 1.0), ("c", 2.0), ("d", 2.0)):
        cores.ask(work_s, partial(lambda each: ended.append((each, round(agenda.now, 6))), name))
    agenda.run(10.0)
    # Four pieces have half a core each; the two that are left after 2 s have one each.
    assert ended == [("a", 2.0), ("b", 2.0), ("c", 3.0), ("d", 3.0)]
    assert cores.used == 6.0


@pytest.mark.parametrize(("is_silent", "least_s", "most_s"), [(False, 1.0, 3.2), (True, 3.0, 5.2)])
def test_a_death_is_seen_within_the_bounds_of_the_check(*, is_silent: bool, least_s: float, most_s: float) -> None:
    chance = random.Random(1)
    found = [detected_s(check(2.0), chance, is_silent=is_silent) for _ in range(2000)]
    # The first probe comes within an interval. Two more follow at the fast interval, or at the timeout if it is longer.
    assert least_s <= min(found) < least_s + 0.05
    assert most_s - 0.2 <= max(found) <= most_s


def test_every_director_hears_each_word_of_the_others_once() -> None:
    found = talk(SMALL, COSTS, 1, changes_per_s=1.0, seconds=20.0)
    assert found.well == SMALL.directors
    told = found.told_bytes_per_s / found.puts_per_s
    least = said_bytes(SMALL.own_services) * (SMALL.directors - 1)
    assert least <= told <= least * 1.15  # some servers are down, and are named


def test_no_director_says_more_than_there_is_to_say() -> None:
    found = talk(SMALL, COSTS, 1, changes_per_s=1.0, seconds=60.0)
    assert found.puts_per_s <= 1.3 * SMALL.directors
    assert found.after_s < 0.1


def test_nobody_takes_a_server_out_before_two_have_seen_it_down() -> None:
    for seed in range(5):
        alone, both = death(SMALL._replace(agree=1), COSTS, seed), death(SMALL, COSTS, seed)
        assert alone.first < both.first <= both.median <= both.last
        # The last director to see it has heard of the others before: agreement costs it nothing.
        assert both.last == alone.last


def test_of_two_directors_the_second_one_to_see_it_down_decides() -> None:
    two = Layout(directors=2, servers=200)
    alone, both = death(two._replace(agree=1), COSTS, 1), death(two, COSTS, 1)
    assert alone.last <= both.first <= both.last < alone.last + 0.2


def test_directors_of_other_cells_are_told_nothing() -> None:
    cells = Layout(directors=6, servers=600, cell=2)
    assert death(cells, COSTS, 1).puts == 2
    assert death(SMALL, COSTS, 1).puts == SMALL.directors
    assert probes(cells, COSTS).at_server * 3 == probes(SMALL, COSTS).at_server


def test_etcd_is_asked_no_more_often_at_rest_than_the_limits_say() -> None:
    fleet = Fleet(SMALL, COSTS, 1)
    fleet.start(3.0)
    fleet.agenda.run(30.0)
    fleet.store.asked.clear()
    fleet.agenda.run(90.0)
    most = 60.0 * SMALL.directors * (3 / BEAT_S + 1 / KEEP_S)
    assert 0.9 * most < len(fleet.store.asked) <= most + SMALL.directors * 3


@pytest.mark.parametrize("is_silent", [False, True])
def test_after_an_outage_all_directors_are_well_within_the_longest_pause(*, is_silent: bool) -> None:
    found = outage(SMALL, COSTS, 1, seconds=60.0, is_silent=is_silent)
    assert found.well_after_s <= LONGEST_PAUSE_S + 3.0
    assert found.attempts < found.most_attempts


def test_nobody_is_well_while_etcd_is_away() -> None:
    fleet = Fleet(SMALL, COSTS, 1)
    fleet.start(3.0)
    fleet.agenda.run(30.0)
    assert fleet.well == SMALL.directors
    fleet.store.fail(silent=True)
    fleet.agenda.run(45.0)
    assert fleet.well == 0


def test_an_etcd_that_cannot_do_it_never_lets_directors_be_well() -> None:
    assert talk(SMALL._replace(store_cores=0.001), COSTS, 1, changes_per_s=0.1, seconds=20.0).well < SMALL.directors


def test_a_put_takes_longer_for_more_servers_and_for_more_directors() -> None:
    small, more_servers = put(SMALL, COSTS, 1), put(SMALL._replace(servers=6000), COSTS, 1)
    more_directors = put(SMALL._replace(directors=600), COSTS, 1)
    assert small.read_last < more_servers.read_last
    assert small.in_tables < more_servers.in_tables
    assert small.read_last < more_directors.read_last
    assert put(Layout(servers=100_000), COSTS, 1).transactions == 2
